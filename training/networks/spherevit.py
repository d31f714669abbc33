# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
DA2 (DA-2, SphereViT, arXiv 2509.26618): scale-invariant range of a panorama.

A DINOv2 encoder whose feature grids attend to an embedding of the viewing directions, then a
convolutional decoder to log range. Written after the released code, which differs from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from training.networks.dinov2 import Dinov2, PATCH_PX, VIT_L, VIT_S
from training.networks.dpt import conv3x3
from training.networks.sphere_embedding import sphere_embedding
from training.networks.vit import LAYER_NORM_EPS, VitConfig

DIM = 512                        # decoder width
HEADS = 8
SLOPE = 0.01                     # of every leaky ReLU
OUTPUT_QUANTILE = 0.98           # the range is divided by this quantile of itself
LOG_RANGE_LIMIT = 8.0
LOG_RANGE_SHIFT = 2.0
ENCODERS = {'vits': VIT_S, 'vitl': VIT_L}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SphereVitConfig:
    """Image sizes and encoder; the released configuration is the default."""

    min_pixels: int = 580_000
    max_pixels: int = 620_000
    # (height, width) that the directions are scaled from; () = the true size of the image. As
    # released, directions are right for 546 x 1092 px only.
    sphere_hw: tuple[float, ...] = (546, 1092)
    encoder: str = 'vitl'                          # vits | vitl
    sphere_attention: bool = True                  # False = the ablation without the embedding

    @property
    def vit(self) -> VitConfig:
        return ENCODERS[self.encoder]


class SphereVit(nn.Module):
    """The network; the range has no unit."""

    def __init__(self, config: SphereVitConfig):
        super().__init__()
        self.config = config
        vit = config.vit
        self.encoder = Dinov2(vit)
        self.align = nn.ModuleList(nn.Linear(vit.dim, DIM) for _ in vit.taps)
        self.prompt = nn.ModuleList(
            CrossAttention() for _ in vit.taps if config.sphere_attention)
        self.decoder = Decoder()
        self._fixed: dict[tuple[int, int, tuple[float, ...]], Tensor] = {}

    def forward(self, image: Tensor) -> Tensor:
        """
        Return the range as released: 98 % of all values of the batch are at most 1.

        :param image: (batch, 3, height, width) RGB in 0..1
        :return: (batch, height, width), no unit
        """
        return F.interpolate(self.scaled_range(image), size=image.shape[-2:], mode='bilinear',
                             align_corners=False)[:, 0]

    def scaled_range(self, image: Tensor) -> Tensor:
        """Return the range at network size, (batch, 1, rows, cols); see `forward`."""
        size_hw, factor = network_size(self.config, *image.shape[-2:])
        resized = F.interpolate(image, size=size_hw, mode='bilinear', align_corners=False)
        sphere_hw = tuple(side * factor for side in self.config.sphere_hw) or size_hw
        unscaled = self.unscaled_range(imagenet_normalised(resized), sphere_hw)
        return unscaled / torch.quantile(unscaled, OUTPUT_QUANTILE)

    def unscaled_range(self, image: Tensor, sphere_hw: tuple[float, ...]) -> Tensor:
        """
        Return the range before its division by the quantile.

        :param image: (batch, 3, height, width) ImageNet-normalised RGB; sides multiples of 14
        :param sphere_hw: size of the full sphere in pixels of this image
        :return: (batch, 1, height, width)
        """
        size_hw = tuple(image.shape[-2:])
        grids = [align(grid) for align, grid in zip(self.align, self.encoder(image), strict=True)]
        if self.config.sphere_attention:
            grids = self.look_around(grids, size_hw, sphere_hw)
        log_range = self.decoder(grids, size_hw)
        return torch.exp(log_range.clamp(-LOG_RANGE_LIMIT, LOG_RANGE_LIMIT) + LOG_RANGE_SHIFT)

    def look_around(self, grids: list[Tensor], size_hw: tuple[int, int],
                    sphere_hw: tuple[float, ...]) -> list[Tensor]:
        """Return the grids after their attention to the embedding of the directions."""
        rows, cols = grids[0].shape[1:3]
        embedding = self._fixed.get((*size_hw, sphere_hw))
        if embedding is None:
            embedding = sphere_embedding(size_hw, sphere_hw, PATCH_PX, DIM).to(grids[0].device)
        return [prompt(grid.flatten(1, 2), embedding).unflatten(1, (rows, cols))
                for prompt, grid in zip(self.prompt, grids, strict=True)]

    def fix_size(self, height: int, width: int, sphere_hw: tuple[float, ...]) -> None:
        """Prepare an export at one image size: positions and directions become constants."""
        self.encoder.fix_size(height, width)
        embedding = sphere_embedding((height, width), sphere_hw, PATCH_PX, DIM)
        self._fixed = {(height, width, sphere_hw): embedding}


class CrossAttention(nn.Module):
    """Image tokens ask the embedding of the viewing directions; then an MLP."""

    def __init__(self):
        super().__init__()
        self.norm_tokens = nn.LayerNorm(DIM, eps=LAYER_NORM_EPS)
        self.norm_context = nn.LayerNorm(DIM, eps=LAYER_NORM_EPS)
        self.query = nn.Linear(DIM, DIM, bias=False)
        self.key_value = nn.Linear(DIM, 2 * DIM, bias=False)
        self.out = nn.Linear(DIM, DIM, bias=False)
        self.mlp = nn.Sequential(
            nn.LayerNorm(DIM, eps=LAYER_NORM_EPS), nn.Linear(DIM, 4 * DIM), nn.GELU(),
            nn.Linear(4 * DIM, DIM))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """
        Return tokens of the same shape.

        :param tokens: (batch, count, 512)
        :param context: (1, count, 512)
        """
        key, value = self.key_value(self.norm_context(context)).chunk(2, dim=-1)
        query, key, value = (heads_apart(part) for part in (
            self.query(self.norm_tokens(tokens)), key, value))
        batch = query.shape[0]
        mixed = F.scaled_dot_product_attention(
            query, key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1))
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens)


def heads_apart(tokens: Tensor) -> Tensor:
    """Return (batch, heads, count, channels per head)."""
    return tokens.unflatten(-1, (HEADS, -1)).transpose(1, 2)


class Decoder(nn.Module):
    """Four maps to log range."""

    def __init__(self):
        super().__init__()
        self.latent = nn.Linear(DIM, DIM)
        self.process = nn.ModuleList([
            nn.ConvTranspose2d(DIM, DIM, 1), nn.ConvTranspose2d(DIM, DIM, 2, stride=2),
            nn.ConvTranspose2d(DIM, DIM // 2, 4, stride=4)])
        self.up = nn.ModuleList([
            Upsample(DIM, DIM), Upsample(DIM, DIM // 2), Upsample(DIM // 2, DIM // 4)])
        self.mix = nn.Sequential(
            nn.LayerNorm(DIM // 4, eps=LAYER_NORM_EPS), nn.Linear(DIM // 4, DIM // 4))
        self.neck = conv3x3(DIM // 4, 64, padding_mode='reflect')
        self.out = nn.Sequential(
            conv3x3(64, 32, padding_mode='reflect'), nn.LeakyReLU(SLOPE), nn.Conv2d(32, 1, 1))

    def forward(self, maps: Sequence[Tensor], size_hw: tuple[int, int]) -> Tensor:
        """
        Return the log range.

        :param maps: four (batch, rows, cols, 512), earliest tap first
        :return: (batch, 1, *size_hw)
        """
        latent = self.latent(maps[0]).permute(0, 3, 1, 2)
        for process, up, tap in zip(self.process, self.up, maps[1:], strict=True):
            latent = up(latent + process(tap.permute(0, 3, 1, 2)))
        latent = self.mix(latent.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.out(F.interpolate(
            self.neck(latent), size=size_hw, mode='bilinear', align_corners=True))


class Upsample(nn.Module):
    """Two residual convolutions, a channel mix, twice the size."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.units = nn.Sequential(ScaledResidual(in_channels), ScaledResidual(in_channels))
        self.mix = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, grid: Tensor) -> Tensor:
        grid = self.mix(self.units(grid))
        size_hw = (2 * grid.shape[-2], 2 * grid.shape[-1])
        return F.interpolate(grid, size=size_hw, mode='bilinear', align_corners=False)


class ScaledResidual(nn.Module):
    """x + gamma * conv(act(conv(act(x))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels)
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), 1e-4))

    def forward(self, grid: Tensor) -> Tensor:
        inner = self.conv1(F.leaky_relu(grid, SLOPE))
        return grid + self.gamma * self.conv2(F.leaky_relu(inner, SLOPE))


def network_size(config: SphereVitConfig, height: int,
                 width: int) -> tuple[tuple[int, int], float]:
    """
    Return the size that the released network resizes an image to, and the factor behind it.

    :return: (height, width) [px], multiples of 14; sqrt of the ratio of pixel counts
    """
    pixels = height * width
    target = min(max(pixels, config.min_pixels), config.max_pixels)
    factor = math.sqrt(target / pixels)
    rows, cols = (math.ceil(int(side * factor) / PATCH_PX) for side in (height, width))
    return (rows * PATCH_PX, cols * PATCH_PX), factor


def imagenet_normalised(image: Tensor) -> Tensor:
    """
    Return the image with the mean and deviation of ImageNet taken out.

    :param image: (batch, 3, height, width) RGB in 0..1
    """
    mean, std = (torch.tensor(values, device=image.device).view(3, 1, 1)
                 for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (image - mean) / std
