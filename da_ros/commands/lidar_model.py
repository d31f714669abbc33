# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Print how nvblox and RTAB-Map are to be told the shape of the organised cloud.

    da_ros_lidar_model --model pano_base --range-mask 20

Start the node with points.organised true (and levelling, so that rows stay rows); its `points` is
then the image of a LiDAR: one row of points per elevation, one column per azimuth.
"""

from __future__ import annotations

import argparse
import math
import sys

from da_ros.bundle import load_bundle
from da_ros.config import RangeRule
from da_ros.errors import DaRosError

TEXT = """\
# {name}: {width} x {height} points, rows from {top:.3f} to {bottom:.3f} deg of elevation
# nvblox: no point may lie outside this field of view, or the whole cloud is refused.
nvblox_node:
  ros__parameters:
    use_lidar: true
    lidar_width: {width}
    lidar_height: {height}
    lidar_vertical_fov_rad: {fov:.6f}
    lidar_min_valid_range_m: {near:g}
    lidar_max_valid_range_m: {far:g}
# RTAB-Map (rtabmap_slam, icp_odometry), with the remapping scan_cloud:=points.
rtabmap:
  ros__parameters:
    subscribe_scan_cloud: true
    scan_cloud_max_points: {points}
"""


def main(args: list[str] | None = None) -> int:
    """Run the command; 1 and one line if something is wrong."""
    parser = argparse.ArgumentParser(
        prog='da_ros_lidar_model', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--model', default='', help='bundle folder or name; default: pano_tiny')
    parser.add_argument('--range-mask', type=float, default=-1.0, metavar='METRES',
                        help='range_mask_m of the node: -1 = the largest, 0 = off [%(default)g]')
    options = parser.parse_args(args)
    try:
        bundle = load_bundle(options.model or None)
        mask_m = bundle.select_mask(options.range_mask)
    except DaRosError as error:
        print(f'da_ros_lidar_model: {error}', file=sys.stderr)
        return 1
    height, width = bundle.size_hw
    rule = RangeRule()
    half_row = 90 / height
    print(TEXT.format(
        name=bundle.name, height=height, width=width, points=height * width,
        top=90 - half_row, bottom=half_row - 90, fov=vertical_fov_rad(height),
        near=rule.min_range_m,
        far=min(rule.max_range_m, bundle.max_range_m or math.inf, mask_m or math.inf)), end='')
    return 0


def vertical_fov_rad(height: int) -> float:
    """Return the angle between the first and the last row of a panorama [rad]."""
    return math.pi * (height - 1) / height


if __name__ == '__main__':
    raise SystemExit(main())
