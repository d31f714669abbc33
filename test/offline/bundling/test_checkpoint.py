# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are whole, strict and of one known format."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from safetensors.torch import save_file
import torch

from training.checkpoints.checkpoint import (
    build,
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_strictly,
    save_checkpoint,
)
from training.networks import build_network, NetworkError


def test_checkpoint_survives_round_trip(tmp_path):
    state = {'weight': torch.rand(2, 3), 'bias': torch.rand(3).half()}
    path = save_checkpoint(tmp_path, 'dap', {'encoder': 'vits'}, state, {'commit': 'abc'})
    found = load_checkpoint(tmp_path)
    assert path.name == 'checkpoint.safetensors'
    assert (found.network, found.config, found.provenance) == (
        'dap', {'encoder': 'vits'}, {'commit': 'abc'})
    assert all(torch.equal(found.state[name], tensor) for name, tensor in state.items())


def test_tensors_that_share_memory_are_stored(tmp_path):
    weight = torch.rand(4)
    save_checkpoint(tmp_path, 'dap', {}, {'a': weight, 'b': weight[:2]}, {})
    assert torch.equal(load_checkpoint(tmp_path).state['b'], weight[:2])


def test_failed_write_leaves_the_old_file(tmp_path):
    path = save_checkpoint(tmp_path, 'dap', {}, {'a': torch.zeros(1)}, {})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path, 'dap', {}, {'a': torch.ones(1)}, {'bad': object()})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_absent_damaged_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match='no checkpoint file'):
        load_checkpoint(tmp_path / 'absent.safetensors')
    path = save_checkpoint(tmp_path, 'dap', {}, {'a': torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match='cannot read .* as safetensors'):
        load_checkpoint(path)
    save_file({'a': torch.zeros(1)}, tmp_path / 'foreign.safetensors')
    with pytest.raises(CheckpointError, match='does not say which network'):
        load_checkpoint(tmp_path / 'foreign.safetensors')
    save_file({'a': torch.zeros(1)}, tmp_path / 'older.safetensors', {'da_ros': '{"step": 3}'})
    with pytest.raises(CheckpointError, match="does not describe its network .'network'"):
        load_checkpoint(tmp_path / 'older.safetensors')


def test_weights_that_do_not_fit_load_nothing():
    network = torch.nn.Linear(2, 3)
    before = network.weight.clone()
    state = {'weight': torch.zeros(3, 5), 'extra': torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        load_strictly(network, state)
    assert '1 missing: bias; 1 unexpected: extra; 1 misshapen: weight' in str(caught.value)
    assert caught.value.details == (
        'missing bias (3,)', 'unexpected extra (1,)', 'misshapen weight (3, 5) instead of (3, 2)')
    assert torch.equal(network.weight, before)


def test_unknown_network_or_field_is_named():
    with pytest.raises(NetworkError, match="no network 'resnet'; there are: dap"):
        build_network('resnet')
    with pytest.raises(NetworkError, match="DapConfig has no field 'width'; it has: encoder"):
        build(Checkpoint('dap', {'width': 3}, {}, {}))
