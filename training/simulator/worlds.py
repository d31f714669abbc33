# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The textured worlds of an asset folder, varied: other textures, tints and sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.simulator.library import box_uv, load_glb
from training.simulator.materials import random_colour, random_material
from training.simulator.scene import Light, Material, Scene
from training.simulator.shapes import moved
from training.simulator.skies import backdrop, random_sky
from training.simulator.textures import SimulatorError, TextureStore

# name -> (indoor, camera region; None = the whole floor)
WORLDS: dict[str, tuple[bool, tuple | None]] = {
    'aws_small_house': (True, None),
    'aws_hospital_f1': (True, None),
    'aws_racetrack': (False, None),
    'gz_street': (False, None),
}
HELD_OUT_WORLD = 'aws_small_warehouse'


class WorldLibrary:
    """The worlds of `folder/*.glb`, loaded when first used."""

    def __init__(self, folder: Path, store: TextureStore) -> None:
        self._folder, self._store = folder, store
        self._parts: dict[str, list] = {}

    def parts(self, name: str) -> list:
        """
        Return the (shape, Material) list of a world.

        :raises SimulatorError: if the folder lacks the world
        """
        if name not in self._parts:
            file = self._folder / f'{name}.glb'
            if not file.is_file():
                raise SimulatorError(f'{file} does not exist; give the asset folder')
            self._parts[name] = load_glb(file, self._store)
        return self._parts[name]


def make_world(rng, scene: Scene, library: WorldLibrary, name: str, panoramas, vary: bool) -> None:
    """
    Fill the scene with a world.

    :param vary: retexture and tint at random; False shows the world as it is
    """
    scene.kind = name
    scene.indoor, region = WORLDS.get(name, (True, None))
    parts = library.parts(name)
    corners = np.concatenate([s[0].reshape(-1, 3) for s, _ in parts])
    low, high = np.percentile(corners, 1, 0), np.percentile(corners, 99, 0)
    change = rng.uniform(0, 0.6) if vary else 0.0
    size = float(rng.uniform(0.92, 1.08)) if vary else 1.0
    for shape, material in parts:
        if rng.uniform() < change:
            corners, uv = shape
            if rng.uniform() < 0.6:
                new = random_material(rng, scene.store, str(rng.choice(
                    ['wall', 'floor', 'furniture', 'facade'])))
                uv, material = box_uv(corners), new
            else:
                tint = np.array(material.tint) * (0.35 + 0.9 * np.array(random_colour(rng)))
                material = Material(material.texture, material.tile_m, tuple(tint))
            shape = (corners, uv)
        scene.add(moved(shape, scale=size), material)
    low, high = low * size, high * size
    scene.regions = [region or (float(low[0]), float(low[1]), float(high[0]), float(high[1]))]
    scene.ambient = float(rng.uniform(0.3, 0.6))
    if scene.indoor:
        scene.sky = backdrop(rng, panoramas)
        for _ in range(int(rng.integers(2, 6))):
            position = (*rng.uniform(low[:2], high[:2]), float(rng.uniform(2.0, 2.8)))
            scene.lights.append(Light(position, float(rng.uniform(1, 4))))
    else:
        scene.occlusion = False
        scene.sky = random_sky(rng, panoramas)
