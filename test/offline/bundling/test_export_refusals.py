# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What training.export refuses, and that nothing is lost or half-written then."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from pathlib import Path
import shutil

from test_export import command, keep_argv, SAMPLES, tiny_checkpoint  # noqa: F401
import torch

from da_ros.backends.base import BackendError
from training import export
from training.bundling import parity
from training.checkpoints.checkpoint import save_checkpoint


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported')
    command('--checkpoint', tiny_checkpoint(folder), '--out', folder / 'tiny')
    return folder


@pytest.fixture
def tiny(exported, tmp_path):
    """Return a checkpoint and beside it the bundle `tiny`, copies that a test may change."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path / 'tiny.safetensors'


def test_graph_that_departs_from_torch_leaves_nothing(tmp_path, monkeypatch, capsys):
    checkpoint = tiny_checkpoint(tmp_path)
    monkeypatch.setattr(parity, 'PARITY_RELATIVE', 0.0)
    with pytest.raises(SystemExit):
        command('--checkpoint', checkpoint, '--out', tmp_path / 'tiny')
    assert 'departs from torch' in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['tiny.safetensors']


def test_bundle_that_fails_its_gate_leaves_nothing(tiny, tmp_path, monkeypatch, capsys):
    def fail(_folder):
        raise BackendError('fails the self-check')
    before = (tmp_path / 'tiny/model.yaml').read_bytes()
    monkeypatch.setattr(export, 'open_as_robot', fail)
    with pytest.raises(SystemExit):
        command('--checkpoint', tiny, '--out', tmp_path / 'tiny', '--overwrite')
    assert (tmp_path / 'tiny/model.yaml').read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['tiny', 'tiny.safetensors']


@pytest.mark.parametrize('arguments, message', [
    (['--bundle', 'x', '--out', 'y', '--precision', 'fp16', '--size', '64x128'],
     'with --bundle and --out, leave away --size'),
    (['--bundle', 'x', '--also', 'fp16', '--precision', 'fp16'],
     'with --bundle and --also, leave away --precision'),
    (['--bundle', 'x', '--add-head', 'h', '--also', 'fp16'],
     'with --bundle and --also, leave away --add-head'),
    (['--bundle', 'x', '--weights', 'int8'], 'or --bundle and one of --also, --add-head'),
    (['--checkpoint', 'x'], '--checkpoint needs --out'),
    (['--bundle', 'x', '--checkpoint', 'y'], 'with --checkpoint, leave away --bundle'),
])
def test_options_that_nobody_would_look_at_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        command(*arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
def test_a_bundle_that_cannot_be_replaced_stays(tiny, tmp_path, monkeypatch):
    before = sorted(path.name for path in (tmp_path / 'tiny').iterdir())

    def rename(path, target, real=Path.rename):
        if '.part' in path.name:
            raise OSError('no space left')
        return real(path, target)
    monkeypatch.setattr(Path, 'rename', rename)
    with pytest.raises(SystemExit):
        command('--checkpoint', tiny, '--out', tmp_path / 'tiny', '--overwrite')
    assert sorted(path.name for path in (tmp_path / 'tiny').iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['tiny', 'tiny.safetensors']


@pytest.mark.slow
def test_int8_is_not_proven_on_what_calibrates_it(tmp_path, capsys):
    two = tmp_path / 'two'
    two.mkdir()
    for name in ('lobby.jpg', 'city.jpg'):
        shutil.copy(SAMPLES / name, two)
    with pytest.raises(SystemExit):
        command('--checkpoint', tiny_checkpoint(tmp_path), '--precision', 'int8', '--panoramas',
                two, '--out', tmp_path / 'tiny')
    told = ('int8 is calibrated on other panoramas than those of the self-check, which prove it; '
            '--panoramas holds 2, and all of them are used there; add more')
    assert told in capsys.readouterr().err
    command('--checkpoint', tmp_path / 'tiny.safetensors', '--panoramas', two,
            '--out', tmp_path / 'tiny')
    for more in (['--also', 'int8'], ['--precision', 'int8', '--out', tmp_path / 'other']):
        with pytest.raises(SystemExit):
            command('--bundle', tmp_path / 'tiny', *more, '--panoramas', two)
        assert told in capsys.readouterr().err


def test_what_else_lies_in_a_bundle_stays(tiny, exported, tmp_path, capsys):
    (tmp_path / 'tiny/pictures').mkdir()
    (tmp_path / 'tiny/pictures/README.md').write_text('my card')
    command('--bundle', tmp_path / 'tiny', '--also', 'fp16')
    assert (tmp_path / 'tiny/pictures/README.md').read_text() == 'my card'
    with pytest.raises(SystemExit):
        command('--bundle', tmp_path / 'tiny', '--remove-head', '0')
    assert 'also has fp16 graphs' in capsys.readouterr().err
    shutil.rmtree(tmp_path / 'tiny')
    shutil.copytree(exported / 'tiny', tmp_path / 'tiny')
    with pytest.raises(SystemExit):
        command('--bundle', tmp_path / 'tiny', '--remove-head', '0')
    assert 'no separate range-mask head 0 m' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--precision', '--also'])
def test_weights_in_8_bits_are_for_float_arithmetic(option, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command('--checkpoint', tmp_path / 'x', '--out', tmp_path / 'y', '--weights', 'int8',
                option, 'int8', '--panoramas', SAMPLES)
    assert '--weights int8 stores the weights of float arithmetic' in capsys.readouterr().err


@pytest.mark.parametrize('config, message', [
    ({'size_hw': [64, 100]}, 'size must be 2:1 and a multiple of 32 px, got 64 x 100'),
    ({'colour': 1}, "has no field 'colour'"),
    ({'heads': 5}, '224 channels cannot be shared by 5 heads'),
    ({'heads': 0}, '224 channels cannot be shared by 0 heads'),
    ({'widths': [32, 64]}, 'widths and blocks need 4 values, decoder 4: one per stride'),
    ({'decoder': [16]}, 'widths and blocks need 4 values, decoder 4: one per stride'),
    ({'stem': -1}, "no network 'pano_tiny'"),
])
def test_a_network_that_cannot_be_is_one_line(config, message, tmp_path, capsys):
    save_checkpoint(tmp_path / 'x.safetensors', 'pano_tiny', config, {'a': torch.zeros(1)}, {})
    with pytest.raises(SystemExit):
        command('--checkpoint', tmp_path / 'x.safetensors', '--out', tmp_path / 'x')
    assert message in capsys.readouterr().err
