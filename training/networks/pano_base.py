# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
PanoBase: PanoTiny's body beside a pretrained DINOv2 encoder that knows photographs.

The body is PanoTiny at 16 px per patch of the encoder, so both see one grid; it begins with the
weights of a trained one. The encoder's feature grids, from four depths, go through a path of
their own into the body at stride 16 and into its decoder at strides 16, 8 and 4, so that the last
layers still hear them. In training the deep part of the body is silenced for a share of the
samples: otherwise the decoder goes on relying on what it learnt from renderings.

Equivariant like PanoTiny, to a roll by 32 px: the encoder's position embedding is the mean over
its columns (`VitConfig.turning`), its image is resized with wrapped columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn, Tensor
from torch.nn import functional as F

from training.networks.dinov2 import Dinov2, PATCH_PX, PUBLISHED_VIT_S
from training.networks.pano_tiny import (
    PanoTiny,
    PanoTinyConfig,
    Residual,
    RowBias,
    wrap_pad,
    WrapConv,
)
from training.networks.vit import VitConfig

BODY_PX = 16                # of the body's image per patch
RESIZE_PX = 8               # wrapped on either side before the encoder's image is made
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PanoBaseConfig(PanoTinyConfig):
    """As PanoTiny's, for the body; size_hw must be 16 px times an even number of rows."""

    encoder_depth: int = 12                         # blocks of the encoder that are run
    taps: tuple[int, ...] = (2, 5, 8, 11)           # those whose outputs are used
    harmonics: int = 16                             # of the azimuth that its attention knows
    feature_width: int = 160                        # channels of the path of the features
    feature_blocks: int = 3
    feature_noise: float = 0.1                      # in training: added, of unit variance
    feature_dropout: float = 0.1                    # in training: share of silenced channels
    body_dropout: float = 0.4                       # in training: share of samples without body

    @property
    def vit(self) -> VitConfig:
        return replace(PUBLISHED_VIT_S, depth=self.encoder_depth, taps=self.taps, turning=True,
                       harmonics=self.harmonics)


class FeaturePath(nn.Module):
    """Feature grids of the encoder to maps at strides 16, 8, 4, and a guess of the log height."""

    def __init__(self, config: PanoBaseConfig) -> None:
        super().__init__()
        self.config = config
        width, rows = config.feature_width, config.size_hw[0] // BODY_PX
        _, four, eight, sixteen = config.decoder
        self.project = nn.Conv2d(len(config.taps) * config.vit.dim, width, 1)
        self.height = nn.Linear(2, width)
        self.rows = RowBias(width, rows)
        self.blocks = nn.Sequential(WrapConv(width, width),
                                    *[Residual(width) for _ in range(config.feature_blocks)])
        self.to_eight = WrapConv(width, eight)
        self.to_four = WrapConv(eight, four)
        self.out = nn.ModuleList([nn.Conv2d(four, four, 1), nn.Conv2d(eight, eight, 1),
                                  nn.Conv2d(width, sixteen, 1)])
        self.into_body = nn.Conv2d(width, config.widths[2], 1)
        self.guess = nn.Linear(width, 1)
        for layer in (*self.out, self.into_body, self.guess):    # the body begins as it was
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, told: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """
        Return what is added to the body, to the decoder and to the guess of the log height.

        :param features: (B, taps * dim, rows, cols)
        :param told: (B, 2) log height and whether it is known
        :return: (B, C, rows, cols) at stride 16; for the decoder at strides 4, 8, 16; (B,)
        """
        if self.training:
            features = F.dropout2d(features, self.config.feature_dropout)
            features = features + self.config.feature_noise * torch.randn_like(features)
        x = self.rows(self.project(features)) + self.height(told)[..., None, None]
        x = self.blocks(F.relu(x))
        eight = self.to_eight(F.interpolate(x, scale_factor=2, mode='nearest'))
        four = self.to_four(F.interpolate(eight, scale_factor=2, mode='nearest'))
        added = [layer(maps) for layer, maps in zip(self.out, (four, eight, x))]
        return self.into_body(x), added, self.guess(x.mean((2, 3)))[:, 0]


class PanoBase(PanoTiny):
    """
    Panorama to log range and range-mask logits, as PanoTiny.

    Its `predict` also takes feature grids made before, by `features` of the same weights.
    """

    def __init__(self, config: PanoBaseConfig) -> None:
        """:raises ValueError: naming the value that no network can have."""
        super().__init__(config)
        if config.detail or config.encoder:
            raise ValueError('pano_base has no finer level and its own encoder; leave detail '
                             'at 0 and encoder empty')
        if max(config.taps) >= config.encoder_depth or len(set(config.taps)) != len(config.taps):
            raise ValueError(f'taps {config.taps} must be different blocks of the '
                             f'{config.encoder_depth} that are run')
        self.encoder = Dinov2(config.vit)
        self.path = FeaturePath(config)
        self.register_buffer('mean', torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1),
                             persistent=False)
        self.register_buffer('std', torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def features(self, image: Tensor) -> Tensor:
        """
        Return the encoder's feature grids, those of all taps in one.

        :param image: (B, 3, H, W) RGB in 0..1 at the size of the body
        :return: (B, taps * dim, H / 16, W / 16)
        """
        height = image.shape[-2]
        wrapped = torch.cat([image[..., -RESIZE_PX:], image, image[..., :RESIZE_PX]], dim=-1)
        side, margin = PATCH_PX * height // BODY_PX, PATCH_PX * RESIZE_PX // BODY_PX
        small = F.interpolate(wrapped, size=(side, 2 * side + 2 * margin), mode='bilinear',
                              align_corners=False)[..., margin:-margin]
        small = ((small - self.mean) / self.std).to(self.encoder.cls_token.dtype)
        grids = self.encoder(small)
        return torch.cat(grids, -1).permute(0, 3, 1, 2)

    def fix_size(self) -> None:
        """Make the position embedding a constant, for an export."""
        side = PATCH_PX * self.config.size_hw[0] // BODY_PX
        self.encoder.fix_size(side, 2 * side)

    def predict(self, image: Tensor, camera_height_m: Tensor, features: Tensor | None = None
                ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Return what forward returns and the estimate of the log camera height (B,).

        :param features: what `features` gives for this image; None = it is run
        """
        if features is None:
            features = self.features(image)
        known = (camera_height_m > 0).to(image.dtype)
        log_height = torch.log(camera_height_m.clamp(0.02, 50.0)) * known
        told = torch.stack([log_height, known], -1)
        into_body, added, guess = self.path(features, told)
        kept = self._kept(image)
        x = self.stem_rows(self.stem((image - 0.45) * 4.0))
        maps = [x]
        for index, stage in enumerate(self.stages):
            x = stage(x if index < 3 else kept * x + into_body)
            maps.append(kept * x if index >= 2 else x)
        rows, cols = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2) + self.height_in(told)[:, None]
        for block in self.attention:
            tokens = block(tokens)
        guess = guess + self.height_out(tokens.mean(1))[:, 0]
        maps[-1] = kept * tokens.transpose(1, 2).unflatten(2, (rows, cols))
        out = self._decode_with(maps, added)
        height = guess * (1 - known) + log_height * known
        log_range = out[:, 0].float() + self.prior[None, :, None] + height.float()[:, None, None]
        return self.limited(log_range), out[:, 1:], guess

    def _kept(self, image: Tensor) -> Tensor | float:
        """Return (B, 1, 1, 1) 0 where the deep part of the body is silenced, else 1."""
        share = self.config.body_dropout
        if not self.training or not share:
            return 1.0
        return (torch.rand(len(image), 1, 1, 1, device=image.device) >= share).to(image.dtype)

    def _decode_with(self, maps: list[Tensor], added: list[Tensor]) -> Tensor:
        """Return (B, 1 + K, H, W) of body maps at strides 2 to 32 and features at 4, 8, 16."""
        x = maps[-1]
        for index in reversed(range(len(self.lateral))):
            x = F.interpolate(self.reduce[index](x), scale_factor=2, mode='nearest')
            x = x + self.lateral[index](maps[index])
            x = self.smooth[index](x + added[index - 1] if index else x)
        return F.pixel_shuffle(self.out(wrap_pad(self.refine(x), 1)), 2)
