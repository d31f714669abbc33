# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Point clouds of a RangeMap in the body frame: what is seen, and what is seen to be empty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from da_ros.derived.floor import Plane
from da_ros.derived.thinning import NearestCells, sphere_uniform_index
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays

Room = Callable[[int], NDArray[np.uint8]]
CLEARING_MARGIN_M = 0.1      # beyond the limit, so that a consumer that marks up to it does not


class PointProjector:
    """
    Turns range maps of one size into point records; the geometry is computed once.

    Records are packed float32 `x y z`, then on request `rgb` (the PCL convention: 0x00RRGGBB in
    the bits of a float32), `height` over the floor and `age` of what is remembered.
    """

    def __init__(self, size_hw: tuple[int, int], max_points: int = 0, rgb: bool = False,
                 organised: bool = False, body_from_camera: NDArray[np.float64] | None = None,
                 *, thinning: str = 'nearest', too_near: str = 'range_min'):
        """
        Choose the pixels and their rays.

        :param size_hw: height and width of the range maps [px]
        :param max_points: most points of a cloud, 0 = every pixel; ignored if `organised`
        :param rgb: add the colour
        :param organised: keep every pixel in image order, NaN where there is no finite range
        :param body_from_camera: (3, 3) rotation; None = identity
        :param thinning: `nearest` keeps the nearest pixel of each cell of the sphere, `uniform`
            the same pixels in every frame
        :param too_near: `range_min` puts what is closer than the minimum range at the minimum
            range, because nobody takes a point at -inf; `minus_inf` leaves it out
        """
        self.size_hw, self.rgb, self.organised, self._too_near = (
            size_hw, rgb, organised, too_near == 'range_min')
        total = size_hw[0] * size_hw[1]
        thin = not organised and 0 < max_points < total
        self._cells = NearestCells(size_hw, max_points) if (
            thin and thinning == 'nearest') else None
        self._index = (sphere_uniform_index(size_hw, max_points) if thin and not self._cells
                       else None)
        # Three rows instead of (N, 3) * r: each multiply then runs through memory in order; 0.2 ms
        # for 131,000 points instead of 1 ms.
        rays = rotated_rays(size_hw, body_from_camera)
        if self._index is not None:
            rays = rays[:, self._index]
        self._axes = np.ascontiguousarray(rays)
        # Used again for every frame: memory of this size is paged in anew whenever it is fresh.
        self._range_m = np.empty(size_hw, np.float32)
        self._records = np.empty(0, np.float32)

    def project(self, range_map: RangeMap, hidden: NDArray[np.bool_] | None = None,
                floor: Plane | None = None, age: bool = False,
                room: Room | None = None) -> NDArray[np.float32]:
        """
        Return the points of a range map.

        :param hidden: (height, width) pixels to leave out: flying ones, the floor
        :param floor: in the body frame; adds the column `height`
        :param age: add the column `age` [s], 0 = seen in this frame
        :param room: returns memory for so many bytes, into which the records are written; None =
            a buffer that the next call overwrites
        :return: (N, 3 to 6) float32 [m], body frame; finite points only, or (height * width, .)
            with NaN if organised
        """
        range_m = self._seen(range_map, hidden).reshape(-1)
        if self._index is not None:
            range_m = range_m[self._index]
        axes, keep = self._axes, None
        if self._cells:
            keep = self._cells.nearest(range_m.reshape(self.size_hw))
        elif not (finite := np.isfinite(range_m)).all():
            if self.organised:
                range_m = np.where(finite, range_m, np.float32(np.nan))
            else:
                keep = np.flatnonzero(finite)
        if keep is not None:
            range_m, axes = range_m[keep], np.take(axes, keep, axis=1)
        width = 3 + self.rgb + (floor is not None) + age
        size = width * len(range_m)
        records = (self._own(size) if room is None else room(4 * size).view(np.float32)
                   ).reshape(-1, width)
        for k, axis in enumerate(axes):
            np.multiply(axis, range_m, out=records[:, k])
        if self.rgb:
            records[:, 3] = self._colours(range_map.image, keep)
        if floor is not None:
            records[:, 3 + self.rgb] = floor.height_of(records[:, :3])
        if age:
            records[:, -1] = self._ages(range_map.age_s, keep)
        return records

    def _own(self, size: int) -> NDArray[np.float32]:
        if size > len(self._records):
            self._records = np.empty(size, np.float32)
        return self._records[:size]

    def _ages(self, age_s: NDArray[np.float32] | None,
              keep: NDArray[np.intp] | None) -> NDArray[np.float32]:
        if age_s is None:
            return np.zeros(1, np.float32)
        age_s = age_s.reshape(-1)
        if self._index is not None:
            age_s = age_s[self._index]
        return age_s if keep is None else age_s[keep]

    def _seen(self, range_map: RangeMap,
              hidden: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        range_m = range_map.range_m
        if self._too_near:
            range_m = np.maximum(range_m, np.float32(range_map.min_range_m), out=self._range_m)
        if hidden is not None:
            if range_m is not self._range_m:
                np.copyto(self._range_m, range_m)
                range_m = self._range_m
            np.copyto(range_m, np.float32(np.nan), where=hidden)
        return range_m

    def _colours(self, image: NDArray[np.uint8],
                 keep: NDArray[np.intp] | None) -> NDArray[np.float32]:
        pixels = image.reshape(-1, 3)
        if self._index is not None:
            pixels = pixels[self._index]
        if keep is not None:
            pixels = pixels[keep]
        packed = np.zeros((len(pixels), 4), np.uint8)
        packed[:, :3] = pixels        # B G R 0 in memory is 0x00RRGGBB in little-endian order
        return packed.view(np.float32)[:, 0]


class ClearingProjector:
    """
    Turns range maps of one size into points along the rays that were seen to be empty.

    A cloud alone cannot clear: a ray without an obstacle has no point. Consumers that trace rays
    to points (OctoMap, MoveIt, cloud sources of Nav2) take these, beyond their marking range, as
    free space all the way. A ray stands for a cell of the sphere all of whose pixels are empty,
    so that none grazes an obstacle or passes through something unknown.
    """

    def __init__(self, size_hw: tuple[int, int], max_points: int, clearing_range_m: float,
                 body_from_camera: NDArray[np.float64] | None = None):
        """
        Choose the cells.

        :param size_hw: height and width of the range maps [px]
        :param max_points: most points, 0 = every pixel
        :param clearing_range_m: where the points are put [m]; 0 = limit + 0.1 m
        :param body_from_camera: (3, 3) rotation; None = identity
        """
        total = size_hw[0] * size_hw[1]
        self._cells = NearestCells(size_hw, min(max_points or total, total))
        self._clearing_range_m = clearing_range_m
        self._rays = np.ascontiguousarray(
            rotated_rays(size_hw, body_from_camera)[:, self._cells.centre].T)

    def project(self, range_map: RangeMap) -> NDArray[np.float32]:
        """Return (N, 3) float32 [m] in the body frame, one point per empty cell."""
        distance = self._clearing_range_m or range_map.limit_m + CLEARING_MARGIN_M
        return self._rays[self._cells.empty(range_map.range_m)] * np.float32(distance)


def rotated_rays(size_hw: tuple[int, int],
                 rotation: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Return the rays of all pixels as rows x, y, z: (3, height * width) float32."""
    rays = erp_rays(*size_hw).reshape(-1, 3)
    if rotation is not None:
        rays = rays @ rotation.T
    return np.ascontiguousarray(rays.T, np.float32)


def turn_points(records: NDArray[np.float32], rotation: NDArray[np.float64]) -> None:
    """Turn the x y z of point records (N, >= 3) in place."""
    # Not by a matrix product, whose threads wait for a busy core.
    x, y, z = (records[:, k].copy() for k in range(3))
    for k, (a, b, c) in enumerate(rotation.astype(np.float32)):
        records[:, k] = a * x + b * y + c * z
