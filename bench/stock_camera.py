# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A camera driver that knows nothing of da_ros: rclpy's own publisher, transports as they are.

    python -m bench.stock_camera --height 960 --rate 10 --frames 100

Waits for a subscription, publishes, prints one line.
"""

from __future__ import annotations

import argparse
from array import array
import time

import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

DISCOVERY_S = 1.0       # until both ends of a topic know each other
LAST_WORDS_S = 2.0      # for what was lost and is asked for again


def image(height: int) -> Image:
    """Return a bgr8 panorama of noise of *height* rows."""
    width = 2 * height
    pixels = np.random.default_rng(0).integers(0, 256, 3 * height * width, dtype=np.uint8)
    msg = Image(height=height, width=width, encoding='bgr8', step=3 * width,
                data=array('B', pixels.tobytes()))
    msg.header.frame_id = 'camera_frame'
    return msg


def main() -> int:
    """Publish and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--height', type=int, default=960, help='rows of a 2:1 bgr8 image')
    parser.add_argument('--rate', type=float, default=10.0, help='[Hz]')
    parser.add_argument('--frames', type=int, default=100)
    parser.add_argument('--best-effort', action='store_true')
    parser.add_argument('--small-between', action='store_true',
                        help='every second image has 32 rows: one that always arrives, so that '
                             'the middleware reports the large ones lost before it')
    options = parser.parse_args()
    reliability = (ReliabilityPolicy.BEST_EFFORT if options.best_effort
                   else ReliabilityPolicy.RELIABLE)
    rclpy.init()
    node = rclpy.create_node('stock_camera')
    publisher = node.create_publisher(Image, 'image', QoSProfile(
        depth=10, reliability=reliability))
    messages = [image(options.height)] + [image(32)] * options.small_between
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(DISCOVERY_S)
    longest_s, began = 0.0, time.monotonic()
    for number in range(options.frames):
        msg = messages[number % len(messages)]
        msg.header.stamp = node.get_clock().now().to_msg()
        start = time.monotonic()
        publisher.publish(msg)
        longest_s = max(longest_s, time.monotonic() - start)
        time.sleep(max(0.0, began + (number + 1) / options.rate - time.monotonic()))
    rate = options.frames / (time.monotonic() - began)
    print(f'published {options.frames} at {rate:.1f} Hz, longest publish '
          f'{1e3 * longest_s:.0f} ms', flush=True)
    time.sleep(LAST_WORDS_S)
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
