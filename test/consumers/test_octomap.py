# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A real OctoMap fed by the live node: marks all around, and clears what has gone."""

import time

from coded_bundle import paint, write_coded_bundle
import numpy as np
import pytest
from scenes import person, seen

pytest.importorskip('pyoctomap', reason='pyoctomap is not installed')
pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

import pyoctomap
from ros_peer import image_msg
from sensor_msgs.msg import PointCloud2

SIZE = (128, 256)
LIMIT_M, VOXEL_M = 5.0, 0.1
PLACES = {'behind, across the seam': (-2.0, 0.0), 'left': (0.0, 2.0), 'behind right': (-1.5, -1.5)}
PASSES = 3                      # that OctoMap needs to take back one hit


class Mapper:
    """What octomap_server does with the two clouds, `sensor_model.max_range` being the limit."""

    def __init__(self):
        self.tree = pyoctomap.OcTree(VOXEL_M)

    def insert(self, *clouds):
        for cloud in clouds:
            xyz = np.frombuffer(cloud.data, np.float32).reshape(-1, cloud.point_step // 4)[:, :3]
            if len(xyz):
                self.tree.insertPointCloud(xyz.astype(float), np.zeros(3), LIMIT_M)

    def occupied(self, x, y):
        """Return whether a voxel of the near side of somebody who stands there is occupied."""
        near = 1 - 0.2 / np.hypot(x, y)
        for z in np.arange(-0.8, 0.7, VOXEL_M):
            node = self.tree.search([x * near, y * near, float(z)])
            if node is not None and self.tree.isNodeOccupied(node):
                return True
        return False


@pytest.fixture
def clouds(start, peer, tmp_path):
    """Return a function: send a world to the node, return both clouds of it."""
    model = write_coded_bundle(tmp_path / 'coded', SIZE)
    start(model=str(model), **{'range_mask_m': LIMIT_M, 'camera_height_m': 1.0,
                               'scan.min_height_m': 0.15, 'scan.max_height_m': 1.5})
    topics = ('points', 'points_clearing')
    for topic in topics:
        peer.subscribe(PointCloud2, topic)

    def clouds(things):
        image = paint(seen(things, (0, 0, 1), SIZE, limit_m=9).range_m)
        stamp = time.time_ns()

        def of_this_frame():
            return [[msg for msg in peer.received[topic]
                     if msg.header.stamp.nanosec == stamp % 10**9] for topic in topics]
        peer.publish_until(image_msg(image, stamp), lambda: all(of_this_frame()), 'both clouds')
        return [found[0] for found in of_this_frame()]
    return clouds


def test_people_are_marked_all_around_and_cleared_within_three_passes(clouds):
    mapper, without = Mapper(), Mapper()
    points, clearing = clouds([person(*place) for place in PLACES.values()])
    mapper.insert(points, clearing)
    without.insert(points)
    for name, place in PLACES.items():
        assert mapper.occupied(*place), name
    points, clearing = clouds([])
    for _ in range(PASSES):
        mapper.insert(points, clearing)
        without.insert(points)
    for name, place in PLACES.items():
        assert not mapper.occupied(*place), name
        assert without.occupied(*place), 'the cloud alone cannot clear what stood before the sky'
