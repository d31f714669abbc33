# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
EfficientNet-Lite0 (Tan and Le 2019, without squeeze-excite, ReLU6) as an encoder of panoramas.

Its weights were trained in TensorFlow: a convolution of stride 2 has its odd row and column of
padding at the bottom and right, and batch norms have eps 1e-3. Columns wrap here, so that a roll
by the stride of a map rolls the map.
"""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F

# repeats, kernel, stride of the first, factor of the expansion, channels
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
STEM = 32
TAPS = (0, 1, 2, 4, 6)              # stages that give the maps of strides 2, 4, 8, 16, 32
CHANNELS = tuple(STAGES[tap][-1] for tap in TAPS)
EPS, MOMENTUM = 1e-3, 0.01          # of the batch norms
MEAN, SCALE = 127 / 255, 128 / 255  # of an image in 0..1


class ConvNorm(nn.Module):
    """Convolution as TensorFlow pads it, columns wrapped, batch norm, ReLU6 or none."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1,
                 groups: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPS, momentum=MOMENTUM)
        self.padding = ((kernel - stride) // 2, (kernel - stride + 1) // 2)
        self.act = act
        self.wraps = True           # off: zeros, as the weights were trained

    def forward(self, x: Tensor) -> Tensor:
        if any(self.padding):
            x = self._padded(x, *self.padding)
        x = self.norm(self.conv(x))
        return F.relu6(x) if self.act else x

    def _padded(self, x: Tensor, before: int, after: int) -> Tensor:
        if not self.wraps:
            return F.pad(x, (before, after, before, after))
        left = [x[..., -before:]] if before else []
        return F.pad(torch.cat([*left, x, x[..., :after]], -1), (0, 0, before, after))


class Inverted(nn.Module):
    """Expand the channels, filter each on its own, project; a shortcut where sizes are alike."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = inputs * factor
        self.expand = ConvNorm(inputs, wide) if factor > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, act=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


class EfficientNetLite(nn.Module):
    """The encoder, stage by stage: `parts` give maps of strides 2, 4, 8, 16, 32 (`CHANNELS`)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM, 3, 2)
        blocks, before = [], STEM
        ends = []
        for repeats, kernel, stride, factor, channels in STAGES:
            for repeat in range(repeats):
                blocks.append(Inverted(before, channels, kernel, 1 if repeat else stride, factor))
                before = channels
            ends.append(len(blocks))
        self.blocks = nn.ModuleList(blocks)
        self.ends = [ends[tap] for tap in TAPS]

    def part(self, index: int, x: Tensor) -> Tensor:
        """
        Return the map that follows map `index - 1`.

        :param x: map `index - 1`; for the first (B, 3, H, W) RGB in 0..1
        """
        if index == 0:
            x = self.stem((x - MEAN) / SCALE)
        for block in self.blocks[self.ends[index - 1] if index else 0:self.ends[index]]:
            x = block(x)
        return x
