"""DINOv2 vision transformer: 14 px patches, one learned position per patch."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from training.networks.vit import Block, LAYER_NORM_EPS, PatchEmbed, run_blocks, VitConfig

PATCH_PX = 14
GRID = 37                    # the position grid of the weights: 37 x 37 patches = 518 px

VIT_S = VitConfig(dim=384, depth=12, heads=6, taps=(2, 5, 8, 11))
VIT_L = VitConfig(dim=1024, depth=24, heads=16, taps=(5, 11, 17, 23))


class Dinov2(nn.Module):
    """The encoder: image to normalised feature grids of the tapped blocks."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID * GRID, config.dim))
        self.patch_embed = PatchEmbed(config.dim, PATCH_PX)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, masked_key_bias=False) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=LAYER_NORM_EPS)
        self._fixed: dict[tuple[int, int], Tensor] = {}

    def forward(self, image: Tensor) -> list[Tensor]:
        """
        Return the feature grid of each tap.

        :param image: (batch, 3, height, width) normalised; sides are multiples of 14
        :return: per tap (batch, rows, cols, dim)
        """
        patches = self.patch_embed(image)
        batch, _, rows, cols = patches.shape
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1),
                            patches.flatten(2).transpose(1, 2)], dim=1)
        positions = self._fixed.get((rows, cols))
        tokens = tokens + (self.positions(rows, cols) if positions is None else positions)
        return [self.norm(tap)[:, 1:].unflatten(1, (rows, cols))
                for tap in run_blocks(self.blocks, tokens, self.config.taps)]

    def positions(self, rows: int, cols: int) -> Tensor:
        """Return the position embedding of CLS and patches, (1, 1 + rows * cols, dim)."""
        grid = self.pos_embed[:, 1:].unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(rows, cols), mode='bicubic', align_corners=False)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

    def fix_size(self, height: int, width: int) -> None:
        """Compute the positions of one image size now, so that an export holds them constant."""
        rows, cols = height // PATCH_PX, width // PATCH_PX
        self._fixed = {(rows, cols): self.positions(rows, cols).detach()}
