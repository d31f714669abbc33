"""PointCloud: a RangeMap as points in the body frame, thinned evenly over the sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.range_map import RangeMap
from da_ros.sphere import elevation_from_row, erp_rays


class PointProjector:
    """
    Turns range maps of one size into point records; the geometry is computed once.

    Records are packed float32 `x y z`, with `rgb` (the PCL convention: 0x00RRGGBB in the bits of
    a float32) as a fourth value on request.
    """

    def __init__(self, size_hw: tuple[int, int], max_points: int = 0, rgb: bool = False,
                 organised: bool = False, body_from_camera: NDArray[np.float64] | None = None):
        """
        Choose the pixels and their rays.

        :param size_hw: height and width of the range maps [px]
        :param max_points: most points of a cloud, 0 = every pixel; ignored if `organised`
        :param rgb: add the colour
        :param organised: keep every pixel in image order, NaN where there is no finite range
        :param body_from_camera: (3, 3) rotation; None = identity
        """
        self.size_hw, self.rgb, self.organised = size_hw, rgb, organised
        keep_all = organised or not max_points
        total = size_hw[0] * size_hw[1]
        self._index = None if keep_all else sphere_uniform_index(size_hw, max_points)
        rays = erp_rays(*size_hw).reshape(total, 3)
        if body_from_camera is not None:
            rays = rays @ body_from_camera.T
        chosen = rays if self._index is None else rays[self._index]
        self._axes = [np.ascontiguousarray(chosen[:, k], np.float32) for k in range(3)]
        self._records = np.empty((len(chosen), 4 if rgb else 3), np.float32)

    def project(self, range_map: RangeMap) -> NDArray[np.float32]:
        """
        Return the points of a range map.

        :return: (N, 3 or 4) float32 [m], body frame; finite points only, or (height * width, .)
            with NaN if organised. A view of a buffer that the next call overwrites.
        """
        range_m = range_map.range_m.reshape(-1)
        if self._index is not None:
            range_m = range_m[self._index]
        finite = np.isfinite(range_m)
        axes, keep = self._axes, None
        if self.organised:
            range_m = np.where(finite, range_m, np.float32(np.nan))
        elif not finite.all():
            keep = np.flatnonzero(finite)
            range_m = range_m[keep]
            axes = [axis[keep] for axis in axes]
        records = self._records[:len(range_m)]
        for k, axis in enumerate(axes):
            np.multiply(axis, range_m, out=records[:, k])
        if self.rgb:
            records[:, 3] = self._colours(range_map.image, keep)
        return records

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


def sphere_uniform_index(size_hw: tuple[int, int], max_points: int) -> NDArray[np.intp]:
    """
    Return the flat indices of at most `max_points` pixels, spread evenly over the sphere.

    A row at elevation e keeps a share of its pixels proportional to cos(e), evenly spaced from a
    start that differs from row to row, so that no meridian is preferred.
    """
    height, width = size_hw
    if max_points >= height * width:
        return np.arange(height * width)
    weight = np.cos(elevation_from_row(np.arange(height) + 0.5, height))
    per_row = _counts_within_budget(weight, width, max_points)
    start = np.arange(height) * 0.6180339887498949 % 1      # golden ratio: no two rows alike
    rows = [row * width + ((np.arange(count) + start[row]) * width / count).astype(np.intp)
            for row, count in enumerate(per_row) if count]
    return np.concatenate(rows)


def _counts_within_budget(weight: NDArray[np.float64], width: int,
                          budget: int) -> NDArray[np.intp]:
    low, high = 0.0, width / weight.min()
    for _ in range(60):                   # bisect the density: rows saturate at their width
        middle = (low + high) / 2
        if np.minimum(np.floor(middle * weight), width).sum() <= budget:
            low = middle
        else:
            high = middle
    return np.minimum(np.floor(low * weight), width).astype(np.intp)
