# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""DPT head: four feature grids of a transformer to one value per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn, Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class DptConfig:
    """Widths of a head."""

    in_dim: int = 1024
    features: int = 256
    out_channels: tuple[int, ...] = (256, 512, 1024, 1024)


def conv3x3(in_channels: int, out_channels: int, **options) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, **options)


def resize(grid: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Resize bilinearly, corner pixels kept in the corners."""
    return F.interpolate(grid, size=tuple(size_hw), mode='bilinear', align_corners=True)


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, features: int):
        super().__init__()
        self.conv1 = conv3x3(features, features)
        self.conv2 = conv3x3(features, features)

    def forward(self, grid: Tensor) -> Tensor:
        return grid + self.conv2(F.relu(self.conv1(F.relu(grid))))


class Fusion(nn.Module):
    """Add a lateral grid (the deepest stage has none), refine, resize, mix the channels."""

    def __init__(self, features: int, has_lateral: bool):
        super().__init__()
        self.lateral = ResidualUnit(features) if has_lateral else None
        self.refine = ResidualUnit(features)
        self.out = nn.Conv2d(features, features, 1)

    def forward(self, grid: Tensor, lateral: Tensor | None, size_hw: Sequence[int]) -> Tensor:
        if self.lateral is not None:
            grid = grid + self.lateral(lateral)
        return self.out(resize(self.refine(grid), size_hw))


class DptHead(nn.Module):
    """The head; index 0 is the earliest tap, the finest grid."""

    def __init__(self, config: DptConfig):
        super().__init__()
        self.config = config
        first, second, _, last = config.out_channels
        half = config.features // 2
        self.project = nn.ModuleList(
            nn.Conv2d(config.in_dim, channels, 1) for channels in config.out_channels)
        self.scale = nn.ModuleList([
            nn.ConvTranspose2d(first, first, 4, stride=4),
            nn.ConvTranspose2d(second, second, 2, stride=2),
            nn.Identity(),
            conv3x3(last, last, stride=2)])
        self.reassemble = nn.ModuleList(
            conv3x3(channels, config.features, bias=False) for channels in config.out_channels)
        self.fuse = nn.ModuleList(Fusion(config.features, index < 3) for index in range(4))
        self.neck = conv3x3(config.features, half)
        self.out = nn.Sequential(
            conv3x3(half, 32), nn.ReLU(), nn.Conv2d(32, 1, 1))

    def forward(self, grids: Sequence[Tensor]) -> Tensor:
        """
        Return one logit per pixel.

        :param grids: four (batch, in_dim, rows, cols), earliest tap first
        :return: (batch, 1, 16 rows, 16 cols)
        """
        rows, cols = grids[0].shape[-2:]
        levels = [reassemble(scale(project(grid))) for reassemble, scale, project, grid in zip(
            self.reassemble, self.scale, self.project, grids, strict=True)]
        fused = self.fuse[3](levels[3], None, levels[2].shape[-2:])
        fused = self.fuse[2](fused, levels[2], levels[1].shape[-2:])
        fused = self.fuse[1](fused, levels[1], levels[0].shape[-2:])
        fused = self.fuse[0](fused, levels[0], (8 * rows, 8 * cols))
        return self.out(resize(self.neck(fused), (16 * rows, 16 * cols)))
