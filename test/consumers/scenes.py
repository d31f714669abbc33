# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Worlds of boxes and posts on a floor, seen by a panoramic camera in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays


@dataclass(frozen=True)
class Box:
    """An upright box [m] of the world: from (x0, y0, z0) to (x1, y1, z1)."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def range_along(self, rays, origin):
        with np.errstate(divide='ignore', invalid='ignore'):
            first = (np.array(self.low) - origin) / rays
            second = (np.array(self.high) - origin) / rays
        enter = np.nanmax(np.minimum(first, second), axis=-1)
        leave = np.nanmin(np.maximum(first, second), axis=-1)
        return np.where((enter <= leave) & (leave > 0), np.maximum(enter, 0), np.inf)


@dataclass(frozen=True)
class Post:
    """A vertical cylinder [m]."""

    x: float
    y: float
    radius: float
    z: tuple[float, float] = (0.0, 1.7)

    def range_along(self, rays, origin):
        dx, dy, dz = np.moveaxis(rays, -1, 0)
        ox, oy = origin[0] - self.x, origin[1] - self.y
        a, b, c = dx ** 2 + dy ** 2, ox * dx + oy * dy, ox ** 2 + oy ** 2 - self.radius ** 2
        root = b ** 2 - a * c
        with np.errstate(divide='ignore', invalid='ignore'):
            near = (-b - np.sqrt(root)) / a
            z = origin[2] + near * dz
            side = (root > 0) & (near > 0) & (z >= self.z[0]) & (z <= self.z[1])
            top = (self.z[1] - origin[2]) / dz
            over = (top > 0) & ((ox + top * dx) ** 2 + (oy + top * dy) ** 2 <= self.radius ** 2)
        return np.minimum(np.where(side, near, np.inf), np.where(over, top, np.inf))


def person(x: float, y: float) -> Post:
    """Return somebody who stands there."""
    return Post(x, y, 0.2)


def seen(things, camera=(0.0, 0.0, 1.0), size_hw=(256, 512), world_from_camera=None,
         limit_m=20.0, min_range_m=0.3, floor=True) -> RangeMap:
    """
    Return what a perfect estimator says of a world.

    :param things: boxes and posts; the floor is z = 0
    :param world_from_camera: (3, 3) tilt of the camera
    """
    rays = erp_rays(*size_hw)
    if world_from_camera is not None:
        rays = rays @ np.asarray(world_from_camera).T
    origin = np.asarray(camera, float)
    range_m = np.full(size_hw, np.inf)
    if floor:
        down = np.minimum(rays[..., 2], -1e-9)
        range_m = np.where(rays[..., 2] < 0, -origin[2] / down, np.inf)
    for thing in things:
        range_m = np.minimum(range_m, thing.range_along(rays, origin))
    range_m = range_m.astype(np.float32)
    range_m[range_m >= limit_m] = np.inf
    range_m[range_m < min_range_m] = -np.inf
    return RangeMap(range_m, limit_m, min_range_m, np.zeros((*size_hw, 3), np.uint8))
