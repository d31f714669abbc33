# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Draw the outputs for navigation of one panorama: docs/images/outputs.jpg.

    python -m bench.outputs_picture da_ros/samples/lounge.jpg outputs.jpg --camera-height 1.2
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from da_ros.config import CliffConfig, Config, height_band, PointsConfig, RangeRule, ScanConfig
from da_ros.derived.frame import Derivation
from da_ros.estimator import RangeEstimator
from da_ros.files import read_panorama
from da_ros.range_map import colour

matplotlib.use('Agg')
from matplotlib import pyplot as plt

CUT_M = 6.0


def main() -> None:
    """Estimate and draw."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split('\n')[0])
    parser.add_argument('panorama', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--camera-height', type=float, required=True)
    given = parser.parse_args()
    low, high = height_band(given.camera_height)
    rule = RangeRule(range_mask_m=10.0, camera_height_m=given.camera_height)
    config = replace(
        Config(), rule=rule, cliff=CliffConfig(enabled=True),
        points=PointsConfig(floor='drop', height=True),
        scan=ScanConfig(min_height_m=low, max_height_m=high, floor='drop'))
    estimator = RangeEstimator('pano_tiny', rule=rule)
    range_map = estimator.predict(read_panorama(given.panorama).image)
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout='constrained')
    derivation = Derivation()
    derived = derivation.of(range_map, config)
    images = (('range, 10 m mask', colour(range_map)[..., ::-1]),
              (f'confidence; floor {derivation.tracker}', derived.confidence()))
    for axis, (title, image) in zip(axes[0], images):
        axis.imshow(image, cmap='gray')
        axis.set_title(title, fontsize=9)
        axis.axis('off')
    axes[0, 1].set_title(f'confidence (white = sure)\nfloor: {derivation.tracker}', fontsize=9)
    from_above(axes[1, 0], derived)
    height_profile(axes[1, 1], derivation.of(range_map, config), derivation.of(
        range_map, replace(config, points=PointsConfig(height=True))))
    figure.savefig(given.out, dpi=80)
    picture = cv2.imread(str(given.out))
    cv2.imwrite(str(given.out), picture, (cv2.IMWRITE_JPEG_QUALITY, 85))


def from_above(axis, derived) -> None:
    """Draw cloud, scan, sectors of the flight controller and empty rays; ahead is up."""
    points, scan, beams = derived.points(), derived.scan(), derived.obstacle_distance()
    axis.scatter(-points[:, 1], points[:, 0], s=0.5, c='0.7', label='points, floor dropped')
    clearing = derived.clearing()
    level = np.abs(clearing[:, 2]) < 0.5
    axis.quiver(*np.zeros((2, level.sum())), -clearing[level, 1], clearing[level, 0], angles='xy',
                scale_units='xy', scale=1, width=0.001, color='#9d9', headwidth=0,
                label='points_clearing, level ones')
    for k, distance in enumerate(beams.ranges):
        if distance < beams.range_max:
            at = np.deg2rad(5 * k + np.array([-2.5, 2.5]))
            axis.plot(distance * np.sin(at), distance * np.cos(at), 'b', lw=2,
                      label='obstacle_distance' if k == 0 else None)
    angle = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    axis.plot(-scan.ranges * np.sin(angle), scan.ranges * np.cos(angle), 'r.', ms=2, label='scan')
    axis.set(xlim=(-CUT_M, CUT_M), ylim=(-CUT_M, CUT_M), aspect='equal', title='from above [m]')
    axis.legend(fontsize=7, loc='upper right')


def height_profile(axis, dropped, kept) -> None:
    """Draw the height over the floor against the distance, with and without the floor."""
    for derived, style, label in ((kept, 'r.', 'floor'), (dropped, 'k.', 'kept by floor: drop')):
        points = derived.points()
        axis.plot(np.hypot(points[:, 0], points[:, 1]), points[:, 3], style, ms=1, label=label)
    axis.set(xlim=(0, CUT_M), ylim=(-0.6, 3), xlabel='distance [m]',
             ylabel='field height: over the fitted floor [m]')
    axis.axhline(0, color='0.5', lw=0.5)
    axis.legend(fontsize=7, markerscale=6)


if __name__ == '__main__':
    main()
