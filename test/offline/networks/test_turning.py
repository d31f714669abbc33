# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An encoder that turns: exactly so, and with the azimuth that its positions told of."""

from dataclasses import replace
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import save_file
import torch
from torch.nn import functional as F
from training_setting import room_sample

from training import turning
from training.data.shards import write_shard
from training.networks.dinov2 import azimuth_waves, Dinov2, PUBLISHED_VIT_S
from training.networks.vit import Attention
from training.run.forward import encoder_state

ROWS, COLS = 6, 12


def encoder(**changes):
    torch.manual_seed(2)
    made = Dinov2(replace(PUBLISHED_VIT_S, depth=1, taps=(0,), **changes)).eval()
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return made


@torch.no_grad()
def test_attention_adds_a_cosine_series_of_the_azimuth_between_tokens():
    torch.manual_seed(0)
    attention = Attention(16, 2, masked_key_bias=False, harmonics=3)
    torch.nn.init.normal_(attention.harmonics)
    tokens = torch.randn(2, 1 + 2 * COLS, 16)
    query, key, value = attention.qkv(tokens).reshape(2, -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
    logits = query @ key.transpose(-1, -2) / 8 ** 0.5
    col = torch.arange(COLS).repeat(2)
    turn = (col[:, None] - col) * (2 * torch.pi / COLS)
    for k in range(3):
        logits[..., 1:, 1:] += attention.harmonics[:, k, None, None] * torch.cos((k + 1) * turn)
    wanted = attention.proj((logits.softmax(-1) @ value).transpose(1, 2).reshape(2, -1, 16))
    got = attention(tokens, azimuth_waves(2, COLS, 3, tokens))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_encoder_turns_exactly_with_the_picture():
    made, image = encoder(turning=True, harmonics=6), torch.randn(1, 3, 14 * ROWS, 14 * COLS)
    torch.nn.init.normal_(made.blocks[0].attn.harmonics)
    here, there = made(image)[0], made(torch.roll(image, 14 * 5, -1))[0]
    torch.testing.assert_close(torch.roll(here, 5, 2), there, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_positions_told_of_azimuth_comes_back(monkeypatch):
    """Positions of which a query by a key is cos(azimuth between): the first harmonic is found."""
    monkeypatch.setattr(turning, 'PUBLISHED_VIT_S', replace(PUBLISHED_VIT_S, depth=1, taps=(0,)))
    made = encoder()
    block, side = made.blocks[0], 37
    azimuth = (torch.arange(side) + 0.5) * (2 * torch.pi / side)
    grid = torch.zeros(side, side, 384)
    grid[..., 0], grid[..., 1] = 3 * azimuth.cos(), 3 * azimuth.sin()
    made.pos_embed.data[0, 1:] = grid.flatten(0, 1)
    made.patch_embed.proj.weight.zero_()
    made.patch_embed.proj.bias.copy_(torch.linspace(-1, 1, 384))
    block.attn.qkv.bias.zero_()
    block.attn.qkv.weight.zero_()
    for head in range(6):
        for part in range(2):
            for channel in range(2):
                block.attn.qkv.weight[384 * part + 64 * head + channel, channel] = 1.0
    found = turning.harmonics_of(made.state_dict(), torch.zeros(1, 3, 14 * ROWS, 14 * COLS), 4)
    assert found.shape == (1, 6, 4)
    assert (found[0, :, 0] > 0.1).all()
    assert (found[0, :, 1:].abs() < 0.2 * found[0, :, :1]).all()
    tokens = F.layer_norm(grid[0] + made.patch_embed.proj.bias, (384,), eps=1e-6)[:, :2]
    radius = (tokens - tokens.mean(0)).square().sum(-1).mean().sqrt()
    assert found[0, :, 0].mean().item() == pytest.approx(float(radius ** 2) / 8, rel=0.25)


def test_the_command_writes_an_encoder_with_its_provenance(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(turning, 'PUBLISHED_VIT_S', replace(PUBLISHED_VIT_S, depth=1, taps=(0,)))
    (tmp_path / 'data').mkdir()
    rng = np.random.default_rng(0)
    write_shard(tmp_path / 'data' / '00000.tar', [room_sample(rng) for _ in range(3)], {})
    save_file(encoder().state_dict(), tmp_path / 'published.safetensors',
              metadata={'da_ros': json.dumps({'provenance': {'encoder': 'dinov2_small'}})})
    call = ['--encoder', str(tmp_path / 'published.safetensors'), '--data', str(tmp_path / 'data'),
            '--out', str(tmp_path / 'turning.safetensors'), '--rows', '6', '--harmonics', '4']
    assert turning.main([*call, '--count', '9']) == 1
    assert 'holds 3 panoramas; 9 are needed' in capsys.readouterr().err
    assert turning.main([*call, '--count', '2']) == 0
    state = encoder_state(tmp_path / 'turning.safetensors')
    encoder(turning=True, harmonics=4).load_state_dict(state, strict=True)
    assert state['blocks.0.attn.harmonics'].any()
    with safe_open(tmp_path / 'turning.safetensors', 'pt') as file:
        about = json.loads(file.metadata()['da_ros'])['provenance']
    assert about['encoder'] == 'dinov2_small' and about['harmonics'].startswith('4, of 2')
