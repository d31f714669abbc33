# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Scores of one frame, and tables over many: numpy only.

A frame is reduced to sums (`FrameScores`); a table row adds the sums of its frames and divides
once, or averages per frame where the protocol says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from training.data.obstacles import MAX_CAMERA_M
from training.scoring import metrics, obstacles
from training.scoring.alignment import weighted_median
from training.scoring.protocols import compare, Compared, Protocol

Array = NDArray[np.floating]
OBSTACLE_RANGES_M = (3.0, 5.0, 10.0)


@dataclass(frozen=True)
class FrameScores:
    """Everything that one prediction of one frame adds to the tables."""

    frame: str
    groups: tuple[str, ...]
    sums: Array                                   # (len(metrics.SUMS),)
    bands: Array                                  # (bands + 1, len(metrics.SUMS)), see band_sums
    labels: dict[str, Array] = field(default_factory=dict)        # sums per label
    truncated: dict[float, Array] = field(default_factory=dict)   # sums of truth <= T
    median_abs_rel: float = float('nan')
    scale: float = 1.0                            # what the alignment multiplied by
    true_scale: float = float('nan')              # median(truth) / median(prediction)
    coverage: float = float('nan')
    seam: Array = field(default_factory=lambda: np.zeros(4))
    edges: Array = field(default_factory=lambda: np.zeros(4))
    sectors: NDArray[np.void] = field(
        default_factory=lambda: np.zeros(0, obstacles.SECTOR_DTYPE))
    masks: dict[float, Array] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of this frame alone."""
        return metrics.metrics_from_sums(self.sums)


def score_frame(
        frame: str, groups: tuple[str, ...], pred: Array, target: Array, protocol: Protocol, *,
        image: NDArray[np.uint8] | None = None, camera_height_m: float = 0.0,
        complete: bool = True, outlines: bool = True,
        labels: dict[str, NDArray[np.bool_]] | None = None) -> FrameScores:
    """
    Reduce one prediction to its sums.

    :param pred: range [m], (H, W), the size of the truth
    :param target: true range [m], (H, W); NaN unknown, +inf empty
    :param image: (H, W, 3), only for protocols that look at black pixels
    :param camera_height_m: above the floor [m]; 0 = unknown: no obstacle metrics, and none above
        `MAX_CAMERA_M`
    :param complete: False if the truth leaves things out (room layout): no obstacles, no edges
    :param outlines: also measure the seam, and edges where the truth is complete and dense
    :param labels: (H, W) bool per label name
    """
    compared = compare(pred, target, protocol, image)
    aligned = pred * compared.scale + compared.shift
    sectors = np.zeros(0, obstacles.SECTOR_DTYPE)
    if complete and 0 < camera_height_m <= MAX_CAMERA_M:
        sectors = obstacles.sector_table(aligned, target, camera_height_m)
    dense = complete and np.isnan(target).mean() < 0.5       # single points have no edges
    bands = metrics.band_sums(compared.pred, compared.target, compared.weight)
    return FrameScores(
        frame, groups, bands.sum(axis=0), bands,
        labels={name: _sums(pred, np.where(area, target, np.nan), protocol, compared)
                for name, area in (labels or {}).items()},
        truncated={limit: _sums(pred, np.where(target <= limit, target, np.nan), protocol,
                                compared) for limit in protocol.truncations_m},
        median_abs_rel=weighted_median(
            np.abs(compared.pred / compared.target - 1), compared.weight),
        scale=compared.scale,
        true_scale=compared.scale * weighted_median(compared.target, compared.weight)
        / weighted_median(compared.pred, compared.weight) if compared.pred.size else np.nan,
        coverage=compared.coverage,
        seam=metrics.seam_sums(pred) if outlines else np.zeros(4),
        edges=metrics.edge_counts(aligned, target) if outlines and dense else np.zeros(4),
        sectors=sectors)


def _sums(pred: Array, target: Array, protocol: Protocol, compared: Compared) -> Array:
    """Return the sums of a part of the truth under the alignment of the whole frame."""
    part = compare(pred * compared.scale + compared.shift, target,
                   replace(protocol, align='none'))
    return metrics.error_sums(part.pred, part.target, part.weight)


def row_metrics(
        frames: Sequence[FrameScores], protocol: Protocol,
        sums_of: Callable[[FrameScores], Array] = lambda frame: frame.sums) -> dict[str, float]:
    """
    Return the range metrics of a table row.

    :param sums_of: which sums of a frame count, such as one band or one label
    :return: METRICS, and `frames` = how many had a valid pixel
    """
    sums = [sums_of(frame) for frame in frames]
    used = [s for s in sums if s[0] > 0]
    result = (metrics.mean_metrics(used) if protocol.per_image
              else metrics.metrics_from_sums(np.sum(used or [np.zeros(len(metrics.SUMS))], 0)))
    return {**result, 'frames': float(len(used))}


def row_others(frames: Sequence[FrameScores]) -> dict[str, float]:
    """Return coverage, median AbsRel, scale, seam, edge and obstacle scores of a table row."""
    result = {
        'median_abs_rel': _nanmean([f.median_abs_rel for f in frames]),
        'scale_ratio': _nanmedian([f.true_scale for f in frames]),
        'scale_spread': _spread([f.true_scale for f in frames]),
        'coverage': _nanmean([f.coverage for f in frames])}
    result |= metrics.seam_metrics(np.sum([f.seam for f in frames], axis=0))
    result |= metrics.edge_metrics(np.sum([f.edges for f in frames], axis=0))
    table = np.concatenate([f.sectors for f in frames])
    for within_m in OBSTACLE_RANGES_M:
        scores = obstacles.obstacle_metrics(table, within_m)
        result |= {f'{name}_{within_m:g}m': value for name, value in scores.items()}
    return result


def bootstrap_differences(
        first: Sequence[FrameScores], second: Sequence[FrameScores], protocol: Protocol,
        names: Sequence[str], draws: int = 1000, seed: int = 0
        ) -> dict[str, tuple[float, float, float]]:
    """
    Return second - first of metrics with their paired 95 % bootstrap intervals over frames.

    :param first: frames of one predictor
    :param second: the same frames, in the same order, of the other
    :return: difference, low, high per metric; NaN with fewer than two frames
    """
    pairs = [(a.sums, b.sums) for a, b in zip(first, second) if a.sums[0] > 0 and b.sums[0] > 0]
    if len(pairs) < 2:
        return {name: (float('nan'),) * 3 for name in names}
    sums = np.array(pairs)                                             # (frames, 2, SUMS)
    counts = np.random.default_rng(seed).multinomial(
        len(pairs), np.full(len(pairs), 1 / len(pairs)), size=draws)   # (draws, frames)
    counts = np.concatenate([np.ones((1, len(pairs)), counts.dtype), counts])
    drawn = sums if protocol.per_image else np.einsum('df,fks->dks', counts, sums)
    scores = [[metrics.metrics_from_sums(s) for s in pair] for pair in drawn]
    found = {}
    for name in names:
        difference = np.array([second[name] - first[name] for first, second in scores])
        if protocol.per_image:
            difference = counts @ difference / len(pairs)
        low, high = np.percentile(difference[1:], [2.5, 97.5])
        found[name] = (float(difference[0]), float(low), float(high))
    return found


def _nanmean(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float('nan')


def _nanmedian(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.median(known)) if known else float('nan')


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation of the log, 0.1 = about 10 %."""
    known = [np.log(v) for v in values if np.isfinite(v) and v > 0]
    return float(np.std(known)) if known else float('nan')
