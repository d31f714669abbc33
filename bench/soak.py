# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Stream for hours, all outputs taken, and fail on a trend.

    python -m bench.soak --minutes 60 --rate 10 [--backend auto] [--out soak_output]

Camera, node and this receiver are three processes. The camera repeats one picture, so every scan
must be the same: what differs is flicker. Written: soak.csv (a line each ten seconds), soak.png,
node.log. Ctrl-C ends it early, with what it has seen until then.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
import csv
from importlib import resources
import os
from pathlib import Path
import subprocess
import sys
import time
from typing import TextIO

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import LaserScan

from bench.end_to_end import end, spin
from da_ros.ros.outputs import TOPICS
from da_ros.ros.transport import use_shared_memory_profile

EVERY_S, WARM_UP = 10.0, 0.2              # share of the time in which all is still allowed to grow
# What may grow from the first to the last third after the warm-up: share, and amount.
LIMITS = {'rss_mb': (0.01, 5.0), 'threads': (0.0, 1.0), 'files': (0.0, 2.0), 'shm_mb': (0.0, 1.0),
          'p50_ms': (0.25, 5.0), 'p99_ms': (0.5, 20.0), 'gpu_mb': (0.01, 16.0)}


class Receiver:
    """Takes every output, and keeps account of the scans."""

    def __init__(self) -> None:
        """Subscribe."""
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('soak_receiver', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.latencies_ms: list[float] = []
        self.first: np.ndarray | None = None
        self.differ = self.total = self.back = 0
        self.stamp_ns = 0
        self.level, self.message = 0, ''
        for topic, kind in TOPICS.items():
            self.node.create_subscription(
                kind, topic, self._on_scan if topic == 'scan' else lambda msg: None, 2)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 2)

    def _on_scan(self, msg: LaserScan) -> None:
        stamp_ns = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
        self.back += stamp_ns <= self.stamp_ns
        self.stamp_ns = stamp_ns
        self.latencies_ms.append((self.node.get_clock().now().nanoseconds - stamp_ns) * 1e-6)
        ranges = np.array(msg.ranges)
        if self.first is None:
            self.first = ranges
        self.differ += not np.array_equal(ranges, self.first, equal_nan=True)
        self.total += 1

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        status = msg.status[0]
        self.level, self.message = int.from_bytes(status.level, 'big'), status.message

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def gpu_mb(pid: int) -> float:
    """Return the GPU memory of a process [MB], 0 where there is none."""
    try:
        done = subprocess.run(['nvidia-smi', '--query-compute-apps=pid,used_memory',
                               '--format=csv,noheader,nounits'], capture_output=True, text=True)
    except OSError:
        return 0.0
    rows = [line.split(',') for line in done.stdout.splitlines() if line.count(',') == 1]
    return sum(float(used) for owner, used in rows if int(owner) == pid)


def shared_mb(process: psutil.Process) -> float:
    """Return the shared memory [MB] that a process has mapped, its own and its peers'."""
    files = {Path(held.path) for held in process.memory_maps() if '/dev/shm/' in held.path}
    return sum(file.stat().st_blocks * 512 for file in files if file.exists()) / 1e6


def sample(receiver: Receiver, process: psutil.Process, began: float) -> dict[str, float]:
    """Return one line: what came in the last seconds, and what the node holds."""
    times, receiver.latencies_ms = np.array(receiver.latencies_ms or [np.nan]), []
    p50, p99 = np.quantile(times, (0.5, 0.99))
    return {'s': time.monotonic() - began, 'hz': np.isfinite(times).sum() / EVERY_S,
            'p50_ms': p50, 'p99_ms': p99, 'rss_mb': process.memory_info().rss / 1e6,
            'threads': process.num_threads(), 'files': process.num_fds(),
            'shm_mb': shared_mb(process), 'gpu_mb': gpu_mb(process.pid),
            'cpu_percent': process.cpu_percent(), 'level': receiver.level}


def stream(options: argparse.Namespace) -> tuple[list[dict[str, float]], Receiver]:
    """Run the three processes and sample."""
    command = [sys.executable, '-m', 'da_ros.ros.node', '--ros-args', '-p',
               f'backend:={options.backend}', '-p', 'cliff.enabled:=true', '-p',
               'image_health.frozen_s:=0.0']
    picture = Path(str(resources.files('da_ros'))) / 'samples' / 'lobby.jpg'
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / 'node.log').open('w') as log:
        node = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    camera = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.replay', str(picture), '--loop', '--height', '960',
         '--fps', str(options.rate)], stdout=subprocess.DEVNULL)
    receiver, rows = Receiver(), []
    try:
        while not receiver.total:
            spin(receiver.executor, 0.1)
            if node.poll() is not None:
                raise SystemExit(f'the node ended with exit code {node.returncode}')
        process, began = psutil.Process(node.pid), time.monotonic()
        receiver.latencies_ms.clear()
        process.cpu_percent()
        with (options.out / 'soak.csv').open('w', newline='') as file, suppress(KeyboardInterrupt):
            while time.monotonic() - began < 60 * options.minutes and node.poll() is None:
                spin(receiver.executor, EVERY_S)
                rows.append(sample(receiver, process, began))
                write(file, rows)
        return rows, receiver
    finally:
        end(camera, node)
        receiver.close()


def write(file: TextIO, rows: list[dict[str, float]]) -> None:
    """Append the newest row, so that a run that is ended keeps what it has seen."""
    table = csv.DictWriter(file, rows[0])
    if len(rows) == 1:
        table.writeheader()
    table.writerow({name: f'{value:.3f}' for name, value in rows[-1].items()})
    file.flush()


def trends(rows: list[dict[str, float]], receiver: Receiver) -> list[str]:
    """Return what must not be, one text each."""
    rows = rows[int(WARM_UP * len(rows)):]
    third = max(1, len(rows) // 3)
    found = []
    for name, (share, amount) in LIMITS.items():
        values = np.array([row[name] for row in rows])
        first, last = np.nanmedian(values[:third]), np.nanmedian(values[-third:])
        if last - first > max(amount, share * first):
            found.append(f'{name} grows from {first:.1f} to {last:.1f}')
    first, last = (np.mean([row['hz'] for row in part]) for part in (rows[:third], rows[-third:]))
    if last < 0.9 * first:
        found.append(f'the rate falls from {first:.1f} to {last:.1f} Hz')
    if receiver.differ:
        found.append(f'{receiver.differ} of {receiver.total} scans of one picture differ')
    if receiver.back:
        found.append(f'{receiver.back} stamps came twice or late')
    return found


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Draw everything over time."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    names = ('hz', 'p50_ms', 'p99_ms', 'rss_mb', 'threads', 'files', 'shm_mb', 'cpu_percent')
    figure, axes = pyplot.subplots(len(names) // 2, 2, figsize=(10, 8), sharex=True)
    for axis, name in zip(axes.T.flat, names):
        axis.plot([row['s'] / 60 for row in rows], [row[name] for row in rows], linewidth=0.8)
        axis.set_ylabel(name)
        axis.set_ylim(0, 1.1 * max(1, *(row[name] for row in rows)))
    for axis in axes[-1]:
        axis.set_xlabel('minutes')
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> int:
    """Stream, write, and fail on a trend."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--rate', type=float, default=10.0, help='of the camera [Hz]')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--out', type=Path, default=Path('soak_output'))
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_shared_memory_profile()
    rows, receiver = stream(options)
    if not rows:
        print(f'ended before the first {EVERY_S:g} s', file=sys.stderr)
        return 1
    plot(rows, options.out / 'soak.png')
    print('| | start | end | most |\n|---|---|---|---|')
    for name in (name for name in rows[0] if name not in ('s', 'level')):
        values = [row[name] for row in rows]
        print(f'| {name} | {values[0]:.1f} | {values[-1]:.1f} | {max(values):.1f} |')
    print(f'\n{receiver.total} scans in {rows[-1]["s"] / 60:.1f} min, {receiver.differ} differ; '
          f'at the end: {receiver.message}')
    found = trends(rows, receiver)
    for text in found:
        print(f'FAILED: {text}')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
