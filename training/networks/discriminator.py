# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
PatchDiscriminator: does the range map of a panorama look like one that was measured?

A PatchGAN (Isola et al. 2017) on image and range: each output sees a patch of some 40 px and
knows nothing of the rest. DAP (section 3.2) ranks pseudo-labels by such a network, trained with
the truth of synthetic images as real and the labeler's predictions on them as fake.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn, Tensor

from training.networks.pano_tiny import wrap_pad

GROUP = 8       # channels per group of a norm: a score must not depend on other images


@dataclass(frozen=True)
class PatchDiscriminatorConfig:
    widths: tuple[int, ...] = (32, 64, 128)     # channels at strides 2, 4, 8
    image: bool = True                          # see the image too, not the range alone


class PatchDiscriminator(nn.Module):
    """
    Image and normalised log range to one score per patch; 1 = real, 0 = fake (least squares).

    forward(image (B, 3, H, W) float RGB in 0..1, shape (B, 1, H, W), see
    `training.discriminate.normalised_shape`) -> (B, H / stride, W / stride).
    """

    def __init__(self, config: PatchDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 4 if config.image else 1
        for index, width in enumerate(config.widths):
            layers += [WrapPad(), nn.Conv2d(before, width, 4, stride=2)]
            layers += [nn.GroupNorm(width // GROUP, width)] if index else []
            layers.append(nn.LeakyReLU(0.2))
            before = width
        self.layers = nn.Sequential(*layers, WrapPad(), nn.Conv2d(before, 1, 3))

    def forward(self, image: Tensor, shape: Tensor) -> Tensor:
        x = torch.cat([(image - 0.45) * 4.0, shape], 1) if self.config.image else shape
        return self.layers(x)[:, 0]


class WrapPad(nn.Module):
    """One pixel on each side: across the seam, zeros beyond the poles."""

    def forward(self, x: Tensor) -> Tensor:
        return wrap_pad(x, 1)
