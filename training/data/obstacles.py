# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What an obstacle is, for truth, losses and scores alike: five numbers, in two named protocols.

ROBOT, wherever ranges are metric: a point 0.05 to 1.5 m above the floor, within 3 m.
PHOTOGRAPH, for labelled photographs, in camera heights h: 0.067 to 1.2 h above it, within 3 h.

A thin obstacle is a point on something upright and at most 0.1 m wide (a chair or table leg, a
pole) that stands clear of what is behind it on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays

Array = NDArray[np.floating]


@dataclass(frozen=True)
class ObstacleProtocol:
    """
    The five numbers that say what an obstacle is and when it is found.

    Lengths are in the unit of the ranges that are judged: metres, or camera heights.
    """

    lowest: float       # above the floor; what is lower is floor
    highest: float      # above the floor; what is higher is passed under
    within: float       # horizontal, from the camera: R
    hit: float          # how far a predicted distance may be off,
    hit_ratio: float    # or this share of the true one, whichever is more


ROBOT = ObstacleProtocol(0.05, 1.5, 3.0, 0.3, 0.2)              # m
PHOTOGRAPH = ObstacleProtocol(0.1 / 1.5, 1.2, 3.0, 0.2, 0.2)    # camera heights
SECTORS = 36                # 10 degrees each
FALSE_ALARM_RATIO = 0.8     # of the true distance; nearer is an alarm
THIN_M = 0.1                # the widest thin thing
MAX_CAMERA_M = 2.5      # above, the question is not what stands on the floor around a robot
THIN_WITHIN_M = 5.0     # farther, a thing of 0.1 m is hardly a pixel wide
THIN_STEEPEST = np.sin(np.radians(45))      # steeper, a row of pixels does not cross things level


def nearest_per_col(
        range_m: Array, camera_height_m: float, protocol: ObstacleProtocol = ROBOT) -> Array:
    """
    Return the horizontal distance of the nearest obstacle point of each column.

    :param range_m: (H, W), level camera; values that are not finite are no points
    :param camera_height_m: camera above the floor, > 0; with PHOTOGRAPH both lengths are in
        camera heights
    :return: (W,), +inf without a point
    :raises ValueError: if the camera height is not known
    """
    return _horizontal(range_m, camera_height_m, protocol).min(axis=0)


def _horizontal(range_m: Array, camera_height_m: float, protocol: ObstacleProtocol) -> Array:
    """Return the horizontal distance (H, W) [m] of obstacle points, +inf elsewhere."""
    if not camera_height_m > 0:
        raise ValueError(f'obstacles need a camera height above 0 m, got {camera_height_m}')
    up = erp_rays(*range_m.shape)[:, 0, 2][:, None]
    usable = np.isfinite(range_m)
    known = np.where(usable, range_m, 0.0)
    height = known * up + camera_height_m
    point = usable & (height >= protocol.lowest) & (height <= protocol.highest)
    return np.where(point, known * np.sqrt(1 - up ** 2), np.inf)


def thin_pixels(
        target: Array, camera_height_m: float, protocol: ObstacleProtocol = ROBOT
        ) -> NDArray[np.bool_]:
    """
    Return (H, W) where the truth shows an obstacle point on a thin upright thing.

    Along its row, the range grows by more than the tolerance of a hit on both sides within the
    run of pixels that spans `THIN_M` at its distance; a single pixel always may be thin. Rows
    steeper than 45 degrees are left out: there they run around what is below or above.

    :param target: true range [m], (H, W); NaN unknown (no background), +inf empty
    """
    near = _horizontal(target, camera_height_m, protocol)
    level = np.abs(erp_rays(*target.shape)[:, :1, 2]) <= THIN_STEEPEST
    rows, cols = np.nonzero((near <= THIN_WITHIN_M) & level)
    width = target.shape[1]
    limit = target[rows, cols] + tolerance(target[rows, cols], protocol)
    # How many pixels 0.1 m may span here; a single one always may, or no far pole were thin.
    most = np.maximum(1, THIN_M / (near[rows, cols] * 2 * np.pi / width)).astype(int)
    reach = []
    for side in (-1, 1):
        run = np.full(len(rows), width)
        for step in range(1, int(most.max(initial=0)) + 1):
            beyond = target[rows, (cols + side * step) % width] > limit
            run = np.where(beyond, np.minimum(run, step), run)
        reach.append(run)
    thin = np.zeros(target.shape, bool)
    thin[rows, cols] = reach[0] + reach[1] - 1 <= most
    return thin


def floor_below(target: Array, camera_height_m: float) -> float:
    """
    Return the height of the camera above the true floor under it [m].

    Scenes are not always level with their origin, and 3 cm decide what is floor. Median of the
    true points within 35 degrees of straight down; the stated height where they are unknown or
    differ from it by more than 30 % (a table, the robot's body).
    """
    up = erp_rays(*target.shape)[:, 0, 2]
    cap = up < -np.cos(np.radians(35))
    depth = -(target[cap] * up[cap][:, None])
    depth = depth[np.isfinite(depth)]
    measured = float(np.median(depth)) if depth.size else camera_height_m
    agrees = abs(measured - camera_height_m) <= 0.3 * camera_height_m
    return measured if agrees else camera_height_m


def tolerance(true_m: Array, protocol: ObstacleProtocol) -> Array:
    """Return by how much a prediction may miss a distance and still be a hit."""
    return np.maximum(protocol.hit, protocol.hit_ratio * true_m)


def verdicts(true: Array, pred: Array, protocol: ObstacleProtocol
             ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """
    Return which of some true distances are found, late (too far: the danger) or early.

    :param true: nearest true distance, any shape; +inf: nothing, and nothing is found or missed
    :param pred: nearest predicted distance, the same shape; +inf: none, late
    """
    some = np.isfinite(true)
    near = np.where(some, true, 0.0)
    allowed = tolerance(near, protocol)
    late, early = some & ~(pred <= near + allowed), some & (pred < near - allowed)
    return some & ~late & ~early, late, early
