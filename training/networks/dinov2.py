# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""DINOv2 vision transformer: 14 px patches, one learned position per patch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from training.networks.vit import Block, PatchEmbed, run_blocks, VitConfig

PATCH_PX = 14
GRID = 37                    # the position grid of the weights: 37 x 37 patches = 518 px

VIT_S = VitConfig(dim=384, depth=12, heads=6, taps=(2, 5, 8, 11))
VIT_L = VitConfig(dim=1024, depth=24, heads=16, taps=(5, 11, 17, 23))
PUBLISHED_VIT_S = replace(VIT_S, eps=1e-6)       # as Meta's weights need it


class Dinov2(nn.Module):
    """The encoder: image to normalised feature grids of the tapped blocks."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, config.dim))
        self.patch_embed = PatchEmbed(config.dim, PATCH_PX)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, masked_key_bias=False, eps=config.eps,
                  harmonics=config.harmonics)
            for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)
        self._fixed: dict[tuple[int, int], tuple] = {}       # by (rows, cols)

    def forward(self, image: Tensor) -> list[Tensor]:
        """
        Return the feature grid of each tap.

        :param image: (batch, 3, height, width) normalised; sides are multiples of 14
        :return: per tap (batch, rows, cols, dim)
        """
        rows, cols = image.shape[-2] // PATCH_PX, image.shape[-1] // PATCH_PX
        return [self.norm(tap)[:, 1:].unflatten(1, (rows, cols)) for tap in self.tokens(image)]

    def tokens(self, image: Tensor) -> list[Tensor]:
        """Return the outputs of the tapped blocks, (batch, 1 + rows * cols, dim), CLS first."""
        patches = self.patch_embed(image)
        batch, _, rows, cols = patches.shape
        cls, grid, table = self._fixed.get((rows, cols)) or (
            *self.positions(rows, cols), azimuth_waves(rows, cols, self.config.harmonics, patches))
        tokens = torch.cat([(self.cls_token + cls).expand(batch, -1, -1),
                            (patches + grid).flatten(2).transpose(1, 2)], dim=1)
        return run_blocks(self.blocks, tokens, self.config.taps, table)

    def positions(self, rows: int, cols: int) -> tuple[Tensor, Tensor]:
        """
        Return the position embeddings.

        :return: of CLS (1, 1, dim); of patches (1, dim, rows, cols), cols = 1 if all are alike
        """
        grid = self.pos_embed[:, 1:].unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)
        if offset := self.config.position_offset:
            # as published: the scale is that of a grid larger by the offset, the count is not
            scale = [(side + offset) / GRID for side in (rows, cols)]
            grid = F.interpolate(grid, scale_factor=scale, mode='bicubic', align_corners=False)
        else:
            grid = F.interpolate(grid, size=(rows, cols), mode='bicubic', align_corners=False)
        if self.config.turning:
            grid = grid.mean(-1, keepdim=True)
        return self.pos_embed[:, :1], grid

    def fix_size(self, height: int, width: int) -> None:
        """Compute the positions of one image size now, so that an export holds them constant."""
        rows, cols = height // PATCH_PX, width // PATCH_PX
        cls, grid = self.positions(rows, cols)
        table = azimuth_waves(rows, cols, self.config.harmonics, grid)
        self._fixed = {(rows, cols): (cls.detach(), grid.detach(), table)}


def azimuth_waves(rows: int, cols: int, harmonics: int, like: Tensor
                  ) -> tuple[Tensor, Tensor] | None:
    """
    Return sine and cosine of 1 to `harmonics` times each token's azimuth; None for none.

    :return: (1 + rows * cols, harmonics) each, 0 for CLS, which stands nowhere
    """
    if not harmonics:
        return None
    turn = torch.arange(cols, device=like.device) * (2 * torch.pi / cols)
    angle = (turn[:, None] * torch.arange(1, harmonics + 1, device=like.device)).repeat(rows, 1)
    return tuple(F.pad(wave, (0, 0, 1, 0)).to(like.dtype) for wave in (angle.sin(), angle.cos()))
