# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Memory between frames: the last range maps, moved onto the present one and fused with it.

A panorama sees every direction in every frame, so two earlier frames within half a second are
enough to steady the ranges and to outvote one bad frame. Per ray:

* what the present frame sees near stays, whatever memory says;
* where it sees farther (or nothing) than both earlier frames did, one frame is not enough: the
  remembered hit stays until a second frame says the same;
* where it knows nothing (NaN), two earlier frames that agree fill in their hit, never emptiness;
* what all see alike is averaged in log range, exponentially; not where the range falls from where
  it stood, because what comes nearer must not be reported late.

So odometry that is wrong may show for one frame what is not there, but hides nothing: no hit of
the present frame is lost, and none is put farther away than by exp(0.8 SAME), 8 %.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays

FRAMES = 2                  # remembered; with the present one, two of three decide
OLDEST_NS = 500_000_000     # what is older tells nothing of people who walk
FASTEST_M_S = 5.0           # between two frames; more is a jump of the odometry
FASTEST_RAD_S = 2 * np.pi
LEAST_STEP_S = 0.1          # odometry may come in steps of so much, also between quicker frames
NEW_SHARE = 0.2             # of the present frame in an average
SAME = 0.1                  # log range: as much as a surface flickers; averaged
STOOD = 0.002               # log range: less is no motion
AGREE, AGREE_M = 0.25, 0.15     # of the range, and at least m: two frames saw the same thing
FARTHER = 0.3               # of the range: beyond the hit, not just a worse measurement of it
FARTHEST_M = 1000.0         # stands for the place of what has none
ROUNDING = 1e-5             # of float32 and OpenCV's square roots
WINDOW = np.ones((3, 3), np.uint8)

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Frame:
    """One remembered frame, in its own body frame."""

    stamp_ns: int
    odom_from_body: Array       # (4, 4)
    hits: Floats                # (H, W) m, +inf where there is none
    points: Floats              # (H, W, 3) m, the hits; far away where there is none
    logs: list[Floats]          # 3 x (H, W) log range: as seen, as steadied, as the frame before
    #                             saw it; NaN without a finite hit


class WarpedMemory:
    """The last range maps of one camera; `state` says in words what memory does."""

    def __init__(self) -> None:
        """Start without frames."""
        self._frames: deque[_Frame] = deque(maxlen=FRAMES)
        self._kind: tuple = ()
        self.state = 'empty'
        self.why = ''           # it was last forgotten
        self.resets = 0

    def reset(self, why: str) -> None:
        """Forget all, as after a jump or a change of parameters."""
        if self._frames:
            self.resets += 1
        self._frames.clear()
        self.why, self.state = why, f'empty: {why}'

    def fuse(self, range_map: RangeMap, stamp_ns: int, odom_from_body: Array | None) -> RangeMap:
        """
        Return a range map fused with the frames before it, and remember it.

        :param stamp_ns: when it was seen
        :param odom_from_body: (4, 4) pose of its body frame in a frame that stands still over
            half a second; None = unknown: memory is reset and the map returned as it is
        :return: the same map where there is nothing to fuse; else a new one with `age_s`
        """
        if odom_from_body is None:
            self.reset('no pose')
            return range_map
        self._check(range_map, stamp_ns, odom_from_body)
        frame = _remember(range_map, stamp_ns, odom_from_body)
        while self._frames and stamp_ns - self._frames[0].stamp_ns > OLDEST_NS:
            self._frames.popleft()
        earlier = list(self._frames)[::-1]              # the newest first
        self._frames.append(frame)
        if not earlier:
            return range_map
        self.state = f'{len(earlier)} earlier frames'
        return _fused(range_map, frame, earlier)

    def _check(self, range_map: RangeMap, stamp_ns: int, odom_from_body: Array) -> None:
        kind = range_map.size_hw, range_map.limit_m, range_map.min_range_m
        if self._frames and kind != self._kind:
            self.reset('another size or limit')
        self._kind = kind
        if self._frames:
            last = self._frames[-1]
            if why := break_between(last.stamp_ns, last.odom_from_body, stamp_ns, odom_from_body):
                self.reset(why)


def break_between(last_ns: int, odom_from_last: Array, stamp_ns: int, odom_from_body: Array,
                  longest_ns: int = OLDEST_NS) -> str:
    """
    Return why a frame does not continue the one before it; '' if it does.

    :param longest_ns: from one frame with a pose to the next
    """
    step_s = (stamp_ns - last_ns) / 1e9
    if step_s == 0:
        return 'two frames have the same stamp'
    if step_s < 0:
        return f'time went back by {-step_s:.2f} s'
    if step_s > longest_ns / 1e9:
        return f'no frame with a pose for {step_s:.2f} s'
    motion = np.linalg.inv(odom_from_last) @ odom_from_body
    way = float(np.linalg.norm(motion[:3, 3]))
    turn = float(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1)))
    free_s = max(step_s, LEAST_STEP_S)
    if way <= FASTEST_M_S * free_s and turn <= FASTEST_RAD_S * free_s:
        return ''
    return f'odometry jumped by {way:.2f} m and {np.degrees(turn):.0f} deg in {step_s:.2f} s'


def _remember(range_map: RangeMap, stamp_ns: int, odom_from_body: Array) -> _Frame:
    range_m = range_map.range_m
    finite = np.isfinite(range_m)
    hits = np.where(finite, range_m, np.float32(np.inf))
    seen = np.log(np.where(finite, range_m, np.float32(np.nan)))
    # What is too near has no range; at the minimum it is not put behind where it is.
    np.copyto(hits, range_map.min_range_m, where=np.isneginf(range_m))
    length = np.minimum(hits, np.float32(FARTHEST_M))
    points = cv2.multiply(_rays(*range_map.size_hw), cv2.merge([length, length, length]))
    return _Frame(stamp_ns, np.array(odom_from_body, np.float64), hits,
                  np.asarray(points, np.float32), [seen, seen, np.full_like(seen, np.nan)])


def _fused(range_map: RangeMap, now: _Frame, earlier: list[_Frame]) -> RangeMap:
    """Return the map fused with one or two earlier frames, the newest first."""
    range_m = range_map.range_m
    moves = [_inverse(frame.odom_from_body) @ now.odom_from_body for frame in earlier]
    change = _steadying(now, earlier[0], moves[0])
    fused = range_m * np.exp(change)
    # What the averaging would carry across an end of the scale keeps its own range.
    np.copyto(fused, range_m,
              where=(fused >= range_map.limit_m) | (fused < range_map.min_range_m))
    age_s = np.zeros(range_map.size_hw, np.float32)
    if len(earlier) == FRAMES:
        pixel, hit_m = _outvoted(range_m, earlier, moves)
        pixel, hit_m = pixel[hit_m < range_map.limit_m], hit_m[hit_m < range_map.limit_m]
        too_near = hit_m < range_map.min_range_m * (1 - ROUNDING)
        fused.reshape(-1)[pixel] = np.where(
            too_near, -np.inf, np.maximum(hit_m, range_map.min_range_m))
        age_s.reshape(-1)[pixel] = (now.stamp_ns - earlier[0].stamp_ns) / 1e9
    return replace(range_map, range_m=fused, age_s=age_s)


def _steadying(now: _Frame, last: _Frame, last_from_now: Array) -> Floats:
    """
    Return what to add to the present log range, and note it in `now`.

    The earlier range is sampled between pixels: that of the nearest one differs on a floor by
    several percent, more than what is to be steadied.
    """
    col, row, reach = _project(now.points, last_from_now, *now.hits.shape)
    col += np.float32(0.5)              # a column is put before the first
    row -= np.float32(0.5)
    wide = cv2.copyMakeBorder(cv2.merge(last.logs), 0, 0, 1, 1, cv2.BORDER_WRAP)
    sampled = cv2.remap(wide, col, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    expected = np.log(reach)
    farther, steady, farther_before = (_channel(sampled, k) - expected for k in range(3))
    # It comes nearer: it fell twice in a row, or once from where it stood (or is not known).
    falls = (farther > 0) & ~(farther_before < farther - np.float32(STOOD))
    used = (np.abs(steady) < np.float32(SAME)) & ~(falls & (steady > 0))   # False where unknown
    used &= np.isfinite(now.logs[0])
    change = cv2.copyTo(steady * np.float32(1 - NEW_SHARE), used.view(np.uint8))
    now.logs[1:] = now.logs[0] + change, now.logs[0] + farther
    return np.asarray(change, np.float32)


def _outvoted(range_m: Floats, earlier: list[_Frame],
              moves: list[Array]) -> tuple[NDArray[np.intp], Floats]:
    """
    Return where two earlier frames saw the same hit and the present one does not see it.

    :param moves: each earlier frame from now
    :return: flat pixels (N,) and the range of the hit there (N,) [m]
    """
    height, width = range_m.shape
    newer, older = earlier
    unknown = np.isnan(range_m)
    # Only where no neighbour sees it either: edges wander by a pixel.
    limit_m = around_nearest(np.where(unknown, np.float32(np.inf), range_m))
    limit_m *= np.float32(1 / (1 + FARTHER))
    np.copyto(limit_m, np.inf, where=unknown)
    hit_m = splat(newer.points, _inverse(moves[0]), np.isfinite(newer.hits), limit_m)
    # A surface that comes nearer spreads over more pixels than it had: holes of a pixel close.
    # Where nothing is known, only what falls there itself supports a hit.
    hit_m = np.where(np.isinf(hit_m) & ~unknown, _closed(hit_m), hit_m)
    pixel = np.flatnonzero(hit_m < limit_m)
    if not len(pixel):
        return pixel, np.zeros(0, np.float32)
    hit_m = hit_m.reshape(-1)[pixel]
    points = _rays(height, width).reshape(-1, 1, 3)[pixel] * hit_m[:, None, None]
    col, row, reach = (plane[:, 0] for plane in _project(points, moves[1], height, width))
    there = _row(row, height), _col(col, width)
    agree = _agree(older.hits[there], reach) | _agree(around_nearest(older.hits)[there], reach)
    return pixel[agree], hit_m[agree]


def splat(points: Floats, now_from_then: Array, known: Mask, limit_m: Floats) -> Floats:
    """
    Return the range of moved points per pixel, the nearest where several fall into one.

    :param points: (H, W, 3) m
    :param now_from_then: (4, 4)
    :param known: (H, W), which of them count
    :param limit_m: (H, W) m, at which range and beyond they do not, by the pixel they fall into
    :return: (H, W) m; +inf where none falls
    """
    height, width = known.shape
    col, row, reach = _project(points, now_from_then, height, width)
    index = _row(row, height) * width
    index += _col(col, width)
    counts = np.flatnonzero(known & (reach < np.take(limit_m, index)))
    nearest = np.full(height * width, np.inf, np.float32)
    np.minimum.at(nearest, index.reshape(-1)[counts], reach.reshape(-1)[counts])
    return nearest.reshape(height, width)


def _project(points: Floats, there_from_here: Array, height: int,
             width: int) -> tuple[Floats, Floats, Floats]:
    """
    Return continuous column in [0, W], row in [0, H] and range of moved points.

    :param points: (M, N, 3) m
    """
    matrix = there_from_here[:3].astype(np.float32)
    matrix[:2] *= -1        # azimuth + pi: falls from left to right without a step
    moved = cv2.transform(points, matrix)
    # The angles of sphere.py by OpenCV, a fifth of the time of numpy; to 0.01 degrees.
    planar, turn = cv2.cartToPolar(_channel(moved, 0), _channel(moved, 1))      # [0, 2 pi]
    reach, polar = cv2.cartToPolar(_channel(moved, 2), planar)                  # [0, pi]
    col = np.multiply(turn, np.float32(-width / (2 * np.pi)))
    col += np.float32(width)
    row = np.multiply(polar, np.float32(height / np.pi))
    return np.asarray(col, np.float32), np.asarray(row, np.float32), np.asarray(reach, np.float32)


def _row(row: Floats, height: int) -> NDArray[np.int32]:
    # Half the time of 64-bit numbers, which the tables of indices cost most of.
    return np.minimum(row, np.float32(height - 1)).astype(np.int32)


def _col(col: Floats, width: int) -> NDArray[np.int32]:
    return np.minimum(col, np.float32(width - 1)).astype(np.int32)


def _channel(image: NDArray, k: int) -> Floats:
    # Four times as fast as cv2.split.
    return np.asarray(cv2.extractChannel(image, k), np.float32)


def around_nearest(range_m: Floats) -> Floats:
    """Return the nearest range within a pixel, across the seam."""
    wide = cv2.copyMakeBorder(range_m, 1, 1, 1, 1, cv2.BORDER_WRAP)
    wide[[0, -1]] = np.inf
    return np.ascontiguousarray(cv2.erode(wide, WINDOW)[1:-1, 1:-1], np.float32)


def _closed(range_m: Floats) -> Floats:
    """Return the range with holes of up to two pixels filled, and no outline grown."""
    wide = cv2.copyMakeBorder(range_m, 2, 2, 2, 2, cv2.BORDER_WRAP)
    wide[[0, 1, -2, -1]] = np.inf
    return np.asarray(cv2.morphologyEx(wide, cv2.MORPH_OPEN, WINDOW)[2:-2, 2:-2], np.float32)


def _agree(hit_m: Floats, other_m: Floats) -> Mask:
    slack = np.maximum(np.float32(AGREE) * np.minimum(hit_m, other_m), np.float32(AGREE_M))
    return np.abs(hit_m - other_m) < slack


def _inverse(pose: Array) -> Array:
    return np.asarray(np.linalg.inv(pose), np.float64)


@lru_cache(maxsize=2)
def _rays(height: int, width: int) -> Floats:
    return erp_rays(height, width).astype(np.float32)
