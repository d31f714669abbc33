"""The frame tree: interpolation, composition, and which link is missing."""

import numpy as np
import pytest

from da_ros.sphere import rotation_from_rpy
from da_ros.transforms import (
    matrix_from,
    NoPoseError,
    quaternion_from,
    TransformError,
    TransformTree,
)

S = 10**9
UPRIGHT = (0, 0, 0, 1)


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
    pose = tree.root_from('base', S // 4)
    np.testing.assert_allclose(pose[:3, 3], (1, 0, 0))
    np.testing.assert_allclose(pose[:3, :3], rotation_from_rpy(0, 0, 0.5), atol=1e-12)


def test_poses_may_arrive_out_of_order():
    tree = TransformTree()
    for second in (2, 0, 1):
        tree.add('odom', 'base', (second, 0, 0), UPRIGHT, second * S // 4)
    assert tree.root_from('base', 3 * S // 8)[0, 3] == pytest.approx(1.5)


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
    assert tree.root_from('base', S - 50_000_000)[0, 3] == 1
    for time_ns in (S - 200_000_000, 2 * S, 4 * S):
        with pytest.raises(NoPoseError, match='odom -> base has no pose within'):
            tree.root_from('base', time_ns)


def test_circle_and_zero_quaternion_are_refused():
    tree = TransformTree()
    tree.add('a', 'b', (0, 0, 0), UPRIGHT)
    tree.add('b', 'a', (0, 0, 0), UPRIGHT)
    with pytest.raises(TransformError, match='circle'):
        tree.root('a')
    with pytest.raises(TransformError, match='no rotation'):
        tree.add('a', 'c', (0, 0, 0), (0, 0, 0, 0))
