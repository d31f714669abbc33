# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The command: which shards it keeps, which it refuses; the pictures are test_simulator.py's."""

import json
import tarfile

import cv2
import numpy as np
import pytest

pytest.importorskip('open3d', reason='open3d cannot be imported (its wheel needs libusb-1.0)',
                    exc_type=ImportError)

from training import simulate
from training.data.sample import Sample
from training.data.shards import read_shard, ShardSet, write_shard


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The arguments of a command that paints no picture: every sample is its seed."""
    def render(job):
        range_m = np.full((8, 16), 1 + job.seed[0], np.float32)
        image = np.zeros((8, 16, 3), np.uint8)
        write_shard(job.path, [Sample(image, range_m, range_m > 0, 'home')] * job.count, {})
        return job.count, 1.0
    monkeypatch.setattr(simulate, 'spread', lambda work, jobs, workers: map(work, jobs))
    monkeypatch.setattr(simulate, 'render_shard', render)
    (tmp_path / 'assets').mkdir()
    return ['--assets', f'{tmp_path}/assets', '--out', f'{tmp_path}/out', '--per-shard', '4']


def test_a_larger_count_renders_the_short_shard_again(words, tmp_path, capsys):
    for count, kept in (('6', ''), ('11', '1 finished shards are kept'), ('5', '2 finished')):
        assert simulate.main([*words, '--count', count]) == 0
        assert kept in capsys.readouterr().out
    assert [len(ShardSet([f'{tmp_path}/out/0000{i}.tar'])) for i in range(3)] == [4, 4, 3]


@pytest.mark.parametrize('other, differs', [
    (['--seed', '1'], 'seed 0 (now 1)'), (['--mix', 'home=1'], "mix None (now ['home=1'])"),
    (['--size', '8x16'], 'size 256x512 (now 8x16)'), (['--near', '2'], 'near None (now 2.0)'),
    (['--marked', '0.5'], 'marked None (now 0.5)'), (['--per-shard', '2'], 'per_shard 4 (now 2)'),
    (['--only', 'gz_street'], 'only  (now gz_street)'),
    (['--benchmark', 'outdoor'], 'benchmark None (now outdoor)'), (['--assets', '/'], '(now /)')])
def test_shards_of_another_job_are_refused(words, capsys, other, differs):
    assert simulate.main([*words, '--count', '6']) == 0
    assert simulate.main([*words, '--count', '6', *other]) == 1
    said = capsys.readouterr().err
    assert 'out holds the work of another job: ' in said and differs in said
    assert 'give another folder or delete this one' in said


def test_shards_from_before_the_record_are_accepted(words, tmp_path, capsys):
    assert simulate.main([*words, '--count', '6']) == 0
    (tmp_path / 'out/job.json').unlink()
    assert simulate.main([*words, '--count', '6', '--seed', '1']) == 0
    assert '2 finished shards are kept' in capsys.readouterr().out
    assert next(read_shard(tmp_path / 'out/00000.tar')).range_m[0, 0] == 1
    assert json.loads((tmp_path / 'out/job.json').read_text())['seed'] == 1


def test_a_command_that_rendered_nothing_binds_to_nothing(words, tmp_path, monkeypatch, capsys):
    assert simulate.main([*words, '--mix', 'moon=1']) == 1
    assert "unknown scene kinds ['moon']" in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    with monkeypatch.context() as patch:
        patch.setattr(simulate, 'render_shard', lambda job: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            simulate.main([*words, '--seed', '1'])
    assert simulate.main([*words, '--count', '6']) == 0


@pytest.mark.parametrize('member, message', [
    (0, 'cannot be read'), (2, 'is damaged after 3 members'), (5, 'is damaged after 6 members')])
def test_a_damaged_shard_is_named_and_not_kept_in_silence(words, tmp_path, capsys, member,
                                                          message):
    """Cut off behind the header of a member; two samples are six members."""
    assert simulate.main([*words, '--count', '6']) == 0
    shard = tmp_path / 'out/00001.tar'
    with tarfile.open(shard) as tar:
        end = tar.getmembers()[member].offset_data
    whole = shard.read_bytes()
    shard.write_bytes(whole[:end] if member else whole[:9])
    assert simulate.main([*words, '--count', '6']) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith('error: ') and f'00001.tar {message}' in said
    shard.unlink()
    assert simulate.main([*words, '--count', '6']) == 0
    assert shard.read_bytes() == whole


def test_a_sheet_is_written_or_the_command_fails(words, tmp_path, capsys):
    assert simulate.main([*words, '--count', '2']) == 0
    shard = f'{tmp_path}/out/00000.tar'
    assert simulate.main(['--sheet', shard, f'{tmp_path}/new/sheet.png']) == 0
    assert cv2.imread(f'{tmp_path}/new/sheet.png') is not None
    (tmp_path / 'taken.png').mkdir()
    assert simulate.main(['--sheet', shard, f'{tmp_path}/taken.png']) == 1
    assert 'taken.png cannot be written: Is a directory' in capsys.readouterr().err


@pytest.mark.parametrize('name, message', [
    ('sheet', "sheet cannot be written: no image ends in ''"),
    ('00000.tar/sheet.png', 'sheet.png cannot be written: ')])
def test_a_sheet_that_cannot_be_written_is_one_line(name, message, tmp_path, capsys):
    sample = Sample(np.zeros((8, 16, 3), np.uint8), np.ones((8, 16), np.float32),
                    np.ones((8, 16), bool), 'home')
    write_shard(tmp_path / '00000.tar', [sample], {})
    assert simulate.main(['--sheet', str(tmp_path / '00000.tar'), str(tmp_path / name)]) == 1
    assert message in capsys.readouterr().err


def test_a_sheet_of_no_image_is_one_line(tmp_path, capsys):
    write_shard(tmp_path / '00000.tar', [], {})
    assert simulate.main(['--sheet', str(tmp_path / '00000.tar'), str(tmp_path / 'x.png')]) == 1
    assert capsys.readouterr().err == (
        f'error: {tmp_path}/00000.tar holds no image; give another\n')


@pytest.mark.parametrize('option', ['--count', '--per-shard', '--workers'])
def test_what_must_be_at_least_one_is_refused(option, words, capsys):
    assert simulate.main([*words, option, '0']) == 1
    assert capsys.readouterr().err == f'error: {option} must be at least 1, got 0\n'


@pytest.mark.parametrize('more, text', [
    (['--sequence', '4'], 'leave --sequence out'), (['--mix', 'home=1'], 'leave --mix out'),
    (['--high', '0.1'], 'leave --high out'), (['--size', '256x512'], 'it is 320x640')])
def test_photographs_refuse_what_they_would_not_heed(words, capsys, more, text):
    assert simulate.main([*words, '--photographs', 'x', *more]) == 1
    assert text in capsys.readouterr().err


def test_labels_without_photographs_are_refused(words, capsys):
    assert simulate.main([*words, '--labels', 'x']) == 1
    assert capsys.readouterr().err == (
        'error: --labels needs --photographs: it says what is seen in them\n')


def test_a_folder_of_other_photographs_is_refused(words, capsys):
    assert simulate.main([*words, '--count', '4', '--photographs', 'x']) == 0
    assert simulate.main([*words, '--count', '4', '--photographs', 'y']) == 1
    assert 'photographs' in capsys.readouterr().err
