# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The transformer block that DINOv2 and DINOv3 share: pre-norm, layer scale, exact GELU.

Every LayerNorm of both released networks has eps 1e-5; DINOv2 itself was published with 1e-6,
which its own weights need: a field of the config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn, Tensor
from torch.nn import functional as F

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class VitConfig:
    """Size of a vision transformer."""

    dim: int = 1024
    depth: int = 24
    heads: int = 16
    taps: tuple[int, ...] = (4, 11, 17, 23)   # blocks whose outputs are used, counted from 0
    eps: float = LAYER_NORM_EPS               # of every LayerNorm
    position_offset: float = 0.0              # patches added to the grid that positions are scaled
                                              # to: 0.1 in Meta's own code, 0 in exports of it
    turning: bool = False                     # DINOv2: positions of a row are alike, so that the
                                              # features turn with the panorama
    harmonics: int = 0                        # DINOv2: of the azimuth between two tokens, that
                                              # attention knows


class LayerScale(nn.Module):
    """Multiply each channel by a learned factor."""

    def __init__(self, dim: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class MaskedBiasLinear(nn.Linear):
    """A qkv layer whose key bias is switched off by a stored mask (1, 0, 1 on the thirds)."""

    def __init__(self, dim: int):
        super().__init__(dim, 3 * dim)
        mask = torch.ones(3 * dim)
        mask[dim:2 * dim] = 0
        self.register_buffer('bias_mask', mask)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(tokens, self.weight, self.bias * self.bias_mask)


class Attention(nn.Module):
    """
    Multi-head self-attention that may know where tokens stand.

    A `table` of sine and cosine turns queries and keys by position, or, with `harmonics`, adds to
    every logit a learned even function of the azimuth between two tokens: the sum over k of
    a_k cos(k difference), as so many more channels of query and key.
    """

    def __init__(self, dim: int, heads: int, masked_key_bias: bool, harmonics: int = 0):
        super().__init__()
        self.heads = heads
        self.qkv = MaskedBiasLinear(dim) if masked_key_bias else nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.harmonics = nn.Parameter(torch.zeros(heads, harmonics)) if harmonics else None

    def forward(self, tokens: Tensor, table: tuple[Tensor, Tensor] | None = None) -> Tensor:
        batch, count, dim = tokens.shape
        width = dim // self.heads
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, width)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.harmonics is not None and table is not None:
            query, key = self._with_azimuth(query, key, torch.cat(table, -1))
            # the fused kernels want values as wide as keys
            value = F.pad(value, (0, query.shape[-1] - width))
        elif table is not None:
            query, key = rotate_patches(query, *table), rotate_patches(key, *table)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=width ** -0.5)
        return self.proj(mixed[..., :width].transpose(1, 2).reshape(batch, count, dim))

    def _with_azimuth(self, query: Tensor, key: Tensor, waves: Tensor) -> tuple[Tensor, Tensor]:
        """Return query and key with `waves` (count, 2 harmonics) as more channels."""
        factor = (query.shape[-1] ** 0.5 * self.harmonics).repeat(1, 2)[:, None]
        shape = (*query.shape[:-1], waves.shape[-1])
        return (torch.cat([query, (factor * waves).to(query.dtype).expand(shape)], -1),
                torch.cat([key, waves.to(key.dtype).expand(shape)], -1))


def rotate_patches(tokens: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """
    Apply rotary position embedding to the last tokens; the first ones (CLS, storage) stay.

    :param tokens: (batch, heads, count, channels)
    :param sin: (patches, channels), patches <= count; `cos` likewise
    """
    first = tokens.shape[2] - sin.shape[0]
    still, patches = tokens[:, :, :first], tokens[:, :, first:].to(sin.dtype)
    low, high = patches.chunk(2, dim=-1)
    turned = patches * cos + torch.cat([-high, low], dim=-1) * sin
    return torch.cat([still, turned.to(tokens.dtype)], dim=2)


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between."""

    def __init__(self, dim: int, ratio: int = 4):
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention, then MLP, each normalised before and scaled after."""

    def __init__(self, dim: int, heads: int, masked_key_bias: bool, eps: float = LAYER_NORM_EPS,
                 harmonics: int = 0):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, masked_key_bias, harmonics)
        self.ls1 = LayerScale(dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim)
        self.ls2 = LayerScale(dim)

    def forward(self, tokens: Tensor, table: tuple[Tensor, Tensor] | None = None) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens), table))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class PatchEmbed(nn.Module):
    """Cut the image into patches; a remainder at the right and bottom is dropped."""

    def __init__(self, dim: int, patch_px: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_px, stride=patch_px)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image)


def run_blocks(blocks: Sequence[Block], tokens: Tensor, taps: tuple[int, ...],
               table: tuple[Tensor, Tensor] | None = None) -> list[Tensor]:
    """Return the outputs of the tapped blocks, in rising order."""
    tapped = []
    for index, block in enumerate(blocks):
        tokens = block(tokens, table)
        if index in taps:
            tapped.append(tokens)
    return tapped
