# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The objects and worlds of an asset folder: GLB files as parts with materials."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from training.simulator.makers.things import make_thing, Thing
from training.simulator.materials import random_colour
from training.simulator.scene import Material
from training.simulator.shapes import moved
from training.simulator.textures import HELD_OUT, SimulatorError, TextureStore


class ObjectLibrary:
    """The single objects of an asset folder, loaded when first used."""

    def __init__(self, folder: Path, store: TextureStore) -> None:
        """
        :param folder: with objects.json and objects/*.glb (metres, z up)
        :raises SimulatorError: if objects.json is missing
        """
        listing = folder / 'objects.json'
        if not listing.is_file():
            raise SimulatorError(f'{listing} does not exist; give the asset folder')
        self._folder, self._store = folder, store
        self._files = {o['name']: (o['file'], o['extent_xyz_m'])
                       for o in json.loads(listing.read_text())
                       if not o['name'].startswith(HELD_OUT) and o['triangles'] < 13000}
        self._loaded: dict[str, list] = {}

    def names(self, low_m: float, high_m: float, prefix: str = '') -> list[str]:
        """Return the objects whose longest side lies between two lengths [m]."""
        return [n for n, (_, extent) in self._files.items()
                if low_m <= max(extent) <= high_m and extent[2] > 0.2 and n.startswith(prefix)]

    def thing(self, rng, name: str) -> Thing:
        """Return a copy, a little scaled, sometimes recoloured."""
        if name not in self._loaded:
            self._loaded[name] = load_glb(self._folder / self._files[name][0], self._store)
        scale = rng.uniform(0.85, 1.15, 3) if rng.uniform() < 0.5 else np.ones(3)
        tint = 0.4 + 0.9 * np.array(random_colour(rng)) if rng.uniform() < 0.3 else np.ones(3)
        return make_thing([(moved(shape, scale=scale), Material(
            m.texture, m.tile_m, tuple(np.array(m.tint) * tint))) for shape, m in
            self._loaded[name]])


def load_glb(file: Path, store: TextureStore) -> list:
    """
    Return the (shape, Material) parts of a GLB in metres, z up; uv in repeats.

    :raises SimulatorError: if it cannot be read
    """
    import trimesh

    try:
        meshes = trimesh.load(str(file)).dump()
    except (ValueError, OSError) as error:
        raise SimulatorError(f'{file} cannot be read: {error}') from error
    parts = []
    for mesh in meshes:
        corners = np.asarray(mesh.triangles, np.float32)
        uv = getattr(mesh.visual, 'uv', None)
        look = getattr(mesh.visual, 'material', None)
        picture = getattr(look, 'baseColorTexture', None)
        factor = getattr(look, 'baseColorFactor', None)
        tint = (0.8,) * 3 if factor is None else tuple(
            float(c) ** 2 for c in np.asarray(factor[:3], float) / 255)
        texture = 0
        if picture is not None:
            texture = store.add(np.asarray(picture.convert('RGB')), 'embedded')
        if uv is None or picture is None:
            uv = box_uv(corners)
        else:
            uv = np.asarray(uv, np.float32)[mesh.faces]
        parts.append(((corners, uv), Material(texture, 1.0, tint)))
    return parts


def box_uv(corners: np.ndarray) -> np.ndarray:
    """Return (M, 3, 2) texture coordinates in metres: each triangle seen along its main axis."""
    normal = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    axes = np.array([[1, 2], [0, 2], [0, 1]])[normal.argmax(1)]
    return np.take_along_axis(corners, axes[:, None, :].repeat(3, 1), axis=2)
