# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""DINOv3 vision transformer: 16 px patches, rotary positions, four storage tokens."""

from __future__ import annotations

import math

import torch
from torch import nn, Tensor

from training.networks.vit import Block, LAYER_NORM_EPS, PatchEmbed, run_blocks, VitConfig

PATCH_PX = 16
STORAGE_TOKENS = 4
PREFIX_TOKENS = 1 + STORAGE_TOKENS     # CLS and storage come before the patches
HEAD_DIM = 64
ROPE_BASE = 100.0

VIT_S = VitConfig(dim=384, depth=12, heads=6, taps=(2, 5, 8, 11))
VIT_B = VitConfig(dim=768, depth=12, heads=12, taps=(2, 5, 8, 11))
VIT_L = VitConfig(dim=1024, depth=24, heads=16, taps=(4, 11, 17, 23))


class RotaryTable(nn.Module):
    """Sines and cosines of the patch positions; the periods come from the checkpoint."""

    def __init__(self, head_dim: int = HEAD_DIM):
        super().__init__()
        count = head_dim // 4
        self.register_buffer('periods', ROPE_BASE ** (torch.arange(count) / count))

    def forward(self, rows: int, cols: int) -> tuple[Tensor, Tensor]:
        """
        Return sin and cos, each (rows * cols, head_dim) float32.

        Channel order: row angles, column angles, then both once more. Row and column run over
        (-1, 1) at patch centres, so a table is not periodic over the seam.
        """
        device = self.periods.device
        row = 2 * (torch.arange(rows, device=device) + 0.5) / rows - 1
        col = 2 * (torch.arange(cols, device=device) + 0.5) / cols - 1
        place = torch.stack(torch.meshgrid(row, col, indexing='ij'), dim=-1).reshape(-1, 2, 1)
        angles = (2 * math.pi * place / self.periods.float()).flatten(1).tile(2)
        return angles.sin(), angles.cos()


class Dinov3(nn.Module):
    """The encoder: image to normalised tokens of the tapped blocks."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.storage_tokens = nn.Parameter(torch.zeros(1, STORAGE_TOKENS, config.dim))
        self.patch_embed = PatchEmbed(config.dim, PATCH_PX)
        self.rope_embed = RotaryTable(config.dim // config.heads)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, masked_key_bias=True) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self._fixed: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def forward(self, image: Tensor) -> list[Tensor]:
        """
        Return the normalised tokens of each tap.

        :param image: (batch, 3, height, width); rows and columns past a multiple of 16 are unused
        :return: per tap (batch, 5 + patches, dim): CLS, 4 storage tokens, patches in raster order
        """
        patches = self.patch_embed(image)
        batch, _, rows, cols = patches.shape
        table = self._fixed.get((rows, cols)) or self.rope_embed(rows, cols)
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1),
                            self.storage_tokens.expand(batch, -1, -1),
                            patches.flatten(2).transpose(1, 2)], dim=1)
        return [self.norm(tap) for tap in run_blocks(self.blocks, tokens, self.config.taps, table)]

    def fix_size(self, height: int, width: int) -> None:
        """Compute the rotary table of one image size now, so that an export holds it constant."""
        rows, cols = height // PATCH_PX, width // PATCH_PX
        self._fixed = {(rows, cols): self.rope_embed(rows, cols)}
