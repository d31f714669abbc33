# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
import tarfile

import numpy as np
import pytest

pytest.importorskip('torch')

from training import selection
from training.data.sample import Sample
from training.data.shards import ShardSet, write_shard
from training.selection import Candidate, place_of, select


def label(name, score, source='photos'):
    range_m = np.ones((4, 8), np.float32)
    meta = {'name': name} | ({} if score is None else {'score': score})
    return Sample(np.zeros((4, 8, 3), np.uint8), range_m, range_m > 0, source, meta=meta)


@pytest.fixture
def labels(tmp_path):
    """Two shards: five indoor, two outdoor, one of unknown place."""
    folder = tmp_path / 'labels'
    folder.mkdir()
    write_shard(folder / 'b.tar', [
        label('photos/indoor/1.jpg', 0.5), label('photos/indoor/2.jpg', 0.9),
        label('photos/outdoor/3.jpg', 0.1), label('photos/4.jpg', 1.0)], {})
    write_shard(folder / 'a.tar', [
        label('x/s.tar:s_0000', 0.7, 'home'), label('photos/indoor/0.jpg', 0.5),
        label('x/s.tar:s_0001', 0.4, 'street'), label('photos/indoor/9.jpg', 0.5)], {})
    return folder


def test_the_best_of_each_place_are_listed_best_first_ties_by_name(labels, tmp_path, capsys):
    out = tmp_path / 'lists' / 'best.txt'
    assert selection.main(['--labels', str(labels), '--indoor', '4', '--outdoor', '9',
                           '--out', str(out)]) == 0
    said = capsys.readouterr()
    assert 'indoor: 4 of 5 (wanted 4), score 0.900 to 0.500' in said.out
    assert 'outdoor: 2 of 2 (wanted 9)' in said.out
    assert 'left out: 1 of photos' in said.err
    chosen = ShardSet([out])
    assert [chosen.meta(i)['name'] for i in range(len(chosen))] == [
        'photos/indoor/2.jpg', 'x/s.tar:s_0000', 'photos/indoor/0.jpg', 'photos/indoor/1.jpg',
        'x/s.tar:s_0001', 'photos/outdoor/3.jpg']
    assert chosen[0].range_m.shape == (4, 8)


def test_the_order_of_the_labels_does_not_matter():
    found = [Candidate(round(s, 1), f'n{i}', 'indoor' if i % 3 else 'outdoor', Path('s.tar'), 'k')
             for i, s in enumerate(np.random.default_rng(0).uniform(0, 1, 40))]
    wanted = {'indoor': 7, 'outdoor': 5}
    assert select(found, wanted) == select(found[::-1], wanted)
    assert [c.score for c in select(found, wanted)] == sorted(
        (c.score for c in select(found, wanted)), reverse=True)


def test_what_the_label_says_comes_before_its_folder_and_its_scene():
    assert place_of({'name': 'indoor/a.jpg', 'source': 'street', 'place': 'outdoor'}) == 'outdoor'
    assert place_of({'name': 'outdoor/indoor/a.jpg', 'source': 'street'}) == 'indoor'
    assert place_of({'name': 'x/indoor.jpg', 'source': 'street'}) == 'outdoor'
    assert place_of({'name': 'x/a.jpg', 'source': 'x'}) == ''


def test_damaged_labels_are_left_out_counted_and_named(labels, tmp_path, capsys):
    (labels / 'c.tar').write_bytes(b'no tar' * 200)
    with tarfile.open(labels / 'b.tar') as tar:
        info = tar.getmember('b_0001.json')             # the best
    data = bytearray((labels / 'b.tar').read_bytes())
    data[info.offset_data:info.offset_data + 4] = b'\xff' * 4
    (labels / 'b.tar').write_bytes(data)
    assert selection.main(['--labels', str(labels), '--out', str(tmp_path / 'best.txt')]) == 0
    said = capsys.readouterr()
    assert 'indoor: 4 of 4' in said.out
    assert 'left out: 2 labels or shards that are damaged' in said.err
    assert 'c.tar cannot be read' in said.err and 'b.tar:b_0001 is corrupt' in said.err


def test_labels_without_score_or_place_are_one_line(labels, tmp_path, capsys):
    out = str(tmp_path / 'best.txt')
    assert selection.main(['--labels', str(labels), '--indoor', '0', '--outdoor', '0', '--out',
                           out]) == 1
    assert 'none of 8 labels' in capsys.readouterr().err
    write_shard(labels / 'c.tar', [label('photos/indoor/5.jpg', None)], {})
    assert selection.main(['--labels', str(labels), '--out', out]) == 1
    assert 'c.tar:c_0000 has no score; label with training.label --quality' in (
        capsys.readouterr().err)
    assert selection.main(['--labels', str(labels), '--out', str(tmp_path)]) == 1
    assert not Path(out).exists()


@pytest.mark.parametrize('out', ['file/best.txt', 'folder.txt'])
def test_a_list_that_cannot_be_written_is_one_line(labels, tmp_path, capsys, out):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.txt').mkdir()
    assert selection.main(['--labels', str(labels), '--out', str(tmp_path / out)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f'error: --out {tmp_path / out} cannot be written: ')
