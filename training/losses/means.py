# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all losses share: which pixels count, and means over them."""

from __future__ import annotations

import torch
from torch import Tensor

from da_ros.sphere import erp_rays, solid_angles
from training.data.obstacles import ROBOT

EPS = 1e-8
POLE_WEIGHT = 0.15
NEAR_M = 3.0            # horizontally


def usable_target(range_m: Tensor, pixel_weight: Tensor, min_m: float,
                  max_m: float) -> tuple[Tensor, Tensor]:
    """
    Return the log range (0 where unusable) and the weight of each pixel, (B, H, W) both.

    :param range_m: (B, H, W) metres; NaN = unknown, +inf = empty: neither has a range
    :param pixel_weight: (H, W), see `pixel_weights`
    :param min_m: nearer surfaces get no weight, nor those beyond max_m
    """
    usable = torch.isfinite(range_m) & (range_m >= min_m) & (range_m <= max_m)
    return torch.log(torch.where(usable, range_m, 1.0)), pixel_weight * usable


def near_obstacles(range_m: Tensor, height_m: Tensor) -> Tensor:
    """
    Return (B, H, W) bool: surfaces within 3 m that a robot would run into.

    As obstacles are scored (`training.data.obstacles`): 0.05 to 1.5 m above the floor under a
    level camera. None where the camera height is unknown.

    The camera is taken as level, and augmentation tilts a quarter of the samples (standard
    deviation 4 degrees about each axis): by how much is not known here. At 4 degrees 6, 9 and
    15 % of the pixels of bare floor within 3 m count as obstacle, for a camera at 0.3, 0.5 and
    1 m; of a level one, none.

    :param range_m: (B, H, W) metres; NaN and +inf are no obstacle
    :param height_m: (B,) camera height, 0 = unknown
    """
    above_floor_m, near = _above_floor(range_m, height_m)
    return near & (above_floor_m > ROBOT.lowest) & (above_floor_m < ROBOT.highest)


def near_floor(range_m: Tensor, height_m: Tensor) -> Tensor:
    """
    Return (B, H, W) bool: the floor within 3 m, which must not look like an obstacle.

    Less than 0.05 m above or below the floor under a level camera; else as `near_obstacles`.
    """
    above_floor_m, near = _above_floor(range_m, height_m)
    return near & (above_floor_m.abs() <= ROBOT.lowest)


def _above_floor(range_m: Tensor, height_m: Tensor) -> tuple[Tensor, Tensor]:
    """Return height above the floor [m] and whether within 3 m of a known camera height."""
    up = torch.from_numpy(erp_rays(*range_m.shape[1:])[:, :1, 2].copy()).to(range_m)
    near = (range_m * (1 - up ** 2).sqrt() < NEAR_M) & (height_m > 0)[:, None, None]
    return height_m[:, None, None] + range_m * up, near


def pixel_weights(kind: str, height: int, width: int) -> Tensor:
    """
    Return (H, W) float32 weights of mean 1: the distortion map.

    `solid_angle`: what each pixel covers of the sphere (DAP, section 3.3). `floored`: the same,
    but at least 15 % of the equator's: without the floor the rows at the poles get almost no
    gradient, and Adam, which scales every parameter alike, lets their own parameters wander.
    `none`: every pixel alike.
    """
    weight = torch.from_numpy(solid_angles(height, width).copy())
    if kind == 'floored':
        weight = weight.clamp(min=POLE_WEIGHT * float(weight.max()))
    if kind == 'none':
        weight = torch.ones_like(weight)
    return (weight / weight.mean()).float()


def range_where_used(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return exp(pred); that of the target where unusable, so that nothing overflows there."""
    return torch.where(weight > 0, pred, target).exp()


def weighted_mean(value: Tensor, weight: Tensor) -> Tensor:
    """Return (B,) the mean of value (B, ...) under weights of the same shape; 0 without weight."""
    value, weight = value.flatten(1), weight.flatten(1)
    return (value * weight).sum(1) / weight.sum(1).clamp(min=EPS)


def image_mean(per_image: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of (B,) over the images that have any weight; 0 if none has."""
    used = has_weight(weight).to(per_image.dtype)
    return (per_image * used).sum() / used.sum().clamp(min=1)


def has_weight(weight: Tensor) -> Tensor:
    """Return (B,) bool: whether an image has a usable pixel."""
    return weight.flatten(1).sum(1) > 0
