# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What held-back data, teachers and options do that cannot be used: a line, never a traceback."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('safetensors')
pytest.importorskip('accelerate')

from damage import damage_image  # noqa: E402
from training_setting import room_sample, Setting  # noqa: E402

from training.checkpoints.checkpoint import save_checkpoint  # noqa: E402
from training.data.catalogue import CATALOGUE, open_set  # noqa: E402
from training.data.files import DataError  # noqa: E402
from training.data.pairs import PairsError, write_pair  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.labelling.held_back import score_checkpoint  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.batches import open_source, OPTIONS_NEEDED  # noqa: E402
from training.run.config import TrainError  # noqa: E402
from training.run.folder import RunFolder  # noqa: E402
from training.run.forward import load_teacher  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')
needs_full_device = pytest.mark.skipif(not Path('/dev/full').exists(),
                                       reason='needs a full device')


@pytest.fixture
def run(tmp_path):
    return Setting(tmp_path)


@pytest.fixture
def held_back(run):
    """Six samples, the second damaged, beside a file that is no shard."""
    folder = run.folder / 'val'
    folder.mkdir()
    rng = np.random.default_rng(1)
    write_shard(folder / '00000.tar', [room_sample(rng) for _ in range(6)], {})
    (folder / '00001.tar').write_bytes(b'no tar' * 99)
    damage_image(folder / '00000.tar', 1)
    return folder


# --- held-back data

def test_damaged_validation_images_are_skipped_counted_and_named(run, held_back, capsys):
    run.write_config(evaluate_images=6)
    assert run('a', 2, '--val', f'held={held_back}') == 0
    told = capsys.readouterr().err
    assert '2 corrupt' in told and '00000_0001.jpg is corrupt' in told
    assert '00001.tar cannot be read' in told
    assert np.isfinite(run.entries('a', 'val')[0]['aligned'])
    assert len(list((run.folder / 'a').glob('held_*.jpg'))) == 1


def test_validation_data_that_was_lost_while_training_gives_no_score_and_no_traceback(run):
    from training.data.shards import ShardSet
    from training.run.forward import Forward
    from training.run.validation import evaluate
    data = ShardSet([run.folder / 'data'])
    (run.folder / 'data' / '00000.tar').unlink()
    found = evaluate(Forward(build_network('pano_tiny', TINY)), data, 4, (32, 64),
                     torch.device('cpu'))
    assert np.isnan(list(found.scores.values())).all() and found.picture is None
    assert len(found.skipped) == 4 and '00000.tar cannot be read' in found.skipped[0]


def test_validation_data_without_a_valid_pixel_stops_at_the_start(run, capsys):
    (run.folder / 'bad').mkdir()
    sample = room_sample(np.random.default_rng(0))
    sample.range_m[:], sample.valid[:] = np.nan, False
    write_shard(run.folder / 'bad' / '00000.tar', [sample] * 3, {})
    assert run('a', 1, '--val', f'bad={run.folder}/bad') == 1
    assert 'data set --val bad has no valid pixel' in capsys.readouterr().err
    assert not run.entries('a')


def test_a_score_names_what_it_leaves_out(run, held_back, capsys):
    rng = np.random.default_rng(2)
    square = Sample(np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.float32),
                    np.ones((32, 32), bool), 'square')
    write_shard(held_back / '00002.tar', [room_sample(rng), square], {})
    assert run('a', 1) == 0
    scores = score_checkpoint(run.folder / 'a', [held_back])
    assert np.isfinite(scores['none']['abs_rel'])
    told = capsys.readouterr().err
    assert '3 held-back samples or shards skipped' in told
    for name in ('00000_0001.jpg is corrupt', '00001.tar cannot be read',
                 '00002.tar:00002_0001: panorama must be twice as wide'):
        assert f'{name}' in told


# --- teachers

def teacher(folder, network, model, **config):
    torch.manual_seed(0)
    built = build_network(network, model)
    save_checkpoint(folder, network, asdict(built.config), built.state_dict(),
                    {'config': config} if config else {})
    return folder


def test_a_teacher_without_a_unit_is_refused(run, capsys):
    path = teacher(run.folder / 'da2', 'da2', {'encoder': 'vits'}, size_hw=None)
    assert run('a', 1, '--teacher', path) == 1
    assert f'--teacher {path} gives ranges without a unit' in capsys.readouterr().err


def test_a_teacher_looks_at_the_images_at_the_size_it_was_trained_at(tmp_path):
    dap = {'encoder': 'vits', 'range_masks_m': [10.0]}
    for model, config, size_hw in ((dap, {'size_hw': [32, 64]}, (32, 64)),
                                   (dap, {}, (512, 1024))):
        assert load_teacher(teacher(tmp_path / 'dap', 'dap', model, **config))[1] == size_hw
    for config in ({'size_hw': None}, {}):
        assert load_teacher(teacher(tmp_path / 'pano', 'pano_tiny', TINY, **config))[1] == (32, 64)


# --- options

@pytest.mark.parametrize('words, message', [
    (['--joint'], '--joint goes with --heads'),
    (['--heads', '10', '--init', 'x', '--init-encoder', 'y'], 'leave --init-encoder away')])
def test_options_that_would_do_nothing_are_refused(run, capsys, words, message):
    assert run('a', 1, *words) == 1
    told = capsys.readouterr().err
    assert message in told and told.count('\n') == 1


@pytest.mark.parametrize('name', [n for n, data_set in CATALOGUE.items() if data_set.panoramic])
def test_sets_that_need_options_are_refused_with_the_command_that_takes_them(name, tmp_path):
    with pytest.raises(DataError) as raised:
        open_set(name, tmp_path)
    assert ('needs list_file' in str(raised.value)) == (name in OPTIONS_NEEDED)
    if name in OPTIONS_NEEDED:
        with pytest.raises(TrainError, match=rf'{name} needs options; make shards with `python -m '
                           rf'training\.curate panorama --set {name}={tmp_path} --option list'):
            open_source(f'{name}:{tmp_path}')


# --- full disks

@needs_full_device
def test_a_full_disk_ends_the_run_in_one_line_that_says_what_is_left(run, capsys):
    assert run('a', 1) == 0
    log = run.folder / 'a' / 'log.jsonl'
    log.unlink()
    log.symlink_to('/dev/full')
    assert run('a', 2) == 1
    assert (f'cannot write into {run.folder}/a: [Errno 28] No space left on device; the '
            'checkpoint of step 1 is kept') in capsys.readouterr().err


@needs_full_device
def test_a_picture_on_a_full_disk_is_no_success(tmp_path):
    (tmp_path / 'seen_000001.jpg').symlink_to('/dev/full')
    with pytest.raises(TrainError, match='cannot write into .*No space left'):
        RunFolder(tmp_path, silent=False).picture('seen', 1, np.zeros((96, 64, 3), np.uint8))


@needs_full_device
@pytest.mark.parametrize('name', ['x.jpg', 'x_depth_mm.png'])
def test_a_pair_on_a_full_disk_is_no_success(tmp_path, name):
    (tmp_path / name).symlink_to('/dev/full')
    with pytest.raises(PairsError, match=rf'{name} cannot be written: No space left'):
        write_pair(tmp_path, 'x', room_sample(np.random.default_rng(0)))


def test_a_run_folder_that_cannot_be_made_is_one_line(run, capsys):
    (run.folder / 'a').write_text('a file')
    assert run('a', 1) == 1
    told = capsys.readouterr().err
    assert told.startswith('error: cannot write into') and told.count('\n') == 1
