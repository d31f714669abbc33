# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""DAP says what its authors' code says, stage by stage."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from dataclasses import asdict
from functools import lru_cache

import numpy as np
from stages import assert_parity, DATA, formula_state, Golden, record_dap
import torch

from training.checkpoints.checkpoint import build, Checkpoint
from training.checkpoints.released import RELEASES, translate
from training.networks import build_network
from training.networks.dap import (
    Dap,
    DapConfig,
    freeze_all_but_masks,
    grid_from_tokens,
    scrambles_geometry,
)

SMALL_GOLDENS = sorted(DATA.glob('dap_vits_*.npz'))
LARGE_GOLDENS = sorted(DATA.glob('dap_vitl_*.npz'))


@lru_cache(maxsize=1)
def formula_weights(encoder: str, seed: int) -> dict[str, torch.Tensor]:
    state = formula_state(DATA / f'dap_{encoder}_state_dict.json', seed)
    return translate(state, RELEASES['dap'])[0]


def formula_network(encoder: str, seed: int) -> Dap:
    return build(Checkpoint('dap', asdict(DapConfig(encoder)), formula_weights(encoder, seed), {}))


def check_golden(network: Dap, golden: Golden) -> None:
    recorder = record_dap(network)
    with torch.inference_mode():
        output = network(golden.image())
    assert_parity(golden, recorder.stages)
    for ours, name in ((output.range_unit, 'depth'), (output.beyond[100.0], 'mask')):
        np.testing.assert_allclose(golden.like_out(ours), golden.out(name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('path', SMALL_GOLDENS, ids=lambda path: path.stem)
def test_small_network_repeats_the_authors_code(path):
    golden = Golden(path)
    check_golden(formula_network('vits', golden.meta['seed']), golden)


@pytest.mark.slow
@pytest.mark.parametrize('path', LARGE_GOLDENS, ids=lambda path: path.stem)
def test_released_architecture_repeats_the_authors_code(path):
    golden = Golden(path)
    check_golden(formula_network('vitl', golden.meta['seed']), golden)


@pytest.mark.parametrize('change, stage', [
    (lambda network: network.encoder.rope_embed.periods.mul_(1.01), 'rope_sin'),
    (lambda network: network.encoder.blocks[3].attn.qkv.bias_mask.fill_(1), 'block5'),
    (lambda network: network.adapter_norm.weight.mul_(1.01), 'adapter_norm0'),
    (lambda network: network.range_head.fuse[1].refine.conv1.bias.add_(1),
     'depth_head/refinenet2'),
    (lambda network: network.mask_heads['100'].neck.weight.mul_(0.9), 'mask_head/output_conv1'),
])
def test_parity_names_the_first_stage_that_departs(change, stage):
    golden = Golden(DATA / 'dap_vits_128x256.npz')
    network = formula_network('vits', golden.meta['seed'])
    with torch.no_grad():
        change(network)
    with pytest.raises(AssertionError, match=f'first stage that departs: {stage} '):
        check_golden(network, golden)


def test_every_norm_has_the_released_epsilon():
    with torch.device('meta'):
        network = build_network('dap', {'encoder': 'vits'})
    eps = {module.eps for module in network.modules() if isinstance(module, torch.nn.LayerNorm)}
    assert eps == {1e-5}


def test_adapter_moves_tokens_along_the_raster():
    tokens = torch.arange(8.0).reshape(1, 8, 1)
    grid = grid_from_tokens(tokens, 2, 4).flatten()
    # output j reads place (j + 0.5) 7 / 8 - 0.5 of the tokens 1..7, held at both ends
    expected = 1 + np.clip((np.arange(8) + 0.5) * 7 / 8 - 0.5, 0, 6)
    np.testing.assert_allclose(grid, expected, rtol=1e-6)


def test_known_sizes_scramble_the_geometry():
    rows = [r for r in range(2, 200) if scrambles_geometry(r, 2 * r)]
    assert rows == [5, 29, 169]     # 80, 464 and 2704 px high


def test_training_a_mask_head_leaves_encoder_and_range_alone():
    torch.manual_seed(0)
    network = build_network('dap', {'encoder': 'vits', 'range_masks_m': [20.0, 100.0]})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.SGD(freeze_all_but_masks(network, (20.0,)), lr=1.0)
    network(torch.rand(1, 3, 32, 64)).beyond[20.0].mean().backward()
    optimiser.step()
    changed = {name for name, tensor in network.state_dict().items()
               if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith('mask_heads.20.') for name in changed)
