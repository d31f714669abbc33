# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""make_bag.py BAG: panoramas as cv_bridge sends them when nobody names an encoding (8UC3), a cloud beside."""
import sys
import numpy as np
from da_ros.bags.bag_writer import BagWriter
with BagWriter(sys.argv[1]) as bag:
    for n in range(10):
        stamp = 1_700_000_000 * 10**9 + n * 10**8
        bag.write('/camera/image', bag.image(stamp, 'camera', np.full((128, 256, 3), 20 * n, np.uint8), '8UC3'), stamp)
        bag.write('/lidar/points', bag.points(stamp, 'camera', np.random.default_rng(n).normal(0, 3, (500, 3)).astype(np.float32)), stamp)
