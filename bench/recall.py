# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What of the obstacles within 5 m arrives in Nav2's costmap: of true ranges, and of the networks'.

    python -m training.simulate --assets ASSETS --out shards/obstacles --benchmark obstacles
    python -m bench.recall shards/obstacles shards/outdoor

Through scan, cloud and the costmap model with the numbers of config/nav2_pano.yaml, each view of
its own; the camera height is told. Obstacles: 0.05 m + a tenth of the height to 1.5 m above it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
import sys

import numpy as np

from da_ros.estimator import RangeEstimator
from da_ros.range_map import RangeMap, resample_nearest
from training.data.shards import read_shard

sys.path.insert(0, str(Path(__file__).parents[1] / 'test/consumers'))
sys.path.insert(0, str(Path(__file__).parents[1] / 'test'))
from recall import nav2_files, Robot, true_points, with_height

HIGHEST_M = 2.5         # above, the question is not what stands around a robot


def main() -> None:
    """Print a row per world and source of ranges."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('shards', nargs='+', type=Path, help='folders of training.simulate')
    parser.add_argument('--bundles', nargs='*', default=['pano_base', 'pano_tiny'])
    given = parser.parse_args()
    config, sources = nav2_files(Path(__file__).parents[1] / 'config/nav2_pano.yaml')
    estimators = {name: RangeEstimator(name, rule=config.rule) for name in given.bundles}
    totals: dict[tuple[str, str], np.ndarray] = {}
    for folder in given.shards:
        for shard in sorted(folder.glob('*.tar')):
            for sample in read_shard(shard):
                if not 0 < sample.camera_height_m <= HIGHEST_M:
                    continue
                here = with_height(config, sample.camera_height_m)
                limit_m = config.rule.range_mask_m
                truth = RangeMap(np.where(sample.range_m >= limit_m, np.inf, sample.range_m),
                                 limit_m, config.rule.min_range_m, sample.image)
                maps = {'geometry': truth}
                for name, estimator in estimators.items():
                    estimator.rule = here.rule
                    maps[name] = estimator.predict(np.ascontiguousarray(sample.image[..., ::-1]))
                for name, range_map in maps.items():
                    key = sample.source, name
                    totals[key] = totals.get(key, np.zeros(4)) + one(here, sources, truth,
                                                                     range_map)
    print('| world | ranges | obstacles | recall | false alarms |\n|---|---|---|---|---|')
    for (world, name), (obstacles, hits, alarms, sectors) in sorted(totals.items()):
        print(f'| {world} | {name} | {obstacles:.0f} | {hits / max(obstacles, 1):.3f} '
              f'| {alarms / sectors:.3f} |')


def one(config, sources, truth: RangeMap, range_map: RangeMap) -> np.ndarray:
    """Return obstacles, hits, false alarms and sectors of one view."""
    robot = Robot(config, sources)
    robot.look(range_map, (0.0, 0.0, config.rule.camera_height_m))
    if truth.size_hw != range_map.size_hw:      # the truth at the pixels that were estimated
        truth = replace(truth, range_m=resample_nearest(truth.range_m, *range_map.size_hw))
    return robot.score(*true_points(truth, config, sources), (0.0, 0.0))


if __name__ == '__main__':
    main()
