# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The mean of checkpoints: of all weights, of one network only, and it says what it is made of."""

from dataclasses import asdict

import pytest

torch = pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from training.average import main  # noqa: E402
from training.checkpoints.checkpoint import build, load_checkpoint, save_checkpoint  # noqa: E402
from training.networks import build_network  # noqa: E402

SMALL = {'size_hw': (64, 128), 'stem': 8, 'widths': (8, 8, 16, 14), 'blocks': (1, 1, 1, 1),
         'attention_blocks': 1, 'decoder': (8, 8, 8, 8)}


def saved(folder, name, seed, **config):
    torch.manual_seed(seed)
    network = build_network('pano_tiny', {**SMALL, **config})
    return save_checkpoint(folder / f'{name}.safetensors', 'pano_tiny', asdict(network.config),
                           network.state_dict(), {'commit': name, 'step': seed, 'config': {
                               'loss': {'floor': seed}}})


def test_every_weight_is_the_mean_by_shares(tmp_path):
    a, b, out = saved(tmp_path, 'a', 1), saved(tmp_path, 'b', 2), tmp_path / 'mean.safetensors'
    assert main(['--checkpoint', f'{a}=3', f'{b}=1', '--out', str(out)]) == 0
    one, two, mean = (load_checkpoint(path) for path in (a, b, out))
    assert mean.state.keys() == one.state.keys() and mean.config == one.config
    for name, value in mean.state.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.75 * one.state[name] + 0.25 * two.state[name])
            assert value.dtype == one.state[name].dtype
    build(mean)


def test_it_says_what_it_is_made_of(tmp_path):
    a, b, out = saved(tmp_path, 'a', 1), saved(tmp_path, 'b', 2), tmp_path / 'mean.safetensors'
    assert main(['--checkpoint', f'{a}=0.5', str(b), '--out', str(out)]) == 0
    one, two = load_checkpoint(out).provenance['mean_of']
    assert (one['share'], one['commit'], one['step']) == (0.333333, 'a', 1)
    assert one['loss'] == {'floor': 1}
    assert (two['share'], two['file']) == (0.666667, 'b.safetensors') and len(two['sha256']) == 64
    assert load_checkpoint(out).provenance['commit'] == 'a'


@pytest.mark.parametrize('share, message', [
    ('much', "'much' is no share; give PATH=0.7"), ('0', 'a share is more than 0 and finite'),
    ('-1', 'a share is more than 0 and finite'), ('inf', 'a share is more than 0 and finite'),
    ('nan', 'a share is more than 0 and finite')])
def test_a_share_that_is_none_is_one_line(tmp_path, capsys, share, message):
    a = saved(tmp_path, 'a', 1)
    assert main(['--checkpoint', f'{a}={share}', '--out', str(tmp_path / 'x.safetensors')]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert not (tmp_path / 'x.safetensors').exists()


def test_other_networks_are_refused(tmp_path, capsys):
    a, b = saved(tmp_path, 'a', 1), saved(tmp_path, 'b', 2, stem=12)
    assert main(['--checkpoint', str(a), str(b), '--out', str(tmp_path / 'x.safetensors')]) == 1
    assert 'only checkpoints of one network can be averaged' in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(['--checkpoint', str(tmp_path / 'no.safetensors'), '--out',
                 str(tmp_path / 'x.safetensors')]) == 1
    assert capsys.readouterr().err.count('\n') == 1
