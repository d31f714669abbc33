# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory in the live node: what it holds, and all that makes it forget, each told in one line."""

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')
pytest.importorskip('nav_msgs', reason='nav_msgs is not installed')

from nav_msgs.msg import Odometry
from ros_peer import array_of, image_msg
from sensor_msgs.msg import Image, LaserScan

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4
SECOND = 10**9
STEP = SECOND // 10
POST_M, WALL_M = 2.0, 8.0


def odometry_msg(stamp_ns, x=0.0, turn=(0.0, 0.0, 0.0, 1.0)) -> Odometry:
    msg = Odometry(child_frame_id='base_link')
    msg.header.frame_id = 'odom'
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    pose = msg.pose.pose
    pose.position.x = x
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = turn
    return msg


class Robot:
    """A camera and an odometry that are played frame by frame."""

    def __init__(self, peer, node):
        self.peer, self.node, self.time_ns, self.size_hw = peer, node, 100 * SECOND, (64, 128)
        self.scans = peer.subscribe(LaserScan, 'scan')

    def settle(self) -> None:
        for topic in ('image', 'odometry'):
            self.peer.until(lambda topic=topic: self.peer.node.count_subscribers(topic) > 0, topic)
        self.peer.spin(0.5)

    def frame(self, post=True, x=0.0, after_ns=STEP, pose=True) -> float:
        """Return what the scan has ahead for the next frame."""
        self.time_ns += after_ns
        if pose:
            self.peer.publish(odometry_msg(self.time_ns, x), 'odometry')
        height, width = self.size_hw
        range_m = np.full(self.size_hw, WALL_M)
        if post:
            range_m[height // 4:3 * height // 4, width * 7 // 16:width * 9 // 16] = POST_M
        count = len(self.scans)
        self.peer.publish(image_msg(painted(range_m), self.time_ns))
        self.peer.until(lambda: len(self.scans) > count, f'a scan at {self.time_ns}')
        stamp = self.scans[-1].header.stamp
        assert stamp.sec * SECOND + stamp.nanosec == self.time_ns
        return float(np.nanmin(self.scans[-1].ranges[358:362]))

    def remember(self, x=0.0) -> None:
        """Fill the memory with the post; it must hold it for one frame that loses it."""
        for _ in range(4):
            self.frame(x=x)
        assert self.frame(post=False, x=x) < POST_M + 0.5
        for _ in range(3):
            self.frame(x=x)


@pytest.fixture
def robot(start, peer, tmp_path):
    model = str(write_stand_in_bundle(tmp_path / 'stand_in', size_hw=(64, 128)).folder)
    # A pose that is on its way is waited for, however busy the machine.
    node = start(**{'model': model, 'memory.source': 'odometry', 'memory.near_s': 5.0,
                    'memory.wait_s': 0.5, 'scale.track': True})
    node.wait_for_log('runs on')
    return Robot(peer, node)


def test_whatever_breaks_the_motion_makes_memory_forget_and_is_one_line(robot):
    seen = robot.remember
    log = lambda: robot.node.log        # noqa: E731
    robot.settle()
    seen()
    assert robot.frame(post=False, after_ns=9 * STEP) > 7, 'a gap'
    assert log().count('memory starts anew: no frame with a pose for 0.90 s') == 1
    seen()
    assert robot.frame(post=False, after_ns=-50 * SECOND) > 7, 'a bag looped, a camera restarted'
    assert log().count('memory starts anew: time went back by 50.00 s') == 1
    seen()
    assert robot.frame(post=False, after_ns=0) > 7, 'equal stamps'
    assert log().count('memory starts anew: two frames have the same stamp') == 1
    seen()
    assert robot.frame(post=False, x=2.0) > 7, 'a teleport'
    assert log().count('memory starts anew: odometry jumped by 2.00 m and 0 deg in 0.10 s') == 1
    seen(x=2.0)
    assert robot.frame(post=False, x=2.0, after_ns=2 * STEP, pose=False) > 7, 'no odometry'
    assert log().count('has no pose within 0.1 s of') == 1
    assert 'frames are published without memory' in log()
    statuses = robot.peer.diagnostics()
    robot.peer.until(lambda: any(status.level == b'\x01' and 'memory: ' in status.message
                                 for status in statuses), 'a warning')
    seen(x=2.0)
    robot.peer.until(lambda: any(
        value.key == 'memory' and value.value.startswith('2 earlier frames; near: ')
        and value.value.endswith('started anew 5 times, last: no pose')
        for status in statuses for value in status.values), 'the memory in diagnostics')
    assert any(value.key == 'scale track' and value.value == 'no floor seen yet'
               for status in statuses for value in status.values)
    assert log().count("the camera is taken to be at the odometry's base") == 1
    assert log().count('memory starts anew') == 4 and 'Traceback' not in log()


def test_poses_that_are_none_cost_memory_and_nothing_else(robot):
    robot.settle()
    robot.remember()
    for broken in (odometry_msg(robot.time_ns + STEP, turn=(0.0, 0.0, 0.0, 0.0)),
                   odometry_msg(robot.time_ns + STEP, x=float('nan')),
                   odometry_msg(robot.time_ns + STEP, turn=(0.0, 0.0, 0.0, float('inf')))):
        robot.peer.publish(broken, 'odometry')
        assert robot.frame(post=False, after_ns=2 * STEP, pose=False) > 7
    assert robot.node.log.count('odometry odom -> base_link is no pose') == 1
    robot.remember()
    # one that is not normalised is one
    robot.peer.publish(odometry_msg(robot.time_ns + STEP, turn=(0.0, 0.0, 0.0, 7.0)), 'odometry')
    assert robot.frame(post=False, pose=False) < POST_M + 0.5


def test_two_publishers_that_contradict_each_other_are_named(robot):
    robot.settle()
    robot.remember()
    second = robot.peer.node.create_publisher(Odometry, 'odometry', 5)
    robot.peer.until(lambda: second.get_subscription_count() > 0, 'the second source is heard')
    robot.peer.spin(0.5)
    second.publish(odometry_msg(robot.time_ns + STEP, x=3.0))
    assert robot.frame(post=False, pose=False) > 7
    robot.node.wait_for_log('memory starts anew: odometry jumped by 3.00 m')
    assert '; 2 publishers on /odometry, let only one publish there' in robot.node.log


def test_old_memory_does_not_outlive_a_change_of_parameters_state_or_bundle(
        robot, peer, tmp_path):
    robot.settle()
    robot.remember()
    assert peer.set_parameters(memory__warped=False).successful
    assert robot.frame(post=False) > 7
    assert peer.set_parameters(memory__warped=True).successful
    assert robot.frame(post=False) > 7
    robot.node.wait_for_log('memory starts anew: parameters changed')
    robot.remember()
    assert peer.set_parameters(max_range_m=20.0).successful
    assert robot.frame(post=False) > 7
    robot.remember()
    assert peer.change_state(DEACTIVATE) and peer.change_state(ACTIVATE)
    robot.settle()
    assert robot.frame(post=False) > 7
    robot.remember()
    assert peer.change_state(DEACTIVATE) and peer.change_state(CLEANUP)
    other = write_stand_in_bundle(tmp_path / 'other', size_hw=(32, 64))
    assert peer.set_parameters(model=str(other.folder)).successful
    assert peer.change_state(CONFIGURE) and peer.change_state(ACTIVATE)
    robot.settle()
    robot.size_hw = 32, 64
    assert robot.frame(post=False) > 7
    robot.remember()


def test_confidence_is_lower_where_memory_contradicts_the_frame(robot, peer):
    sure = peer.subscribe(Image, 'confidence')
    robot.settle()
    robot.remember()
    assert robot.frame(post=False) < POST_M + 0.5 and robot.frame(post=False) > 7
    stamps = [robot.time_ns - STEP, robot.time_ns]

    def told():
        return {msg.header.stamp.sec * SECOND + msg.header.stamp.nanosec: msg for msg in sure}
    peer.until(lambda: told().keys() >= set(stamps), 'the confidence of both')
    held, agreed = (array_of(told()[stamp]) for stamp in stamps)
    ahead = slice(20, 44), slice(60, 68)
    assert agreed[ahead].min() > 1 and (held[ahead] == agreed[ahead] // 2).all()
    assert np.array_equal(held[:, :32], agreed[:, :32])
