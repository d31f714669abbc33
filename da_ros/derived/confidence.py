# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How sure each pixel of a range map is, 0 to 255; an order, not a probability."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.derived.floor import Plane
from da_ros.range_map import RangeMap

ONE_BITS = np.int32(0x3F800000)         # of the float32 1.0; 1 << 23 is one power of two
STEP_BITS = np.int32(19)                # 16 levels for each halving of the surprise
TYPICAL_RANGE_M = 20.0                  # without a range mask, what is farther is less sure
UNTOLD = 0.7                            # the height not told: metres may be off as a whole
LEAST_FACTOR = 0.4


def confidence(range_map: RangeMap, steps: NDArray[np.bool_], floor: Plane | None,
               told_height_m: float) -> NDArray[np.uint8]:
    """
    Return the confidence of every pixel, aligned with the range map; 0 where it is NaN.

    The network says two things of a pixel: its range, and the probability that the range is
    within the mask. Their disagreement, s = 1 - P below the mask and P beyond it, falls with the
    true error over four powers of ten, so that the confidence is its logarithm. On either side of
    an edge of the range it is halved. What concerns the whole panorama, a floor seen at another
    height than the told one or askew, multiplies all of it.

    :param steps: (H, W) bool, both sides of every edge (`edges.Edges.steps`)
    :param floor: the floor of this frame in the camera frame, None = not seen
    :param told_height_m: camera height over the floor, 0 = unknown
    :return: (H, W) uint8, higher = surer
    """
    surprise = _surprise(range_map)
    levels = surprise.view(np.int32)
    np.subtract(ONE_BITS, levels, out=levels)
    np.right_shift(levels, STEP_BITS, out=levels)           # log2, linear between powers of two
    np.minimum(levels, 255, out=levels)
    sure = levels.astype(np.uint8)
    np.right_shift(sure, steps.view(np.uint8), out=sure)
    factor = frame_factor(floor, told_height_m)
    sure = np.asarray(cv2.LUT(sure, np.round(np.arange(256) * factor).astype(np.uint8)), np.uint8)
    sure[np.isnan(range_map.range_m)] = 0
    return sure


def frame_factor(floor: Plane | None, told_height_m: float) -> float:
    """
    Return how far a frame as a whole is to be believed, 0.4 to 1.

    Networks learn level cameras and, told the height, put the floor there: a floor 10 % off the
    told height or tilted by 5 degrees is usual, 40 % or 20 degrees is as bad as none.
    """
    if floor is None:
        return LEAST_FACTOR if told_height_m else UNTOLD
    tilt = _falling(np.rad2deg(floor.tilt_rad), 5.0, 20.0)
    if not told_height_m:
        return UNTOLD * tilt
    off = max(floor.height / told_height_m, told_height_m / floor.height)
    return max(LEAST_FACTOR, tilt * _falling(off, 1.1, 1.4))


def _falling(value: float, good: float, bad: float) -> float:
    return float(np.interp(value, (good, bad), (1.0, LEAST_FACTOR)))


def _surprise(range_map: RangeMap) -> NDArray[np.float32]:
    """Return a new array (H, W) in [0, 1]: how much mask and range disagree."""
    if range_map.probability is None:
        return np.minimum(np.maximum(range_map.range_m, 0) / TYPICAL_RANGE_M, 1, dtype=np.float32)
    beyond = range_map.range_m >= range_map.mask_m
    surprise = np.subtract(np.float32(1), range_map.probability)
    np.copyto(surprise, range_map.probability, where=beyond)
    return np.clip(surprise, 0, 1, out=surprise)
