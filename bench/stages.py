# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Everything of a frame but inference and transport, stage by stage, and what message assembly costs
against one plain copy of the same bytes.

    python -m bench.stages
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from bench.timing import seconds_of
from da_ros.bundle import load_bundle
from da_ros.cameras.models import ErpCamera, FisheyeCamera, Lens
from da_ros.config import PointsConfig, RangeRule, ScanConfig
from da_ros.estimator import apply_rule
from da_ros.panorama import resize_erp
from da_ros.pixels import image_from_msg
from da_ros.points import PointProjector
from da_ros.projection import Projection
from da_ros.range_map import RangeMap, resample_nearest
from da_ros.ros import conversions as to_ros
from da_ros.scan import ScanProjector
from da_ros.sphere import rotation_from_rpy

REPEATS = 200
HEADER = to_ros.header_for(10**9, 'camera_frame')


def median_ms(work: Callable[[], object]) -> float:
    """Return the median time of a call after a warm-up."""
    return float(np.median(seconds_of(work, REPEATS))) * 1e3


def main() -> None:
    """Print both tables."""
    bundle = load_bundle()
    rng = np.random.default_rng(0)
    camera = to_ros.fill_image(
        Image(), HEADER, rng.integers(0, 256, (960, 1920, 3), dtype=np.uint8), 'bgr8')
    range_m = rng.uniform(0.5, 30, bundle.size_hw).astype(np.float32)
    probability = rng.uniform(0.4, 1, bundle.size_hw).astype(np.float32)
    image = np.zeros((*bundle.size_hw, 3), np.uint8)
    range_map = RangeMap(range_m, 100.0, 0.3, image)
    scan = ScanConfig()
    points = PointProjector(bundle.size_hw, PointsConfig().max_points)
    every_point = PointProjector(bundle.size_hw, 0)
    scans = ScanProjector(bundle.size_hw, scan.beams, (scan.min_height_m, scan.max_height_m),
                          0.3, 100.0)
    stages = {
        'read bgr8 message 960 x 1920': lambda: image_from_msg(camera),
        'resize to the network': lambda: resize_erp(image_from_msg(camera), bundle.size_hw,
                                                    bundle.resize),
        'apply the one rule': lambda: apply_rule(range_m, probability, 100.0, 100.0, RangeRule()),
        'points (30,000)': lambda: points.project(range_map),
        'scan (720 beams)': lambda: scans.project(range_map)}
    print('| stage | median ms |\n|---|---|')
    total = 0.0
    for name, work in stages.items():
        spent = median_ms(work)
        total += spent
        print(f'| {name} | {spent:.3f} |')
    print(f'| sum | {total:.3f} |')
    messages(range_map, points.project(range_map).copy(), every_point, scans)
    projections(image_from_msg(camera))


def projections(image: np.ndarray) -> None:
    """Print what a turned or dual-fisheye frame costs against the resize of a level one."""
    tilt = rotation_from_rpy(0.1, -0.2, 0.3)
    circles = FisheyeCamera((960, 1920), (Lens((480, 480), 470, 200),
                                          Lens((1440, 480), 470, 200, yaw_deg=180)))
    print('\n| 960 x 1920 to | resize ms | turned ms | ratio | two circles ms | ratio '
          '| new table ms |\n|---|---|---|---|---|---|---|')
    for size_hw in ((256, 512), (512, 1024)):
        turned = Projection(ErpCamera(), (960, 1920), size_hw, tilt)
        fisheye = Projection(circles, (960, 1920), size_hw, tilt)
        times = [median_ms(work) for work in (
            lambda size_hw=size_hw: resize_erp(image, size_hw, 'area'),
            lambda turned=turned: turned.image(image),
            lambda fisheye=fisheye: fisheye.image(image),
            lambda size_hw=size_hw: Projection(ErpCamera(), (960, 1920), size_hw, tilt))]
        print(f'| {size_hw[0]} x {size_hw[1]} | {times[0]:.2f} | {times[1]:.2f} '
              f'| {times[1] / times[0]:.2f} | {times[2]:.2f} | {times[2] / times[0]:.2f} '
              f'| {times[3]:.1f} |')


def messages(range_map: RangeMap, records: np.ndarray, every_point: PointProjector,
             scans: ScanProjector) -> None:
    """Print assembly times of each message as multiples of a plain copy of its bytes."""
    large = resample_nearest(range_map.range_m, 960, 1920)
    all_records = every_point.project(range_map).copy()
    scan = scans.project(range_map)
    image, cloud, laser = Image(), PointCloud2(), LaserScan()
    works = {
        'depth/image 256 x 512': (range_map.range_m, lambda: to_ros.fill_image(
            image, HEADER, range_map.range_m, '32FC1')),
        'depth/image 960 x 1920': (large, lambda: to_ros.fill_image(
            image, HEADER, large, '32FC1')),
        'points 30,000': (records, lambda: to_ros.fill_cloud(cloud, HEADER, records)),
        'points 131,072': (all_records, lambda: to_ros.fill_cloud(cloud, HEADER, all_records)),
        'scan': (scan.ranges, lambda: to_ros.fill_scan(laser, HEADER, scan))}
    print('\n| message | bytes | assembly ms | plain copy ms | ratio | usual way ms |\n'
          '|---|---|---|---|---|---|')
    usual = usual_ways(range_map.range_m, large, records, all_records)
    for name, (values, work) in works.items():
        target = np.empty_like(values)
        copy = median_ms(lambda target=target, values=values: np.copyto(target, values))
        spent = median_ms(work)
        other = f'{median_ms(usual[name]):.3f}' if name in usual else '-'
        print(f'| {name} | {values.nbytes} | {spent:.4f} | {copy:.4f} | {spent / copy:.1f} '
              f'| {other} |')


def usual_ways(small, large, records, all_records) -> dict[str, Callable[[], object]]:
    """Return cv_bridge and sensor_msgs_py where installed, else assignment of bytes by hand."""
    ways: dict[str, Callable[[], object]] = {}
    try:
        from cv_bridge import CvBridge
        bridge = CvBridge()
        ways['depth/image 256 x 512'] = lambda: bridge.cv2_to_imgmsg(small, '32FC1')
        ways['depth/image 960 x 1920'] = lambda: bridge.cv2_to_imgmsg(large, '32FC1')
    except ImportError:
        print('\ncv_bridge is not installed: images are compared with `data = x.tobytes()`')
        ways['depth/image 256 x 512'] = lambda: Image(data=array('B', small.tobytes()))
        ways['depth/image 960 x 1920'] = lambda: Image(data=array('B', large.tobytes()))
    try:
        from sensor_msgs_py import point_cloud2
        ways['points 30,000'] = lambda: point_cloud2.create_cloud_xyz32(HEADER, records)
        ways['points 131,072'] = lambda: point_cloud2.create_cloud_xyz32(HEADER, all_records)
    except ImportError:
        print('\nsensor_msgs_py is not installed: no comparison for clouds')
    return ways


if __name__ == '__main__':
    main()
