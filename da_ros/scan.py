# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Level scan: the nearest obstacle of a height band in every direction of the ground plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_ros.panorama import Extent, unseen
from da_ros.range_map import RangeMap
from da_ros.sphere import angles_from_ray, elevation_from_row, erp_rays

REACH_TOLERANCE = 1e-9
STEEP_RAD = np.pi / 4      # rays beyond it look at the robot itself: they only report obstacles
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scan:
    """
    Beams counter-clockwise about +z; beam i looks along `angle_min + i * angle_increment` [rad].

    `ranges` float32 [m] in the ground plane: finite = nearest obstacle in the band, exactly
    `range_min` (or -inf, as chosen) = something closer than that; +inf = the whole band is seen
    empty up to `range_max`; NaN = not observed.
    """

    ranges: NDArray[np.float32]
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float


class ScanProjector:
    """
    Turns range maps of one size and limit into scans; the geometry is computed once.

    Every pixel whose ray crosses the height band, outside the upright cylinder of radius
    `min_range_m` and within the limit, has a say in each beam that its width touches: a range
    inside the band is a hit, a longer one (or +inf) says that the ray left the band unhindered,
    NaN or a range before the band says that the band was not observed there. What blocks a ray
    inside the cylinder is too near. Rays steeper than 45 degrees see the robot's own deck and
    feet: their hits count, but they neither make a beam unknown nor too near.
    """

    def __init__(self, size_hw: tuple[int, int], beams: int, band_m: tuple[float, float],
                 min_range_m: float, limit_m: float,
                 scan_from_camera: NDArray[np.float64] | None = None, *,
                 too_near: str = 'range_min'):
        """
        Find the part of every ray that lies in the band.

        :param size_hw: height and width of the range maps [px]
        :param beams: number of beams of the full turn
        :param band_m: lower and upper edge of the band relative to the camera [m]
        :param min_range_m: shortest range of interest [m]
        :param limit_m: range from which on all is empty [m]
        :param scan_from_camera: (3, 3) rotation into the gravity-aligned frame; None = identity
        :param too_near: `range_min` publishes what is closer than that at exactly that range,
            because consumers drop -inf and would neither mark it nor stop; `minus_inf` as REP 117
        """
        self._size_hw, self._band_m = size_hw, band_m
        self._step = 2 * np.pi / beams
        # As float32, since consumers compare it with a float32 `range_min` and drop what is below.
        self._nearest = np.float32(min_range_m if too_near == 'range_min' else -np.inf)
        self._min_range_m, self._limit_m, self._beams = min_range_m, limit_m, beams
        rays = erp_rays(*size_hw).reshape(-1, 3)
        if scan_from_camera is not None:
            rays = rays @ scan_from_camera.T
        _, elevation = angles_from_ray(rays)
        begin, enter, leave = _interval_in_band(
            elevation, np.pi / size_hw[0], band_m, min_range_m, limit_m)
        crossing = np.flatnonzero(enter < leave)
        pixel, beam = _pixels_of_beams(rays[crossing], size_hw, beams)
        # Sorted by beam, so that a frame is three `reduceat` over flat arrays, no loop.
        order = np.argsort(beam, kind='stable')
        pixel, beam = crossing[pixel[order]], beam[order]
        self._pixel = pixel
        self._enter = enter[pixel].astype(np.float32)
        self._leave = leave[pixel].astype(np.float32)
        self._begin = begin[pixel].astype(np.float32)
        self._steep = np.abs(elevation[pixel]) > STEEP_RAD
        self._planar = np.hypot(rays[pixel, 0], rays[pixel, 1]).astype(np.float32)
        reaches_limit = leave[pixel] >= limit_m * (1 - REACH_TOLERANCE)
        self._seen_beams, self._starts = np.unique(beam, return_index=True)
        # Rays that leave the band sooner say nothing of what stands farther away in it: a beam of
        # such rays alone would be cleared out to `limit_m` by looking at the ceiling.
        self._has_reach = np.zeros(beams, bool)
        self._has_reach[beam[reaches_limit]] = True
        self._leaves_band = ~reaches_limit
        # Used again for every frame: memory of this size is paged in anew whenever it is fresh.
        self._buffers = (*np.empty((2, len(pixel)), np.float32), *np.empty((2, len(pixel)), bool))

    def project(self, range_map: RangeMap) -> Scan:
        """Return the scan of a range map; its limit must be the one given at construction."""
        ranges = np.full(self._beams, np.nan, np.float32)
        if len(self._pixel):
            ranges[self._seen_beams] = self._reduce(range_map.range_m.reshape(-1))
        return Scan(ranges, -np.pi + self._step / 2, self._step,
                    self._min_range_m, self._limit_m)

    def never_empty(self, extent: Extent) -> NDArray[np.bool_]:
        """
        Return which beams can never be `+inf`, because part of their band is never seen.

        :param extent: the part of the sphere that the camera shows
        :return: (beams,)
        """
        blind = np.ones(self._beams, bool)
        if len(self._pixel):
            hidden = unseen(extent, self._size_hw).reshape(-1)[self._pixel] & ~self._steep
            blind[self._seen_beams] = np.logical_or.reduceat(hidden, self._starts)
        return blind | ~self._has_reach

    def unseen_text(self, extent: Extent) -> str:
        """Return what the user must know of beams that can never be empty; '' = none."""
        blind = int(self.never_empty(extent).sum())
        if not blind:
            return ''
        rows = self._pixel[~self._steep] // self._size_hw[1]
        needs = np.rad2deg(elevation_from_row(
            [rows.max(initial=0) + 1, rows.min(initial=self._size_hw[0])], self._size_hw[0]))
        low, high = self._band_m
        # What a level camera sees of the band beyond the cylinder of radius d, and at which d it
        # sees all of it; steep rays need not see it.
        down, up = (np.tan(np.deg2rad(np.clip(edge, 0, 45))) for edge in (
            -extent.elevation_min_deg, extent.elevation_max_deg))
        enough_m = max(0.0 if edge <= 0 else edge / slope if slope else np.inf
                       for edge, slope in ((-low, down), (high, up)))
        near = f'raise min_range_m to {enough_m * 1.05:.2f}, or ' if enough_m < 9 else ''
        return (f'scan: {blind} of {self._beams} beams can never be seen empty, so nothing there '
                f'is ever cleared: heights {low:g} to {high:g} m from the camera need elevation '
                f'{needs[0]:.0f} to {needs[1]:.0f} deg beyond min_range_m {self._min_range_m:g}, '
                f'but the camera shows {extent}; {near}narrow scan.min_height_m and '
                f'scan.max_height_m to within {-down * self._min_range_m:.2f} to '
                f'{up * self._min_range_m:.2f} m from the camera')

    def _reduce(self, range_m: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one value for each beam that sees anything, of the flat range map."""
        x, distance, flag, other = self._buffers
        np.take(range_m, self._pixel, out=x, mode='clip')
        hit = np.logical_and(np.greater_equal(x, self._enter, out=flag),
                             np.less_equal(x, self._leave, out=other), out=flag)
        with np.errstate(invalid='ignore'):              # -inf at a pole, where nothing is level
            np.multiply(x, self._planar, out=distance)
        np.copyto(distance, np.float32(np.inf), where=np.logical_not(hit, out=other))
        nearest = np.minimum.reduceat(distance, self._starts)
        np.maximum(nearest, np.float32(self._min_range_m), out=nearest)   # rounding went below
        passed = np.greater(x, self._leave, out=flag)     # +inf included, NaN is not
        # A ray that stays in the band up to the limit proves it empty only by +inf.
        passed &= np.logical_or(np.equal(x, np.inf, out=other), self._leaves_band, out=other)
        # All of them, because one unknown ray may hide a post; steep ones would be unknown or too
        # near wherever the robot sees its own deck.
        passed |= self._steep
        all_passed = np.logical_and.reduceat(passed, self._starts)
        empty = all_passed & self._has_reach[self._seen_beams]
        inside = np.logical_and(np.greater_equal(x, self._begin, out=flag),
                                np.less(x, self._enter, out=other), out=flag)
        inside |= np.equal(x, -np.inf, out=other)
        inside &= np.logical_not(self._steep, out=other)
        too_near = np.logical_or.reduceat(inside, self._starts)
        beams = np.where(np.isfinite(nearest), nearest,
                         np.where(empty, np.float32(np.inf), np.float32(np.nan)))
        beams[too_near] = self._nearest
        return beams


def _interval_in_band(elevation: Array, row_height: float, band_m: tuple[float, float],
                      min_range_m: float, limit_m: float) -> tuple[Array, Array, Array]:
    """
    Return where each pixel's ray is in the band, outside the cylinder and within the limit.

    Far away the band is thinner than a pixel; there the pixel that holds its middle stands for
    it (of two that touch it, the upper one, which sees less floor).

    :param elevation: of the pixel centres in the scan frame [rad]
    :param row_height: angle that a pixel spans vertically [rad]
    :return: ranges along the ray [m]: where it enters the band, the same but not before it
        leaves the cylinder of radius `min_range_m`, and where it leaves the band (not after
        `limit_m`); second >= third where a ray misses the band
    """
    # In planar distances, because a ray's height grows linearly with these; the way along the ray
    # follows at the end.
    low, high = band_m
    slope, bottom, top = (_tangent(elevation + offset * row_height) for offset in (0, -0.5, 0.5))
    enter, leave = _planar_span(slope, slope, low, high)
    middle_enter, middle_leave = _planar_span(bottom, top, (low + high) / 2, (low + high) / 2)
    # A centre that passes just above a band thinner than its row would leave that row's obstacle
    # in no beam; without the second interval, beams far away would be empty though seen full.
    centre_hits = enter < leave
    # Only far away, so never for steep rays, whose rows are wedges no more.
    middle_hits = (middle_enter < middle_leave) & (np.abs(elevation) < np.pi / 4)
    enter = np.minimum(np.where(centre_hits, enter, np.inf),
                       np.where(middle_hits, middle_enter, np.inf))
    leave = np.maximum(np.where(centre_hits, leave, -np.inf),
                       np.where(middle_hits, middle_leave, -np.inf))
    along = 1 / np.cos(elevation)
    return (enter * along, np.maximum(enter, min_range_m) * along,
            np.minimum(leave * along, limit_m))


def _planar_span(bottom: Array, top: Array, low: float, high: float) -> tuple[Array, Array]:
    """
    Return the planar distances d at which a wedge of slopes meets the heights [low, high].

    The wedge at distance d covers heights d * bottom to d * top; it meets the band where
    d * top >= low and d * bottom <= high (a wedge without height must lie inside).
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        rises, falls = top > 0, bottom < 0
        wedge = top > bottom
        # d * top >= low (strict for a wedge, so that of two touching ones only one meets)
        enter = np.where(low > 0, np.where(rises, low / top, np.inf), 0.0)
        leave = np.where(top < 0, low / top, np.inf)
        leave = np.where((top == 0) & ((low > 0) | (wedge & (low == 0))), -np.inf, leave)
        leave = np.where(wedge & (top < 0) & (low == 0), -np.inf, leave)
        # d * bottom <= high
        enter = np.maximum(enter, np.where(high < 0, np.where(falls, high / bottom, np.inf), 0.0))
        leave = np.minimum(leave, np.where(bottom > 0, high / bottom, np.inf))
    return enter, leave


def _tangent(elevation: Array) -> Array:
    slope = np.tan(np.clip(elevation, -1.57, 1.57))
    return np.where(np.abs(slope) < 1e-12, 0.0, slope)


def _pixels_of_beams(rays: NDArray[np.float64], size_hw: tuple[int, int],
                     beams: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """
    Pair every ray with each beam that its pixel touches.

    :return: positions in `rays` and beam numbers, both (pairs,)
    """
    azimuth, elevation = angles_from_ray(rays)
    # A pixel is 2 pi / width wide on its own parallel; near the scan's poles it spans more.
    half = np.pi / size_hw[1] / np.maximum(np.cos(elevation), 0.02)
    # Below 45 degrees that is 1.4 times at most; taken there, too, it would widen every level
    # obstacle into the beams beside it.
    half = np.where(np.abs(elevation) < np.pi / 4, np.pi / size_hw[1], half)
    step = 2 * np.pi / beams
    edge = 1e-9
    first = np.floor((azimuth - half + np.pi) / step + edge).astype(np.intp)
    last = np.ceil((azimuth + half + np.pi) / step - edge).astype(np.intp) - 1
    # At least one beam, or a pixel whose sides fall into the rounding would be in none; at most a
    # turn, which near a pole the width exceeds: a pixel would be in a beam twice.
    count = np.minimum(np.maximum(last - first + 1, 1), beams)
    pixel = np.repeat(np.arange(len(rays)), count)
    offset = np.arange(len(pixel)) - np.repeat(np.cumsum(count) - count, count)
    return pixel, (np.repeat(first, count) + offset) % beams
