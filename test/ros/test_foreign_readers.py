# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the packages that most ROS programs read with make of our messages, where installed."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2

from da_ros.pixels import image_from_msg, picture_of
from da_ros.points import PointProjector
from da_ros.range_map import colour, RangeMap
from da_ros.ros import conversions as to_ros

H, W = 32, 64
HEADER = to_ros.header_for(5 * 10**9, 'camera_link')


@pytest.fixture
def range_map() -> RangeMap:
    """Return a map with every kind of value."""
    rng = np.random.default_rng(0)
    range_m = rng.uniform(0.5, 20, (H, W)).astype(np.float32)
    range_m[0], range_m[1], range_m[2, :9] = np.inf, np.nan, -np.inf
    return RangeMap(range_m, 20.0, 0.3, rng.integers(0, 256, (H, W, 3), dtype=np.uint8))


def sent(msg):
    """Return a message as it arrives."""
    return deserialize_message(serialize_message(msg), type(msg))


@pytest.mark.parametrize('rgb', [False, True])
@pytest.mark.parametrize('organised', [False, True])
@pytest.mark.parametrize('max_points', [1, 500, 0])
def test_sensor_msgs_py_reads_our_clouds(range_map, rgb, organised, max_points):
    reader = pytest.importorskip('sensor_msgs_py.point_cloud2',
                                 reason='sensor_msgs_py is not installed (a sourced ROS has it)')
    records = PointProjector((H, W), max_points, rgb, organised).project(range_map)
    cloud = sent(to_ros.fill_cloud(PointCloud2(), HEADER, records,
                                   (H, W) if organised else None))
    names = ('x', 'y', 'z', 'rgb')[:records.shape[1]]
    points = reader.read_points(cloud, field_names=names)
    assert points.dtype.names == names and len(points.reshape(-1)) == len(records)
    for column, name in enumerate(names):
        np.testing.assert_array_equal(points[name].reshape(-1), records[:, column])
    if organised:
        grid = reader.read_points(cloud, names, reshape_organized_cloud=True)
        assert grid.shape in ((H, W), (W, H))       # of its own choice; ours is height x width
    finite = reader.read_points_numpy(cloud, ('x', 'y', 'z'), skip_nans=True)
    assert len(finite) == np.isfinite(records[:, 0]).sum()


@pytest.mark.parametrize('encoding, pixels_of', [
    ('32FC1', lambda m: m.range_m), ('16UC1', lambda m: to_ros.millimetres(m.range_m)),
    ('mono8', lambda m: m.range_mask), ('bgr8', colour)])
def test_cv_bridge_reads_our_images(range_map, encoding, pixels_of):
    cv_bridge = pytest.importorskip('cv_bridge',
                                    reason='cv_bridge is not installed (a sourced ROS has it)')
    pixels = pixels_of(range_map)
    msg = sent(to_ros.fill_image(Image(), HEADER, pixels, encoding))
    np.testing.assert_array_equal(cv_bridge.CvBridge().imgmsg_to_cv2(msg), pixels)


@pytest.mark.parametrize('encoding', ['passthrough', 'bgr8'])
def test_we_read_what_cv_bridge_writes(range_map, encoding):
    cv_bridge = pytest.importorskip('cv_bridge',
                                    reason='cv_bridge is not installed (a sourced ROS has it)')
    msg = cv_bridge.CvBridge().cv2_to_imgmsg(range_map.image, encoding)
    np.testing.assert_array_equal(image_from_msg(msg), range_map.image)
    assert bool(picture_of(msg).warnings) == (encoding == 'passthrough')
