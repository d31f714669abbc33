# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The path of a message against the copies and library calls that nobody can do without, in one run.

    python -m bench.message_path --repeats 100

Taking a message, packing and publishing are compared with one warm copy of the same bytes, the
other steps with the best library call for them, in turns. Where the machine is shared, the clock
says little: the processor time of all threads of the process stands beside it, and decides. The
receiver of what is published is another process. Exits 1 if a step costs more than 4 times what it
is compared with, or the full cloud more than 12 ms.
"""

from __future__ import annotations

import argparse
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import os
import subprocess
import sys
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image, LaserScan, PointCloud2

from da_ros.config import Config, PointsConfig
from da_ros.derived.frame import Derivation
from da_ros.jpeg_png import decode_image
from da_ros.panorama import resize_erp
from da_ros.pixels import picture_of
from da_ros.range_map import RangeMap
from da_ros.ros import conversions as to_ros
from da_ros.ros.transport import use_shared_memory_profile
from da_ros.scan import ScanProjector

QOS = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
HEADER = to_ros.header_for(10**9, 'camera_frame')
CAMERAS = ((960, 1920), (1920, 3840))
FULL = (512, 1024)              # 524,288 points
NETWORK = (256, 512)
BAR, CLOUD_BAR_MS, WARM_UP = 4.0, 12.0, 5
RECEIVER = """
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, LaserScan, PointCloud2
rclpy.init()
node = rclpy.create_node('bench_receiver')
for kind, topic in ((Image, 'depth'), (PointCloud2, 'points'), (LaserScan, 'scan')):
    node.create_subscription(kind, f'bench/{topic}', lambda msg: None, QoSProfile(depth=2),
                             raw=True)
try:
    rclpy.spin(node)
except ExternalShutdownException:
    pass
"""


@dataclass(frozen=True)
class Step:
    """One step, and what it is compared with."""

    name: str
    work: Callable[[], object]
    floor: Callable[[], object]
    prepare: Callable[[], object] = lambda: None          # before each, not timed
    is_copy: bool = True
    is_bar: bool = True
    most_ms: float = 0.0          # of processor; 0 = 4 times the floor


def main() -> int:
    """Print the table; 0 if the bars are kept."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=100)
    options = parser.parse_args()
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_shared_memory_profile()
    receiver = subprocess.Popen([sys.executable, '-c', RECEIVER])
    rclpy.init()
    node = rclpy.create_node('bench_message_path')
    try:
        steps = [*receiving(node), *packing(node), *library_steps()]
        print('| step | ms by the clock, p50 (least) | of processor, p50 | compared with '
              '| ms by the clock | of processor | ratio |\n|---|---|---|---|---|---|---|')
        kept = [report(step, options.repeats) for step in steps]
    finally:
        receiver.terminate()
        receiver.wait(10)
        rclpy.shutdown()
    print(f'\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
    return 0 if all(kept) else 1


def report(step: Step, repeats: int) -> bool:
    """Time a step and its floor in turns and print the row; return whether the bar is kept."""
    times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for number in range(repeats + WARM_UP):
        for is_floor, work in ((False, step.work), (True, step.floor)):
            if not is_floor:
                step.prepare()
            start = time.perf_counter(), time.process_time()
            work()
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            if number >= WARM_UP:
                times[is_floor].append(spent)
    (clock, cpu), (floor_clock, floor_cpu) = (1e3 * np.median(times[which], axis=0)
                                              for which in (False, True))
    least = 1e3 * np.min(times[False], axis=0)[0]
    print(f'| {step.name} | {clock:.3f} ({least:.3f}) | {cpu:.3f} '
          f'| {"a copy" if step.is_copy else "the library"} | {floor_clock:.3f} '
          f'| {floor_cpu:.3f} | {cpu / floor_cpu:.1f} |', flush=True)
    return not step.is_bar or cpu <= (step.most_ms or BAR * floor_cpu)


def copy_of(values: NDArray[Any]) -> Callable[[], object]:
    """Return what copies as many bytes into memory that is there already."""
    target = np.empty_like(values)
    return lambda: np.copyto(target, values)


def receiving(node: rclpy.node.Node) -> list[Step]:
    """Take an image out of the middleware, and make an array of it."""
    steps = []
    for height, width in CAMERAS:
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        msg = to_ros.fill_image(Image(), HEADER, pixels, 'bgr8')
        topic = f'bench/image_{height}'
        publisher = node.create_publisher(Image, topic, QOS)
        subscription = node.create_subscription(Image, topic, lambda msg: None, QOS)
        while not publisher.get_subscription_count():
            time.sleep(0.05)

        def send(publisher=publisher, msg=msg) -> None:
            publisher.publish(msg)
            time.sleep(0.02)           # until it lies in the reader

        def take(subscription=subscription, raw=False) -> Any:
            with subscription.handle:
                while (taken := subscription.handle.take_message(Image, raw)) is None:
                    time.sleep(0.0005)
            return taken[0] if raw else picture_of(taken[0]).image
        copy = copy_of(pixels)
        steps += [Step(f'take bgr8 {height} x {width}', take, copy, send),
                  Step('the middleware alone, as bytes', partial(take, raw=True), copy, send,
                       is_bar=False)]
    return steps


def range_map_of(size_hw: tuple[int, int], share: float = 1.0) -> RangeMap:
    """Return ranges of a room of which a share is finite."""
    rng = np.random.default_rng(0)
    range_m = np.full(size_hw, 3.0, np.float32) + rng.uniform(0, 0.01, size_hw).astype(np.float32)
    range_m[:, round(share * size_hw[1]):] = np.inf
    return RangeMap(range_m, 100.0, 0.3, np.zeros((*size_hw, 3), np.uint8))


def packing(node: rclpy.node.Node) -> list[Step]:
    """Pack what a range map becomes into messages, and publish them."""
    scan = ScanProjector(NETWORK, 720, (-0.2, 0.2), 0.3, 100.0).project(range_map_of(NETWORK))
    config = Config(points=PointsConfig(max_points=0))
    whole, half = range_map_of(FULL), range_map_of(FULL, 0.5)
    derivation = Derivation()
    records = derivation.of(whole, config).points().copy()
    image, cloud, laser = Image(), PointCloud2(), LaserScan()
    to_depth, to_points, to_scan = (
        node.create_publisher(kind, f'bench/{name}', QOS) for kind, name in (
            (Image, 'depth'), (PointCloud2, 'points'), (LaserScan, 'scan')))
    while not (to_depth.get_subscription_count() and to_points.get_subscription_count()
               and to_scan.get_subscription_count()):
        time.sleep(0.05)

    def pack_depth():
        to_ros.fill_image(image, HEADER, whole.range_m, '32FC1')

    def pack_points():
        to_ros.fill_cloud(cloud, HEADER, records)

    def pack_scan():
        to_ros.fill_scan(laser, HEADER, scan)

    def full_cloud(range_map: RangeMap):
        records = derivation.of(range_map, config).points(partial(to_ros.room, cloud.data))
        to_points.publish(to_ros.fill_cloud(cloud, HEADER, records))
    rest = lambda: time.sleep(0.02)                             # the receiver's turn  # noqa: E731
    pack_depth(), pack_points(), pack_scan()
    depth_copy, cloud_copy, scan_copy = map(copy_of, (whole.range_m, records, scan.ranges))
    as_bytes = {name: serialize_message(msg) for name, msg in (
        ('depth', image), ('points', cloud), ('scan', laser))}
    return [
        Step('pack depth image 512 x 1024', pack_depth, depth_copy),
        Step('publish depth image', lambda: to_depth.publish(image), depth_copy, rest),
        Step('the middleware alone, of its bytes', lambda: to_depth.publish(as_bytes['depth']),
             depth_copy, rest, is_bar=False),
        Step('pack 524,288 points', pack_points, cloud_copy),
        Step('publish 524,288 points', lambda: to_points.publish(cloud), cloud_copy, rest),
        Step('the middleware alone, of its bytes', lambda: to_points.publish(as_bytes['points']),
             cloud_copy, rest, is_bar=False),
        Step('range map to published 524,288 points', lambda: full_cloud(whole), cloud_copy, rest,
             most_ms=CLOUD_BAR_MS),
        Step('the same, half of them empty', lambda: full_cloud(half), cloud_copy, rest,
             most_ms=CLOUD_BAR_MS),
        Step('pack scan', pack_scan, scan_copy),
        Step('publish scan', lambda: to_scan.publish(laser), scan_copy, rest),
        Step('the middleware alone, of its bytes', lambda: to_scan.publish(as_bytes['scan']),
             scan_copy, rest, is_bar=False)]


def library_steps() -> list[Step]:
    """Return the steps for which there are libraries."""
    steps = []
    for height, width in CAMERAS:
        pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(
            0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 3)
        msg = to_ros.fill_image(Image(), HEADER, pixels, 'bgr8')
        small = np.empty((*NETWORK, 3), np.uint8)
        steps.append(Step(
            f'bgr8 message {height} x {width} to the network',
            lambda msg=msg: resize_erp(picture_of(msg).image, NETWORK, 'area'),
            lambda pixels=pixels, small=small: cv2.resize(
                pixels, NETWORK[::-1], dst=small, interpolation=cv2.INTER_AREA), is_copy=False))
        jpeg = cv2.imencode('.jpg', pixels)[1]
        compressed = CompressedImage(format='jpeg', data=array('B', jpeg.tobytes()))
        steps.append(Step(
            f'decode jpeg {height} x {width}', lambda compressed=compressed: decode_image(
                compressed.data),
            lambda jpeg=jpeg: cv2.imdecode(jpeg, cv2.IMREAD_COLOR), is_copy=False))
    yuyv = to_ros.fill_image(Image(), HEADER, np.random.default_rng(0).integers(
        0, 256, (960, 1920, 2), dtype=np.uint8), 'yuyv')
    rows = np.frombuffer(yuyv.data, np.uint8).reshape(960, 1920, 2)
    steps.append(Step('yuyv message 960 x 1920 to bgr', lambda: picture_of(yuyv),
                      lambda: cv2.cvtColor(rows, cv2.COLOR_YUV2BGR_YUY2), is_copy=False))
    return steps


if __name__ == '__main__':
    raise SystemExit(main())
