# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Where is up in a panorama? The direction in which most straight lines meet.

Vertical edges of buildings, furniture and trees are parallel in space: the plane of each through
the camera contains the vertical. Line segments are found in six perspective views around the
horizon; each votes, by its length, for the directions in its plane. Up and down look alike to
lines: an image upside down counts as upright.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import angles_from_ray, col_from_azimuth, rotation_from_rpy, row_from_elevation
from training.data.rotation import sample_image

Array = NDArray[np.floating]
SIDE_PX, HEIGHT = 288, 512              # of a view of 90 x 90 degrees; of the panorama
SHORTEST_DEG, LONGEST_DEG = 4.0, 25.0   # a longer line votes no more than that
WIDTH_RAD = np.radians(1.5)             # of a vote
SEARCH_DEG, STEP_DEG = 40.0, 2.0        # how far from the image's own vertical, and how finely
SURE_SHARE, SURE_LENGTH_DEG = 0.1, 500.0


@dataclass(frozen=True)
class Vertical:
    """What the lines of a panorama say of the vertical."""

    up: Array               # (3,) unit, camera body frame, within 40 degrees of +z
    share: float            # of the length of all lines that agrees; 0.033 by chance
    length_deg: float       # of all lines

    @property
    def tilt_deg(self) -> float:
        """Angle between the vertical and the image's own [degrees]."""
        return float(np.degrees(np.arccos(np.clip(self.up[2], -1, 1))))

    @property
    def sure(self) -> bool:
        """Whether there are enough lines that agree, as meadows and parks have not."""
        return self.share >= SURE_SHARE and self.length_deg >= SURE_LENGTH_DEG


def find_vertical(image: NDArray[np.uint8]) -> Vertical:
    """
    Return the vertical of a panorama (H, 2H, 3) RGB.

    Tilts up to 40 degrees are found; about 70 ms of CPU time.
    """
    planes, lengths = _line_planes(image)
    if len(planes) < 3:
        return Vertical(np.array([0.0, 0.0, 1.0]), 0.0, float(lengths.sum()))
    weights = np.minimum(lengths, LONGEST_DEG)
    up = _best(planes, weights, _cap(), 1.3 * WIDTH_RAD)
    up = _best(planes, weights, _around(up), WIDTH_RAD)
    votes = _votes(planes, weights, up[None], WIDTH_RAD)[0]
    return Vertical(up.astype(np.float64), float(votes / weights.sum()), float(weights.sum()))


def _line_planes(image) -> tuple[Array, Array]:
    """Return the unit normal of each line's plane (n, 3) and its length [degrees]."""
    grey = cv2.cvtColor(cv2.resize(image, (2 * HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA),
                        cv2.COLOR_RGB2GRAY)
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD)
    normals = []
    for azimuth_deg in range(0, 360, 60):
        row, col, rotation = _view(azimuth_deg)
        segments = detector.detect(sample_image(grey, row, col))[0]
        if segments is not None:
            ends = _rays(segments.reshape(-1, 2, 2) + 0.5)
            normals.append(np.cross(ends[:, 0], ends[:, 1]) @ rotation.T)
    crossed = np.concatenate(normals) if normals else np.zeros((0, 3))
    sines = np.linalg.norm(crossed, axis=1)
    lengths = np.degrees(np.arcsin(np.clip(sines, 0, 1)))
    long = lengths > SHORTEST_DEG
    return (crossed[long] / sines[long, None]).astype(np.float32), lengths[long]


def _rays(pixels: Array) -> Array:
    """Return unit rays of continuous (col, row) in a view of 90 degrees along +x."""
    across = 1 - 2 * pixels / SIDE_PX
    rays = np.concatenate([np.ones_like(across[..., :1]), across], axis=-1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


@lru_cache(maxsize=8)
def _view(azimuth_deg: int) -> tuple[Array, Array, Array]:
    rotation = rotation_from_rpy(0.0, 0.0, np.radians(azimuth_deg))
    col, row = np.meshgrid(np.arange(SIDE_PX) + 0.5, np.arange(SIDE_PX) + 0.5)
    azimuth, elevation = angles_from_ray(_rays(np.stack([col, row], -1)) @ rotation.T)
    return (row_from_elevation(elevation, HEIGHT).astype(np.float32),
            col_from_azimuth(azimuth, 2 * HEIGHT).astype(np.float32), rotation)


def _votes(planes: Array, weights: Array, candidates: Array, width: float) -> Array:
    distance = planes @ candidates.T.astype(np.float32)
    return weights @ np.exp(-distance ** 2 / np.float32(2 * width ** 2))


def _best(planes, weights, candidates: Array, width: float) -> Array:
    return candidates[np.argmax(_votes(planes, weights, candidates, width))]


@lru_cache(maxsize=1)
def _cap() -> Array:
    """Return directions STEP_DEG apart, up to SEARCH_DEG from +z."""
    directions = [(0.0, 0.0, 1.0)]
    for tilt in np.radians(np.arange(STEP_DEG, SEARCH_DEG + 0.1, STEP_DEG)):
        count = round(2 * np.pi * np.sin(tilt) / np.radians(STEP_DEG))
        turn = 2 * np.pi * np.arange(count) / count
        directions += list(zip(np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn),
                               np.full(count, np.cos(tilt))))
    return np.array(directions)


def _around(centre: Array) -> Array:
    """Return directions 0.25 degrees apart, up to 2 degrees from a centre."""
    first = np.cross(centre, [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    second = np.cross(centre, first)
    step = np.tan(np.radians(np.linspace(-STEP_DEG, STEP_DEG, 17)))
    grid = centre + step[:, None, None] * first + step[None, :, None] * second
    return (grid / np.linalg.norm(grid, axis=-1, keepdims=True)).reshape(-1, 3)
