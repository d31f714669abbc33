# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
DAP ("Depth Any Panoramas", arXiv 2512.16913): metric range of a panorama, with range masks.

DINOv3 encoder, an adapter with three peculiarities that the released weights were trained with, a
DPT head for the range and one DPT head per range mask. All maps have unit interval values; range 1
is 100 m.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import math

from torch import nn, Tensor
from torch.nn import functional as F

from training.networks.dinov3 import Dinov3, PATCH_PX, PREFIX_TOKENS, VIT_B, VIT_L, VIT_S
from training.networks.dpt import DptConfig, DptHead
from training.networks.vit import LAYER_NORM_EPS, VitConfig

METRES_PER_UNIT = 100.0
ENCODERS = {'vits': VIT_S, 'vitb': VIT_B, 'vitl': VIT_L}
HEADS = {
    'vits': DptConfig(384, 64, (48, 96, 192, 384)),
    'vitb': DptConfig(768, 128, (96, 192, 384, 768)),
    'vitl': DptConfig(1024, 256, (256, 512, 1024, 1024)),
}


@dataclass(frozen=True)
class DapConfig:
    """Which encoder and which range masks; the released model is the default."""

    encoder: str = 'vitl'                          # vits | vitb | vitl
    range_masks_m: tuple[float, ...] = (100.0,)    # m; one head each

    @property
    def vit(self) -> VitConfig:
        return ENCODERS[self.encoder]

    @property
    def head(self) -> DptConfig:
        return HEADS[self.encoder]


@dataclass(frozen=True)
class DapOutput:
    """What the network says; (batch, height, width) each."""

    range_unit: Tensor                                             # in (0, 1), 1 = 100 m
    beyond: dict[float, Tensor] = field(default_factory=dict)      # threshold [m] -> P(range > T)


def mask_key(range_mask_m: float) -> str:
    """Return the module name of a range mask: 12.5 m becomes `12_5`."""
    return f'{range_mask_m:g}'.replace('.', '_')


@dataclass(frozen=True)
class MaskHeadConfig:
    """One range-mask head on its own."""

    encoder: str = 'vitl'          # of the network whose features it reads
    range_mask_m: float = 100.0    # m

    @property
    def head(self) -> DptConfig:
        return HEADS[self.encoder]


class MaskHead(DptHead):
    """A range-mask head apart from its network, to be attached to a bundle."""

    def __init__(self, config: MaskHeadConfig):
        super().__init__(config.head)


class Dap(nn.Module):
    """Encoder, adapter, range head and range-mask heads."""

    def __init__(self, config: DapConfig):
        super().__init__()
        self.config = config
        self.encoder = Dinov3(config.vit)
        self.adapter_norm = nn.LayerNorm(config.vit.dim, eps=LAYER_NORM_EPS)
        self.range_head = DptHead(config.head)
        self.mask_heads = nn.ModuleDict(
            {mask_key(threshold): DptHead(config.head) for threshold in config.range_masks_m})

    def features(self, image: Tensor) -> list[Tensor]:
        """
        Return the four feature grids that all heads read.

        :param image: (batch, 3, height, width) RGB in 0..1,
            or normalised (see training.bundling.graph)
        :return: per tap (batch, dim, height // 16, width // 16)
        """
        rows, cols = image.shape[-2] // PATCH_PX, image.shape[-1] // PATCH_PX
        return [grid_from_tokens(self.adapter_norm(tokens[:, PREFIX_TOKENS:]), rows, cols)
                for tokens in self.encoder(image)]

    def forward(self, image: Tensor) -> DapOutput:
        """
        Return range and range masks; sizes round down to a multiple of 16.

        :param image: as in `features`
        """
        grids = self.features(image)
        return DapOutput(
            self.range_head(grids).sigmoid()[:, 0],
            {threshold: self.mask_heads[mask_key(threshold)](grids).sigmoid()[:, 0]
             for threshold in self.config.range_masks_m})

    def fix_size(self, height: int, width: int) -> None:
        """Prepare an export at one image size."""
        self.encoder.fix_size(height, width)


def grid_from_tokens(tokens: Tensor, rows: int, cols: int) -> Tensor:
    """
    Return the feature grid as the released adapter makes it, the loss of one patch included.

    The first patch token is dropped. The rest is stretched back to full length along the raster
    sequence, or, where their number is a square, as a square image (see `scrambles_geometry`).

    :param tokens: (batch, rows * cols, dim), patches in raster order
    :return: (batch, dim, rows, cols)
    """
    tokens = tokens[:, 1:].transpose(1, 2)
    batch, dim, count = tokens.shape
    if scrambles_geometry(rows, cols):
        side = math.isqrt(count)
        return F.interpolate(tokens.reshape(batch, dim, side, side), size=(rows, cols),
                             mode='bilinear', align_corners=False)
    stretched = F.interpolate(tokens[..., None], size=(count + 1, 1),
                              mode='bilinear', align_corners=False)
    return stretched.reshape(batch, dim, rows, cols)


def scrambles_geometry(rows: int, cols: int) -> bool:
    """Return whether the released adapter would reshape these patches to a wrong square."""
    count = rows * cols - 1
    return math.isqrt(count) ** 2 == count


def freeze_all_but_masks(network: Dap, range_masks_m: tuple[float, ...]) -> list[nn.Parameter]:
    """
    Freeze encoder, range head and other masks; return the parameters to train.

    :param range_masks_m: thresholds [m] whose heads are trained
    """
    network.requires_grad_(False)
    chosen = [network.mask_heads[mask_key(threshold)] for threshold in range_masks_m]
    for head in chosen:
        head.requires_grad_(True)
    return [parameter for head in chosen for parameter in head.parameters()]
