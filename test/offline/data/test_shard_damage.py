# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Damage of shards: nothing is lost or used without being named."""

import io
import json
import tarfile
import zlib

from damage import flip, header_of
import numpy as np
import pytest
from test_shards import make_samples

from training.data.shards import read_shard, ShardError, ShardSet, write_shard

BLOCK = 512
MEMBERS = 3             # per sample


@pytest.fixture
def shard(tmp_path):
    """A shard of five samples."""
    write_shard(tmp_path / 'a.tar', make_samples(5), {})
    return tmp_path / 'a.tar'


def without_checksums(shard):
    """Write the shard again as it was before there were checksums."""
    with tarfile.open(shard) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]
    with tarfile.open(shard, 'w') as tar:
        for info, data in members:
            if info.name.endswith('.json'):
                meta = json.loads(data)
                assert meta.pop('crc32')
                data = json.dumps(meta).encode()
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def zero(data, start):
    data[start:start + BLOCK] = bytes(BLOCK)
    return data


def cut_before(data, start):
    return data[:start]


def cut_inside(data, start):
    return data[:start + 100]


@pytest.mark.parametrize('damage', [flip, zero, cut_before, cut_inside])
@pytest.mark.parametrize('member', [2 * MEMBERS, 2 * MEMBERS + 1])
def test_samples_behind_a_damaged_header_are_named_as_lost(shard, damage, member):
    data = damage(bytearray(shard.read_bytes()), header_of(shard, member))
    shard.write_bytes(data)
    message = (rf'a\.tar is damaged after {member} members, what follows is lost; delete the shard'
               if member % MEMBERS == 0 else r'a_0002 lacks \.range')
    samples = read_shard(shard)
    assert [next(samples).camera_height_m for _ in range(2)] == pytest.approx([0.1, 0.2])
    with pytest.raises(ShardError, match=message):
        next(samples)
    shards = ShardSet([shard.parent])
    assert len(shards) == -(-member // MEMBERS)
    assert [shards[i].camera_height_m for i in range(2)] == pytest.approx([0.1, 0.2])
    assert len(shards.corrupt) == 1 and f'damaged after {member} members' in shards.corrupt[0]


def test_a_shard_cut_inside_a_picture_keeps_the_samples_before(shard):
    shard.write_bytes(shard.read_bytes()[:header_of(shard, 6) + BLOCK + 40])
    shards = ShardSet([shard])
    assert len(shards) == 3 and 'damaged after 7 members' in shards.corrupt[0]
    with pytest.raises(ShardError, match='a_0002 lacks'):
        shards[2]


def test_a_first_header_that_is_zeroed_is_no_empty_shard(shard):
    shard.write_bytes(zero(bytearray(shard.read_bytes()), 0))
    with pytest.raises(ShardError, match='damaged after 0 members'):
        ShardSet([shard])


def test_a_file_that_is_no_tar_is_one_line(shard):
    shard.write_bytes(b'no tar' * 200)
    with pytest.raises(ShardError, match=r'a\.tar cannot be read') as raised:
        list(read_shard(shard))
    assert '\n' not in str(raised.value)


def middle_of_the_jpeg(shard):
    """Change a bit in the second sample's image; OpenCV decodes it all the same."""
    with tarfile.open(shard) as tar:
        info = tar.getmembers()[MEMBERS]
    data = bytearray(shard.read_bytes())
    data[info.offset_data + info.size - 8] ^= 0x10
    shard.write_bytes(data)


def test_an_image_damaged_in_its_middle_is_named(shard):
    middle_of_the_jpeg(shard)
    shards = ShardSet([shard])
    with pytest.raises(ShardError, match=r'a\.tar:a_0001\.jpg is corrupt \(its checksum differs'):
        shards[1]
    assert [shards[i].camera_height_m for i in (0, 2)] == pytest.approx([0.1, 0.3])


def test_range_damaged_to_another_range_is_named(shard):
    with tarfile.open(shard) as tar:
        picture = tar.extractfile('a_0001.range.png').read()
        other = tar.extractfile('a_0002.range.png').read()
    data = shard.read_bytes()
    same_size = other[:len(picture)].ljust(len(picture), b'\0')
    shard.write_bytes(data.replace(picture, same_size))
    with pytest.raises(ShardError, match=r'a_0001\.range\.png is corrupt'):
        ShardSet([shard])[1]


def test_older_shards_without_checksums_load_as_before(shard):
    new = [sample.image for sample in read_shard(shard)]
    without_checksums(shard)
    for image, sample in zip(new, read_shard(shard), strict=True):
        np.testing.assert_array_equal(sample.image, image)
    middle_of_the_jpeg(shard)
    assert ShardSet([shard])[1].image.shape == (16, 32, 3)


def test_checksums_are_those_of_the_members_and_no_news_to_a_reader(shard):
    with tarfile.open(shard) as tar:
        meta = json.loads(tar.extractfile('a_0003.json').read())
        assert meta['crc32'] == {suffix: zlib.crc32(tar.extractfile('a_0003' + suffix).read())
                                 for suffix in ('.jpg', '.range.png')}
    shards = ShardSet([shard])
    assert shards[3].meta == {} and set(shards.meta(3)) == {'source', 'camera_height_m'}


def rewrite_json(shard, key, payload):
    with tarfile.open(shard) as tar:
        info = tar.getmember(f'{key}.json')
    data = bytearray(shard.read_bytes())
    data[info.offset_data:info.offset_data + info.size] = payload.ljust(info.size)[:info.size]
    shard.write_bytes(data)


@pytest.mark.parametrize('payload', [
    b'\xff\xfe', b'{"source"', b'[1]', b'{"camera_height_m": 1}', b'{"source": "x"}',
    b'{"source": "x", "camera_height_m": null}',
    b'{"source": "x", "camera_height_m": 1, "crc32": 5}'])
def test_metadata_that_is_damaged_is_one_line_with_its_name(shard, payload):
    rewrite_json(shard, 'a_0001', payload)
    shards = ShardSet([shard])
    for ask in (shards.meta, shards.__getitem__):
        with pytest.raises(ShardError, match=r'a\.tar:a_0001 is corrupt .*; delete the shard'):
            ask(1)


def test_metadata_that_is_missing_is_named(shard):
    shard.write_bytes(shard.read_bytes()[:header_of(shard, 5)])
    with pytest.raises(ShardError, match=r'a_0001 lacks \.json'):
        ShardSet([shard]).meta(1)


def test_a_shard_that_vanishes_is_a_skipped_sample(shard):
    shards = ShardSet([shard])
    shard.unlink()
    with pytest.raises(ShardError, match=r'a\.tar cannot be read'):
        shards[0]


def test_a_list_leaves_out_what_a_damaged_shard_has_lost_and_names_it(shard, tmp_path):
    write_shard(tmp_path / 'b.tar', make_samples(2), {})
    (tmp_path / 'c.tar').write_bytes(b'no tar' * 200)
    shard.write_bytes(shard.read_bytes()[:header_of(shard, 6)])
    wanted = tmp_path / 'list.txt'
    wanted.write_text('a.tar:a_0003\nb.tar:b_0001\nc.tar:c_0000\na.tar:a_0001\n')
    shards = ShardSet([wanted])
    assert [shards.place(i)[1] for i in range(len(shards))] == ['b_0001', 'a_0001']
    assert ['a.tar is damaged' in m or 'c.tar cannot be read' in m for m in shards.corrupt] == [
        True, True]
    wanted.write_text('none.tar:none_0001\n')
    with pytest.raises(ShardError, match=r"names 'none\.tar', which is not there"):
        ShardSet([wanted])
