# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Let the convolutions of released weights see across the seam."""

from __future__ import annotations

import torch
from torch import nn, Tensor
from torch.nn import functional as F


class WrapColumns(nn.Module):
    """
    A padded convolution whose columns wrap; rows are padded as before.

    Wrapping is written as a concatenation of slices, because OpenVINO fails on Pad with wrap.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.rows, self.columns = conv.padding
        self.row_mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
        self.conv = conv

    def forward(self, grid: Tensor) -> Tensor:
        grid = torch.cat([grid[..., -self.columns:], grid, grid[..., :self.columns]], dim=-1)
        grid = F.pad(grid, (0, 0, self.rows, self.rows), mode=self.row_mode)
        return F.conv2d(grid, self.conv.weight, self.conv.bias, self.conv.stride)


def wrap_convolutions(module: nn.Module) -> None:
    """Replace every padded convolution inside a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.padding != (0, 0):
            setattr(module, name, WrapColumns(child))
        else:
            wrap_convolutions(child)
