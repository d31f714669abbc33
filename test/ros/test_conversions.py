# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages hold exactly what they were given, and are used again without residue."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from da_ros.derived.obstacle_distance import ObstacleDistance
from da_ros.points import PointProjector
from da_ros.range_map import RangeMap
from da_ros.ros import conversions as to_ros
from da_ros.scan import Scan
from da_ros.stamps import stamp_ns

HEADER = to_ros.header_for(3 * 10**9 + 7, 'camera')


def test_stamps_keep_their_nanoseconds_and_take_the_offset():
    msg = Image(header=HEADER)
    assert stamp_ns(msg) == 3_000_000_007
    assert stamp_ns(msg, -0.5) == 2_500_000_007
    assert stamp_ns(msg, -4.0) == 0
    big = to_ros.header_for(1_795_182_630_219_369_070, 'x').stamp
    assert (big.sec, big.nanosec) == (1_795_182_630, 219_369_070)


def test_a_reused_image_message_follows_every_change_of_size_and_type():
    msg = Image()
    for pixels, encoding in ((np.arange(8, dtype=np.float32).reshape(2, 4), '32FC1'),
                             (np.ones((2, 4), np.float32), '32FC1'),
                             (np.arange(6, dtype=np.uint16).reshape(3, 2), '16UC1'),
                             (np.arange(24, dtype=np.uint8).reshape(2, 4, 3), 'bgr8')):
        got = to_ros.fill_image(msg, HEADER, pixels, encoding)
        assert got.encoding == encoding and (got.height, got.width) == pixels.shape[:2]
        assert got.step * got.height == len(got.data) == pixels.nbytes
        np.testing.assert_array_equal(
            np.frombuffer(got.data, pixels.dtype).reshape(pixels.shape), pixels)


def test_same_size_is_written_into_the_same_memory():
    msg = to_ros.fill_image(Image(), HEADER, np.zeros((4, 8), np.float32), '32FC1')
    address = msg.data.buffer_info()[0]
    to_ros.fill_image(msg, HEADER, np.ones((4, 8), np.float32), '32FC1')
    assert msg.data.buffer_info()[0] == address and msg.data[3] == 0x3f


def test_a_cloud_may_change_its_size_and_stays_where_it_is_if_it_does_not():
    msg = to_ros.fill_cloud(PointCloud2(), HEADER, np.zeros((1000, 3), np.float32))
    for count in (900, 1000, 700, 1000, 600):
        for value in (count, -count):
            address = msg.data.buffer_info()[0]
            records = np.full((count, 3), value, np.float32)
            to_ros.fill_cloud(msg, HEADER, records)
            assert len(msg.data) == records.nbytes
            np.testing.assert_array_equal(np.frombuffer(msg.data, np.float32), records.reshape(-1))
        assert msg.data.buffer_info()[0] == address      # the second one had the size of the first


@pytest.mark.parametrize('share', [1.0, 0.6, 0.0])
def test_points_are_written_into_the_message_itself(share):
    projector, msg = PointProjector((32, 64)), PointCloud2()
    for _ in range(2):
        range_m = np.full((32, 64), 3.0, np.float32)
        range_m[:, round(64 * share):] = np.inf
        range_map = RangeMap(range_m, 100.0, 0.3, np.zeros((32, 64, 3), np.uint8))
        wanted = projector.project(range_map).copy()
        records = projector.project(range_map, room=partial(to_ros.room, msg.data))
        assert not share or records.ctypes.data == msg.data.buffer_info()[0]
        to_ros.fill_cloud(msg, HEADER, records)
        assert msg.width == len(wanted) and len(msg.data) == wanted.nbytes
        np.testing.assert_array_equal(
            np.frombuffer(msg.data, np.float32).reshape(-1, 3), wanted)
        del records                    # else the message could not change its size


def test_strided_views_are_written_as_they_look():
    view = np.arange(32, dtype=np.float32).reshape(4, 8)[:, ::2]
    msg = to_ros.fill_image(Image(), HEADER, view, '32FC1')
    np.testing.assert_array_equal(np.frombuffer(msg.data, np.float32).reshape(4, 4), view)


@pytest.mark.parametrize('count', [5, 0, 3])
@pytest.mark.parametrize('columns', [3, 4])
def test_clouds_of_any_length_are_well_formed(count, columns):
    msg = PointCloud2()
    for records in (np.ones((7, columns), np.float32),
                    np.arange(count * columns, dtype=np.float32).reshape(count, columns)):
        to_ros.fill_cloud(msg, HEADER, records)
        assert msg.height == 1 and msg.width == len(records)
        assert msg.row_step == len(msg.data) == records.nbytes and msg.is_dense
        assert [f.name for f in msg.fields] == ['x', 'y', 'z', 'rgb'][:columns]
        assert [f.offset for f in msg.fields] == list(range(0, 4 * columns, 4))
        np.testing.assert_array_equal(
            np.frombuffer(msg.data, np.float32).reshape(-1, columns), records)


def test_organised_cloud_has_the_image_size():
    msg = to_ros.fill_cloud(PointCloud2(), HEADER, np.ones((8, 3), np.float32), (2, 4))
    assert (msg.height, msg.width, msg.row_step, msg.is_dense) == (2, 4, 48, False)


def test_clouds_read_back_with_sensor_msgs_py():
    reader = pytest.importorskip('sensor_msgs_py.point_cloud2',
                                 reason='sensor_msgs_py is not installed')
    records = np.random.default_rng(0).random((9, 3), dtype=np.float32)
    msg = to_ros.fill_cloud(PointCloud2(), HEADER, records)
    assert np.array_equal(reader.read_points_numpy(msg), records)


def test_scan_message_spans_its_beams():
    ranges = np.array([1, np.inf, -np.inf, np.nan], np.float32)
    msg = to_ros.fill_scan(LaserScan(), HEADER, Scan(ranges, -3.0, 0.5, 0.3, 20.0))
    assert msg.angle_max == -1.5 and (msg.range_min, msg.range_max) == (0.3, 20.0)
    np.testing.assert_array_equal(np.array(msg.ranges, np.float32), ranges)


def test_camera_info_is_no_pinhole():
    info = to_ros.fill_camera_info(CameraInfo(), HEADER, 256, 512)
    assert info.distortion_model == 'equirectangular' and not np.any(info.k)
    assert (info.height, info.width) == (256, 512) and info.header.frame_id == 'camera'


class Px4Message:
    """The fields of px4_msgs/ObstacleDistance, which is no wheel."""

    MAV_FRAME_BODY_FRD, MAV_DISTANCE_SENSOR_LASER = 12, 0


def test_px4_gets_centimetres_clockwise_and_the_stamp_in_microseconds():
    ranges = np.full(720, np.inf, np.float32)
    ranges[540], ranges[0] = 3.0, np.nan                 # left; behind
    beams = ObstacleDistance(720).project(
        Scan(ranges, -np.pi + np.pi / 720, np.pi / 360, 0.3, 20.0))
    msg = to_ros.fill_px4(Px4Message(), to_ros.header_for(1_234_567_890, 'x'), beams)
    assert (msg.timestamp, msg.frame, msg.increment, msg.angle_offset) == (1_234_567, 12, 5.0, 0.0)
    assert (msg.min_distance, msg.max_distance) == (30, 2000)
    assert msg.distances.dtype == np.uint16 and msg.distances.shape == (72,)
    assert msg.distances[54] == 300 and msg.distances[36] == 65535 and msg.distances[0] == 2001
