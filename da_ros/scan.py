"""Level scan: the nearest obstacle of a height band in every direction of the ground plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_ros.range_map import RangeMap
from da_ros.sphere import angles_from_ray, erp_rays

REACH_TOLERANCE = 1e-9
STEEP_RAD = np.pi / 4      # rays beyond it look at the robot itself: they only report obstacles
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scan:
    """
    Beams counter-clockwise about +z; beam i looks along `angle_min + i * angle_increment` [rad].

    `ranges` float32 [m] in the ground plane: finite = nearest obstacle in the band; -inf =
    something closer than `range_min`; +inf = the whole band is seen empty up to `range_max`;
    NaN = not observed.
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
                 scan_from_camera: NDArray[np.float64] | None = None):
        """
        Find the part of every ray that lies in the band.

        :param size_hw: height and width of the range maps [px]
        :param beams: number of beams of the full turn
        :param band_m: lower and upper edge of the band relative to the camera [m]
        :param min_range_m: shortest range of interest [m]
        :param limit_m: range from which on all is empty [m]
        :param scan_from_camera: (3, 3) rotation into the gravity-aligned frame; None = identity
        """
        self._step = 2 * np.pi / beams
        self._min_range_m, self._limit_m, self._beams = min_range_m, limit_m, beams
        rays = erp_rays(*size_hw).reshape(-1, 3)
        if scan_from_camera is not None:
            rays = rays @ scan_from_camera.T
        _, elevation = angles_from_ray(rays)
        begin, enter, leave = _interval_in_band(
            elevation, np.pi / size_hw[0], band_m, min_range_m, limit_m)
        crossing = np.flatnonzero(enter < leave)
        pixel, beam = _pixels_of_beams(rays[crossing], size_hw, beams)
        order = np.argsort(beam, kind='stable')
        pixel, beam = crossing[pixel[order]], beam[order]
        self._pixel = pixel
        self._enter = enter[pixel].astype(np.float32)
        self._leave = leave[pixel].astype(np.float32)
        self._begin = begin[pixel].astype(np.float32)
        self._steep = np.abs(elevation[pixel]) > STEEP_RAD
        self._planar = np.hypot(rays[pixel, 0], rays[pixel, 1]).astype(np.float32)
        self._reaches_limit = leave[pixel] >= limit_m * (1 - REACH_TOLERANCE)
        self._seen_beams, self._starts = np.unique(beam, return_index=True)
        self._has_reach = np.zeros(beams, bool)
        self._has_reach[beam[self._reaches_limit]] = True

    def project(self, range_map: RangeMap) -> Scan:
        """Return the scan of a range map; its limit must be the one given at construction."""
        ranges = np.full(self._beams, np.nan, np.float32)
        if len(self._pixel):
            ranges[self._seen_beams] = self._reduce(range_map.range_m.reshape(-1)[self._pixel])
        return Scan(ranges, -np.pi + self._step / 2, self._step,
                    self._min_range_m, self._limit_m)

    def _reduce(self, range_m: NDArray[np.float32]) -> NDArray[np.float32]:
        hit = (range_m >= self._enter) & (range_m <= self._leave) & np.isfinite(range_m)
        distance = np.where(hit, range_m * self._planar, np.float32(np.inf))
        nearest = np.minimum.reduceat(distance, self._starts)
        passed = range_m > self._leave                    # +inf included, NaN is not
        # A ray that stays in the band up to the limit proves it empty only by +inf.
        passed &= ~self._reaches_limit | np.isposinf(range_m)
        all_passed = np.logical_and.reduceat(passed | self._steep, self._starts)
        empty = all_passed & self._has_reach[self._seen_beams]
        inside = np.isneginf(range_m) | ((range_m >= self._begin) & (range_m < self._enter))
        too_near = np.logical_or.reduceat(inside & ~self._steep, self._starts)
        beams = np.where(np.isfinite(nearest), nearest,
                         np.where(empty, np.float32(np.inf), np.float32(np.nan)))
        beams[too_near] = -np.inf
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
    low, high = band_m
    slope, bottom, top = (_tangent(elevation + offset * row_height) for offset in (0, -0.5, 0.5))
    enter, leave = _planar_span(slope, slope, low, high)
    middle_enter, middle_leave = _planar_span(bottom, top, (low + high) / 2, (low + high) / 2)
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
    half = np.where(np.abs(elevation) < np.pi / 4, np.pi / size_hw[1], half)
    step = 2 * np.pi / beams
    edge = 1e-9
    first = np.floor((azimuth - half + np.pi) / step + edge).astype(np.intp)
    last = np.ceil((azimuth + half + np.pi) / step - edge).astype(np.intp) - 1
    count = np.minimum(np.maximum(last - first + 1, 1), beams)
    pixel = np.repeat(np.arange(len(rays)), count)
    offset = np.arange(len(pixel)) - np.repeat(np.cumsum(count) - count, count)
    return pixel, (np.repeat(first, count) + offset) % beams
