# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Panoramas in torch: neighbours across the seam and the poles, normals, perspective views."""

from __future__ import annotations

from functools import lru_cache
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from da_ros.sphere import angles_from_ray, col_from_azimuth, erp_rays, row_from_elevation

TINY = 1e-12
PARALLEL = 1e-3        # sine between two tangents below which a normal fades out


@lru_cache(maxsize=8)
def rays(height: int, width: int, device: torch.device) -> Tensor:
    """Return the unit rays of `da_ros.sphere.erp_rays` as (3, H, W) float32."""
    return torch.from_numpy(np.moveaxis(erp_rays(height, width), -1, 0).copy()).float().to(device)


def sphere_pad(maps: Tensor) -> Tensor:
    """
    Add one pixel all round as the sphere continues: columns wrap, rows go on over the pole.

    :param maps: (..., H, W), W even
    :return: (..., H + 2, W + 2)
    """
    half = maps.shape[-1] // 2
    top, bottom = (row.roll(half, -1) for row in (maps[..., :1, :], maps[..., -1:, :]))
    maps = torch.cat([top, maps, bottom], -2)
    return torch.cat([maps[..., -1:], maps, maps[..., :1]], -1)


def all_around(used: Tensor) -> Tensor:
    """Return (B, H, W) bool: a pixel and its eight neighbours on the sphere are all True."""
    missing = sphere_pad((~used).float())[:, None]
    return F.max_pool2d(missing, 3, stride=1)[:, 0] == 0


def normals_from_range(range_m: Tensor) -> Tensor:
    """
    Return the unit normals of the seen surface, turned towards the camera.

    Cross product of the central differences of the points r * ray (the distance-to-normal
    operator of DA2, equation 9; the paper leaves the stencil open).

    :param range_m: (B, H, W) positive
    :return: (B, 3, H, W), body frame; shorter than 1 where the tangents are parallel, so that the
        gradient stays bounded
    """
    # Points are padded, not ranges: beyond the pole the same range lies on the other side.
    points = sphere_pad(range_m[:, None] * rays(*range_m.shape[-2:], range_m.device))
    across = F.normalize(points[..., 1:-1, 2:] - points[..., 1:-1, :-2], dim=1, eps=TINY)
    down = F.normalize(points[..., 2:, 1:-1] - points[..., :-2, 1:-1], dim=1, eps=TINY)
    return F.normalize(torch.cross(down, across, dim=1), dim=1, eps=PARALLEL)


def icosahedron_vertices() -> np.ndarray:
    """Return the 12 unit vertices of an icosahedron, (12, 3), two of them at the poles."""
    ring = math.atan(0.5)
    azimuth = np.arange(5) * 2 * math.pi / 5
    rings = [np.stack([np.cos(e) * np.cos(azimuth + turn), np.cos(e) * np.sin(azimuth + turn),
                       np.full(5, np.sin(e))], 1) for e, turn in ((ring, 0), (-ring, math.pi / 5))]
    return np.concatenate([[[0, 0, 1]], *rings, [[0, 0, -1]]])


def view_rays(centre: np.ndarray, size_px: int, field_of_view_deg: float) -> np.ndarray:
    """
    Return the rays of a square perspective view, scaled to depth 1 along its axis.

    :param centre: (3,) unit vector that the view looks along
    :return: (size, size, 3), row 0 at the top
    """
    pole = abs(centre[2]) > 0.99
    right = np.cross(centre, [1.0, 0, 0] if pole else [0, 0, 1.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, centre)
    half = math.tan(math.radians(field_of_view_deg) / 2)
    offset = half * (2 * (np.arange(size_px) + 0.5) / size_px - 1)
    return centre + offset[None, :, None] * right - offset[:, None, None] * up


@lru_cache(maxsize=4)
def view_grid(height: int, width: int, size_px: int, field_of_view_deg: float,
              device: torch.device) -> tuple[Tensor, Tensor]:
    """
    Return where the 12 views look in a panorama padded by `sphere_pad`.

    :return: (1, 12 * size, size, 2) for grid_sample; (12, size, size) depth / range of each ray
    """
    view = np.stack([view_rays(c, size_px, field_of_view_deg) for c in icosahedron_vertices()])
    azimuth, elevation = angles_from_ray(view)
    col = 2 * (col_from_azimuth(azimuth, width) + 1) / (width + 2) - 1
    row = 2 * (row_from_elevation(elevation, height) + 1) / (height + 2) - 1
    grid = np.stack([col, row], -1).reshape(1, -1, size_px, 2)
    cosine = 1 / np.linalg.norm(view, axis=-1)
    return tuple(torch.from_numpy(a).float().to(device) for a in (grid, cosine))


def sample_views(maps: Tensor, size_px: int, field_of_view_deg: float) -> Tensor:
    """
    Return the 12 icosahedron views of panoramas, bilinear and seamless.

    :param maps: (B, H, W)
    :return: (B, 12, size, size)
    """
    grid, _ = view_grid(*maps.shape[-2:], size_px, field_of_view_deg, maps.device)
    sampled = F.grid_sample(sphere_pad(maps)[:, None], grid.expand(len(maps), -1, -1, -1),
                            mode='bilinear', align_corners=False)
    return sampled.view(len(maps), 12, size_px, size_px)
