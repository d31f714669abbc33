# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The direction embedding of SphereViT, as its released code computes it.

Its own frame: x right, y down, z forward, image centre = +z. In `da_ros.sphere` terms the
azimuth is the negative of phi and the elevation the negative of theta. Everything is float32 in
this order of operations: asin near the poles times a frequency of 39 pi amplifies every other
rounding by five.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HORIZONTAL_FIELD = 6.2832        # rad, as released: not exactly 2 pi
VERTICAL_FIELD = 3.1416


def sphere_embedding(size_hw: tuple[int, int], sphere_hw: tuple[float, ...], patch_px: int,
                     dim: int) -> Tensor:
    """
    Return the embedding of the viewing direction of each patch, (1, patches, dim).

    The direction is that of the patch's top left pixel.

    :param size_hw: image size [px], multiples of the patch
    :param sphere_hw: size of the full sphere in pixels of this image
    """
    right, down, forward = sphere_directions(size_hw, sphere_hw)[:, ::patch_px, ::patch_px]
    theta = torch.asin(down)
    sign = torch.where(forward < 0, -1.0, 1.0)
    phi = torch.atan2(right, forward.abs().clamp(min=1e-5) * sign)
    waves = [torch.sin(angle.flatten()[:, None] * frequencies(size_hw, patch_px, dim) * math.pi)
             for angle in (theta, phi)]
    return torch.cat(waves, dim=1)[None]


def sphere_directions(size_hw: tuple[int, int], sphere_hw: tuple[float, ...]) -> Tensor:
    """Return unit directions (right, down, forward) of the pixel centres, (3, height, width)."""
    down_px, right_px = (torch.arange(count, dtype=torch.float32) + 0.5 for count in size_hw)
    height, width = sphere_hw
    azimuth = ((right_px - width / 2) / width * HORIZONTAL_FIELD)[None, :]
    descent = ((down_px - height / 2) / height * VERTICAL_FIELD)[:, None]
    return torch.stack(torch.broadcast_tensors(
        descent.cos() * azimuth.sin(), descent.sin(), descent.cos() * azimuth.cos()))


def frequencies(size_hw: tuple[int, int], patch_px: int, dim: int) -> Tensor:
    """Return dim / 2 frequencies, geometric from 1 to half the longer side in patches."""
    longest = max(side // patch_px for side in size_hw) // 2
    return 2 ** torch.linspace(0, math.log2(longest), dim // 2)
