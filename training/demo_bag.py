# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Make a bag of a robot driving through a furnished room, with exact truth.

    python -m training.demo_bag --out demo_output/demo_bag

It holds /camera/image/compressed (a panorama camera that stamps late), /camera/depth/image (exact
range, 16UC1), /lidar/points (16 rings, 1 cm noise, mounted beside the camera), /odom, /tf,
/tf_static.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
import math
from pathlib import Path
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.transforms import matrix_from, quaternion_from
from da_ros.errors import DaRosError
from da_ros.sphere import BODY_FROM_OPTICAL, rotation_from_rpy
from training.simulator.box_room import Box, furnished_room, lidar_points, panorama

START_NS = 1_700_000_000 * 10**9
BASE_FROM_LIDAR = (0.25, 0.0, 0.45)      # m


@dataclass(frozen=True)
class DriveConfig:
    """A drive and its faults."""

    seconds: float = 20.0
    rate_hz: float = 10.0                # panoramas
    lidar_hz: float = 10.0
    depth_every: int = 2                 # truth image with every n-th panorama
    height: int = 288                    # px
    camera_height_m: float = 0.75
    speed: float = 1.0                   # 1 = 1.7 m/s at most; 0 = standing
    stamp_delay_s: float = 0.12          # camera stamps later than it looked
    lidar_skew_s: float = 0.0            # the LiDAR's clock is ahead by this
    drop: float = 0.0                    # share of panoramas that are missing
    lidar_noise_m: float = 0.01
    compressed: bool = True
    depth_kind: str = '16UC1'            # 16UC1 | 32FC1 | none
    transforms: bool = True
    storage: str = 'mcap'
    seed: int = 0


def base_pose(time_s: float, config: DriveConfig) -> NDArray[np.float64]:
    """Return (4, 4) world from base: a figure around the crate, always facing its way."""
    phase = 0.5 * config.speed * time_s
    x, y = 2.6 * math.cos(phase), 1.5 * math.sin(phase)
    heading = math.atan2(1.5 * math.cos(phase), -2.6 * math.sin(phase))
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_rpy(0, 0, heading + 0.25 * math.sin(3 * phase))
    pose[:3, 3] = x, y, 0
    return pose


def write_drive(path: str | Path, config: DriveConfig = DriveConfig(),
                boxes: tuple[Box, ...] | None = None,
                paint: Callable[[NDArray[np.uint8], NDArray[np.float32]],
                                NDArray[np.uint8]] | None = None) -> None:
    """
    Write the bag.

    :param path: a folder that does not exist yet
    :param boxes: the world; None = `furnished_room`
    :param paint: (image, range) -> image, to replace what the camera shows
    :raises BagError: if the folder exists or cannot be written
    """
    boxes = boxes or furnished_room()
    rng = np.random.default_rng(config.seed)
    events = sorted(
        [(n / config.rate_hz, 0, n) for n in range(round(config.seconds * config.rate_hz))]
        + [(n / config.lidar_hz + 0.013, 1, n)
           for n in range(round(config.seconds * config.lidar_hz))]
        + [(n / 50, 2, n) for n in range(-25, round(config.seconds * 50) + 26)])
    with BagWriter(path, config.storage) as bag:
        if config.transforms:
            _write_static(bag, config)
        for time_s, kind, number in tqdm(events, unit='message', disable=None):
            pose = base_pose(time_s, config)
            log_ns = _ns(time_s + 0.02)
            if kind == 0 and rng.random() >= config.drop:
                _write_camera(bag, config, boxes, pose, time_s, number, paint)
            elif kind == 1:
                lidar = pose @ matrix_from(BASE_FROM_LIDAR, (0, 0, 0, 1))
                points = lidar_points(boxes, lidar, noise_m=config.lidar_noise_m, seed=number)
                bag.write('/lidar/points', bag.points(
                    _ns(time_s + config.lidar_skew_s), 'lidar_link', points), log_ns)
            elif kind == 2 and config.transforms:
                where = pose[:3, 3].tolist(), quaternion_from(pose[:3, :3]).tolist()
                bag.write('/tf', bag.transform(_ns(time_s), 'odom', 'base_link', *where),
                          _ns(time_s))
                bag.write('/odom', bag.odometry(_ns(time_s), 'odom', 'base_link', *where),
                          _ns(time_s))


def _write_static(bag: BagWriter, config: DriveConfig) -> None:
    upright = (0.0, 0.0, 0.0, 1.0)
    links = [('base_link', 'camera_link', (0.0, 0.0, config.camera_height_m), upright),
             ('camera_link', 'camera_optical_frame', (0.0, 0.0, 0.0),
              quaternion_from(BODY_FROM_OPTICAL).tolist()),
             ('base_link', 'lidar_link', BASE_FROM_LIDAR, upright)]
    for parent, child, move, turn in links:
        bag.write('/tf_static', bag.transform(_ns(0), parent, child, move, turn), _ns(-0.6))


def _write_camera(bag: BagWriter, config: DriveConfig, boxes: tuple[Box, ...],
                  base: NDArray[np.float64], time_s: float, number: int, paint: Any) -> None:
    camera = base @ matrix_from((0, 0, config.camera_height_m), (0, 0, 0, 1))
    image, range_m = panorama(boxes, camera, config.height, 2 * config.height)
    if paint is not None:
        image = paint(image, range_m)
    stamp_ns, log_ns = _ns(time_s + config.stamp_delay_s), _ns(time_s + 0.02)
    late_ns = max(log_ns, stamp_ns + 10_000_000)
    if config.compressed:
        bag.write('/camera/image/compressed',
                  bag.compressed(stamp_ns, 'camera_optical_frame', image), late_ns)
    else:
        bag.write('/camera/image', bag.image(stamp_ns, 'camera_optical_frame', image, 'bgr8'),
                  late_ns)
    if config.depth_kind != 'none' and number % config.depth_every == 0:
        pixels = (np.rint(range_m * 1000).astype(np.uint16) if config.depth_kind == '16UC1'
                  else range_m)
        bag.write('/camera/depth/image', bag.image(
            _ns(time_s), 'camera_optical_frame', pixels, config.depth_kind), log_ns)


def _ns(time_s: float) -> int:
    return START_NS + round(time_s * 1e9)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog='python -m training.demo_bag', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='demo_output/demo_bag', help='folder of the new bag')
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--height', type=int, default=288, help='rows of the panoramas [px]')
    parser.add_argument('--storage', default='mcap', choices=['mcap', 'sqlite3'])
    parser.add_argument('--stamp-delay', type=float, default=0.12, metavar='S',
                        help='the camera stamps this late [s]')
    args = parser.parse_args(argv)
    try:
        write_drive(args.out, DriveConfig(
            seconds=args.seconds, height=args.height, storage=args.storage,
            stamp_delay_s=args.stamp_delay))
    except (DaRosError, OSError) as error:
        print(f'demo_bag: {error}', file=sys.stderr)
        return 1
    print(f'bag: {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
