# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Shards of panoramas from views and from panoramic sets."""

import cv2
import numpy as np
import pytest

from training.curate import main
from training.data.shards import read_shard


def rgbd_folder(root, count=5, bad=()):
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        cv2.imwrite(str(root / f'{index}.png'), rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        depth = np.zeros((24, 32), np.uint16) if index in bad else np.full((24, 32), 2000,
                                                                          np.uint16)
        cv2.imwrite(str(root / f'{index}_depth_mm.png'), depth)
    return root


def curate(root, out, *more):
    return main(['panorama', '--set', f'rgbd_folder={root}', '--option', 'field_deg=70', '--out',
                 str(out), '--height', '32', '--per-shard', '2', *more])


def read_all(folder):
    return [s for path in sorted(folder.glob('*.tar')) for s in read_shard(path)]


def test_views_become_shards_of_panoramas(tmp_path, capsys):
    assert curate(rgbd_folder(tmp_path / 'in'), tmp_path / 'out') == 0
    samples = read_all(tmp_path / 'out')
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [
        *(f'{i:05d}.{suffix}' for i in range(3) for suffix in ('json', 'tar')), 'job.json']
    assert len(samples) == 5 and samples[0].image.shape == (32, 64, 3)
    for sample in samples:
        assert sample.source == 'rgbd_folder' and sample.meta['set'] == 'rgbd_folder'
        assert abs(sample.meta['centre_deg'][0]) <= 30 and abs(sample.meta['centre_deg'][1]) <= 15
        assert sample.valid.mean() == pytest.approx(sample.meta['seen'], abs=0.01)
        known = sample.range_m[sample.valid]
        assert 1.99 < known.min() and known.max() < 2.0 / np.cos(np.radians(42))


def test_shards_depend_on_the_seed_alone_and_are_resumed(tmp_path):
    root = rgbd_folder(tmp_path / 'in')
    for name, seed in (('a', '1'), ('b', '1'), ('c', '2')):
        assert curate(root, tmp_path / name, '--seed', seed, '--count', '6') == 0
    first, again, other = (read_all(tmp_path / n) for n in 'abc')
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.valid, b.valid) for a, b in zip(first, other, strict=True))
    kept = (tmp_path / 'a/00000.tar').stat().st_mtime_ns
    (tmp_path / 'a/00001.tar').unlink()
    assert curate(root, tmp_path / 'a', '--seed', '1', '--count', '6') == 0
    assert (tmp_path / 'a/00000.tar').stat().st_mtime_ns == kept
    assert all(np.array_equal(a.image, b.image)
               for a, b in zip(first, read_all(tmp_path / 'a'), strict=True))


def test_shards_of_another_job_are_not_mixed_in(tmp_path, capsys):
    root = rgbd_folder(tmp_path / 'in')
    assert curate(root, tmp_path / 'out', '--seed', '1') == 0
    assert curate(root, tmp_path / 'out', '--seed', '2') == 1
    assert 'out holds the work of another job: seed 1 (now 2); give' in capsys.readouterr().err


@pytest.mark.parametrize('before, after, differs', [
    ('bcd', 'abcd', 'samples 3 (now 4), sample_names '), ('abc', 'abd', 'sample_names ')])
def test_a_set_that_has_changed_loses_no_view_in_silence(tmp_path, capsys, before, after, differs):
    root = rgbd_folder(tmp_path / 'in', 0)

    def fill(names):
        for path in root.iterdir():
            path.unlink()
        for name in names:
            cv2.imwrite(str(root / f'{name}.png'), np.full((24, 32, 3), ord(name), np.uint8))
            cv2.imwrite(str(root / f'{name}_depth_mm.png'), np.full((24, 32), 2000, np.uint16))
    fill(before)
    for _ in range(2):
        assert curate(root, tmp_path / 'out') == 0
    fill(after)
    assert curate(root, tmp_path / 'out') == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert f'out holds the work of another job: {differs}' in said
    assert 'give another folder or delete this one' in said
    assert len(read_all(tmp_path / 'out')) == 3
    assert curate(root, tmp_path / 'new') == 0 and len(read_all(tmp_path / 'new')) == len(after)


def test_bad_views_are_skipped_counted_and_named(tmp_path, capsys):
    root = rgbd_folder(tmp_path / 'in', bad=(2,))
    (root / '3.png').write_bytes(b'no picture')
    (root / '4_depth_mm.png').unlink()
    for _ in range(2):                  # also by a run that finds everything done
        assert curate(root, tmp_path / 'out') == 0
        assert len(read_all(tmp_path / 'out')) == 2
        told = capsys.readouterr().out
        assert 'rgbd_folder: 3 skipped' in told and '3.png is not a readable picture' in told
        assert 'sample 2 has no valid pixel' in told and '4_depth_mm.png' in told
    (tmp_path / 'out/00001.tar').unlink()
    cv2.imwrite(str(root / '3.png'), np.zeros((24, 32, 3), np.uint8))
    assert curate(root, tmp_path / 'out') == 0
    assert 'rgbd_folder: 2 skipped' in capsys.readouterr().out


def test_a_view_with_a_corrupt_camera_is_skipped_and_named(tmp_path, capsys):
    (tmp_path / 'in/a-depth').mkdir(parents=True)
    (tmp_path / 'in/a').mkdir()
    for index, field in enumerate((60, 200, 60)):
        cv2.imwrite(f'{tmp_path}/in/a/0000{index}-bl-image.png', np.zeros((24, 32, 3), np.uint8))
        cv2.imwrite(f'{tmp_path}/in/a-depth/0000{index}-bl-depth.exr',
                    np.full((24, 32), 2000, np.float32))
        (tmp_path / f'in/a/0000{index}-meta.json').write_text(f'{{"fltFov": {field}}}')
    assert main(['panorama', '--set', f'ken_burns={tmp_path}/in', '--option',
                 'metres_per_unit=0.001', '--out', str(tmp_path / 'out'), '--height', '32']) == 0
    told = capsys.readouterr().out
    assert 'ken_burns: 1 skipped' in told
    assert '00001-bl-depth.exr: field of view 200 degrees is not in (0, 180)' in told
    assert len(read_all(tmp_path / 'out')) == 2


@pytest.mark.parametrize('change, message', [
    (['--set', 'rgbd_folder'], '--set rgbd_folder is not NAME=FOLDER'),
    (['--set', 'nothing=.'], "no data set 'nothing'; there are"),
    (['--option', 'field_deg'], '--option field_deg is not KEY=VALUE'),
    (['--option', 'field_deg=60'], '--option field_deg is given twice, 70 and 60'),
    (['--option', 'fields=1'], 'fields'), (['--height', '0'], 'must be positive')])
def test_bad_arguments_are_one_line(tmp_path, capsys, change, message):
    assert curate(rgbd_folder(tmp_path / 'in'), tmp_path / 'out', *change) == 1
    told = capsys.readouterr().err
    assert message in told and told.startswith('error: ') and told.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_a_set_without_a_valid_pixel_stops_with_its_name(tmp_path, capsys):
    assert curate(rgbd_folder(tmp_path / 'in', 3, bad=(0, 1, 2)), tmp_path / 'out') == 1
    assert 'data set rgbd_folder has no valid pixel' in capsys.readouterr().err


def test_panoramic_sets_become_shards_of_one_size(tmp_path, capsys):
    folder = tmp_path / 'in/scene_00001/2D_rendering/7/panorama/full'
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / 'rgb_rawlight.png'), np.full((64, 128, 3), 90, np.uint8))
    cv2.imwrite(str(folder / 'depth.png'), np.full((64, 128), 2500, np.uint16))
    assert main(['panorama', '--set', f'structured3d={tmp_path}/in', '--out',
                 str(tmp_path / 'out'), '--height', '32']) == 0
    sample, = read_all(tmp_path / 'out')
    assert sample.image.shape == (32, 64, 3) and (sample.range_m == 2.5).all()
    assert sample.source == 'structured3d'


@pytest.mark.slow
def test_two_processes_write_the_same_shards(tmp_path):
    root = rgbd_folder(tmp_path / 'in')
    assert curate(root, tmp_path / 'one') == 0
    assert curate(root, tmp_path / 'two', '--workers', '2') == 0
    for a, b in zip(read_all(tmp_path / 'one'), read_all(tmp_path / 'two'), strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.range_m, b.range_m,
                                                                   equal_nan=True)
