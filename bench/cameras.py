# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What a second camera costs in memory: one node with one camera, and with two, on the same network.

    python -m bench.cameras --backend openvino onnxruntime --height 960 1920

One Markdown row per runtime and image size. A new image is only sent when points, depth image and
scan of the one before have arrived, so the load of the machine does not matter. Exits 1 if two
cameras take 1.2 times the memory of one.
"""

from __future__ import annotations

import argparse
from array import array
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from da_ros.ros.transport import use_shared_memory_profile

OUTPUTS = {'points': PointCloud2, 'depth/image': Image, 'scan': LaserScan}
MOST = 1.2               # times the memory of one camera
PATIENCE_S, AGAIN_S = 120.0, 5.0
NAMES = ('front', 'rear')


def main() -> int:
    """Measure every runtime and size; 0 if the bar is kept."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--backend', nargs='+', default=['openvino', 'onnxruntime'])
    parser.add_argument('--model', default='pano_tiny')
    parser.add_argument('--height', type=int, nargs='+', default=[960], help='rows of an image')
    parser.add_argument('--frames', type=int, default=60, help='of each camera')
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_shared_memory_profile()
    print('| backend | image | one camera, RSS MB (own MB) | two cameras | ratio |\n'
          '|---|---|---|---|---|')
    kept = True
    for backend in options.backend:
        for height in options.height:
            one, two = (measure(backend, options.model, height, options.frames, count)
                        for count in (1, 2))
            kept &= two[0] < MOST * one[0]
            print(f'| {backend} | {height} x {2 * height} | {one[0]:.0f} ({one[1]:.0f}) '
                  f'| {two[0]:.0f} ({two[1]:.0f}) | {two[0] / one[0]:.2f} |', flush=True)
    return 0 if kept else 1


def measure(backend: str, model: str, height: int, frames: int, count: int) -> tuple[float, float]:
    """Return the node's resident memory after the frames, all of it and what it alone has [MB]."""
    names = NAMES[:count]
    node = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.ros.node', '--ros-args', '-p', f'backend:={backend}', '-p',
         f'model:={model}', '-p', f'cameras:=[{", ".join(names)}]'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Robot(names, height) as robot:
            for number in range(1, frames + 1):
                robot.turn(number, node)
            found = psutil.Process(node.pid).memory_full_info()
        return found.rss / 1e6, found.uss / 1e6
    finally:
        node.send_signal(signal.SIGINT)
        node.wait(20)


class Robot:
    """The cameras, and who takes what the node makes of their images."""

    def __init__(self, names: tuple[str, ...], height: int):
        """Join the graph."""
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('bench_cameras', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._arrived: set[tuple[str, int]] = set()
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        pixels = np.random.default_rng(0).integers(0, 256, 6 * height * height, dtype=np.uint8)
        self._msg = Image(height=height, width=2 * height, encoding='bgr8', step=6 * height,
                          data=array('B', pixels.tobytes()))
        self._cameras = {}
        for name in names:
            self._cameras[name] = self._node.create_publisher(Image, f'{name}/image', qos)
            for topic, kind in OUTPUTS.items():
                self._node.create_subscription(
                    kind, f'{name}/{topic}', lambda msg, topic=f'{name}/{topic}':
                    self._arrived.add((topic, msg.header.stamp.sec)), qos)

    def __enter__(self) -> Robot:
        """Return the robot."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def turn(self, number: int, node: subprocess.Popen) -> None:
        """Send an image of every camera, and wait for what is made of them."""
        end = time.monotonic() + PATIENCE_S
        self._until(lambda: all(camera.get_subscription_count() for camera in
                                self._cameras.values()), node, end)
        wanted = {(f'{name}/{topic}', number) for name in self._cameras for topic in OUTPUTS}
        while not wanted <= self._arrived:      # the first may be sent before all know each other
            for name, camera in self._cameras.items():
                self._msg.header.frame_id, self._msg.header.stamp.sec = f'{name}_frame', number
                self._msg.data[number] ^= 255              # a camera that moves
                camera.publish(self._msg)
            again = min(end, time.monotonic() + AGAIN_S)
            self._until(lambda again=again: wanted <= self._arrived or time.monotonic() > again,
                        node, end)

    def _until(self, condition, node: subprocess.Popen, end: float) -> None:
        while not condition():
            if node.poll() is not None or time.monotonic() > end:
                raise SystemExit('the node ended' if node.poll() is not None else
                                 f'no answer within {PATIENCE_S:g} s')
            self._executor.spin_once(timeout_sec=0.05)


if __name__ == '__main__':
    raise SystemExit(main())
