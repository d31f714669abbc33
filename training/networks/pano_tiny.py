# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
PanoTiny: a small convolutional network with global attention, wrapped around the sphere.

Every step is equivariant to a roll of the columns by the total stride (32 px): convolutions
pad by wrapping, attention knows azimuth only as a periodic difference, upsampling wraps. Rows are
told apart by learned per-row terms.

The output is factored as range = camera height x shape. The shape (range in units of the camera
height) can be seen: a floor pixel at elevation -e has shape 1 / sin(e). The height cannot, so it
is taken from the input where known and from a pooled estimate elsewhere.

With `detail` the network sees twice the pixels: a body as above looks at the reduced image, and a
finer level before and behind it adds what only the full image shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional as F

from da_ros.sphere import elevation_from_row
from training.networks import efficientnet_lite

STRIDE = 32
PRIOR_SHAPE_LIMITS = (1.0, 12.0)    # range / camera height that the initial row prior may take


@dataclass(frozen=True)
class PanoTinyConfig:
    size_hw: tuple[int, int] = (256, 512)
    range_masks_m: tuple[float, ...] = (10.0, 20.0, 50.0, 100.0)
    stem: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 224)    # channels at strides 4, 8, 16, 32
    blocks: tuple[int, ...] = (1, 2, 3, 2)          # residual blocks at those strides
    attention_blocks: int = 2
    heads: int = 7
    decoder: tuple[int, ...] = (16, 32, 64, 96)     # channels at strides 2, 4, 8, 16
    detail: int = 0                                 # channels of the finer level; 0 = none
    encoder: str = ''                               # efficientnet_lite0 instead of the stages
    min_range_m: float = 0.05
    max_range_m: float = 120.0

    @property
    def body_hw(self) -> tuple[int, int]:
        """Size of the image that the strides above count from."""
        height, width = self.size_hw
        return (height // 2, width // 2) if self.detail else (height, width)


def wrap_pad(x: Tensor, pad: int) -> Tensor:
    """Pad columns with those across the seam and rows with zeros; (B, C, H, W)."""
    if x.requires_grad and torch.is_grad_enabled():
        # Else the gradient of each slice is a whole image of zeros; that of a split is one cat.
        left, middle, right = x.split([pad, x.shape[-1] - 2 * pad, pad], dim=-1)
        x = torch.cat([right, left, middle, right, left], dim=-1)
    else:
        x = torch.cat([x[..., -pad:], x, x[..., :pad]], dim=-1)
    return F.pad(x, (0, 0, pad, pad))


class WrapConv(nn.Module):
    """3x3 convolution that wraps horizontally, batch norm, optional ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(wrap_pad(x, 1)))
        return F.relu(x) if self.act else x


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = WrapConv(width, width)
        self.second = WrapConv(width, width, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class RowBias(nn.Module):
    """A learned value per channel and row: what the elevation tells."""

    def __init__(self, width: int, rows: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, width, rows, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.to(x.dtype)       # autocast: else all that follows is fp32


class SphereAttention(nn.Module):
    """
    Transformer block over all tokens of an (h, w) grid.

    The attention bias depends on both rows and on the azimuth difference modulo one turn, so
    rolling the columns of the input rolls the output.
    """

    def __init__(self, width: int, heads: int, rows: int, cols: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(),
                                 nn.Linear(2 * width, width))
        self.bias = nn.Parameter(torch.zeros(heads, rows * rows * cols))
        row, col = np.divmod(np.arange(rows * cols), cols)
        step = (col[:, None] - col[None, :]) % cols
        index = (row[:, None] * rows + row[None, :]) * cols + step
        self.register_buffer('index', torch.from_numpy(index.ravel()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.before(x)).reshape(batch, tokens, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias[:, self.index].reshape(1, self.heads, tokens, tokens)
        weight = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5 + bias
        mixed = (weight.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.out(mixed)
        return x + self.mlp(self.between(x))


class PanoTiny(nn.Module):
    """
    Panorama to log range and range-mask logits.

    forward(image (B, 3, H, W) float RGB in 0..1, camera_height_m (B,) float, 0 = unknown) ->
    log_range (B, H, W), log of metres along the ray; mask_logits (B, K, H, W), logits of
    P(true range <= T) for T in config.range_masks_m.
    """

    def __init__(self, config: PanoTinyConfig) -> None:
        """:raises ValueError: naming the value that no network can have."""
        super().__init__()
        height, width = config.size_hw
        stride = 2 * STRIDE if config.detail else STRIDE
        if width != 2 * height or height % stride:
            raise ValueError(
                f'size must be 2:1 and a multiple of {stride} px, got {height} x {width}')
        if {len(config.widths), len(config.blocks), len(config.decoder)} != {4}:
            raise ValueError('widths and blocks need 4 values, decoder 4: one per stride')
        if config.heads < 1 or config.widths[-1] % config.heads:
            raise ValueError(
                f'{config.widths[-1]} channels cannot be shared by {config.heads} heads')
        self.config = config
        self.prior = nn.Parameter(row_prior(height))
        height, width = config.body_hw
        if config.detail:
            self._build_detail(height)
        if config.encoder:
            self._build_encoder(height)
        else:
            self._build_stages(height)
        before = config.widths[-1]
        rows, cols = height // STRIDE, width // STRIDE
        self.height_in = nn.Linear(2, before)
        self.attention = nn.ModuleList(
            SphereAttention(before, config.heads, rows, cols)
            for _ in range(config.attention_blocks))
        self.height_out = nn.Sequential(nn.Linear(before, 64), nn.ReLU(), nn.Linear(64, 1))
        self._build_decoder(before)

    def _build_stages(self, height: int) -> None:
        config = self.config
        self.stem = WrapConv(3, config.stem, stride=2)
        self.stem_rows = RowBias(config.stem, height // 2)
        self.stages = nn.ModuleList()
        before = config.stem
        for index, (channels, count) in enumerate(zip(config.widths, config.blocks)):
            self.stages.append(nn.Sequential(
                WrapConv(before, channels, stride=2), RowBias(channels, height // (4 << index)),
                *[Residual(channels) for _ in range(count)]))
            before = channels

    def _build_encoder(self, height: int) -> None:
        """Make a pretrained encoder to be, and what tells it of rows, which begins at zero."""
        config, channels = self.config, efficientnet_lite.CHANNELS
        if config.encoder != 'efficientnet_lite0' or config.detail:
            raise ValueError(f'encoder {config.encoder!r} with detail {config.detail} does not '
                             'exist; there is efficientnet_lite0 with detail 0')
        if (config.stem, *config.widths[:3]) != channels[:4]:
            raise ValueError(f'with encoder efficientnet_lite0 stem must be {channels[0]} and '
                             f'widths must begin {channels[1:4]}, got {config.stem} and '
                             f'{config.widths}')
        self.encoder = efficientnet_lite.EfficientNetLite()
        self.rows = nn.ModuleList(RowBias(count, height // (2 << index))
                                  for index, count in enumerate(channels))
        self.into_tokens = nn.Conv2d(channels[-1], config.widths[-1], 1)

    def _build_detail(self, rows: int) -> None:
        """Make the finer level; what it adds begins at zero."""
        detail = self.config.detail
        self.fine_in = WrapConv(3, detail, stride=2)
        self.fine_rows = RowBias(detail, rows)
        self.fine_stem = nn.Conv2d(detail, self.config.stem, 3, 2)
        self.fine_reduce = nn.Conv2d(self.config.decoder[0], detail, 1)
        self.fine_smooth = WrapConv(detail, detail)
        self.fine_out = nn.Conv2d(detail, 4 * (1 + len(self.config.range_masks_m)), 3)
        for layer in (self.fine_stem, self.fine_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _build_decoder(self, top: int) -> None:
        config = self.config
        skips = (config.stem, *config.widths[:3])           # strides 2, 4, 8, 16
        self.lateral = nn.ModuleList(
            nn.Conv2d(s, d, 1) for s, d in zip(skips, config.decoder))
        above = (*config.decoder[1:], top)
        self.reduce = nn.ModuleList(nn.Conv2d(a, d, 1) for a, d in zip(above, config.decoder))
        self.smooth = nn.ModuleList(WrapConv(d, d) for d in config.decoder)
        self.refine = WrapConv(config.decoder[0], config.decoder[0])
        self.out = nn.Conv2d(config.decoder[0], 4 * (1 + len(config.range_masks_m)), 3)

    def predict(self, image: Tensor, camera_height_m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what forward returns and the estimate of the log camera height (B,)."""
        maps, fine = self._maps(image)
        x = maps[-1]
        known = (camera_height_m > 0).to(x.dtype)
        log_height = torch.log(camera_height_m.clamp(0.02, 50.0)) * known
        rows, cols = x.shape[-2:]
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.height_in(torch.stack([log_height, known], -1))[:, None]
        for block in self.attention:
            tokens = block(tokens)
        guess = self.height_out(tokens.mean(1))[:, 0]
        height = guess * (1 - known) + log_height * known
        maps[-1] = tokens.transpose(1, 2).unflatten(2, (rows, cols))
        out = self._decode(maps, fine)
        shape, logits = out[:, 0], out[:, 1:]
        log_range = shape.float() + self.prior[None, :, None] + height.float()[:, None, None]
        return self.limited(log_range), logits, guess

    def _maps(self, image: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Return the maps of strides 2 to 32, and that of the finer level."""
        maps = []
        if self.config.encoder:
            x = image
            for index, rows in enumerate(self.rows):
                x = rows(self.encoder.part(index, x))
                maps.append(x)
            maps[-1] = self.into_tokens(x)
            return maps, None
        x = (image - 0.45) * 4.0
        fine = self.fine_rows(self.fine_in(x)) if self.config.detail else None
        x = self.stem_rows(self.stem(x if fine is None else F.avg_pool2d(x, 2)))
        if fine is not None:
            x = x + self.fine_stem(wrap_pad(fine, 1))
        maps.append(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps, fine

    def limited(self, log_range: Tensor) -> Tensor:
        """Return log range within the config's limits, in training as it is."""
        if self.training:           # a limit in training would stop the gradient beyond it
            return log_range
        return log_range.clamp(*np.log([self.config.min_range_m, self.config.max_range_m]))

    def _decode(self, maps: list[Tensor], fine: Tensor | None) -> Tensor:
        """Return (B, 1 + K, H, W): log shape without its prior, and the mask logits."""
        x = maps[-1]
        for index in reversed(range(len(self.lateral))):
            x = F.interpolate(self.reduce[index](x), scale_factor=2, mode='nearest')
            x = self.smooth[index](x + self.lateral[index](maps[index]))
        x = self.refine(x)
        out = F.pixel_shuffle(self.out(wrap_pad(x, 1)), 2)
        if fine is None:
            return out
        x = F.interpolate(self.fine_reduce(x), scale_factor=2, mode='nearest')
        x = self.fine_out(wrap_pad(self.fine_smooth(x + fine), 1))
        return F.interpolate(out, scale_factor=2, mode='nearest') + F.pixel_shuffle(x, 2)

    def forward(self, image: Tensor, camera_height_m: Tensor) -> tuple[Tensor, Tensor]:
        """Return log range (B, H, W) and mask logits (B, K, H, W)."""
        log_range, logits, _ = self.predict(image, camera_height_m)
        return log_range, logits


def row_prior(height: int) -> Tensor:
    """Return (H,) the log of range / camera height of an open floor below and a room above."""
    elevation = elevation_from_row(np.arange(height) + 0.5, height)
    shape = np.clip(1 / np.maximum(np.sin(np.abs(elevation)), 1e-3), *PRIOR_SHAPE_LIMITS)
    shape = np.where(elevation > 0, np.minimum(shape, 4.0) * 1.5, shape)
    return torch.from_numpy(np.log(shape)).float()
