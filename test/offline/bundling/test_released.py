# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every released tensor has one place, both ways."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

import json

from stages import DATA
import torch

from training.checkpoints.checkpoint import CheckpointError
from training.checkpoints.released import (
    our_name,
    read_released,
    released_name,
    released_shapes,
    RELEASES,
)

CASES = [('dap', 'dap_vits', {'encoder': 'vits'}), ('dap', 'dap_vitl', {'encoder': 'vitl'}),
         ('da2', 'da2', {})]


def manifest(name: str) -> dict:
    return json.loads((DATA / f'{name}_state_dict.json').read_text())


def hollow_state(name: str) -> dict[str, torch.Tensor]:
    """Return tensors of the released shapes that take no space in a file."""
    return {key: torch.zeros(1).expand(about['shape'])
            for key, about in manifest(name)['state_dict'].items()}


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('network, name, config', CASES)
def test_names_map_completely_both_ways(network, name, config, prefix):
    about, release = manifest(name), RELEASES[network]
    shapes = {key: entry['shape'] for key, entry in about['state_dict'].items()}
    ours = {key: our_name(prefix + key, release) for key in shapes}
    assert {key for key, mapped in ours.items() if mapped is None} == set(
        about['unused_in_forward'])
    used = {mapped: shapes[key] for key, mapped in ours.items() if mapped}
    assert used == {key: list(shape) for key, shape in released_shapes(network, config).items()}
    assert {released_name(mapped, release) for mapped in used} == (
        set(shapes) - set(about['unused_in_forward']) - set(about['aliases']))


@pytest.mark.parametrize('network, name, config', CASES)
def test_parameter_counts_are_those_of_the_released_networks(network, name, config):
    about = manifest(name)
    entries = about['state_dict']
    unused = sum(torch.Size(entries[key]['shape']).numel() for key in about['unused_in_forward'])
    ours = sum(shape.numel() for shape in released_shapes(network, config).values())
    expected = {'dap_vitl': 365_050_242, 'da2': 344_615_682, 'dap_vits': 27_058_946}[name]
    assert ours - about['buffer_elements'] + unused == expected


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_released_file_is_read_whole(tmp_path, prefix):
    state = {prefix + name: tensor for name, tensor in hollow_state('dap_vitl').items()}
    torch.save(state, tmp_path / 'model.pth')
    checkpoint, unused = read_released(tmp_path / 'model.pth', 'dap')
    assert checkpoint.config['encoder'] == 'vitl'
    assert len(checkpoint.state) == 489 and len(unused) == 9


def test_aliases_may_be_left_out(tmp_path):
    about = manifest('dap_vits')
    state = {name: tensor for name, tensor in hollow_state('dap_vits').items()
             if name not in about['aliases']}
    torch.save(state, tmp_path / 'model.pth')
    assert len(read_released(tmp_path / 'model.pth', 'dap')[0].state) == 309


def save_changed(tmp_path, name='dap_vits', remove=(), **changes):
    state = {key: tensor for key, tensor in hollow_state(name).items() if key not in remove}
    torch.save(state | changes, tmp_path / 'model.pth')
    return tmp_path / 'model.pth'


def test_missing_tensors_are_named(tmp_path):
    path = save_changed(tmp_path, remove=['core.depth_head.projects.1.bias',
                                          'core.pretrained.norm.weight'])
    with pytest.raises(CheckpointError, match='2 missing: core.pretrained.norm.weight, '
                                              'core.depth_head.projects.1.bias'):
        read_released(path, 'dap')


def test_unexpected_tensors_are_named(tmp_path):
    path = save_changed(tmp_path, **{'core.third_head.weight': torch.zeros(1)})
    with pytest.raises(CheckpointError, match='1 unexpected: core.third_head.weight'):
        read_released(path, 'dap')


def test_misshapen_tensors_are_named(tmp_path):
    path = save_changed(tmp_path, **{'core.pretrained.norm.bias': torch.zeros(7)})
    with pytest.raises(CheckpointError, match='1 misshapen: core.pretrained.norm.bias'):
        read_released(path, 'dap')


def test_every_difference_is_in_the_details_of_one_error(tmp_path):
    gone = [name for name in hollow_state('dap_vits') if 'depth_head.projects' in name]
    path = save_changed(tmp_path, remove=gone, **{
        'core.extra': torch.zeros(2), 'core.pretrained.norm.bias': torch.zeros(7)})
    with pytest.raises(CheckpointError) as caught:
        read_released(path, 'dap')
    assert '8 missing' in str(caught.value) and '... and 5 more' in str(caught.value)
    assert '\n' not in str(caught.value)
    assert sorted(caught.value.details) == sorted([
        *(f'missing {name} {tuple(hollow_state("dap_vits")[name].shape)}' for name in gone),
        'unexpected core.extra (2,)',
        'misshapen core.pretrained.norm.bias (7,) instead of (384,)'])


def test_file_of_an_unknown_network_is_compared_with_the_released_one(tmp_path):
    torch.save({'fc.weight': torch.zeros(3, 5)}, tmp_path / 'model.pth')
    with pytest.raises(CheckpointError, match='489 missing: .* 1 unexpected: fc.weight') as caught:
        read_released(tmp_path / 'model.pth', 'dap')
    assert len(caught.value.details) == 490


def test_alias_that_differs_is_refused(tmp_path):
    path = save_changed(tmp_path, **{
        'core.pretrained.blocks.3.norm1.weight': torch.ones(384)})
    with pytest.raises(CheckpointError, match='blocks.3.norm1.weight.* differs'):
        read_released(path, 'dap')


def test_checkpoint_of_the_other_network_is_refused(tmp_path):
    path = save_changed(tmp_path, 'da2')
    with pytest.raises(CheckpointError, match='holds DA2, not DAP; use --network da2'):
        read_released(path, 'dap')
    path = save_changed(tmp_path, 'dap_vits')
    with pytest.raises(CheckpointError, match='holds DAP, not DA2; use --network dap'):
        read_released(path, 'da2')


def test_truncated_file_is_refused(tmp_path):
    path = save_changed(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot read .*model.pth' as a torch checkpoint"):
        read_released(path, 'dap')


def test_file_of_anything_else_is_refused(tmp_path):
    torch.save({'optimizer': {'step': 1}}, tmp_path / 'model.pth')
    with pytest.raises(CheckpointError, match='not a flat state dict'):
        read_released(tmp_path / 'model.pth', 'dap')
    (tmp_path / 'model.safetensors').write_bytes(b'not safetensors')
    with pytest.raises(CheckpointError, match='cannot read .* as safetensors'):
        read_released(tmp_path / 'model.safetensors', 'da2')
    with pytest.raises(CheckpointError, match="no checkpoint file 'absent.pth'"):
        read_released('absent.pth', 'dap')


def test_unknown_encoder_width_is_refused(tmp_path):
    path = save_changed(tmp_path, **{
        'core.pretrained.model.cls_token': torch.zeros(1, 1, 500)})
    with pytest.raises(CheckpointError, match=r'width 500 is none of 384 \(vits\)'):
        read_released(path, 'dap')


def test_code_in_a_checkpoint_is_not_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / 'executed'), 'w'))
    torch.save({'x': Trap()}, tmp_path / 'model.pth')
    with pytest.raises(CheckpointError, match='cannot read'):
        read_released(tmp_path / 'model.pth', 'dap')
    assert not (tmp_path / 'executed').exists()
