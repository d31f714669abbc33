# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Geometry of the equirectangular panorama: the one home of every convention.

Body frame (REP 103): x forward, y left, z up. The centre of a pixel lies at index + 0.5. The image
centre looks along +x, its left half along +y, its top row along +z::

    azimuth   = pi - 2 pi (col + 0.5) / width      [-pi, pi), falls from left to right
    elevation = pi / 2 - pi (row + 0.5) / height   [-pi/2, pi/2], falls from top to bottom

Rows and columns of the functions below are *continuous image coordinates*: the centre of the pixel
with index i has the coordinate i + 0.5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def check_erp_size(height: int, width: int) -> None:
    """
    Refuse a size that is not a full panorama.

    :raises ValueError: if the image is empty or not twice as wide as high
    """
    if height < 1 or width != 2 * height:
        raise ValueError(f'panorama must be twice as wide as high, got {width} x {height} px')


def azimuth_from_col(col: ArrayLike, width: int) -> Array:
    """
    Return the azimuth [rad] at image coordinates.

    :param col: continuous column in [0, width]; the centre of pixel i is i + 0.5
    """
    return np.pi * (1 - 2 * np.asarray(col, dtype=np.float64) / width)


def elevation_from_row(row: ArrayLike, height: int) -> Array:
    """
    Return the elevation [rad] at image coordinates.

    :param row: continuous row in [0, height]; the centre of pixel i is i + 0.5
    """
    return np.pi * (0.5 - np.asarray(row, dtype=np.float64) / height)


def col_from_azimuth(azimuth: ArrayLike, width: int) -> Array:
    """Return the continuous column in [0, width) that looks along an azimuth [rad, any turn]."""
    turns = 0.5 - np.asarray(azimuth, dtype=np.float64) / (2 * np.pi)
    col = (turns - np.floor(turns)) * width
    return np.where(col >= width, 0.0, col)  # floor(-tiny) rounds up to exactly one turn


def row_from_elevation(elevation: ArrayLike, height: int) -> Array:
    """Return the continuous row in [0, height] that looks along an elevation [rad]."""
    return (0.5 - np.asarray(elevation, dtype=np.float64) / np.pi) * height


def ray_from_angles(azimuth: ArrayLike, elevation: ArrayLike) -> Array:
    """
    Return unit rays from broadcast angles [rad].

    :return: (..., 3) in the body frame
    """
    azimuth, elevation = np.broadcast_arrays(
        np.asarray(azimuth, dtype=np.float64), np.asarray(elevation, dtype=np.float64))
    planar = np.cos(elevation)
    return np.stack([planar * np.cos(azimuth), planar * np.sin(azimuth), np.sin(elevation)], -1)


def angles_from_ray(ray: ArrayLike) -> tuple[Array, Array]:
    """
    Return azimuth in [-pi, pi) and elevation in [-pi/2, pi/2] of vectors of any length.

    :param ray: (..., 3) in the body frame; the zero vector gives (0, 0)
    """
    ray = np.asarray(ray, dtype=np.float64)
    azimuth = np.arctan2(ray[..., 1], ray[..., 0])
    azimuth = np.where(azimuth >= np.pi, -np.pi, azimuth)
    elevation = np.arctan2(ray[..., 2], np.hypot(ray[..., 0], ray[..., 1]))
    return azimuth, elevation


@lru_cache(maxsize=8)
def erp_rays(height: int, width: int) -> Array:
    """
    Return the unit ray through each pixel centre of a panorama.

    :param height: rows [px]
    :param width: columns [px], twice the height
    :return: (height, width, 3) float64, read-only, body frame
    :raises ValueError: if the image is not twice as wide as high
    """
    check_erp_size(height, width)
    azimuth = azimuth_from_col(np.arange(width) + 0.5, width)
    elevation = elevation_from_row(np.arange(height) + 0.5, height)
    rays = ray_from_angles(azimuth[None, :], elevation[:, None])
    rays.setflags(write=False)
    return rays


def turned(rays: NDArray[Any], rotation: ArrayLike) -> NDArray[Any]:
    """
    Return vectors turned by a rotation, `v = R @ v`, in the precision that they have.

    A matrix product of (n, 3) by (3, 3) costs ten times as much as nine multiples of whole planes,
    and its threads wait for busy cores.

    :param rays: (..., 3)
    :param rotation: (3, 3)
    :return: (..., 3), a view of three planes
    """
    matrix = np.asarray(rotation, rays.dtype)
    planes = np.empty((3, *rays.shape[:-1]), rays.dtype)
    scratch = np.empty_like(planes[0])
    for plane, row in zip(planes, matrix):
        np.multiply(rays[..., 0], row[0], out=plane)
        for axis in (1, 2):
            plane += np.multiply(rays[..., axis], row[axis], out=scratch)
    return np.moveaxis(planes, 0, -1)


@lru_cache(maxsize=8)
def erp_rays_single(height: int, width: int) -> NDArray[np.float32]:
    """
    Return `erp_rays` in single precision, for tables that are made anew while a robot rocks.

    :return: (height, width, 3) float32, read-only, a view of three planes
    """
    planes = np.ascontiguousarray(np.moveaxis(erp_rays(height, width), -1, 0), np.float32)
    planes.setflags(write=False)
    return np.moveaxis(planes, 0, -1)


@lru_cache(maxsize=8)
def solid_angles(height: int, width: int) -> Array:
    """
    Return the exact solid angle of each pixel [sr]; a full panorama sums to 4 pi.

    A pixel spans d_azimuth (sin(elevation_top) - sin(elevation_bottom)).

    :return: (height, width) float64, read-only
    :raises ValueError: if the image is not twice as wide as high
    """
    check_erp_size(height, width)
    edges = np.sin(elevation_from_row(np.arange(height + 1), height))
    rows = (edges[:-1] - edges[1:]) * (2 * np.pi / width)
    weights = np.repeat(rows[:, None], width, axis=1)
    weights.setflags(write=False)
    return weights


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> Array:
    """
    Return the rotation matrix of fixed-axis roll, pitch, yaw [rad] (REP 103): Rz(yaw) Ry Rx.

    :return: (3, 3); `v_parent = R @ v_child` for a child frame turned by these angles
    """
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (np.cos, np.sin))
    return np.array([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr]])


# v_body = BODY_FROM_OPTICAL @ v_optical; optical frame (REP 103): z forward, x right, y down
BODY_FROM_OPTICAL: Array = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
BODY_FROM_OPTICAL.setflags(write=False)
