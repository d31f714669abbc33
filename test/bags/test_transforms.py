# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The frame tree: interpolation, composition, and which link is missing."""

import numpy as np
import pytest

from da_ros.bags.transforms import (
    matrix_from,
    NoPoseError,
    quaternion_from,
    TransformError,
    TransformTree,
)
from da_ros.sphere import rotation_from_rpy

S = 10**9
UPRIGHT = (0, 0, 0, 1)


def pose_in_odom(tree, time_ns):
    return tree.between('odom', time_ns, 'base', time_ns)


def turn(yaw):
    return quaternion_from(rotation_from_rpy(0, 0, yaw))


def test_quaternion_and_matrix_are_inverse_of_each_other():
    rng = np.random.default_rng(0)
    for rpy in [*rng.uniform(-3, 3, (20, 3)), (np.pi, 0, 0), (0, np.pi, 0), (0, 0, np.pi)]:
        rotation = rotation_from_rpy(*rpy)
        back = matrix_from((1, 2, 3), quaternion_from(rotation))
        np.testing.assert_allclose(back[:3, :3], rotation, atol=1e-12)
        np.testing.assert_array_equal(back[:3, 3], (1, 2, 3))


def test_pose_halfway_between_two_is_half_the_way_and_half_the_turn():
    tree = TransformTree()
    tree.add('odom', 'base', (0, 0, 0), UPRIGHT, 0)
    tree.add('odom', 'base', (2, 0, 0), turn(1.0), S // 2)
    pose = pose_in_odom(tree, S // 4)
    np.testing.assert_allclose(pose[:3, 3], (1, 0, 0))
    np.testing.assert_allclose(pose[:3, :3], rotation_from_rpy(0, 0, 0.5), atol=1e-12)


def test_poses_may_arrive_out_of_order():
    tree = TransformTree()
    for second in (2, 0, 1):
        tree.add('odom', 'base', (second, 0, 0), UPRIGHT, second * S // 4)
    assert pose_in_odom(tree, 3 * S // 8)[0, 3] == pytest.approx(1.5)


def test_points_of_another_time_are_carried_over_the_motion_between():
    tree = TransformTree()
    tree.add('base', 'camera', (0, 0, 1), turn(np.pi / 2))
    tree.add('base', 'lidar', (0.5, 0, 0), UPRIGHT)
    for tenth in range(11):
        tree.add('odom', '/base', (tenth, 0, 0), UPRIGHT, tenth * S // 10)
    matrix = tree.between('camera', S, 'lidar', 0)      # camera is 10 m ahead of that scan
    point = matrix @ (12.0, 0, 0, 1)                    # 12.5 m ahead of odom
    np.testing.assert_allclose(point[:3], (0, -2.5, -1), atol=1e-9)
    assert tree.is_moving('camera') and tree.root('lidar') == 'odom'


def test_missing_link_is_named():
    tree = TransformTree()
    tree.add('odom', 'base', (0, 0, 0), UPRIGHT, 0)
    tree.add('base', 'camera', (0, 0, 0), UPRIGHT)
    tree.add('mast', 'lidar', (0, 0, 0), UPRIGHT)
    with pytest.raises(TransformError, match="'camera' hangs on 'odom', 'lidar' on 'mast'"):
        tree.between('camera', 0, 'lidar', 0)
    with pytest.raises(TransformError, match='Frames of the bag: none'):
        TransformTree().between('camera', 0, 'lidar', 0)


def test_frame_without_tree_is_itself():
    np.testing.assert_array_equal(TransformTree().between('a', 0, '/a', 5), np.eye(4))


def test_time_outside_the_poses_is_refused_beyond_a_tenth_of_a_second():
    tree = TransformTree()
    for second in (1, 3):
        tree.add('odom', 'base', (second, 0, 0), UPRIGHT, second * S)
    assert pose_in_odom(tree, S - 50_000_000)[0, 3] == 1
    for time_ns in (S - 200_000_000, 2 * S, 4 * S):
        with pytest.raises(NoPoseError, match='odom -> base has no pose within'):
            pose_in_odom(tree, time_ns)


def test_frames_in_a_circle_are_refused():
    tree = TransformTree()
    tree.add('a', 'b', (0, 0, 0), UPRIGHT)
    tree.add('b', 'a', (0, 0, 0), UPRIGHT)
    with pytest.raises(TransformError, match='circle'):
        tree.root('a')


def test_poses_that_are_none_are_left_out_and_counted_and_the_others_serve():
    tree = TransformTree()
    nan = float('nan')
    for translation, rotation in (((0, 0, 0), (0, 0, 0, 0)), ((0, 0, 0), (0, 0, nan, 1)),
                                  ((nan, 0, 0), UPRIGHT), ((0, np.inf, 0), UPRIGHT)):
        tree.add('/base', 'gripper', translation, rotation, 5)
    tree.add('odom', 'base', (1, 0, 0), UPRIGHT, 0)
    tree.add('odom', 'base', (0, 0, 0), (0, 0, 0, 0), S // 8)     # between two that are good
    tree.add('odom', 'base', (2, 0, 0), UPRIGHT, S // 4)
    assert tree.left_out == {'base -> gripper': 4, 'odom -> base': 1}
    assert tree.frames == ['base', 'odom']
    assert pose_in_odom(tree, S // 8)[0, 3] == pytest.approx(1.5)


def test_links_above_the_two_frames_need_no_pose():
    tree = TransformTree()
    tree.add('map', 'odom', (5, 0, 0), UPRIGHT, 0)          # told once, a minute ago
    for tenth in range(600, 611):
        tree.add('odom', 'base', (tenth - 600, 0, 0), UPRIGHT, tenth * S // 10)
    tree.add('base', 'camera', (0, 0, 1), UPRIGHT)
    tree.add('base', 'lidar', (0.5, 0, 0), UPRIGHT)
    now = 60 * S
    np.testing.assert_allclose(tree.between('camera', now, 'lidar', now)[:3, 3], (0.5, 0, -1))
    moved = tree.between('camera', now + S, 'lidar', now)   # odometry tells the motion
    np.testing.assert_allclose(moved[:3, 3], (-9.5, 0, -1))
    long_ago = 5 * S                                        # no odometry: same instant only
    tree.between('camera', long_ago, 'lidar', long_ago)
    with pytest.raises(NoPoseError, match='odom -> base has no pose'):
        tree.between('camera', long_ago + S, 'lidar', long_ago)


def test_a_tree_whose_clock_went_back_keeps_what_is_static():
    tree = TransformTree()
    tree.add('base', 'camera', [0, 0, 1], [0, 0, 0, 1])
    tree.add('odom', 'base', [5, 0, 0], [0, 0, 0, 1], 9 * 10**9)
    tree.forget_moving()
    assert tree.frames == ['base', 'camera']
    tree.add('odom', 'base', [2, 0, 0], [0, 0, 0, 1], 3 * 10**9)
    assert tree.between('odom', 3 * 10**9, 'camera', 3 * 10**9)[:3, 3] == pytest.approx([2, 0, 1])


def test_a_live_tree_forgets_what_is_old_and_keeps_the_last_pose_of_each_link():
    tree = TransformTree()
    tree.add('base', 'camera', [0, 0, 1], [0, 0, 0, 1])
    for second in range(100):
        tree.add('odom', 'base', [second, 0, 0], [0, 0, 0, 1], second * 10**9)
    tree.add('map', 'odom', [0, 5, 0], [0, 0, 0, 1], 3 * 10**9)
    assert tree.newest_ns('camera') == 3 * 10**9 and tree.newest_ns('map') is None
    tree.forget_before(90 * 10**9)
    assert tree.between('odom', 95 * 10**9, 'camera', 95 * 10**9)[0, 3] == 95
    assert tree.between('odom', 90 * 10**9, 'camera', 90 * 10**9)[2, 3] == 1
    assert tree.between('map', 3 * 10**9, 'odom', 3 * 10**9)[1, 3] == 5
    with pytest.raises(NoPoseError):
        tree.between('odom', 80 * 10**9, 'camera', 80 * 10**9)


@pytest.mark.parametrize('parent, child', [('a', 'a'), ('/a', 'a'), ('', 'a'), ('a', '/'),
                                           ('', '')])
def test_a_frame_in_itself_or_without_a_name_is_left_out(parent, child):
    tree = TransformTree()
    tree.add('odom', 'a', (1, 0, 0), UPRIGHT)
    tree.add(parent, child, (0, 0, 0), UPRIGHT)
    assert sum(tree.left_out.values()) == 1
    assert tree.between('odom', 0, 'a', 0)[0, 3] == 1
