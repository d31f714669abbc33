# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The demo: a camera process, the real node and this receiver talk over DDS; pictures come out.

    python -m da_ros.commands.demo --out demo_output
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from importlib import resources
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, LaserScan, PointCloud2
from tqdm import tqdm

from da_ros import files
from da_ros.commands.demo_models import compare_models
from da_ros.commands.demo_page import write_page
from da_ros.errors import DaRosError
from da_ros.ros.transport import use_shared_memory_profile
from da_ros.scan import Scan

KINDS = {'points': PointCloud2, 'scan': LaserScan, 'depth/image': Image, 'depth/preview': Image}
CAMERA_ROWS = 960
SECTORS = ('front', 'front left', 'left', 'back left', 'back', 'back right', 'right',
           'front right')


class DemoError(DaRosError):
    """The demo cannot show what it should."""


@dataclass
class Record:
    """What arrived while one panorama was shown."""

    name: str
    latest: dict[str, Any] = field(default_factory=dict)
    latency_ms: list[float] = field(default_factory=list)    # camera stamp to points
    arrivals: list[float] = field(default_factory=list)      # of points

    def keep(self, topic: str, msg: Any, now_ns: int) -> None:
        """Store a message; of points also when and how late they came."""
        self.latest[topic] = msg
        if topic == 'points':
            stamp = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
            self.latency_ms.append((now_ns - stamp) / 1e6)
            self.arrivals.append(time.monotonic())

    @property
    def rate_hz(self) -> float:
        """Rate of points while they arrived."""
        times = self.arrivals
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def main(args: list[str] | None = None) -> int:
    """Run the demo; 0 if every output of every panorama arrived."""
    parser = argparse.ArgumentParser(
        prog='python -m da_ros.commands.demo', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=Path('demo_output'))
    parser.add_argument('--seconds', type=float, default=8.0, help='per panorama [%(default)s]')
    parser.add_argument('--rate', type=float, default=30.0, help='camera rate [Hz, %(default)s]')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--patience', type=float, default=60.0,
                        help='how long to wait for the first outputs [s, %(default)s]')
    options = parser.parse_args(args)
    try:
        run(options)
    except (DaRosError, OSError) as error:
        print(f'demo failed: {error}', file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """
    Show every sample panorama to the node and write what comes back.

    :raises DemoError: naming the output that did not arrive
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_shared_memory_profile()              # of this process and its children, before DDS starts
    samples = sorted(Path(str(resources.files('da_ros'))).joinpath('samples').glob('*.jpg'))
    options.out.mkdir(parents=True, exist_ok=True)
    log = (options.out / 'node.log').open('w')
    print(f'Starting the node (log: {log.name}) ...')
    node = subprocess.Popen([sys.executable, '-m', 'da_ros.ros.node', '--ros-args',
                             '-p', f'backend:={options.backend}'], stdout=log, stderr=log)
    try:
        records = [show(sample, node, options) for sample in tqdm(samples, 'panoramas')]
    finally:
        node.send_signal(signal.SIGINT)
        try:
            code = node.wait(10)
        except subprocess.TimeoutExpired:
            node.kill()
            code = node.wait()
    if code:
        raise DemoError(f'the node ended with exit code {code}; see {log.name}')
    for sample, record in zip(samples, records):
        write_outputs(options.out, sample, record)
    node_line = next((line.split(': ', 1)[-1] for line in
                      (options.out / 'node.log').read_text().splitlines() if 'runs on' in line),
                     '')
    files.write_image(options.out / 'overview.jpg', overview(options.out, records))
    models, compared = compare_models(samples, options.backend)
    files.write_image(options.out / 'models.jpg', compared)
    rows = [table_row(record) for record in records]
    print_table(rows)
    page = write_page(options.out, rows, node_line, models)
    print(f'Open {page} to see the pictures.')


def show(sample: Path, node: subprocess.Popen, options: argparse.Namespace) -> Record:
    """Stream one panorama from a camera process and collect the node's messages."""
    record = Record(sample.stem)
    context = rclpy.Context()
    rclpy.init(context=context)
    receiver = rclpy.create_node('demo_receiver', context=context)
    clock = receiver.get_clock()
    for topic, kind in KINDS.items():
        def keep(msg, topic=topic):
            record.keep(topic, msg, clock.now().nanoseconds)
        receiver.create_subscription(kind, topic, keep, 2)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(receiver)
    camera = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.replay', str(sample), '--loop', '--wait', '0',
         '--fps', str(options.rate), '--height', str(CAMERA_ROWS)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + options.patience
        while len(record.latest) < len(KINDS):
            executor.spin_once(timeout_sec=0.1)
            check_alive(node, camera, record, deadline, options)
        record.latency_ms.clear()
        record.arrivals.clear()
        end = time.monotonic() + options.seconds
        deadline = end + options.patience
        while (now := time.monotonic()) < end or (len(record.arrivals) < 2 and now < deadline):
            executor.spin_once(timeout_sec=0.1)
        if len(record.arrivals) < 2:
            raise DemoError(f'points for {record.name} stopped after the first frame; see '
                            f'{options.out / "node.log"}')
    finally:
        camera.send_signal(signal.SIGINT)
        camera.wait(10)
        executor.shutdown()
        receiver.destroy_node()
        rclpy.shutdown(context=context)
    return record


def check_alive(node, camera, record: Record, deadline: float,
                options: argparse.Namespace) -> None:
    """Raise if a process ended or the outputs do not come."""
    log = options.out / 'node.log'
    for name, process in (('node', node), ('camera', camera)):
        if process.poll() is not None:
            raise DemoError(f'the {name} ended with exit code {process.returncode}; see {log}')
    if time.monotonic() > deadline:
        missing = ', '.join(sorted(set(KINDS) - set(record.latest)))
        errors = [line for line in log.read_text().splitlines() if 'ERROR' in line]
        raise DemoError(f'no {missing} for {record.name} within {options.patience:g} s; '
                        + (errors[-1] if errors else f'see {log}'))


def write_outputs(out: Path, sample: Path, record: Record) -> None:
    """Write preview, depth PNG, coloured PLY and scan plot of one panorama."""
    name, latest = record.name, record.latest
    depth, preview = latest['depth/image'], latest['depth/preview']
    range_m = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
    pixels = np.frombuffer(preview.data, np.uint8).reshape(preview.height, preview.width, 3)
    camera = files.read_panorama(sample).image
    panorama = np.asarray(cv2.resize(camera, (depth.width, depth.height),
                                     interpolation=cv2.INTER_AREA), np.uint8)
    files.write_image(out / f'{name}_input.jpg', panorama)
    files.write_image(out / f'{name}_preview.png', pixels)
    files.write_depth_png(out / f'{name}_depth_mm.png', range_m)
    points = np.frombuffer(latest['points'].data, np.float32).reshape(-1, 3)
    files.write_ply(out / f'{name}.ply', points, colours_of(points, panorama))
    scan = scan_of(latest['scan'])
    files.plot_scan(out / f'{name}_scan.png', scan, f'{name}: scan from above [m]')


def overview(out: Path, records: list[Record]) -> np.ndarray:
    """Return one picture of all panoramas: camera, range and scan side by side."""
    rows = []
    for record in records:
        camera = files.read_panorama(out / f'{record.name}_input.jpg').image
        preview = files.read_panorama(out / f'{record.name}_preview.png').image
        plot = files.read_panorama(out / f'{record.name}_scan.png').image
        side = camera.shape[0]
        shown = cv2.resize(plot, (side, side), interpolation=cv2.INTER_AREA)
        rows.append(np.hstack([camera, preview, shown]))
    return np.vstack(rows)


def colours_of(points: np.ndarray, panorama: np.ndarray) -> np.ndarray:
    """Return the panorama's colour in the direction of every point."""
    from da_ros.sphere import angles_from_ray, col_from_azimuth, row_from_elevation
    azimuth, elevation = angles_from_ray(points)
    height, width = panorama.shape[:2]
    row = np.minimum(row_from_elevation(elevation, height).astype(int), height - 1)
    return panorama[row, col_from_azimuth(azimuth, width).astype(int)]


def scan_of(msg: LaserScan) -> Scan:
    """Return a received scan."""
    return Scan(np.array(msg.ranges, np.float32), msg.angle_min, msg.angle_increment,
                msg.range_min, msg.range_max)


def table_row(record: Record) -> dict[str, str]:
    """Return one line of the result table."""
    scan = scan_of(record.latest['scan'])
    azimuth = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    sector = np.round(azimuth / (np.pi / 4)).astype(int) % 8
    latency = np.quantile(record.latency_ms, (0.5, 0.99)) if record.latency_ms else (np.nan,) * 2
    row = {'panorama': record.name, 'rate': f'{record.rate_hz:.1f} Hz',
           'p50': f'{latency[0]:.0f} ms', 'p99': f'{latency[1]:.0f} ms',
           'points': str(record.latest['points'].width)}
    for index, name in enumerate(SECTORS):
        row[name] = nearest_text(scan.ranges[sector == index])
    return row


def nearest_text(ranges: np.ndarray) -> str:
    """Return the nearest obstacle of a sector in words of the scan's values."""
    finite = ranges[np.isfinite(ranges)]
    if np.isneginf(ranges).any():
        return 'too near'
    if len(finite):
        return f'{finite.min():.2f} m'
    return 'free' if np.isposinf(ranges).all() else 'unknown'


def print_table(rows: list[dict[str, str]]) -> None:
    """Print rate, latency (camera stamp to points) and the nearest obstacle per 45 degrees."""
    widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    print('\nCamera stamp to points, and the nearest obstacle of each 45-degree sector:')
    for row in ({key: key for key in rows[0]}, *rows):
        print('  '.join(row[key].rjust(width) for key, width in widths.items()))
    print()


if __name__ == '__main__':
    raise SystemExit(main())
