# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Outputs for navigation of a real node over real DDS: values, frames and fields."""

import time

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from conftest import painted
from ros_peer import array_of, image_msg
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from da_ros.sphere import erp_rays

SIZE = (32, 64)
TOPICS = {'scan': LaserScan, 'obstacle_distance': LaserScan, 'points': PointCloud2,
          'points_clearing': PointCloud2, 'cliff': LaserScan, 'confidence': Image,
          'depth/image': Image}


def records(cloud):
    """Return a cloud's values by name."""
    assert cloud.point_step == 4 * len(cloud.fields)
    values = np.frombuffer(cloud.data, np.float32).reshape(-1, len(cloud.fields))
    return {field.name: values[:, k] for k, field in enumerate(cloud.fields)}


def street(height_m=2.0):
    """Range to an open floor 2 m below; a post to the left; something too near behind."""
    rays = erp_rays(*SIZE)
    with np.errstate(divide='ignore'):
        range_m = np.where(rays[..., 2] < 0, -height_m / rays[..., 2], np.inf)
    range_m = np.minimum(range_m, 90.0)
    range_m[10:20, 15:17] = 4.0              # left: azimuth +90 deg
    range_m[14:18, [0, 63]] = 0.0            # behind, across the seam
    return range_m


@pytest.fixture
def frame(start, peer, model):
    """Return a function: start the node, subscribe, send one panorama, return the messages."""
    def frame(range_m, *topics, probability=1.0, **parameters):
        start(model=model, **{'range_mask_m': 20.0, 'camera_height_m': 2.0,
                              'scan.min_height_m': 0.3, 'scan.max_height_m': 2.5, **parameters})
        for topic in topics:
            peer.subscribe(TOPICS[topic], topic)
        probability = np.where(range_m < 20, probability, 0.0)
        peer.publish_until(image_msg(painted(range_m, probability)),
                           lambda: all(peer.received[t] for t in topics), 'every output')
        return {topic: peer.received[topic][0] for topic in topics}
    return frame


def test_every_output_of_one_panorama_says_the_same(frame):
    got = frame(street(), *TOPICS, **{
        'cliff.enabled': True, 'points.height': True, 'points.floor': 'drop',
        'scan.floor': 'drop', 'points.max_points': 1000})
    assert {t: m.header.frame_id for t, m in got.items()} == {
        'scan': 'camera_link', 'cliff': 'camera_link', 'points': 'camera_link',
        'points_clearing': 'camera_link', 'obstacle_distance': 'camera_link_frd',
        'confidence': 'camera_frame', 'depth/image': 'camera_frame'}
    scan, beams = np.array(got['scan'].ranges), np.array(got['obstacle_distance'].ranges)
    near = np.float32(got['scan'].range_min)
    assert 3.3 < scan[540] <= 4 and scan[0] == near and np.isposinf(scan[360])
    assert beams[0] == np.float32(20.015) and beams[36] == near
    assert 3.3 < beams[54] <= scan[540]
    assert got['obstacle_distance'].angle_min == 0 and np.isclose(
        got['obstacle_distance'].angle_increment, np.deg2rad(5))
    cloud = records(got['points'])
    assert list(cloud) == ['x', 'y', 'z', 'height']
    assert np.allclose(cloud['height'], cloud['z'] + 2.0, atol=0.25)
    assert (cloud['height'] > 0.09).all()                 # the floor is dropped
    distance = np.linalg.norm([cloud[k] for k in 'xyz'], axis=0)
    assert np.isclose(distance.min(), near) and cloud['x'][distance.argmin()] < 0
    clearing = records(got['points_clearing'])
    assert np.allclose(np.linalg.norm([clearing[k] for k in 'xyz'], axis=0), 20.1, rtol=1e-4)
    assert (clearing['z'] > -1.1).all() and len(clearing['x']) > 300
    sure, depth = array_of(got['confidence']), array_of(got['depth/image'])
    assert sure.shape == depth.shape and np.isneginf(depth).any()   # depth keeps -inf
    assert sure[5, 30] > 200 and sure[12, 15] <= 128               # the post is all edge


def test_minus_infinity_and_uniform_thinning_on_request(frame):
    got = frame(street(), 'scan', 'points', **{
        'scan.too_near': 'minus_inf', 'points.too_near': 'minus_inf',
        'points.thinning': 'uniform', 'points.max_points': 1000})
    assert np.isneginf(np.array(got['scan'].ranges)).any()
    cloud = records(got['points'])
    assert list(cloud) == ['x', 'y', 'z']
    assert np.linalg.norm([cloud[k] for k in 'xyz'], axis=0).min() > 1.9


def test_without_a_floor_the_height_field_is_absent_and_diagnostics_say_so(frame, peer):
    statuses = peer.diagnostics()
    got = frame(np.full(SIZE, 90.0), 'points', **{'points.height': True})
    assert [field.name for field in got['points'].fields] == ['x', 'y', 'z']
    peer.until(lambda: any(value.key == 'floor' and 'no floor seen' in value.value
                           for status in statuses for value in status.values), 'the floor is told')


def test_the_floor_is_told_and_warned_of_once_it_is_gone(frame, peer, model):
    statuses = peer.diagnostics()
    frame(street(), 'points', **{'points.height': True})
    peer.until(lambda: any('2.0' in value.value and 'FROZEN' not in value.value
                           for status in statuses for value in status.values
                           if value.key == 'floor'), 'the floor is seen')
    rng = np.random.default_rng(0)
    for _ in range(14):                      # in time, or the age of the data is told instead
        image = painted(np.full(SIZE, 90.0), 0.0)
        image[..., 2] = rng.integers(0, 256, SIZE)          # or the camera is told to be frozen
        peer.publish(image_msg(image, time.time_ns()))
        peer.spin(0.1)
    peer.until(lambda: any('FROZEN' in status.message for status in statuses), 'a warning')


def test_cliff_is_not_published_unless_switched_on(start, peer, model):
    start(model=model)
    peer.wait_for_state('active')
    topics = dict(peer.node.get_topic_names_and_types())
    assert '/obstacle_distance' in topics and '/cliff' not in topics


def test_parameters_of_outputs_may_change_while_it_runs(frame, peer):
    frame(street(), 'scan', 'points')
    assert peer.set_parameters(points__height=True, scan__too_near='minus_inf').successful
    answer = peer.set_parameters(points__thinning='random')
    assert not answer.successful and "points.thinning 'random' is none of nearest" in answer.reason
    assert 'configure only' in peer.set_parameters(cliff__enabled=True).reason
    del peer.received['scan'][:], peer.received['points'][:]
    peer.publish_until(image_msg(painted(street(), np.where(street() < 20, 1.0, 0.0))),
                       lambda: peer.received['scan'] and peer.received['points'], 'a frame')
    assert np.isneginf(np.array(peer.received['scan'][-1].ranges)).any()
    assert 'height' in records(peer.received['points'][-1])
