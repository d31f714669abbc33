# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What stood near and left the view: voxels under the robot, within the minimum range, behind it.

A camera on a robot does not see what is nearer than its minimum range, nor what its own body
hides. What was seen there before the robot drove on is kept, moved by odometry, until the place is
seen empty, or some seconds have passed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from da_ros.memory.warped import around_nearest, break_between
from da_ros.range_map import RangeMap
from da_ros.scan import Scan
from da_ros.sphere import angles_from_ray, col_from_azimuth, erp_rays, row_from_elevation

VOXEL_M = 0.05
NEAR_M = 1.0            # as near as it must have been seen
FORGET_M = 1.5          # farther from the camera, it is in the view again, or no matter
MOST_VOXELS = 4096
SPAN = 1 << 20          # cells along each axis; all lie within some metres
ROWS_ENOUGH = 85        # at 1 m a pixel of so many rows is smaller than a voxel
LONGEST_NS = 2_000_000_000  # without a frame or a pose: a robot that hesitates keeps what it has
HOLD_NS = 500_000_000       # without a pose: told where they were, a robot's way off
SLACK_M, SLACK = VOXEL_M, 0.2   # m and share of the range: nearer than this is before it

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NearPoints:
    """Remembered points that are not seen now."""

    points: NDArray[np.float32]     # (N, 3) m, in the body frame of the range map
    age_s: NDArray[np.float32]      # (N,) since they were seen


NOTHING = NearPoints(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))


class NearMemory:
    """Voxels of one camera; `state` says in words what it does."""

    def __init__(self) -> None:
        """Start without voxels."""
        self._points = np.zeros((0, 3))             # one of each voxel, in odom
        self._seen_ns = np.zeros(0, np.int64)
        self._last: tuple[int, Array] | None = None
        self._told = NOTHING    # in the last frame that had a pose
        self.state = 'empty'
        self.why = ''           # it was last forgotten
        self.resets = 0

    def reset(self, why: str) -> None:
        """Forget all, as after a jump or a change of parameters."""
        self.resets += self._last is not None
        self._points, self._seen_ns = np.zeros((0, 3)), np.zeros(0, np.int64)
        self._last = None
        self.why, self.state = why, f'empty: {why}'

    def update(self, range_map: RangeMap, stamp_ns: int, odom_from_body: Array | None,
               decay_s: float, lowest_m: float = -np.inf) -> NearPoints:
        """
        Take in a frame; return what was near and is not seen in it.

        :param range_map: best one that memory has steadied, so that one bad frame clears nothing
        :param odom_from_body: (4, 4) pose of its body frame; None = unknown: for half a second
            they are told where they were, and after two they are forgotten
        :param decay_s: voxels not seen for longer are dropped [s]
        :param lowest_m: what lies lower than this relative to the camera is floor [m]
        """
        if odom_from_body is None:
            return self._without_pose(stamp_ns)
        if self._last is not None and (
                why := break_between(*self._last, stamp_ns, odom_from_body, LONGEST_NS)):
            self.reset(why)
        self._last = stamp_ns, np.array(odom_from_body, np.float64)
        self._keep(self._seen_ns >= stamp_ns - round(decay_s * 1e9))
        here = (self._points - odom_from_body[:3, 3]) @ odom_from_body[:3, :3]
        unseen = _unseen(range_map, here)
        self._keep(unseen)
        self._told = NearPoints(here[unseen].astype(np.float32),
                                ((stamp_ns - self._seen_ns) / 1e9).astype(np.float32))
        self._add(_near_points(range_map, odom_from_body, lowest_m), stamp_ns)
        self.state = f'{len(self._told.points)} of {len(self._points)} voxels out of view'
        return self._told

    def _without_pose(self, stamp_ns: int) -> NearPoints:
        """Return what was told last: in a frame without a pose the place would look free."""
        self.state = f'no pose; {len(self._points)} voxels'
        since_ns = stamp_ns - self._last[0] if self._last is not None else -1
        if not 0 <= since_ns <= HOLD_NS:
            return NOTHING
        return NearPoints(self._told.points, self._told.age_s + np.float32(since_ns / 1e9))

    def _keep(self, chosen: NDArray[np.bool_]) -> None:
        self._points, self._seen_ns = self._points[chosen], self._seen_ns[chosen]

    def _add(self, points: Array, stamp_ns: int) -> None:
        # The newest first: of each voxel its first point stays, and the bound drops the oldest.
        points = np.concatenate([points, self._points])
        seen_ns = np.concatenate(
            [np.full(len(points) - len(self._points), stamp_ns, np.int64), self._seen_ns])
        cells = np.floor(points / VOXEL_M).astype(np.int64)
        cells -= cells.min(axis=0, initial=np.iinfo(np.int64).max)
        # One number each: whole rows take ten times as long to sort.
        key = (cells[:, 0] * SPAN + cells[:, 1]) * SPAN + cells[:, 2]
        first = np.sort(np.unique(key, return_index=True)[1])[:MOST_VOXELS]
        self._points, self._seen_ns = points[first], seen_ns[first]


def _unseen(range_map: RangeMap, points: Array) -> NDArray[np.bool_]:
    """Return which points (N, 3) of the body frame this frame neither sees nor sees past."""
    if not len(points):
        return np.zeros(0, bool)
    height, width = range_map.size_hw
    reach = np.linalg.norm(points, axis=1)
    azimuth, elevation = angles_from_ray(points)
    row = np.minimum(row_from_elevation(elevation, height).astype(np.intp), height - 1)
    col = col_from_azimuth(azimuth, width).astype(np.intp)
    range_m = range_map.range_m
    unknown = np.isnan(range_m)
    if range_map.age_s is not None:
        unknown = unknown | (range_map.age_s > 0)       # what is remembered is not seen
    # The nearest of its neighbours: a ray that passes beside it does not see its place empty.
    nearest = around_nearest(np.where(unknown, np.float32(-np.inf), range_m))[row, col]
    seen = (reach >= range_map.min_range_m) & (nearest >= (1 - SLACK) * reach - SLACK_M)
    return ~seen & (reach <= FORGET_M)


def _near_points(range_map: RangeMap, odom_from_body: Array, lowest_m: float) -> Array:
    """Return the hits of this frame within NEAR_M, (N, 3) in odom, thinned to about a voxel."""
    step = max(1, range_map.size_hw[0] // ROWS_ENOUGH)
    range_m = range_map.range_m[::step, ::step]
    near = np.isfinite(range_m) & (range_m <= NEAR_M)
    if range_map.age_s is not None:
        near &= range_map.age_s[::step, ::step] == 0
    rays = erp_rays(*range_map.size_hw)[::step, ::step][near]
    offset = (rays * range_m[near][:, None]) @ odom_from_body[:3, :3].T
    return offset[offset[:, 2] >= lowest_m] + odom_from_body[:3, 3]


def scan_with(scan: Scan, points: NDArray[np.float32], band_m: tuple[float, float],
              too_near: str = 'range_min') -> Scan:
    """
    Return a scan that also reports remembered points.

    :param points: (N, 3) m in the scan's frame
    :param band_m: lower and upper edge of its band relative to the camera [m]
    :param too_near: as of `ScanProjector`
    """
    if not len(points):
        return scan
    inside = (points[:, 2] >= band_m[0]) & (points[:, 2] <= band_m[1])
    planar = np.hypot(points[inside, 0], points[inside, 1])
    azimuth = np.arctan2(points[inside, 1], points[inside, 0])
    half = np.arctan2(VOXEL_M / 2, np.maximum(planar, VOXEL_M / 2))
    beams = len(scan.ranges)
    first = np.round((azimuth - half - scan.angle_min) / scan.angle_increment).astype(np.intp)
    last = np.round((azimuth + half - scan.angle_min) / scan.angle_increment).astype(np.intp)
    count = last - first + 1
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    nearest = scan.range_min if too_near == 'range_min' else -np.inf
    found = np.where(planar < scan.range_min, nearest, planar).astype(np.float32)
    ranges = scan.ranges.copy()
    np.fmin.at(ranges, (np.repeat(first, count) + offset) % beams, np.repeat(found, count))
    return replace(scan, ranges=ranges)
