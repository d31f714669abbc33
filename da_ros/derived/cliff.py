# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Drops beside the robot: beams in which the floor ends, though nothing stands there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.derived.floor import Plane
from da_ros.range_map import RangeMap
from da_ros.scan import Scan
from da_ros.sphere import angles_from_ray, col_from_azimuth, erp_rays, row_from_elevation

Array = NDArray[np.float64]
BEAMS = 360
LEAST_STEP_RAD = np.deg2rad(0.7)    # between the samples of a beam
FLOOR_SHARE = 0.5           # of the least drop: within it, what is seen is still the floor
SAME_HEIGHT, SAME_RAD = 0.005, np.deg2rad(0.3)      # the look-up table serves planes this close


class CliffProjector:
    """
    Compares what is seen with the floor that should be seen, along 360 level beams.

    Each beam samples the floor plane from near to far, a pixel row apart. A ray that should meet
    the floor and shows something lower has passed the edge of a step down, a kerb or a hole. A
    ramp goes down as well, but no faster than `steepest_deg` from where the floor was last seen;
    behind an edge, the next thing seen lies along the same ray, which is steeper than that. Two
    samples in a row must agree.
    """

    def __init__(self, size_hw: tuple[int, int], least_drop_m: float, reach_m: float,
                 steepest_deg: float, scan_from_camera: Array | None = None):
        """
        Take the thresholds; the table of pixels is made for the first floor.

        :param size_hw: height and width of the range maps [px]
        :param least_drop_m: a drop of less [m] is none
        :param reach_m: farthest edge of interest [m], in the plane
        :param steepest_deg: slope that a ramp may have [deg]
        :param scan_from_camera: (3, 3) rotation into the gravity-aligned frame; None = identity
        """
        self._size_hw, self._least_drop_m, self._reach_m = size_hw, least_drop_m, reach_m
        self._slope = np.tan(np.deg2rad(steepest_deg))
        self._rotation = np.eye(3) if scan_from_camera is None else scan_from_camera
        self._plane: Plane | None = None

    def project(self, range_map: RangeMap, floor: Plane | None) -> Scan:
        """
        Return the edges of the floor.

        :param floor: in the camera frame; None = not known, then no beam is
        :return: finite = distance up to which the floor was seen before a drop [m], never beyond
            the edge; +inf = floor all the way to `range_max`; NaN = hidden or unknown
        """
        step = 2 * np.pi / BEAMS
        ranges = np.full(BEAMS, np.nan, np.float32)
        if floor is not None:
            if not self._serves(floor):
                self._lay_out(floor)
            ranges = self._edges(range_map.range_m.reshape(-1)[self._pixel], floor)
        return Scan(ranges, -np.pi + step / 2, step, range_map.min_range_m, self._reach_m)

    def _edges(self, range_m: NDArray[np.float32], floor: Plane) -> NDArray[np.float32]:
        """Return one value per beam from ranges (beams, samples), near to far."""
        a, b, c = floor.normal.astype(np.float32)
        rise = self._rays[0] * a + self._rays[1] * b + self._rays[2] * c
        height = np.where(np.isposinf(range_m), -np.inf, range_m * rise + floor.height)
        flat = FLOOR_SHARE * self._least_drop_m
        known = ~np.isnan(height) & (height <= flat)        # neither unknown nor an obstacle
        seen_m = np.where(known, range_m * self._planar, 0)
        on_floor = known & (height >= -flat)
        last_m = np.maximum.accumulate(np.where(on_floor, seen_m, 0), axis=1)
        ramp = np.where(np.isfinite(seen_m), flat + (seen_m - last_m) * self._slope, 0)
        drop = known & (height < -np.maximum(ramp, self._least_drop_m))
        edge = drop[:, :-1] & drop[:, 1:]
        first = edge.argmax(axis=1)
        before_m = np.take_along_axis(last_m, first[:, None], axis=1)[:, 0]
        begun = np.logical_or.accumulate(known, axis=1)     # the robot hides what is below it
        clear = (known | ~begun).all(axis=1) & (known.mean(axis=1) >= 0.5)
        return np.where(edge.any(axis=1), before_m,
                        np.where(clear, np.inf, np.nan)).astype(np.float32)

    def _serves(self, floor: Plane) -> bool:
        made_for = self._plane
        return made_for is not None and (
            abs(floor.height / made_for.height - 1) < SAME_HEIGHT
            and floor.normal @ made_for.normal > np.cos(SAME_RAD))

    def _lay_out(self, floor: Plane) -> None:
        """Find the pixels that look at the floor, a pixel row apart, along every beam."""
        height, width = self._size_hw
        nearest, farthest = np.arctan2(floor.height, (0.2 * floor.height, self._reach_m))
        down = np.arange(nearest, farthest, -max(np.pi / height, LEAST_STEP_RAD))
        distances = np.minimum(floor.height / np.tan(down), self._reach_m)
        azimuth = -np.pi + 2 * np.pi / BEAMS * (np.arange(BEAMS) + 0.5)
        x, y = (f(azimuth)[:, None] * distances for f in (np.cos, np.sin))
        level = self._rotation @ floor.normal
        z = -(floor.height + level[0] * x + level[1] * y) / level[2]
        rays = np.stack([x, y, z], -1) @ self._rotation
        seen, elevation = angles_from_ray(rays)
        row = np.minimum(row_from_elevation(elevation, height), height - 1).astype(np.intp)
        self._pixel = row * width + np.minimum(
            col_from_azimuth(seen, width), width - 1).astype(np.intp)
        chosen = erp_rays(height, width).reshape(-1, 3)[self._pixel]
        self._rays = np.ascontiguousarray(np.moveaxis(chosen, -1, 0), np.float32)
        rotated = chosen @ self._rotation.T
        self._planar = np.hypot(rotated[..., 0], rotated[..., 1]).astype(np.float32)
        self._plane = floor
