# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Points seen by another sensor, as a range map of the panorama; hidden ones are left out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import check_erp_size

NEIGHBOURHOOD_DEG = 3.0     # a sparse surface hides what lies behind it between its points
BEHIND = 1.15               # hidden if farther than this times the surface on both sides


def project_points(points: NDArray[np.floating], height: int, width: int,
                   min_range_m: float = 0.05) -> NDArray[np.float32]:
    """
    Return the nearest range of the points in each pixel of a panorama.

    :param points: (N, 3) m in the camera body frame (x forward, y left, z up)
    :param height: rows of the panorama [px]
    :param width: columns, twice the rows
    :param min_range_m: nearer points (the sensor's own mounting) are left out
    :return: (height, width) float32 m, NaN where there is no point
    """
    check_erp_size(height, width)
    x, y, z = np.ascontiguousarray(points.T, np.float32)
    planar = x * x + y * y
    range_m = np.sqrt(planar + z * z)
    # the formulas of da_ros.sphere in float32: half a pixel is 100 times their rounding
    row = (0.5 - np.arctan2(z, np.sqrt(planar)) / np.float32(np.pi)) * np.float32(height)
    col = (0.5 - np.arctan2(y, x) / np.float32(2 * np.pi)) * np.float32(width)
    index = np.minimum(row.astype(np.int32), height - 1) * width + col.astype(np.int32) % width
    nearest = np.full(height * width, np.inf, np.float32)
    range_m[range_m < min_range_m] = np.inf
    np.minimum.at(nearest, index, range_m)
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(height, width)


def remove_hidden(range_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Remove points that the camera cannot see because nearer ones surround them.

    A sensor beside the camera sees around corners; its points behind an object land between the
    object's own. Hidden is a point with nearer ones to its left and its right, or above and
    below; a floor, nearer on one side only, stays.

    :param range_m: (H, W) float32, NaN = no point
    :return: a copy with hidden points set to NaN
    """
    height, width = range_m.shape
    reach = max(1, round(NEIGHBOURHOOD_DEG * height / 180))
    padded = cv2.copyMakeBorder(np.nan_to_num(range_m, nan=np.inf), reach, reach, 0, 0,
                                cv2.BORDER_CONSTANT, value=float('inf'))
    padded = np.concatenate([padded[:, -reach:], padded, padded[:, :reach]], axis=1)
    across = cv2.erode(padded, np.ones((1, reach), np.uint8), anchor=(0, 0))   # [c, c + reach)
    down = cv2.erode(padded, np.ones((reach, 1), np.uint8), anchor=(0, 0))
    rows, cols = slice(reach, reach + height), slice(reach, reach + width)
    left, right = across[rows, :width], across[rows, reach + 1:reach + 1 + width]
    above, below = down[:height, cols], down[reach + 1:reach + 1 + height, cols]
    surface = np.minimum(np.maximum(left, right), np.maximum(above, below))
    hidden = range_m > BEHIND * surface
    return np.where(hidden, np.float32(np.nan), range_m)


def pinhole_points(depth_m: NDArray[np.float32], k: NDArray[np.floating]) -> NDArray[np.float32]:
    """
    Return the points of a pinhole z-depth image (REP 118).

    :param depth_m: (h, w) z-depth [m]; values that are not finite and positive are left out
    :param k: 9 or (3, 3), the matrix K of CameraInfo
    :return: (N, 3) in the optical frame (z forward, x right, y down)
    :raises ValueError: if K has no focal length
    """
    k = np.asarray(k, np.float64).reshape(3, 3)
    if not (k[0, 0] > 0 and k[1, 1] > 0):
        raise ValueError(f'CameraInfo has no focal length (fx {k[0, 0]:g}, fy {k[1, 1]:g})')
    row, col = np.nonzero(np.isfinite(depth_m) & (depth_m > 0))
    depth = depth_m[row, col]
    return np.stack([(col - k[0, 2]) / k[0, 0] * depth, (row - k[1, 2]) / k[1, 1] * depth,
                     depth], axis=1).astype(np.float32)
