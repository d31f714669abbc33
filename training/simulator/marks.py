# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is painted or laid on floors: lines, frames, rings, hazard stripes, patches and rugs."""

from __future__ import annotations

import numpy as np

from training.simulator.materials import random_colour, random_material
from training.simulator.scene import Material, Scene
from training.simulator.shapes import lathe, moved, quad
from training.simulator.textures import TextureStore

LIFT_M = 0.003      # between layers, so that no two surfaces share a plane
STRIPES = (((230, 190, 20), (20, 20, 20)), ((200, 30, 30), (235, 235, 235)),
           ((30, 110, 60), (225, 225, 225)))


def add_stripe_textures(store: TextureStore) -> None:
    """Add diagonal stripes in two colours under the group 'stripes'."""
    row, col = np.indices((64, 64))
    first = ((row + col) // 32 % 2 == 0)[..., None]
    for one, two in STRIPES:
        store.add(np.where(first, one, two).astype(np.uint8), 'stripes')


def paint(rng, scene: Scene) -> Material:
    """Return a plain paint, mostly strong, or stripes."""
    if rng.uniform() < 0.25:
        index = int(rng.choice(scene.store.names['stripes']))
        return Material(index, float(rng.uniform(0.15, 0.6)))
    strong = np.array(random_colour(rng, 1.5)).clip(0.01, 1)
    return Material(tint=tuple(strong))


def scatter_marks(rng, scene: Scene, position, height_m: float) -> None:
    """
    Lay marks on the floor around a camera.

    :param position: (3,) camera centre [m]
    :param height_m: of the camera above the floor
    """
    floor = position[2] - height_m
    for layer in range(int(rng.integers(1, 8))):
        distance, angle = np.exp(rng.uniform(np.log(0.5), np.log(7))), rng.uniform(-np.pi, np.pi)
        x, y = position[:2] + distance * np.array([np.cos(angle), np.sin(angle)])
        yaw = rng.choice([0.0, np.pi / 2, rng.uniform(-np.pi, np.pi)])
        z = floor + LIFT_M * (layer + 1)
        kind = rng.uniform()
        if kind < 0.4:
            shapes, material = [_strip(rng.uniform(1, 14), rng.uniform(0.04, 0.2))], None
        elif kind < 0.6:
            shapes, material = _frame(*rng.uniform(0.8, 5, 2), rng.uniform(0.04, 0.15)), None
        elif kind < 0.75:
            radius = float(np.exp(rng.uniform(np.log(0.3), np.log(6))))
            inner = 0.0 if rng.uniform() < 0.3 and radius < 2 else radius - rng.uniform(0.04, 0.15)
            shapes, material = [lathe([inner, radius], [0, 0], 40)], None
        else:
            shapes = [_strip(*rng.uniform(0.4, 3.5, 2))]
            purpose = str(rng.choice(['fabric', 'floor', 'metal', 'ground']))
            material = random_material(rng, scene.store, purpose)
        index = scene.material(material or paint(rng, scene))
        for shape in shapes:
            scene.add(moved(shape, x, y, z, yaw), index)


def _strip(length: float, width: float):
    return quad((-length / 2, -width / 2, 0), (length, 0, 0), (0, width, 0))


def _frame(length: float, width: float, line: float) -> list:
    sides = [moved(_strip(length, line), y=s * width / 2) for s in (-1, 1)]
    return sides + [moved(_strip(line, width), x=s * length / 2) for s in (-1, 1)]
