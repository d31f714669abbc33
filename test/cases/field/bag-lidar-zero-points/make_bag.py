# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import sys
import numpy as np
from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
with BagReader(sys.argv[1]) as source, BagWriter(sys.argv[2]) as target:
    random = np.random.default_rng(0)
    for message in source.messages(list(source.kinds)):
        if message.log_ns > 1_700_000_003_400_000_000:
            break
        if message.topic != '/lidar/points':
            target.write_raw(message.topic, message.kind, message.raw, message.log_ns)
            continue
        cloud = message.decode()
        points = np.frombuffer(cloud.data, np.float32).reshape(-1, 3).copy()
        points[random.random(len(points)) < 0.3] = 0
        stamp = cloud.header.stamp.sec * 10**9 + cloud.header.stamp.nanosec
        target.write(message.topic, target.points(stamp, cloud.header.frame_id, points), message.log_ns)
