# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Convolutions that see across the seam."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

import torch
from torch import nn

from training.bundling.wrap_padding import wrap_convolutions, WrapColumns
from training.networks.dpt import DptConfig, DptHead


@pytest.mark.parametrize('mode', ['zeros', 'reflect'])
def test_wrapped_convolution_turns_with_the_panorama(mode):
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode=mode)
    grid = torch.rand(1, 2, 6, 12)
    wrapped = WrapColumns(conv)
    turned = wrapped(grid.roll(5, dims=-1))
    torch.testing.assert_close(turned, wrapped(grid).roll(5, dims=-1))
    torch.testing.assert_close(wrapped(grid)[..., 1:-1], conv(grid)[..., 1:-1])
    assert not torch.allclose(wrapped(grid)[..., 0], conv(grid)[..., 0])


def test_strided_convolution_keeps_its_grid():
    conv = nn.Conv2d(2, 2, 3, stride=2, padding=1)
    grid = torch.rand(1, 2, 6, 12)
    torch.testing.assert_close(WrapColumns(conv)(grid)[..., 1:], conv(grid)[..., 1:])


def test_every_padded_convolution_of_a_head_is_replaced_once():
    head = DptHead(DptConfig(8, 8, (4, 4, 4, 4)))
    padded = sum(isinstance(m, nn.Conv2d) and m.padding != (0, 0) for m in head.modules())
    wrap_convolutions(head)
    assert sum(isinstance(m, WrapColumns) for m in head.modules()) == padded == 21
    assert head([torch.rand(1, 8, 4, 8)] * 4).shape == (1, 1, 64, 128)
