# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What the networks leave of the obstacles in a corridor, a street, stairs and a warehouse.

    python -m bench.recall_worlds --assets ASSETS --pictures FOLDER

The four closed-form sequences of `test/consumers/test_recall.py`, dressed with textures at random
and rendered from the robot; scored as there, through scan, cloud and the costmap model of a robot
that goes on, against their exact ranges. The camera height is told.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import cv2
import numpy as np

from da_ros.estimator import RangeEstimator
from training.simulator import shapes
from training.simulator.render import render
from training.simulator.scene import Material, Scene
from training.simulator.textures import load_texture_folder, TextureStore
from training.simulator.views import develop

sys.path.insert(0, str(Path(__file__).parents[1] / 'test/consumers'))
sys.path.insert(0, str(Path(__file__).parents[1] / 'test'))
from recall import nav2_files, Robot, true_points
from scenes import Box, seen
from test_recall import CAMERA_M, corridor, FRAMES, stairs, street, warehouse

SIZE_HW = (512, 1024)
REACH_M = 60.0          # half the side of the floor


def picture(things, xy, store: TextureStore, seed: int) -> np.ndarray:
    """Return the camera's BGR picture; the same seed dresses the same things alike."""
    rng = np.random.default_rng(seed)
    scene = Scene(store)
    floor = shapes.quad((-REACH_M, -REACH_M, 0), (2 * REACH_M, 0, 0), (0, 2 * REACH_M, 0))
    scene.add(floor, _material(rng, store))
    for thing in things:
        if isinstance(thing, Box):
            low, high = np.array(thing.low), np.array(thing.high)
            x, y, _ = (low + high) / 2
            shape = shapes.moved(shapes.box(*(high - low)), x, y, low[2])
        else:
            shape = shapes.moved(shapes.cylinder(thing.radius, thing.z[1] - thing.z[0]),
                                 thing.x, thing.y, thing.z[0])
        scene.add(shape, _material(rng, store))
    radiance, _ = render(scene, (*xy, CAMERA_M), SIZE_HW, rng)
    return np.ascontiguousarray(develop(np.random.default_rng(seed), radiance)[..., ::-1])


def _material(rng, store: TextureStore) -> Material:
    textures = [index for group, found in store.names.items() if group for index in found]
    return Material(int(rng.choice(textures)), float(rng.uniform(0.5, 2)))


def main() -> None:
    """Print a row per world and source of ranges."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--assets', type=Path, required=True)
    parser.add_argument('--bundles', nargs='*', default=['pano_base', 'pano_tiny'])
    parser.add_argument('--dresses', type=int, default=4, help='of every sequence')
    parser.add_argument('--pictures', type=Path)
    given = parser.parse_args()
    store = TextureStore()
    load_texture_folder(store, given.assets / 'textures')
    config, sources = nav2_files(Path(__file__).parents[1] / 'config/nav2_pano.yaml')
    estimators = {name: RangeEstimator(name, rule=config.rule) for name in given.bundles}
    print('| world | ranges | obstacles | recall | false alarms |\n|---|---|---|---|---|')
    for world in (corridor, street, stairs, warehouse):
        totals = {name: np.zeros(4) for name in ('geometry', *estimators)}
        for seed in range(given.dresses):
            robots = {name: Robot(config, sources) for name in totals}
            for k in range(FRAMES):
                things, xy = world(k)
                truth = seen(things, (*xy, CAMERA_M), limit_m=10.0)
                image = picture(things, xy, store, seed)
                if given.pictures and k == 0:
                    given.pictures.mkdir(exist_ok=True)
                    cv2.imwrite(str(given.pictures / f'{world.__name__}_{seed}.jpg'), image)
                maps = {'geometry': truth} | {
                    name: estimator.predict(image) for name, estimator in estimators.items()}
                for name, range_map in maps.items():
                    robots[name].look(range_map, (*xy, CAMERA_M))
                    totals[name] += robots[name].score(
                        *true_points(truth, config, sources), xy)
        for name, (obstacles, hits, alarms, sectors) in totals.items():
            print(f'| {world.__name__} | {name} | {obstacles:.0f} | {hits / obstacles:.3f} | '
                  f'{alarms / sectors:.3f} |', flush=True)


if __name__ == '__main__':
    main()
