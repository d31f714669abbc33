# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Camera to receiver over real DDS between three processes, on one machine.

    python -m bench.end_to_end --backend onnxruntime openvino --seconds 60

Prints, per backend: rate of frames whose points, depth image and scan all arrived, latency from
the camera's stamp to the last of the three, the node's own stages, its memory, and what a frame of
which all three arrived costs each process. Where the machine is shared, that alone says what it
could do: two cores have 2000 ms for the frames of a second.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from importlib import resources
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from da_ros.ros.transport import PLAIN_TRANSPORT, use_shared_memory_profile

TOPICS = {'points': PointCloud2, 'depth/image': Image, 'scan': LaserScan}
WARM_UP_S = 5.0


def main() -> int:
    """Measure each backend in turn and print one Markdown row each."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--backend', nargs='+', default=['onnxruntime', 'openvino'])
    parser.add_argument('--model', default='')
    parser.add_argument('--seconds', type=float, default=30.0)
    parser.add_argument('--rate', type=float, default=30.0, help='camera rate [Hz]')
    parser.add_argument('--height', type=int, default=960, help='rows of a camera image')
    parser.add_argument('--plain-transport', action='store_true')
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(PLAIN_TRANSPORT if options.plain_transport else {})
    use_shared_memory_profile()
    print('| backend | together Hz | p50 ms | p99 ms | p99/p50 | stages p50 / p99 ms | '
          'received, dropped, lost | node RSS MB start, end, max | node CPU % '
          '| CPU ms per frame: camera, node, receiver |')
    print('|---|---|---|---|---|---|---|---|---|---|')
    for backend in options.backend:
        print(measure(backend, options), flush=True)
    return 0


def measure(backend: str, options: argparse.Namespace) -> str:
    """Run node, camera and this receiver for the given time; return the row."""
    command = [sys.executable, '-m', 'da_ros.ros.node', '--ros-args', '-p', f'backend:={backend}']
    if options.model:
        command += ['-p', f'model:={options.model}']
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sample = Path(str(resources.files('da_ros'))) / 'samples' / 'lobby.jpg'
    camera = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.replay', str(sample), '--loop', '--height',
         str(options.height), '--fps', str(options.rate)], stdout=subprocess.DEVNULL)
    try:
        return receive(backend, (camera, node), options)
    finally:
        end(camera, node)


def end(*processes: subprocess.Popen) -> None:
    """Interrupt processes, and kill what has not ended after ten seconds."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def receive(backend: str, processes: tuple[subprocess.Popen, subprocess.Popen],
            options: argparse.Namespace) -> str:
    """Collect arrivals by stamp, the node's memory once a second, and its diagnostics."""
    camera, node = processes
    context = rclpy.Context()
    rclpy.init(context=context)
    receiver = rclpy.create_node('bench_receiver', context=context)
    clock = receiver.get_clock()
    arrived: dict[int, dict[str, int]] = defaultdict(dict)
    status: dict[str, str] = {}
    for topic, kind in TOPICS.items():
        def keep(msg, topic=topic):
            stamp = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
            arrived[stamp][topic] = clock.now().nanoseconds
        receiver.create_subscription(kind, topic, keep, 2)

    def diagnose(msg):
        status.update({v.key: v.value for v in msg.status[0].values})
    receiver.create_subscription(DiagnosticArray, '/diagnostics', diagnose, 2)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(receiver)
    while not arrived:
        executor.spin_once(timeout_sec=0.1)
        if node.poll() is not None:
            raise SystemExit(f'the node ended with exit code {node.returncode}')
    spin(executor, WARM_UP_S)
    arrived.clear()
    process, memory = psutil.Process(node.pid), []
    all_three = psutil.Process(camera.pid), process, psutil.Process()
    before = [cpu_s(one) for one in all_three]
    process.cpu_percent()
    for _ in range(round(options.seconds)):
        spin(executor, 1.0)
        memory.append(process.memory_info().rss / 1e6)
    cpu = process.cpu_percent()
    spent = [cpu_s(one) - start for one, start in zip(all_three, before)]
    executor.shutdown()
    receiver.destroy_node()
    rclpy.shutdown(context=context)
    return row(backend, arrived, status, memory, cpu, spent, options)


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of all threads of a process."""
    times = process.cpu_times()
    return times.user + times.system


def spin(executor: SingleThreadedExecutor, seconds: float) -> None:
    """Serve callbacks for a time."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left)


def row(backend: str, arrived: dict, status: dict[str, str], memory: list[float], cpu: float,
        spent: list[float], options: argparse.Namespace) -> str:
    """Return the Markdown row of one run."""
    complete = [stamp for stamp, topics in arrived.items() if len(topics) == len(TOPICS)]
    latency = np.array([(max(arrived[s].values()) - s) / 1e6 for s in complete])
    p50, p99 = np.quantile(latency, (0.5, 0.99))
    stages = ', '.join(f'{name} {status[f"latency {name} p50 / p99"].removesuffix(" ms")}'
                       for name in ('convert', 'inference', 'messages'))
    counts = ', '.join(status[name] for name in ('received', 'dropped', 'lost'))
    return (f'| {status.get("backend", backend)} | {len(complete) / options.seconds:.1f} '
            f'| {p50:.0f} | {p99:.0f} | {p99 / p50:.2f} | {stages} | {counts} '
            f'| {memory[0]:.0f}, {memory[-1]:.0f}, {max(memory):.0f} | {cpu:.0f} '
            f'| {", ".join(f"{1e3 * s / len(complete):.1f}" for s in spent)} |')


if __name__ == '__main__':
    raise SystemExit(main())
