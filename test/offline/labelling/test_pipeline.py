# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
import shutil

import cv2
import numpy as np
import pytest
from tiny_training import kill_after_training, MICRO

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('accelerate')

from training import pipeline  # noqa: E402
from training.checkpoints.checkpoint import load_checkpoint  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.data.shards import ShardSet, write_shard  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')


def room(rng, source='home'):
    """A floor at a random height below a wall, brightness tells the range."""
    range_m = np.full((32, 64), 5.0, np.float32)
    range_m[16:] = (rng.uniform(0.2, 2) / np.sin((np.arange(16) + 0.5) / 32 * np.pi))[:, None]
    image = np.repeat((255 / (1 + range_m)).astype(np.uint8)[..., None], 3, -1)
    return Sample(image, range_m, np.isfinite(range_m), source, 1.0)


@pytest.fixture
def words(tmp_path):
    """The arguments of a whole pipeline that takes seconds."""
    rng = np.random.default_rng(0)
    for name, count in (('train', 8), ('val', 3)):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name / '00000.tar', [room(rng) for _ in range(count)], {})
    for place in ('indoor', 'outdoor'):
        (tmp_path / 'photos' / place).mkdir(parents=True)
        for number in range(3):
            # stripes: without them all azimuths are alike, as in no photograph
            image = (room(rng).image * rng.uniform(0.3, 1, (1, 64, 1))).astype(np.uint8)
            cv2.imwrite(str(tmp_path / 'photos' / place / f'{number}.png'), image)
    (tmp_path / 'micro.yaml').write_text(yaml.safe_dump(MICRO))
    return ['--synthetic', f'{tmp_path}/train', '--unlabelled', f'{tmp_path}/photos', '--val',
            f'held={tmp_path}/val', '--configs', f'{tmp_path}/micro.yaml', '--steps', '2',
            '--quality-steps', '2', '--indoor', '2', '--outdoor', '1', '--out',
            f'{tmp_path}/out']


def test_the_stages_chain_and_a_broken_run_goes_on(words, tmp_path, capsys, monkeypatch):
    original = pipeline.train.train

    def killed_in_stage_2(args):
        if args.out.name == 'stage2':
            raise KeyboardInterrupt
        original(args)
    monkeypatch.setattr(pipeline.train, 'train', killed_in_stage_2)
    with pytest.raises(KeyboardInterrupt):
        pipeline.main(words)
    first = (tmp_path / 'out/stage1/checkpoint.safetensors').stat().st_mtime_ns
    monkeypatch.setattr(pipeline.train, 'train', original)
    capsys.readouterr()
    assert pipeline.main(words) == 0
    said = capsys.readouterr().out
    assert (tmp_path / 'out/stage1/checkpoint.safetensors').stat().st_mtime_ns == first
    assert '$ python -m training.label' in said and 'training.discriminate' not in said
    assert len(ShardSet([tmp_path / 'out/best.txt'])) == 3
    assert load_checkpoint(tmp_path / 'out/stage2').provenance['images'] == 8 + 3
    assert load_checkpoint(tmp_path / 'out/stage3').provenance['images'] == 8 + 6
    table = (tmp_path / 'out/table.md').read_text()
    assert [line.split('|')[1].strip() for line in table.splitlines()[2:]] == [
        'held, stage1', 'held, stage2', 'held, stage3']


def other(words, option, value):
    at = words.index(option) + 1
    return [*words[:at], value, *words[at + 1:]]


def test_what_other_commands_made_is_refused(words, tmp_path, capsys, monkeypatch):
    original = pipeline.train.train

    def killed_in_stage_2(args):
        original(args)
        if args.out.name == 'stage2':
            raise KeyboardInterrupt
    monkeypatch.setattr(pipeline.train, 'train', killed_in_stage_2)
    with pytest.raises(KeyboardInterrupt):
        pipeline.main(words)
    monkeypatch.setattr(pipeline.train, 'train', original)
    out = tmp_path / 'out'

    def refusal(*change):
        assert pipeline.main(other(words, *change)) == 1
        said = capsys.readouterr().err
        assert 'was made by other commands; delete it or choose another --out' in said
        return said.partition(' was made')[0].rpartition(' ')[2], said
    made, said = refusal('--steps', '3')
    assert made == f'{out}/stage1' and '--steps 2 --out' in said and '--steps 3 --out' in said
    made, said = refusal('--indoor', '1')
    assert made == f'{out}/best.txt' and 'is now: python -m training.selection' in said
    (out / 'best.txt').unlink()
    assert refusal('--indoor', '1')[0] == f'{out}/stage2'       # which learnt from it, if not all
    shutil.rmtree(out / 'stage2')
    assert pipeline.main(other(words, '--indoor', '1')) == 0
    assert len(ShardSet([out / 'best.txt'])) == 2
    assert refusal('--quality-steps', '3')[0] == f'{out}/quality'
    config = tmp_path / 'micro.yaml'
    text = config.read_text()
    config.write_text(yaml.safe_dump({**MICRO, 'learning_rate': 1e-4}))
    made, said = refusal('--indoor', '1')
    assert made == f'{out}/stage1' and said.count('micro.yaml --data') == 2
    was, now = (part.split()[0] for part in said.split('# config ')[1:])
    assert was != now and len(was) == len(now) == 16
    config.write_text(text)
    for record in out.glob('*.steps'):
        record.unlink()
    assert pipeline.main(other(words, '--quality-steps', '3')) == 0     # made before the record


def test_an_unfinished_stage_goes_on_as_training_allows(words, tmp_path, capsys, monkeypatch):
    kill_after_training(monkeypatch, pipeline, words)
    (tmp_path / 'micro.yaml').write_text(yaml.safe_dump({**MICRO, 'seed': 9}))
    assert pipeline.main(words) == 1
    assert 'stage1 holds another run: seed ' in capsys.readouterr().err
    (tmp_path / 'micro.yaml').write_text(yaml.safe_dump({**MICRO, 'batch': 2}))
    kill_after_training(monkeypatch, pipeline, words)       # as a run that had too little memory


def test_a_source_that_is_dropped_on_the_way_is_not_selected_from(words, tmp_path, capsys,
                                                                  monkeypatch):
    shutil.copytree(tmp_path / 'photos', tmp_path / 'more')
    original = pipeline.selection.run

    def killed(_):
        raise KeyboardInterrupt
    monkeypatch.setattr(pipeline.selection, 'run', killed)
    at = words.index('--unlabelled') + 1
    with pytest.raises(KeyboardInterrupt):
        pipeline.main([*words[:at], f'{tmp_path}/more', *words[at:]])
    monkeypatch.setattr(pipeline.selection, 'run', original)
    capsys.readouterr()
    assert pipeline.main(words) == 1
    said = capsys.readouterr().err
    assert 'labels/stage1/more_00000.tar holds labels of images that --data does not name' in said
    assert 'this step failed: python -m training.label' in said
    assert not (tmp_path / 'out/best.txt').exists()


def test_a_failing_step_is_named(words, tmp_path, capsys):
    (tmp_path / 'micro.yaml').write_text('network: nothing\n')
    assert pipeline.main(words) == 1
    said = capsys.readouterr().err
    assert "no network 'nothing'" in said
    assert 'this step failed: python -m training.train --config' in said
    assert pipeline.main([*words, '--val', 'x']) == 1
    assert '--val x is not NAME=FOLDER' in capsys.readouterr().err
    assert pipeline.main([*words, '--configs', 'a.yaml', 'b.yaml']) == 1
    assert '--configs names 2 files; give one or three' in capsys.readouterr().err
    assert pipeline.main([*words, '--configs', 'a.yaml']) == 1
    assert 'config a.yaml does not exist; see training/configs' in capsys.readouterr().err


def test_unsorted_photos_are_refused_before_the_first_step(tmp_path, capsys):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'a.jpg').touch()
    words = ['--synthetic', 'none', '--unlabelled', str(tmp_path / 'photos'), '--val', 'a=none',
             '--steps', '1', '--out', str(tmp_path / 'out')]
    assert pipeline.main(words) == 1
    assert 'sort it with `python -m training.curate sort`' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_record_that_cannot_be_written_is_one_line(words, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert pipeline.main(other(words, '--out', f'{tmp_path}/file')) == 1
    assert capsys.readouterr().err == (
        f'error: {tmp_path}/file/stage1.steps cannot be written: File exists; choose another '
        '--out, or make room and run the same command again\n')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a full device')
def test_a_full_disk_is_one_line(words, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/.stage1.steps.tmp').symlink_to('/dev/full')
    assert pipeline.main(words) == 1
    assert 'stage1.steps cannot be written: No space left on device' in capsys.readouterr().err
    assert not (tmp_path / 'out/stage1').exists()
