# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Sums over the frames of a bag, and the worst frame of each part of the drive."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays
from training.scoring import metrics
from training.scoring.bags.verdict import missed, nearest_missed
from training.scoring.pictures import data_uri, frame_pictures
from training.scoring.scores import FrameScores

Array = NDArray[np.floating]
SECTORS = 12                                       # of 30 degrees, for the error by azimuth
HEIGHT_EDGES_M = (-np.inf, 0.05, 0.3, 1.0, 1.5, 2.0, np.inf)       # above the floor
RELATIVE_EDGES_M = (-np.inf, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, np.inf)   # relative to the camera
PARTS = 6                                          # of the drive; the worst frame of each is shown


@dataclass(frozen=True)
class WorstFrame:
    """The frame of one part of the drive to look at first."""

    badness: float
    number: str
    stamp_s: float
    text: str                          # what is wrong with it
    pictures: list[tuple[str, str]]    # (title, data URI)


class BagTables:
    """Sums over the frames of a bag, and the pictures of the worst."""

    def __init__(self, camera_height_m: float):
        """Start empty; `camera_height_m` 0 = unknown: heights are relative to the camera."""
        self.camera_height_m = camera_height_m
        self.published: list[FrameScores] = []
        self.aligned: list[FrameScores] = []
        self.rows: list[dict[str, Any]] = []
        self.edges_m = HEIGHT_EDGES_M if camera_height_m > 0 else RELATIVE_EDGES_M
        self.by_azimuth = np.zeros((SECTORS, len(metrics.SUMS)))
        self.by_height = np.zeros((len(self.edges_m) - 1, len(metrics.SUMS)))
        self.masks: dict[float, Array] = {}            # limit [m] -> counts
        self.total = 1                                 # frames of the bag, to tell its parts
        self.worst: dict[int, WorstFrame] = {}         # part of the drive -> its worst frame

    def add_row(self, row: dict[str, Any]) -> None:
        """Keep the plain numbers of a frame."""
        self.rows.append({k: v for k, v in row.items() if k != 'error'})

    def add_mask(self, within: NDArray[np.bool_], target: Array, limit_m: float) -> None:
        """Take in what is published as not empty, against the truth within the limit."""
        counts = metrics.mask_counts(within, metrics.within_threshold(target, limit_m))
        self.masks[limit_m] = self.masks.get(limit_m, np.zeros(3)) + counts

    def add(self, published: FrameScores, aligned: FrameScores, pred: Array, target: Array,
            image: NDArray[np.uint8], stamp_s: float) -> None:
        """Take in the scores of a frame."""
        self.published.append(published)
        self.aligned.append(aligned)
        pixels = np.flatnonzero(np.isfinite(target.ravel()) & np.isfinite(pred.ravel())
                                & (target.ravel() > 0) & (pred.ravel() > 0))
        if pixels.size:
            self._add_directions(pred.ravel()[pixels], target.ravel()[pixels], pixels,
                                 target.shape)
        badness, text = self._badness(published)
        part = min(int(published.frame) * PARTS // self.total, PARTS - 1)
        # One per part: neighbours in time show the same fault, and hide the next one.
        if badness > (self.worst[part].badness if part in self.worst else 0):
            pictures = frame_pictures(cv2.resize(image, target.shape[::-1]), pred, target,
                                      self.camera_height_m)
            self.worst[part] = WorstFrame(
                badness, published.frame, stamp_s, text,
                [(title, data_uri(picture)) for title, picture in pictures])

    def _badness(self, scores: FrameScores) -> tuple[float, str]:
        """Return how bad a frame is, and why: the nearer what was missed, the worse."""
        if not scores.sectors.size:
            return scores.metrics['abs_rel'], f'AbsRel {scores.metrics["abs_rel"]:.3f}'
        count = int(missed(scores.sectors).sum())
        if not count:
            return 0.0, ''
        true_m, text = nearest_missed(scores.sectors)
        more = f'; {count} directions missed in all' if count > 1 else ''
        return 1 / max(true_m, 1e-3), text + more

    def _add_directions(self, pred: Array, target: Array, pixels: NDArray[np.intp],
                        shape: tuple[int, ...]) -> None:
        height, width = shape
        row, col = np.divmod(pixels, width)
        up = erp_rays(height, width)[:, 0, 2][row]
        weight = np.sqrt(1 - up ** 2)
        self.by_azimuth += metrics.grouped_sums(
            pred, target, weight, col * SECTORS // width, SECTORS)
        level = np.searchsorted(self.edges_m, target * up + self.camera_height_m, 'right') - 1
        self.by_height += metrics.grouped_sums(
            pred, target, weight, level, len(self.edges_m) - 1)

    def column(self, name: str) -> Array:
        """Return one number per frame, NaN where it is missing."""
        return np.array([row.get(name, np.nan) for row in self.rows], np.float64)

    def sectors(self) -> NDArray[np.void]:
        """Return the sector tables of all frames; empty without a camera height."""
        return np.concatenate([frame.sectors for frame in self.published])

    def directions(self) -> dict[str, dict[str, float]]:
        """Return the metrics by azimuth sector and by height of the true point."""
        step = 360 // SECTORS
        rows = {f'azimuth {180 - i * step} to {180 - (i + 1) * step} deg': sums
                for i, sums in enumerate(self.by_azimuth)}
        what = 'above the floor' if self.camera_height_m > 0 else 'from the camera'
        rows |= {f'{_span(low, high)} m {what}': sums for (low, high), sums in zip(
            pairwise(self.edges_m), self.by_height)}
        return {name: {**metrics.metrics_from_sums(sums)} for name, sums in rows.items()}


def _span(low: float, high: float) -> str:
    if np.isinf(low):
        return f'below {high:g}'
    return f'above {low:g}' if np.isinf(high) else f'{low:g} to {high:g}'
