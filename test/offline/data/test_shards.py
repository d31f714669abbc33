# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
import io
from pathlib import Path
import tarfile

import numpy as np
import pytest

from training.data.sample import Sample
from training.data.shards import (
    contact_sheet,
    decode_range,
    encode_range,
    read_shard,
    ShardError,
    ShardSet,
    write_shard,
)


def make_samples(count, seed=0):
    rng = np.random.default_rng(seed)
    for index in range(count):
        range_m = np.exp(rng.uniform(-2, 4.8, (16, 32))).astype(np.float32)
        range_m[0] = np.inf
        yield Sample(np.full((16, 32, 3), index * 10, np.uint8), range_m, np.isfinite(range_m),
                     'test', 0.1 * (index + 1))


def test_range_survives_within_a_float16_step():
    range_m = np.concatenate([np.geomspace(0.05, 300, 509), [np.inf, np.nan, 0.2]])
    back = decode_range(encode_range(range_m.reshape(16, 32))).ravel()
    finite = np.isfinite(range_m)
    np.testing.assert_allclose(back[finite], range_m[finite], rtol=2 ** -11)
    assert np.isposinf(back[509]) and np.isnan(back[510])


def test_samples_survive_a_shard(tmp_path):
    written = list(make_samples(5))
    assert write_shard(tmp_path / '00000.tar', written, {'seed': 1}) == 5
    for a, b in zip(written, read_shard(tmp_path / '00000.tar'), strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.valid, b.valid)
        assert b.camera_height_m == pytest.approx(a.camera_height_m)
        assert b.source == 'test'


def test_webdataset_reads_the_same_keys(tmp_path):
    webdataset = pytest.importorskip('webdataset')
    write_shard(tmp_path / '00000.tar', make_samples(3), {'seed': 1})
    read = list(webdataset.WebDataset(str(tmp_path / '00000.tar'), shardshuffle=False))
    assert [sorted(k for k in r if not k.startswith('__')) for r in read] == [
        ['jpg', 'json', 'range.png']] * 3


def test_random_access_equals_reading_in_order_and_finds_new_shards(tmp_path):
    write_shard(tmp_path / '00000.tar', make_samples(3), {})
    shards = ShardSet([tmp_path])
    for index, sample in enumerate(read_shard(tmp_path / '00000.tar')):
        assert np.array_equal(shards[index].range_m, sample.range_m)
    write_shard(tmp_path / '00001.tar', make_samples(2, seed=1), {})
    assert len(shards) == 3 and shards.refresh() == 5 and len(shards) == 5
    assert shards.names() == [f'{tmp_path.name}: 2 shards, 00000.tar to 00001.tar']


def test_other_metadata_survives_and_is_read_alone(tmp_path):
    samples = [replace(s, meta={'score': 0.5}) for s in make_samples(2)]
    write_shard(tmp_path / '00000.tar', samples, {'seed': 4})
    shards = ShardSet([tmp_path])
    assert shards[1].meta == {'score': 0.5, 'seed': 4}
    assert shards.meta(1) == {'source': 'test', 'camera_height_m': 0.2, 'score': 0.5, 'seed': 4}


def test_a_list_names_the_samples_and_their_order(tmp_path):
    write_shard(tmp_path / 'a.tar', make_samples(4), {})
    write_shard(tmp_path / 'b.tar', make_samples(2), {})
    wanted = tmp_path / 'list.txt'
    wanted.write_text('b.tar:b_0001\t0.9\na.tar:a_0003\na.tar:a_0000\t0.1 indoor\n')
    shards = ShardSet([wanted])
    assert [shards.place(i)[1] for i in range(3)] == ['b_0001', 'a_0003', 'a_0000']
    assert shards[1].camera_height_m == pytest.approx(0.4) and len(shards) == shards.refresh() == 3
    assert shards.names() == ['list.txt: 3 samples of a list']
    one = ShardSet([tmp_path / 'b.tar'])
    assert len(one) == 2 and one.names() == [f'{tmp_path.name}: b.tar']
    assert len(ShardSet([tmp_path, wanted])) == 9
    wanted.write_text('a.tar:a_0009\n')
    with pytest.raises(ShardError, match=r"'a_0009', which 'a.tar' does not hold"):
        ShardSet([wanted])
    with pytest.raises(ShardError, match=r'none\.txt cannot be read'):
        ShardSet([tmp_path / 'none.txt'])


@pytest.mark.parametrize('name', ['typo', 'typo.tar'])
def test_a_mistyped_source_among_several_is_not_ignored(tmp_path, name):
    write_shard(tmp_path / 'a.tar', make_samples(1), {})
    with pytest.raises(ShardError, match=rf'{tmp_path}/{name} does not exist; give folders of'):
        ShardSet([tmp_path, tmp_path / name])


def test_an_interrupted_shard_leaves_no_tar(tmp_path):
    def interrupted():
        yield from make_samples(2)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / '00000.tar', interrupted(), {})
    assert not list(tmp_path.glob('*.tar'))


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='needs a full device')
def test_a_full_disk_is_one_line_and_leaves_other_shards(tmp_path):
    write_shard(tmp_path / '00000.tar', make_samples(1), {})
    (tmp_path / '00001.tmp').symlink_to('/dev/full')
    with pytest.raises(ShardError, match=r'00001\.tar cannot be written: No space left on device'):
        write_shard(tmp_path / '00001.tar', make_samples(40), {})
    assert [p.name for p in tmp_path.iterdir()] == ['00000.tar']


def test_corrupt_and_missing_shards_are_named(tmp_path):
    with pytest.raises(ShardError, match=str(tmp_path)):
        ShardSet([tmp_path])
    (tmp_path / 'bad.tar').write_bytes(b'nothing' * 100)
    with pytest.raises(ShardError, match=r'bad\.tar'):
        list(read_shard(tmp_path / 'bad.tar'))
    (tmp_path / 'bad.tar').unlink()
    (tmp_path / '0_0.json').write_text('{}')
    with tarfile.open(tmp_path / 'half.tar', 'w') as tar:
        tar.add(tmp_path / '0_0.json', '0_0.json')
    with pytest.raises(ShardError, match=r'lacks \.jpg'):
        ShardSet([tmp_path])[0]
    with pytest.raises(ShardError, match='16-bit'):
        decode_range(b'no picture')


@pytest.mark.parametrize('suffix, payload, message', [
    ('.jpg', b'', r'bad\.tar:0_0\.jpg is corrupt \(its checksum differs\)'),
    ('.range.png', b'cut', r'bad\.tar:0_0\.range\.png is corrupt \(its checksum differs\)'),
    ('.json', b'{"source": "x"', r'bad\.tar:0_0 is corrupt'),
    ('.json', b'{"source": "x"}', r"bad\.tar:0_0 is corrupt \('camera_height_m'\)")])
def test_a_corrupt_member_is_named(tmp_path, suffix, payload, message):
    write_shard(tmp_path / 'good.tar', make_samples(1), {})
    with tarfile.open(tmp_path / 'good.tar') as good, tarfile.open(tmp_path / 'bad.tar',
                                                                   'w') as bad:
        for info in good:
            data = payload if info.name.endswith(suffix) else good.extractfile(info).read()
            info.name, info.size = '0_0.' + info.name.partition('.')[2], len(data)
            bad.addfile(info, io.BytesIO(data))
    with pytest.raises(ShardError, match=message):
        list(read_shard(tmp_path / 'bad.tar'))


def test_contact_sheet_shows_every_sample():
    sheet = contact_sheet(make_samples(5), columns=2, width=64)
    assert sheet.shape == (3 * 64, 2 * 64, 3)


def test_corrupt_shard_is_left_out_and_named(tmp_path):
    write_shard(tmp_path / '00001.tar', make_samples(1), {})
    (tmp_path / '00000.tar').write_bytes(b'no tar' * 200)
    data = ShardSet([tmp_path])
    assert len(data) == 1 and len(data.corrupt) == 1 and '00000.tar' in data.corrupt[0]
    (tmp_path / '00001.tar').unlink()
    with pytest.raises(ShardError, match='00000.tar cannot be read'):
        ShardSet([tmp_path])
