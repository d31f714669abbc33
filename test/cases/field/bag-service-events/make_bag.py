# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag as Jazzy records it with service introspection: panoramas beside one `_service_event` topic."""
import sys
import numpy as np
from da_ros.bags.bag_writer import BagWriter
with BagWriter(sys.argv[1]) as bag:
    start = 1_700_000_000 * 10**9
    # rosbag2 stores the .srv text as the definition of the event type
    bag._connections['/lamp/_service_event'] = bag._writer.add_connection(
        '/lamp/_service_event', 'robot_interfaces/srv/SetLamp_Event', msgdef='bool on\n---\nbool done\n', rihs01='RIHS01_' + '0' * 64)
    bag._writer.write(bag._connections['/lamp/_service_event'], start, bytes(16))
    for n in range(5):
        pano = np.full((128, 256, 3), 40 * n, np.uint8)
        bag.write('/camera/image/compressed', bag.compressed(start + n * 10**8, 'camera', pano), start + n * 10**8)
