# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""make_bag.py DEMO_BAG BAG: the demo drive as `ros2 bag record -a` gets it while the node runs: its /points and /scan beside the camera; the LiDAR is called /velodyne_points."""
import sys
from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
from da_ros.config import RangeRule
from da_ros.estimator import RangeEstimator
from da_ros.pixels import picture_of
from da_ros.points import PointProjector
from da_ros.stamps import stamp_ns
estimator = RangeEstimator(rule=RangeRule(camera_height_m=0.75))
projector = PointProjector(estimator.bundle.size_hw, 30000)
with BagReader(sys.argv[1]) as source, BagWriter(sys.argv[2]) as target:
    for message in source.messages(list(source.kinds)):
        if message.log_ns > 1_700_000_004_000_000_000:
            break
        topic = {'/lidar/points': '/velodyne_points'}.get(message.topic, message.topic)
        target.write_raw(topic, message.kind, message.raw, message.log_ns)
        if message.topic == '/camera/image/compressed':
            msg = message.decode()
            points = projector.project(estimator.predict(picture_of(msg).image))
            target.write('/points', target.points(stamp_ns(msg), 'camera_link', points), message.log_ns + 20_000_000)
