# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import sys
import numpy as np
from da_ros.bags.bag_writer import BagWriter
with BagWriter(sys.argv[1]) as bag:
    start = 1_700_000_000 * 10**9
    bag.write('/tf_static', bag.transform(start, 'base_link', 'gripper_link', (0, 0, 0), (0, 0, 0, 0)), start)
    for n in range(5):
        bag.write('/camera/image/compressed', bag.compressed(start + n * 10**8, 'camera', np.full((128, 256, 3), 40 * n, np.uint8)), start + n * 10**8)
