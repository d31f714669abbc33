"""A camera made of still panoramas: publishes them as sensor_msgs/Image at a steady rate."""

from __future__ import annotations

import argparse
from pathlib import Path
import signal
import time

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from da_ros.conversions import fill_image, header_for
from da_ros.files import read_panorama


def main(args: list[str] | None = None) -> int:
    """Publish until the time is over; prints how many frames left."""
    parser = argparse.ArgumentParser(prog='python -m da_ros.commands.camera', description=__doc__)
    parser.add_argument('images', nargs='+', type=Path)
    parser.add_argument('--topic', default='image')
    parser.add_argument('--frame', default='camera_frame', help='frame_id [%(default)s]')
    parser.add_argument('--rate', type=float, default=30.0, help='Hz [%(default)s]')
    parser.add_argument('--height', type=int, default=960, help='rows [%(default)s]')
    parser.add_argument('--each', type=float, default=5.0, help='seconds per image [%(default)s]')
    parser.add_argument('--seconds', type=float, default=1e9, help='stop after [s]')
    options = parser.parse_args(args)
    size = (2 * options.height, options.height)
    pictures = [np.asarray(cv2.resize(read_panorama(path), size, interpolation=cv2.INTER_AREA))
                for path in options.images]
    signal.signal(signal.SIGINT, lambda *_: None)       # rclpy ends the loop
    rclpy.init()
    node = rclpy.create_node('panorama_camera')
    publisher = node.create_publisher(
        Image, options.topic, QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT))
    msg, start, count = Image(), time.monotonic(), 0
    while rclpy.ok() and time.monotonic() - start < options.seconds:
        elapsed = time.monotonic() - start
        picture = pictures[int(elapsed / options.each) % len(pictures)]
        stamp = node.get_clock().now().nanoseconds
        fill_image(msg, header_for(stamp, options.frame), picture, 'bgr8')
        if not rclpy.ok():
            break
        publisher.publish(msg)
        count += 1
        time.sleep(max(0.0, start + count / options.rate - time.monotonic()))
    print(f'{count} frames in {time.monotonic() - start:.1f} s')
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
