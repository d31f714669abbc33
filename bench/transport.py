# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Do images arrive? A camera process, the real node, and what the node says it received.

    python -m bench.transport                 # the table of the README
    python -m bench.transport --shm container # the same in a /dev/shm of 64 MiB, as root

One Markdown row per setting. Exits 1 if a camera of 960 x 1920 px at 10 Hz loses an image or if
less than 99 % of its images are received; images that the node drops for newer ones are received.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import LaserScan

from da_ros.ros.transport import PLAIN_TRANSPORT, profile_path, PROFILE_VARIABLES

# Height [px], rate [Hz], frames; the first is the one that is judged.
SIZES = ((960, 10.0, 100), (960, 30.0, 300), (1920, 10.0, 100), (3840, 2.0, 20))
QUICK = ((960, 1.0, 6),)
CAMERAS = ('stock', 'profile')
LEAST_SHARE = 0.99
PATIENCE_S = 120.0
CONTAINER = 'mount -t tmpfs -o size=64m none /dev/shm && exec "$@"'


def main() -> int:
    """Measure every setting; 0 if the bars are kept."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--shm', choices=('host', 'container'), default='host')
    parser.add_argument('--camera', choices=CAMERAS, nargs='+', default=CAMERAS)
    parser.add_argument('--quick', action='store_true',
                        help='six images at 1 Hz, which a busy machine must serve as well')
    parser.add_argument('--backend', default='auto')
    options = parser.parse_args()
    if options.shm == 'container' and 'INSIDE' not in os.environ:
        return inside_container()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    print('| camera | /dev/shm | image | rate | published | received | lost | dropped for a newer '
          'one | longest publish |\n|---|---|---|---|---|---|---|---|---|')
    kept = True
    for camera in options.camera:
        for number, (height, rate, frames) in enumerate(QUICK if options.quick else SIZES):
            row, good = measure(camera, options, height, rate, frames)
            print(row, flush=True)
            kept &= good or number > 0
    return 0 if kept else 1


def inside_container() -> int:
    """Run this command with a private /dev/shm of the size that a container has."""
    command = ['unshare', '--mount', 'sh', '-c', CONTAINER, 'sh', sys.executable, '-m',
               'bench.transport', *sys.argv[1:]]
    allowed = subprocess.run([*command[:4], CONTAINER, 'sh', 'true'], capture_output=True,
                             text=True)
    if allowed.returncode:
        print(f'skipped: no private mount here: {allowed.stderr.strip()}', file=sys.stderr)
        return 0
    return subprocess.run(command, env={**os.environ, 'INSIDE': '1'}).returncode


def measure(camera: str, options: argparse.Namespace, height: int, rate: float,
            frames: int) -> tuple[str, bool]:
    """Run node and camera; return the row, and whether images arrived as they should."""
    plain = {name: value for name, value in os.environ.items()
             if name not in (*PROFILE_VARIABLES, *PLAIN_TRANSPORT)}
    profile = dict.fromkeys(PROFILE_VARIABLES, str(profile_path()))
    node = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.ros.node', '--ros-args', '-p',
         f'backend:={options.backend}'], env=plain, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    source = None
    try:
        with Listener() as listener:
            listener.wait(lambda: listener.values.get('backend'), node)
            source = subprocess.Popen(
                [sys.executable, '-m', 'bench.stock_camera', '--height', str(height), '--rate',
                 str(rate), '--frames', str(frames)],
                env=plain | (profile if camera == 'profile' else {}), stdout=subprocess.PIPE,
                text=True)
            listener.wait(lambda: source.poll() is not None, node)
            listener.spin(2.5)                         # two more diagnostics
            values = listener.values
    finally:
        for process in filter(None, (source, node)):
            process.send_signal(signal.SIGINT)
            process.wait(20)
    said = re.search(r'at (\S+) Hz, longest publish (\S+) ms', source.stdout.read())
    assert said
    received, lost = int(values['received']), int(values['lost'])
    row = (f'| {camera} | {options.shm} | {height} x {2 * height} bgr8, '
           f'{6 * height * height / 1e6:.1f} MB | {said[1]} Hz | {frames} '
           f'| {received} | {lost} | {values["dropped"]} | {said[2]} ms |')
    return row, received >= LEAST_SHARE * frames and lost == 0


class Listener:
    """Takes scans, so that the node takes images, and keeps the values of its diagnostics."""

    def __init__(self) -> None:
        """Join the graph."""
        self.values: dict[str, str] = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('bench_transport', context=self._context)
        self._node.create_subscription(LaserScan, 'scan', lambda msg: None, 2)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._keep, 2)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def __enter__(self) -> Listener:
        """Return the listener."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _keep(self, msg: DiagnosticArray) -> None:
        self.values = {value.key: value.value for value in msg.status[0].values}

    def spin(self, seconds: float) -> None:
        """Serve callbacks for a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def wait(self, condition, node: subprocess.Popen) -> None:
        """Serve callbacks until a condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if node.poll() is not None or time.monotonic() > end:
                raise SystemExit('the node ended' if node.poll() is not None else
                                 f'nothing within {PATIENCE_S:g} s')
            self._executor.spin_once(timeout_sec=0.05)


if __name__ == '__main__':
    raise SystemExit(main())
