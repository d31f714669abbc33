# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""RangeMap: what the estimator knows about every direction, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.rig import View

NEAR, UNKNOWN, EMPTY = 255, 128, 0
MAX_16UC1_M = 65.535      # of depth in whole millimetres


@dataclass(frozen=True, eq=False)
class RangeMap:
    """
    Range along the ray in every direction of a panorama.

    `range_m` (height, width) float32, metres from the camera centre along the ray (not z-depth):
    finite = an obstacle; +inf = seen, and nothing within `limit_m` (REP 117); -inf = closer than
    `min_range_m`; NaN = unknown.
    """

    range_m: NDArray[np.float32]
    limit_m: float                  # m; finite ranges are below it
    min_range_m: float              # m; finite ranges are not below it
    image: NDArray[np.uint8]        # (height, width, 3) BGR, what the network saw
    disagreements: int = 0          # pixels made NaN because mask and range disagree
    view: View | None = None        # how the map lies in the camera and its body; None = as both
    # P(range <= mask_m) (height, width), None = no mask; the next inference may overwrite it
    probability: NDArray[np.float32] | None = None
    mask_m: float = 0.0             # m; the selected range mask, 0 = off
    # (height, width) s: 0 = of this frame, > 0 = remembered; None = all of this frame
    age_s: NDArray[np.float32] | None = None

    def at(self, index: NDArray[np.intp] | None) -> RangeMap:
        """
        Return the map looked up elsewhere: ranges along rays are the same in every frame.

        :param index: (h, w) flat pixel indices; None = the map itself
        """
        if index is None:
            return self
        return replace(self, range_m=np.take(self.range_m.reshape(-1), index),
                       image=np.take(self.image.reshape(-1, self.image.shape[2]), index, axis=0),
                       view=None, probability=None,
                       age_s=None if self.age_s is None else np.take(self.age_s, index))

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width [px]."""
        return self.range_m.shape[0], self.range_m.shape[1]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Bool (height, width), True where the range is finite."""
        return np.isfinite(self.range_m)

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Bool (height, width), True where nothing is within `limit_m`."""
        return np.isposinf(self.range_m)

    @property
    def range_mask(self) -> NDArray[np.uint8]:
        """
        Whether something is within the limit: 255 = yes, 0 = seen empty, 128 = unknown.

        :return: (height, width) uint8; exactly what `range_m` says (255 = finite or -inf)
        """
        mask = np.full(self.size_hw, NEAR, np.uint8)
        mask[np.isposinf(self.range_m)] = EMPTY
        mask[np.isnan(self.range_m)] = UNKNOWN
        return mask


def colour(range_map: RangeMap, near_m: float = 0.3) -> NDArray[np.uint8]:
    """
    Paint a range map: warm = near, cool = far on a log scale; grey = unknown, black = empty.

    :param near_m: range [m] that gets the warmest colour; the coolest is `limit_m`, or the
        farthest finite range where the limit is infinite
    :return: (height, width, 3) uint8 BGR; white = closer than the minimum range
    """
    range_m = range_map.range_m
    valid = np.isfinite(range_m)
    far_m = range_map.limit_m
    if not np.isfinite(far_m):
        far_m = float(range_m[valid].max()) if valid.any() else near_m
    span = np.log(max(far_m / near_m, 1 + 1e-6))
    level = np.log(np.where(valid, range_m, near_m) / near_m) * (255 / span)
    painted = cv2.applyColorMap(
        (255 - np.clip(level, 0, 255)).astype(np.uint8), cv2.COLORMAP_TURBO)
    painted[np.isposinf(range_m)] = 0
    painted[np.isnan(range_m)] = UNKNOWN
    painted[np.isneginf(range_m)] = 255
    return painted


def millimetres(range_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return whole millimetres in 16 bits; 0 where not finite, negative or beyond MAX_16UC1_M."""
    usable = np.isfinite(range_m) & (range_m >= 0) & (range_m <= MAX_16UC1_M)
    return np.round(np.where(usable, range_m, 0) * 1000).astype(np.uint16)


def resample_nearest(range_m: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """
    Return the range at another size by nearest look-up, which mixes no two ranges.

    :param range_m: (h, w) float32, any of the four value kinds
    :return: (height, width) float32; the pixel whose centre is nearest in image coordinates
    """
    rows = ((np.arange(height) + 0.5) * range_m.shape[0] / height).astype(np.intp)
    cols = ((np.arange(width) + 0.5) * range_m.shape[1] / width).astype(np.intp)
    return np.take(np.take(range_m, rows, axis=0), cols, axis=1)


def nearest_of_blocks(range_m: NDArray[np.float32], height: int,
                      width: int) -> NDArray[np.float32]:
    """
    Return the range at a smaller size: of all pixels that fall into one, the nearest.

    :param range_m: (h, w) float32, any of the four value kinds, h >= height, w >= width
    :return: (height, width) float32; -inf before finite before NaN before +inf, so that neither
        something near nor something unknown is lost
    """
    rows = np.arange(height) * range_m.shape[0] // height
    cols = np.arange(width) * range_m.shape[1] // width
    nearest = np.fmin.reduceat(np.fmin.reduceat(range_m, rows, axis=0), cols, axis=1)
    unknown = np.logical_or.reduceat(
        np.logical_or.reduceat(np.isnan(range_m), rows, axis=0), cols, axis=1)
    nearest[np.isposinf(nearest) & unknown] = np.nan
    return nearest


def seam_ratio(range_m: NDArray[np.float32]) -> float:
    """
    Return how much larger the step across the seam is than between other columns.

    :param range_m: (height, width); only finite positive neighbours count
    :return: mean |log step| at the seam over the mean elsewhere; 1 = invisible, NaN = no data
    """
    usable = np.isfinite(range_m) & (range_m > 0)
    log_range = np.log(np.where(usable, range_m, np.float32(np.nan)))
    steps = np.abs(log_range - np.roll(log_range, 1, axis=1))
    seam, other = steps[:, 0], steps[:, 1:]
    seam, other = seam[np.isfinite(seam)], other[np.isfinite(other)]
    if not len(seam) or not other.size or other.mean() == 0:
        return float('nan')
    return float(seam.mean() / other.mean())
