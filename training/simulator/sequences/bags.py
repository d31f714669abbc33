# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A rendered drive as a bag: panoramas, exact range, nav_msgs/Odometry and TF."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.transforms import matrix_from, quaternion_from
from da_ros.sphere import BODY_FROM_OPTICAL
from training.data.shards import read_shard

START_NS = 1_700_000_000 * 10**9
FRAME = 'camera_optical_frame'
UPRIGHT = (0.0, 0.0, 0.0, 1.0)


def write_bag(shard: Path, path: Path) -> None:
    """
    Write the bag of a drive.

    /camera/image/compressed and /camera/depth/image (32FC1, exact: NaN unknown, +inf empty) have
    one stamp; /odom and /tf tell `odom` -> `base_link` at it, /tf_static the camera on the base.

    :param shard: of `training.simulate --sequence`
    :param path: a folder that does not exist yet
    :raises BagError: if it does, or cannot be written
    :raises ShardError: if the shard is damaged
    """
    with BagWriter(path) as bag:
        for number, sample in enumerate(read_shard(shard)):
            mount = (0.0, 0.0, sample.camera_height_m)
            if number == 0:
                _write_static(bag, mount)
            stamp_ns = START_NS + round(sample.meta['stamp_s'] * 1e9)
            base = np.array(sample.meta['odom_from_camera']) @ np.linalg.inv(
                matrix_from(mount, UPRIGHT))
            pose = base[:3, 3].tolist(), quaternion_from(base[:3, :3]).tolist()
            bag.write('/odom', bag.odometry(stamp_ns, 'odom', 'base_link', *pose), stamp_ns)
            bag.write('/tf', bag.transform(stamp_ns, 'odom', 'base_link', *pose), stamp_ns)
            bag.write('/camera/image/compressed', bag.compressed(
                stamp_ns, FRAME, np.ascontiguousarray(sample.image[..., ::-1]), 95), stamp_ns + 1)
            bag.write('/camera/depth/image', bag.image(
                stamp_ns, FRAME, sample.range_m, '32FC1'), stamp_ns + 2)


def _write_static(bag: BagWriter, mount: tuple[float, float, float]) -> None:
    for parent, child, move, turn in (
            ('base_link', 'camera_link', mount, UPRIGHT),
            ('camera_link', FRAME, (0.0, 0.0, 0.0), quaternion_from(BODY_FROM_OPTICAL).tolist())):
        bag.write('/tf_static', bag.transform(START_NS, parent, child, move, turn), START_NS)
