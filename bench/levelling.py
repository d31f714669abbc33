# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Accuracy against the tilt of the camera, with and without levelling, on rendered views.

    python -m bench.levelling --assets ASSETS --count 24

Each place is rendered anew for each tilt, about an axis of its own; truth and both estimates are
compared in the camera's own frame. The world is the one that training never sees.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from da_ros.config import RangeRule
from da_ros.estimator import RangeEstimator
from da_ros.range_map import RangeMap, resample_nearest
from da_ros.sphere import rotation_from_rpy, solid_angles
from training.simulator.generate import MixConfig, Simulator
from training.simulator.render import render
from training.simulator.views import develop, random_camera, ViewConfig
from training.simulator.worlds import HELD_OUT_WORLD

TILTS_DEG = (0, 5, 10, 15, 20, 25)
CAMERA_HW = (512, 1024)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog='python -m bench.levelling', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--assets', type=Path, required=True)
    parser.add_argument('--count', type=int, default=24, help='places [%(default)s]')
    parser.add_argument('--only', default=HELD_OUT_WORLD, help='world [%(default)s]')
    parser.add_argument('--model', default='')
    options = parser.parse_args()
    estimator = RangeEstimator(options.model or None)
    scene = Simulator(options.assets, MixConfig(only=options.only))._scene(
        np.random.default_rng(3))
    rng = np.random.default_rng(5)
    errors: dict[tuple[int, bool], list[tuple[float, float]]] = {}
    for _ in tqdm(range(options.count), 'places', disable=None):
        place = random_camera(rng, scene, ViewConfig(min_height_m=0.5, max_height_m=1.6))
        if place is None:
            continue
        estimator.rule = RangeRule(range_mask_m=0, camera_height_m=place[1])
        heading = rng.uniform(0, 2 * np.pi)
        for tilt in TILTS_DEG:
            level_from_body = rotation_from_rpy(np.deg2rad(tilt) * np.cos(heading),
                                                np.deg2rad(tilt) * np.sin(heading), 0)
            radiance, truth = render(scene, place[0], CAMERA_HW, rng, level_from_body)
            image = np.ascontiguousarray(develop(np.random.default_rng(1), radiance)[..., ::-1])
            for levelled in (False, True):
                net_image = estimator.network_image(image, level_from_body if levelled else None)
                errors.setdefault((tilt, levelled), []).append(
                    score(estimator.infer(net_image), truth))
    print('| tilt | not levelled: AbsRel (aligned) | levelled: AbsRel (aligned) |\n|---|---|---|')
    for tilt in TILTS_DEG:
        cells = ['{:.3f} ({:.3f})'.format(*np.mean(errors[tilt, levelled], 0))
                 for levelled in (False, True)]
        print(f'| {tilt} deg | {cells[0]} | {cells[1]} |')
    print(f'\n{len(errors[0, True])} places, {estimator.bundle.name}, {estimator.backend}')


def score(range_map: RangeMap, truth: np.ndarray) -> tuple[float, float]:
    """Return AbsRel in the camera's frame, weighted by solid angle: plain, and median-aligned."""
    assert range_map.view is not None
    pred = range_map.at(range_map.view.camera_index(range_map.size_hw)).range_m
    target = resample_nearest(truth, *range_map.size_hw)
    valid = np.isfinite(pred) & np.isfinite(target) & (target < 100)
    weight = solid_angles(*range_map.size_hw)[valid]
    pred, target = pred[valid], target[valid]
    scale = np.median(target / pred)
    return tuple(float(np.average(np.abs(factor * pred / target - 1), weights=weight))
                 for factor in (1.0, scale))


if __name__ == '__main__':
    main()
