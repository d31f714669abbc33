# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Bundles of the released architectures in the real node: memory and latency from its diagnostics.

    python -m bench.node_networks bundles/dap_vitl bundles/da2 --backend onnxruntime openvino

Starts the node, feeds it one sample panorama after the other, and prints a Markdown row: median of
its own inference stage, peak resident memory of its process (loading included). A scale-invariant
bundle is started without a scale first, and what the node says to that is printed.
"""

from __future__ import annotations

import argparse
from array import array
from importlib import resources
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time

import cv2
from diagnostic_msgs.msg import DiagnosticArray
import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from da_ros.bundle import load_bundle
from da_ros.ros.transport import PLAIN_TRANSPORT, use_shared_memory_profile

PATIENCE_S = 600.0      # for loading, the self-check and each frame; a network may be large
REPEAT_S = 5.0          # best effort may lose a frame
UNITLESS = ['-p', 'scale.source:=fixed', '-p', 'scale.metres_per_unit:=5.0']


def main() -> None:
    """Print one row per bundle and backend."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bundles', nargs='+', type=Path)
    parser.add_argument('--backend', nargs='+', default=['onnxruntime', 'openvino'])
    parser.add_argument('--frames', type=int, default=5)
    parser.add_argument('--plain-transport', action='store_true')
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.update(PLAIN_TRANSPORT if options.plain_transport else {})
    use_shared_memory_profile()
    print('| bundle | px | runtime | inference p50 ms | peak MB |\n|---|---|---|---|---|')
    for folder in options.bundles:
        bundle = load_bundle(folder)
        scale = UNITLESS if bundle.kind == 'scale_invariant' else []
        if scale:
            print(f'{bundle.name} without a scale: {refusal(folder)}', file=sys.stderr)
        for backend in options.backend:
            values, peak_mb = run_node(folder, backend, scale, options.frames)
            latency = values['latency inference p50 / p99'].split(' / ')[0]
            print(f'| {bundle.name} | {bundle.size_hw[0]}x{bundle.size_hw[1]} | '
                  f'{values["backend"]} | {latency} | {peak_mb:.0f} |', flush=True)


def start_node(folder: Path, backend: str, parameters: list[str], log: Path) -> subprocess.Popen:
    """Start the node with a bundle; its output goes to a file."""
    with log.open('w') as stream:
        return subprocess.Popen(
            [sys.executable, '-m', 'da_ros.ros.node', '--ros-args', '-p', f'model:={folder}',
             '-p', f'backend:={backend}', *parameters], stdout=stream, stderr=subprocess.STDOUT)


def refusal(folder: Path) -> str:
    """Return the node's line about a bundle that gives no metres by itself."""
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / 'node.log'
        node = start_node(folder, 'onnxruntime', [], log)
        end = time.monotonic() + PATIENCE_S
        while 'scale_invariant' not in log.read_text() and time.monotonic() < end:
            time.sleep(0.5)
        stop(node)
        lines = [line for line in log.read_text().splitlines() if 'scale_invariant' in line]
        return lines[0] if lines else 'nothing'


def stop(node: subprocess.Popen) -> None:
    """End the node as a user does."""
    node.send_signal(signal.SIGINT)
    try:
        node.wait(60)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def run_node(folder: Path, backend: str, parameters: list[str],
             frames: int) -> tuple[dict[str, str], float]:
    """Return the diagnostic values after some frames, and the peak memory [MB]."""
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / 'node.log'
        node = start_node(folder, backend, parameters, log)
        try:
            values = feed(node, frames)
            return values, peak_mb(node.pid)
        except TimeoutError as error:
            raise SystemExit(f'{error}; the node says:\n{log.read_text()}') from error
        finally:
            stop(node)


def peak_mb(pid: int) -> float:
    """Return the peak resident memory of a process and its children."""
    pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    lines = [line for each in pids
             for line in Path(f'/proc/{each}/status').read_text().splitlines()
             if line.startswith('VmHWM')]
    return sum(int(line.split()[1]) for line in lines) / 1024


def feed(node: subprocess.Popen, frames: int) -> dict[str, str]:
    """Publish frames one by one, each after the range of the one before; return the values."""
    context = rclpy.Context()
    rclpy.init(context=context)
    peer = rclpy.create_node('bench_peer', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(peer)
    depths: list[Image] = []
    values: dict[str, str] = {}
    peer.create_subscription(Image, 'depth/image', depths.append, 2)
    peer.create_subscription(DiagnosticArray, '/diagnostics', lambda msg: values.update(
        {value.key: value.value for value in msg.status[0].values}), 2)
    publisher = peer.create_publisher(Image, 'image', 2)

    def until(condition, what: str, step=lambda: None) -> None:
        end, again = time.monotonic() + PATIENCE_S, 0.0
        while not condition():
            if time.monotonic() > again:
                step()
                again = time.monotonic() + REPEAT_S
            executor.spin_once(timeout_sec=0.1)
            if node.poll() is not None or time.monotonic() > end:
                raise TimeoutError(f'{what}: not within {PATIENCE_S:g} s')
    try:
        until(lambda: publisher.get_subscription_count() > 0, 'the node subscribes')
        until(lambda: 'backend' in values, 'diagnostics')
        for count in range(frames):
            until(lambda count=count: len(depths) > count, f'range of frame {count}',
                  lambda: publisher.publish(sample(peer.get_clock().now().to_msg())))
        until(lambda: int(values.get('published', '0')) >= frames, 'diagnostics of the last frame')
        return dict(values)
    finally:
        executor.shutdown()
        peer.destroy_node()
        rclpy.shutdown(context=context)


def sample(stamp) -> Image:
    """Return the panorama that ships with the package as a raw image."""
    bgr = cv2.imread(str(Path(str(resources.files('da_ros'))) / 'samples' / 'lobby.jpg'))
    msg = Image(height=bgr.shape[0], width=bgr.shape[1], encoding='bgr8', step=3 * bgr.shape[1],
                data=array('B', bgr.tobytes()))
    msg.header.stamp, msg.header.frame_id = stamp, 'camera_frame'
    return msg


if __name__ == '__main__':
    main()
