# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""TF live, with tf2_msgs alone: the tilt comes from it, and the level frame goes into it."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from conftest import painted, write_stand_in_bundle
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_peer import image_msg
from sensor_msgs.msg import Image, LaserScan

from da_ros.bags.transforms import matrix_from, quaternion_from
from da_ros.sphere import BODY_FROM_OPTICAL, erp_rays, rotation_from_rpy

SECOND = 10**9
LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def tf(peer):
    """Return a function that publishes transforms, and what has been heard of them."""
    messages = pytest.importorskip('tf2_msgs.msg', reason='tf2_msgs is not installed '
                                   '(apt: ros-$ROS_DISTRO-tf2-msgs); docs/cameras.md has a run')
    publishers = {'/tf': peer.node.create_publisher(messages.TFMessage, '/tf', 10),
                  '/tf_static': peer.node.create_publisher(messages.TFMessage, '/tf_static',
                                                           LATCHED)}
    heard: dict[str, list] = {}

    def keep(msg) -> None:
        for stamped in msg.transforms:
            heard.setdefault(stamped.child_frame_id, []).append(stamped)
    subscriptions = [peer.node.create_subscription(messages.TFMessage, topic, keep, qos)
                     for topic, qos in (('/tf', 10), ('/tf_static', LATCHED))]

    def send(topic: str, parent: str, child: str, rotation: np.ndarray, second: float = 0,
             x: float = 0.0) -> None:
        stamped = TransformStamped(child_frame_id=child)
        stamped.header.frame_id, stamped.transform.translation.x = parent, x
        stamp = stamped.header.stamp
        stamp.sec, stamp.nanosec = divmod(round(second * SECOND), SECOND)
        turn = stamped.transform.rotation
        turn.x, turn.y, turn.z, turn.w = map(float, quaternion_from(rotation))
        publishers[topic].publish(messages.TFMessage(transforms=[stamped]))
    yield send, heard
    for subscription in subscriptions:
        peer.node.destroy_subscription(subscription)


def rotation(*rpy_deg: float) -> np.ndarray:
    return rotation_from_rpy(*np.deg2rad(rpy_deg))


def world(rays: np.ndarray) -> np.ndarray:
    picture = np.zeros((*rays.shape[:2], 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.round((14 + 10 * rays[..., 0]) / 0.4), 255
    return picture


@pytest.mark.parametrize('frame', ['camera_link', 'camera_frame'])
def test_tf_levels_the_scan_and_learns_the_level_frame(start, peer, tmp_path, tf, frame):
    """The chain odom -> base_link -> camera; of the optical frame, too, if no other is known."""
    send, heard = tf
    model = str(write_stand_in_bundle(tmp_path / 'stand_in', size_hw=(64, 128)).folder)
    node = start(**{'model': model, 'levelling.source': 'tf', 'scan.min_height_m': -0.5,
                    'views': '"front 0 0 90 64x48"'})
    odom_from_base, base_from_body = rotation(8, -15, 70), rotation(0, 5, 180)
    base_from_frame = base_from_body @ (BODY_FROM_OPTICAL if frame == 'camera_frame'
                                        else np.eye(3))
    world_from_body = odom_from_base @ base_from_body
    up = world_from_body.T @ [0, 0, 1]
    scan, view = peer.subscribe(LaserScan, 'scan'), peer.subscribe(Image, 'views/front/depth')
    yaw = np.arctan2(*world_from_body[1::-1, 0])
    level_from_body = rotation_from_rpy(0, 0, -yaw) @ world_from_body
    image = world(erp_rays(256, 512) @ level_from_body.T)
    send('/tf_static', 'base_link', frame, base_from_frame)

    def level() -> bool:
        send('/tf', 'odom', 'base_link', odom_from_base, 5)
        return bool(view) and bool(scan) and scan[-1].header.frame_id == 'camera_link_level'
    peer.publish_until(image_msg(image, 5 * SECOND), level, f'a level scan {node.log}')
    angle = scan[-1].angle_min + scan[-1].angle_increment * np.arange(720)
    assert np.nanmax(np.abs(np.array(scan[-1].ranges) - (14 + 10 * np.cos(angle)))) < 0.7
    peer.until(lambda: 'camera_link_level' in heard, 'the level frame')
    stamps = {(s.header.stamp.sec, s.header.stamp.nanosec) for s in heard['camera_link_level']}
    assert stamps == {(5, 0), (5, 100_000_000)}
    sent = heard['camera_link_level'][-1]
    turn = sent.transform.rotation
    body_from_level = matrix_from([0] * 3, [turn.x, turn.y, turn.z, turn.w])[:3, :3]
    assert sent.header.frame_id == 'camera_link'
    assert np.allclose(body_from_level.T @ up, [0, 0, 1], atol=1e-6)
    peer.until(lambda: 'camera_link_front_optical_frame' in heard, 'the frame of the view')


def test_without_a_tree_the_missing_link_is_named(start, peer, tmp_path, tf):
    send, _ = tf
    model = str(write_stand_in_bundle(tmp_path / 'stand_in').folder)
    node = start(**{'model': model, 'levelling.source': 'tf'})
    scan = peer.subscribe(LaserScan, 'scan')
    send('/tf_static', 'base_link', 'camera_link', np.eye(3))
    image = image_msg(world(erp_rays(32, 64)), 5 * SECOND)
    peer.publish_until(image, lambda: scan, 'a scan all the same')
    node.wait_for_log("levelling: no transform from 'camera_link' to 'odom'")
    assert scan[-1].header.frame_id == 'camera_link'


@pytest.mark.parametrize('source', ['levelling.source', 'memory.source'])
def test_without_tf2_msgs_the_remedy_is_named(start, tmp_path, source):
    try:
        import tf2_msgs  # noqa: F401
    except ImportError:
        model = str(write_stand_in_bundle(tmp_path / 'stand_in').folder)
        start(**{'model': model, source: 'tf'}).wait_for_log(
            'TF needs the messages tf2_msgs (apt: ros-$ROS_DISTRO-tf2-msgs); without them use '
            'levelling.source odometry or imu, memory.source odometry')
    else:
        pytest.skip('tf2_msgs is installed')


def test_boxes_of_the_robot_wait_for_tf_and_are_masked_then(start, peer, tmp_path, tf):
    send, _ = tf
    model = str(write_stand_in_bundle(tmp_path / 'stand_in', size_hw=(64, 128)).folder)
    node = start(**{'model': model, 'levelling.source': 'tf',
                    'body_mask.boxes': '"-2 -0.2 0 -1 0.2 3"'})
    depth = peer.subscribe(Image, 'depth/image')
    image = image_msg(world(erp_rays(64, 128)), 5 * SECOND)
    peer.publish_until(image, lambda: "body_mask.boxes: no transform from 'camera_link' to "
                       "'base_link'" in node.log, 'the missing link')
    assert not depth

    def masked() -> bool:
        send('/tf_static', 'base_link', 'camera_link', rotation(0, 0, 90))
        send('/tf', 'odom', 'base_link', np.eye(3), 5)
        return bool(depth)
    peer.publish_until(image, masked, 'a depth image')
    row = np.frombuffer(depth[-1].data, np.float32).reshape(64, 128)[31]
    # The box is behind the robot, whose rear is at the camera's left: azimuth 90.
    assert np.isnan(row[28:36]).all() and np.isfinite(row[:26]).all() and np.isfinite(
        row[38:]).all()


class Drive:
    """A robot that drives 0.4 m per frame towards a post, of which TF tells the way."""

    def __init__(self, peer, send):
        self.peer, self.send, self.scans = peer, send, peer.subscribe(LaserScan, 'scan')

    def ahead(self, second: float, post_m: float, x: float, tf_second: float | None = None):
        """Return what the scan has ahead for a frame; post_m = 0: the frame loses it."""
        range_m, count = np.full((64, 128), 12.0), len(self.scans)
        if post_m:
            range_m[16:48, 56:72] = post_m
        self.send('/tf', 'odom', 'base_link', np.eye(3), tf_second or second, x)
        self.peer.publish(image_msg(painted(range_m), round(second * SECOND)))
        self.peer.until(lambda: len(self.scans) > count, f'a scan at {second}')
        return float(np.nanmin(self.scans[-1].ranges[356:364]))

    def remembers(self, second: float, x: float) -> float:
        for n, post_m in enumerate((4.0, 3.6, 3.2)):
            self.ahead(second + n / 10, post_m, x + 0.4 * n)
        return self.ahead(second + 0.3, 0, x + 1.2)


@pytest.mark.parametrize('frame', ['camera_link', 'camera_frame'])
def test_memory_follows_tf_whichever_frame_of_the_camera_it_knows(
        start, peer, tmp_path, tf, frame):
    send, _ = tf
    model = str(write_stand_in_bundle(tmp_path / 'stand_in', size_hw=(64, 128)).folder)
    node = start(**{'model': model, 'memory.source': 'tf', 'memory.wait_s': 0.5})
    node.wait_for_log('runs on')
    drive = Drive(peer, send)
    send('/tf_static', 'base_link', frame,
         BODY_FROM_OPTICAL if frame == 'camera_frame' else np.eye(3))
    drive.ahead(99.0, 4.0, 0.0)         # the first image waits until all know each other
    peer.spin(0.5)
    assert drive.remembers(100.0, 5.0) == pytest.approx(2.8, abs=0.15)
    # TF is late by more than is bridged: one line, no memory
    assert drive.ahead(100.4, 0, 6.6, tf_second=100.1) > 11
    for second in (100.6, 100.7):
        drive.ahead(second, 0, 6.6, tf_second=100.1)
    assert node.log.count('memory: transform odom -> base_link has no pose within 0.1 s') == 1
    # the bag is looped: poses of the other time are gone, the static mounting is not
    assert drive.remembers(97.0, 50.0) == pytest.approx(2.8, abs=0.15)
    assert drive.ahead(97.4, 0, 53.0) > 11
    assert node.log.count('memory starts anew: odometry jumped by 1.80 m') == 1
    assert 'Traceback' not in node.log
