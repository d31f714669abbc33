# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags of every storage, and every way in which one can be broken."""

from dataclasses import replace
import struct

import cv2
import numpy as np
import pytest

from da_ros.bags.bag import BagReader, COMPRESSED, IMAGE, POINTS, SCAN
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.contents import points_of, range_image_of, scan_points_of
from da_ros.bags.storage import BagError
from da_ros.pixels import picture_of

BGR = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3)
DEPTH = np.linspace(0.5, 9, 128, dtype=np.float32).reshape(8, 16)
CLOUD = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6]], np.float32)


def write(path, storage='mcap', count=3):
    with BagWriter(path, storage) as bag:
        bag.write('/tf_static', bag.transform(0, 'base', 'camera', (0, 0, 1), (0, 0, 0, 1)), 1)
        for i in range(count):
            stamp = 10**9 * (i + 1)
            bag.write('/camera/image', bag.image(stamp, 'camera', BGR, 'bgr8'), stamp)
            bag.write('/lidar/points', bag.points(stamp, 'lidar', CLOUD), stamp + 5)
            bag.write('/camera/depth', bag.image(stamp, 'camera', DEPTH, '32FC1'), stamp + 6)
    return path


def write_ros1(path):
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import get_typestore, Stores
    store = get_typestore(Stores.ROS1_NOETIC)
    types = store.types
    with Writer(path) as bag:
        connection = bag.add_connection('/camera/image', IMAGE, typestore=store)
        for i in range(2):
            header = types['std_msgs/msg/Header'](
                seq=i, stamp=types['builtin_interfaces/msg/Time'](sec=i, nanosec=5),
                frame_id='camera')
            msg = types[IMAGE](header=header, height=8, width=16, encoding='bgr8',
                               is_bigendian=0, step=48, data=BGR.reshape(-1))
            bag.write(connection, i, store.serialize_ros1(msg, IMAGE))
    return path


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_what_was_written_is_read_back(tmp_path, storage):
    with BagReader(write(tmp_path / 'bag', storage)) as bag:
        assert bag.counts['/camera/image'] == 3 and bag.kinds['/lidar/points'] == POINTS
        assert bag.duration_s == pytest.approx(3, abs=0.01)
        seen = list(bag.messages(['/camera/image', '/lidar/points']))
        assert [m.topic for m in seen[:2]] == ['/camera/image', '/lidar/points']
        np.testing.assert_array_equal(picture_of(seen[0].decode()).image, BGR)
        np.testing.assert_array_equal(points_of(seen[1].decode()), CLOUD[[0, 2]])
        depth = next(bag.messages(['/camera/depth'])).decode()
        np.testing.assert_array_equal(range_image_of(depth), DEPTH)
        assert bag.transforms().root('camera') == 'base'
        assert list(bag.messages([])) == []


def test_single_file_and_ros1_bags_are_read(tmp_path):
    folder = write(tmp_path / 'bag')
    with BagReader(folder / 'bag.mcap') as bag:
        assert len(list(bag.messages(['/camera/image']))) == 3
    with BagReader(write_ros1(tmp_path / 'one.bag')) as bag:
        first = next(bag.messages(['/camera/image']))
        np.testing.assert_array_equal(picture_of(first.decode()).image, BGR)


def test_unindexed_mcap_is_read_by_scanning(tmp_path):
    file = write(tmp_path / 'bag') / 'bag.mcap'
    data = bytearray(file.read_bytes())
    data[-28:-12] = bytes(16)                  # footer: no summary
    file.write_bytes(data)
    with BagReader(file) as bag:
        assert len(list(bag.messages(['/camera/image']))) == 3


@pytest.mark.parametrize('keep', [0, 4, 60, 0.5, 0.98])
def test_truncated_mcap_is_refused_with_the_remedy(tmp_path, keep):
    file = write(tmp_path / 'bag') / 'bag.mcap'
    data = file.read_bytes()
    file.write_bytes(data[:int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(BagError, match=r'cannot open bag .*bag.mcap.*mcap recover'):
        BagReader(file)


def test_truncated_sqlite_and_ros1_bags_are_refused_or_end_with_the_remedy(tmp_path):
    folder = write(tmp_path / 'bag', 'sqlite3', count=40)
    file = folder / 'bag.db3'
    file.write_bytes(file.read_bytes()[:30000])
    one = write_ros1(tmp_path / 'one.bag')
    one.write_bytes(one.read_bytes()[:200])
    for path in (folder, one):
        with pytest.raises(BagError, match='reindex'), BagReader(path) as bag:
            list(bag.messages(list(bag.counts)))


def test_damage_in_the_middle_comes_after_what_is_good(tmp_path):
    large = np.zeros((400, 800, 3), np.uint8)
    with BagWriter(tmp_path / 'bag') as bag:
        for i in range(12):
            bag.write('/camera/image', bag.image(i, 'camera', large, 'bgr8'), i)
    file = tmp_path / 'bag' / 'bag.mcap'
    data = bytearray(file.read_bytes())
    data[6_000_000:8_000_000] = b'\xff' * 2_000_000
    file.write_bytes(data)
    got = 0
    with pytest.raises(BagError, match='damaged in the middle'), BagReader(file) as bag:
        for _ in bag.messages(['/camera/image']):
            got += 1
    assert 0 < got < 12


def test_missing_files_are_named(tmp_path):
    with pytest.raises(BagError, match='no bag .*nothing'):
        BagReader(tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(BagError, match='cannot open bag .*empty'):
        BagReader(tmp_path / 'empty')
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(BagError, match='cannot open bag .*notes.txt'):
        BagReader(tmp_path / 'notes.txt')


def test_topics_are_found_suggested_or_listed(tmp_path):
    with BagReader(write(tmp_path / 'bag')) as bag:
        assert bag.find_topic('', (POINTS,), 'truth') == '/lidar/points'
        assert bag.find_topic('/camera/image', (IMAGE,), 'image') == '/camera/image'
        with pytest.raises(BagError, match=r'did you mean /camera/image.*it holds: /camera/depth'):
            bag.find_topic('/camera/imag', (IMAGE,), 'image')
        with pytest.raises(BagError, match=r'/lidar/points is sensor_msgs/msg/PointCloud2; image '
                                           r'needs .*has /camera/image, /camera/depth|needs'):
            bag.find_topic('/lidar/points', (IMAGE, COMPRESSED), 'image')
        with pytest.raises(BagError, match='several topics could be the image'):
            bag.find_topic('', (IMAGE,), 'image')
        with pytest.raises(BagError, match='no topic can be the scan'):
            bag.find_topic('', (SCAN,), 'scan')


def test_message_that_does_not_fit_its_type_is_named(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_raw('/camera/image', IMAGE, b'\x00\x01\x00\x00\x01', 5)
    with BagReader(tmp_path / 'bag') as bag:
        message = next(bag.messages(['/camera/image']))
        with pytest.raises(BagError, match='/camera/image .* cannot be decoded'):
            message.decode()


def test_depth_images_of_all_kinds_become_metres(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        millimetres = np.array([[0, 1500]], np.uint16)
        depth = range_image_of(bag.image(0, 'c', millimetres, '16UC1'))
        assert np.isnan(depth[0, 0]) and depth[0, 1] == pytest.approx(1.5)
        big = bag.image(0, 'c', DEPTH.astype('>f4'), '32FC1')
        big.is_bigendian = 1
        np.testing.assert_array_equal(range_image_of(big), DEPTH)
        with pytest.raises(BagError, match="'rgb8' is not supported"):
            range_image_of(bag.image(0, 'c', BGR, 'rgb8'))
        short = bag.image(0, 'c', DEPTH, '32FC1')
        short.data = short.data[:10]
        with pytest.raises(BagError, match='has 10 bytes'):
            range_image_of(short)
        with pytest.raises(BagError, match='no 16-bit PNG'):
            range_image_of(bag.compressed(0, 'c', BGR))


def compressed_depth(bag, kind, pixels, header):
    png = cv2.imencode('.png', pixels)[1].tobytes()
    return bag.new(COMPRESSED, header=bag.header(0, 'c'), format=kind,
                   data=np.frombuffer(header + png, np.uint8))


def test_compressed_depth_is_read_with_and_without_its_header(tmp_path):
    far = np.array([[1.0, 4.0, 9.0]], np.float32)
    quantum, offset = 100.0, -3.0                   # stored: A / depth + B
    inverse = np.rint(quantum / far + offset + 5).astype(np.uint16)
    stored = np.hstack([inverse, [[0]]]).astype(np.uint16)
    with BagWriter(tmp_path / 'bag') as bag:
        for header in (b'', struct.pack('<iff', -1, 0, 0)):
            depth = range_image_of(compressed_depth(
                bag, '16UC1; compressedDepth png', np.array([[0, 1500]], np.uint16), header))
            assert np.isnan(depth[0, 0]) and depth[0, 1] == pytest.approx(1.5)
        header = struct.pack('<iff', 0, quantum, offset + 5)
        depth = range_image_of(compressed_depth(bag, '32FC1; compressedDepth png', stored, header))
        np.testing.assert_allclose(depth[0, :3], far[0], rtol=0.02)
        assert np.isnan(depth[0, 3])
        whole = compressed_depth(bag, '16UC1; compressedDepth png', stored, b'\0' * 12)
        for data in (whole.data[:-20], whole.data[:60]):
            whole.data = data
            with pytest.raises(BagError, match='compressedDepth png.*truncated'):
                range_image_of(whole)
        for broken in (b'\0' * 12, b'', b'\0' * 5):
            msg = bag.compressed(0, 'c', BGR)
            msg.data, msg.format = np.frombuffer(broken, np.uint8), '16UC1; compressedDepth rvl'
            with pytest.raises(BagError, match="compressedDepth rvl' is no 16-bit PNG"):
                range_image_of(msg)


def test_clouds_without_coordinates_or_data_are_refused(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        cloud = bag.points(0, 'l', CLOUD)
        cloud.data = cloud.data[:20]
        with pytest.raises(BagError, match='of 3 points with step 12 has 20 bytes'):
            points_of(cloud)
        cloud.fields = cloud.fields[:2]
        with pytest.raises(BagError, match='has the fields x, y; x, y, z needed'):
            points_of(cloud)


@pytest.mark.parametrize('datatype', [0, 9, 255])
def test_a_cloud_of_no_known_datatype_is_refused(tmp_path, datatype):
    with BagWriter(tmp_path / 'bag') as bag:
        cloud = bag.points(0, 'l', CLOUD)
        cloud.fields = [replace(field, datatype=datatype) for field in cloud.fields]
    with pytest.raises(BagError, match=f"'x' has datatype {datatype}; known are 1 to 8"):
        points_of(cloud)


@pytest.mark.parametrize('change, least', [({'point_step': 0}, 12), ({'point_step': 11}, 12),
                                           ({'offset': 4000}, 8004)])
def test_a_cloud_whose_coordinates_lie_outside_of_its_points_is_refused(tmp_path, change, least):
    with BagWriter(tmp_path / 'bag') as bag:
        cloud = bag.points(0, 'l', CLOUD)
        if 'offset' in change:
            cloud.fields = [replace(field, offset=index * change['offset'])
                            for index, field in enumerate(cloud.fields)]
        else:
            cloud = replace(cloud, **change)
    with pytest.raises(BagError, match=f'x, y, z need a step of {least}'):
        points_of(cloud)


def test_an_empty_cloud_has_no_points_whatever_its_step(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        cloud = replace(bag.points(0, 'l', CLOUD), width=0, point_step=0, data=CLOUD[:0])
    assert points_of(cloud).shape == (0, 3)


def test_an_empty_depth_image_is_refused(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        depth = replace(bag.image(0, 'c', np.zeros((2, 4), np.float32), '32FC1'),
                        height=0, width=0, step=0, data=np.zeros(0, np.uint8))
    with pytest.raises(BagError, match='depth image is empty .0 x 0 px'):
        range_image_of(depth)


def test_scan_beams_become_points_in_the_plane(tmp_path):
    from da_ros.scan import Scan
    with BagWriter(tmp_path / 'bag') as bag:
        msg = bag.scan(0, 'l', Scan(np.array([1, np.inf, 2, 0.1], np.float32), 0.0, np.pi / 2,
                                    0.3, 5.0))
    np.testing.assert_allclose(scan_points_of(msg), [[1, 0, 0], [-2, 0, 0]], atol=1e-6)


def test_existing_folder_and_unknown_storage_are_refused(tmp_path):
    with pytest.raises(BagError, match='exists already'):
        BagWriter(tmp_path)
    with pytest.raises(BagError, match="'tape' is none of mcap, sqlite3"):
        BagWriter(tmp_path / 'x', 'tape')
