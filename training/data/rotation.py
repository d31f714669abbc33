# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Turning a panorama on the sphere: the source of each new pixel, for pictures and range."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays

AGREE = 0.02    # bilinear range is kept where it is this near to the nearest pixel's


def source_pixels(rotation: NDArray[np.floating], height: int,
                  width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Return the continuous (row, col) that each pixel of the turned panorama looks at.

    :param rotation: (3, 3), old camera frame from new camera frame
    :return: rows in [0, height], cols in [0, width], (height, width) float32 each
    """
    x, y, z = (np.asarray(rotation, np.float32) @ _ray_columns(height, width)).reshape(
        3, height, width)
    # the formulas of da_ros.sphere in float32: a pixel is 1000 times their rounding. In place,
    # because fresh memory costs more than the arithmetic
    row = np.arcsin(np.clip(z, -1, 1, out=z), out=z)
    row *= np.float32(-height / np.pi)
    row += np.float32(height / 2)
    col = np.arctan2(y, x, out=y)
    col *= np.float32(-width / (2 * np.pi))
    col += np.float32(width / 2)
    return row, col


@lru_cache(maxsize=4)
def _ray_columns(height: int, width: int) -> NDArray[np.float32]:
    """Return the rays of a panorama as (3, height * width)."""
    return np.ascontiguousarray(erp_rays(height, width).reshape(-1, 3).T, np.float32)


def sample_image(image: NDArray[np.uint8], row, col) -> NDArray[np.uint8]:
    """Return the image at continuous coordinates, bilinear, closed at the seam and the poles."""
    return cv2.remap(pad_sphere(image), col + np.float32(0.5), row + np.float32(0.5),
                     cv2.INTER_LINEAR)


def sample_range(range_m: NDArray[np.float32], row, col) -> NDArray[np.float32]:
    """
    Return the range at continuous coordinates; it never mixes two surfaces.

    Bilinear in 1 / range, which is linear in the ray over a plane, where that agrees with the
    nearest pixel; the nearest pixel at edges and beside unknown or empty ones.
    """
    padded = pad_sphere(range_m)
    row, col = row + np.float32(0.5), col + np.float32(0.5)
    nearest = cv2.remap(padded, col, row, cv2.INTER_NEAREST)
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = np.divide(1, padded, out=padded)
        smooth = cv2.remap(inverse, col, row, cv2.INTER_LINEAR)
        np.divide(1, smooth, out=smooth)
        off = np.abs(np.divide(smooth, nearest, out=row) - 1, out=col)
        np.copyto(nearest, smooth, where=off < AGREE)
    return nearest


def pad_sphere(array: NDArray) -> NDArray:
    """Return the array with one more pixel on all sides, as the sphere continues."""
    half = array.shape[1] // 2
    top, bottom = (np.roll(array[i:i + 1], half, axis=1) for i in (0, array.shape[0] - 1))
    return cv2.copyMakeBorder(np.concatenate([top, array, bottom]), 0, 0, 1, 1, cv2.BORDER_WRAP)
