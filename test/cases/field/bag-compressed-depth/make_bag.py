# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""make_bag.py DEMO_BAG BAG: the depth images as compressed_depth_image_transport writes them: 12 bytes, then PNG."""
import struct, sys
import cv2
import numpy as np
from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
with BagReader(sys.argv[1]) as source, BagWriter(sys.argv[2]) as target:
    for message in source.messages([t for t in source.kinds if t != '/lidar/points']):
        if message.topic != '/camera/depth/image':
            target.write_raw(message.topic, message.kind, message.raw, message.log_ns)
            continue
        depth = message.decode()
        png = cv2.imencode('.png', np.frombuffer(depth.data, np.uint16).reshape(depth.height, depth.width))[1].tobytes()
        data = np.frombuffer(struct.pack('<iff', -1, 0, 0) + png, np.uint8)
        target.write('/camera/depth/image/compressedDepth', target.new('sensor_msgs/msg/CompressedImage', header=depth.header, format='16UC1; compressedDepth png', data=data), message.log_ns)
