# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Outdoor scenes: streets with houses and vehicles, yards with walls, open ground, skies."""

from __future__ import annotations

import numpy as np

from training.simulator.library import ObjectLibrary
from training.simulator.materials import random_material
from training.simulator.near import PAVEMENT, YARD
from training.simulator.scene import Material, Scene
from training.simulator.shapes import box, cylinder, ellipsoid, grid, lathe, moved, quad
from training.simulator.skies import random_sky

GROUND_M = 400.0


def make_outdoor(rng, scene: Scene, library: ObjectLibrary, panoramas: list[tuple]) -> None:
    """Fill the scene with a street, a yard or open ground."""
    scene.kind = str(rng.choice(['street', 'yard', 'open'], p=[0.5, 0.35, 0.15]))
    scene.indoor, scene.occlusion = False, bool(rng.uniform() < 0.6)
    scene.sky = random_sky(rng, panoramas)
    scene.ambient = float(rng.uniform(0.3, 0.7))
    ground = scene.material(random_material(rng, scene.store, 'ground'))
    half = GROUND_M / 2
    if scene.kind == 'open' or rng.uniform() < 0.2:
        phase, bump = rng.uniform(0, 6, 2), rng.uniform(0, 2.5)

        def height_of(x, y):
            far = np.clip(np.hypot(x, y) / 60 - 0.3, 0, 1)
            return bump * far * (np.sin(x / 17 + phase[0]) + np.sin(y / 13 + phase[1]))
        scene.add(grid(height_of, -half, -half, half, half, 60), ground)
    else:
        scene.add(quad((-half, -half, 0), (GROUND_M, 0, 0), (0, GROUND_M, 0)), ground)
    {'street': _street, 'yard': _yard, 'open': _open}[scene.kind](rng, scene, library)


def _street(rng, scene: Scene, library: ObjectLibrary) -> None:
    wide, side, length = rng.uniform(5, 14), rng.uniform(1.5, 6), rng.uniform(30, 130)
    road = scene.material(random_material(rng, scene.store, 'road'))
    scene.add(quad((-length, -wide / 2, 0.01), (2 * length, 0, 0), (0, wide, 0)), road)
    paint = scene.material(Material(tint=(0.85, 0.85, 0.8)))
    for x in np.arange(-length, length, rng.uniform(4, 9)):
        scene.add(quad((x, -0.07, 0.015), (2, 0, 0), (0, 0.14, 0)), paint)
    kerb = scene.material(random_material(rng, scene.store, 'wall'))
    step = rng.uniform(0.0, 0.15)
    for sign in (-1, 1):
        if step > 0.03:
            scene.add(moved(box(2 * length, side, step), 0, sign * (wide + side) / 2), kerb)
        _facades(rng, scene, library, sign, wide / 2 + side, length)
        _roadside(rng, scene, library, sign, wide / 2, side, length)
    cars = [n for n in library.names(3, 13, 'gz_') if any(
        w in n for w in ('hatchback', 'suv', 'pickup', 'ambulance', 'bus'))]
    cars = [n for n in cars if 'stop' not in n]
    for _ in range(int(rng.integers(0, 12))):
        if cars:
            y = rng.choice([-1, 1]) * rng.uniform(1.5, max(1.6, wide / 2 - 1.0))
            library.thing(rng, str(rng.choice(cars))).place(
                scene, rng.uniform(-40, 40), y, rng.choice([-1, 1]) * np.pi / 2
                + rng.normal(0, 0.05))
    scene.regions = [(-12.0, -wide / 2 - side + 0.3, 12.0, wide / 2 + side - 0.3)]


def _facades(rng, scene: Scene, library: ObjectLibrary, sign, y, length) -> None:
    houses = [n for n in library.names(9, 35, 'gz_') if any(w in n for w in (
        'house', 'office', 'station', 'shop', 'store', 'salon', 'school', 'apartment', 'food'))]
    x = -length
    while x < length:
        if houses and rng.uniform() < 0.25:
            thing = library.thing(rng, str(rng.choice(houses)))
            wide = thing.size[0]
            thing.place(scene, x + wide / 2, sign * (y + thing.size[1] / 2 + rng.uniform(0, 3)),
                        rng.choice([0, np.pi]))
        else:
            wide = rng.uniform(5, 22)
            building(rng, scene, x + wide / 2, sign * (y + 5 + rng.uniform(0, 2)), wide, 10, sign)
        x += wide + (0 if rng.uniform() < 0.5 else rng.uniform(0.5, 10))


def building(rng, scene: Scene, x: float, y: float, wide: float, deep: float, sign: int) -> None:
    """Add a block with rows of windows and a door on the side towards the street."""
    storeys, storey = int(rng.integers(1, 7)), rng.uniform(2.7, 3.8)
    height = storeys * storey
    wall = scene.material(random_material(rng, scene.store, 'facade'))
    glass = scene.material(Material(tint=tuple(rng.uniform(0.02, 0.35) * np.array([.8, .9, 1]))))
    frame = scene.material(random_material(rng, scene.store, 'furniture'))
    scene.add(moved(box(wide, deep, height), x, y), wall)
    face = y - sign * deep / 2
    step, size, tall = rng.uniform(1.6, 3.5), rng.uniform(0.7, 1.5), rng.uniform(0.9, 1.9)
    for storey_index in range(storeys):
        for at in np.arange(-wide / 2 + step / 2, wide / 2 - size / 2, step):
            bottom = storey_index * storey + (0.9 if storey_index or rng.uniform() < 0.8 else 0.0)
            scene.add(moved(box(size, 0.1, tall, bottom), x + at, face - sign * 0.02), frame)
            scene.add(moved(box(size - 0.14, 0.12, tall - 0.14, bottom + 0.07), x + at,
                            face - sign * 0.02), glass)
    if rng.uniform() < 0.5:
        roof = scene.material(random_material(rng, scene.store, 'facade'))
        for side in (-1, 1):
            scene.add(quad((x - wide / 2 - 0.3, y + side * (deep / 2 + 0.4), height),
                           (wide + 0.6, 0, 0), (0, -side * (deep / 2 + 0.4), 3)), roof)


def _roadside(rng, scene: Scene, library: ObjectLibrary, sign, y, side, length) -> None:
    names = [n for n in library.names(0.4, 10) if any(w in n for w in (
        'lamp', 'pole', 'hydrant', 'mailbox', 'postbox', 'sign', 'cone', 'dumpster', 'barrier',
        'bus_stop', 'stop_light', 'Column', 'Cone', 'Sign', 'barrel', 'tree'))]
    for _ in range(int(rng.integers(2, 22))):
        x, at = rng.uniform(-25, 25), sign * (y + rng.uniform(0.2, side))
        kind = rng.uniform()
        if kind < 0.35 and names:
            library.thing(rng, str(rng.choice(names))).place(scene, x, at, rng.uniform(-3, 3))
        elif kind < 0.6:
            tree(rng, scene, x, at)
        else:
            maker = PAVEMENT[rng.integers(len(PAVEMENT))]
            maker(rng, scene.store).place(scene, x, at, rng.uniform(-3, 3))


def tree(rng, scene: Scene, x: float, y: float, z: float = 0.0) -> None:
    """Add a trunk and a crown of ellipsoids, or a bush."""
    leaf = random_material(rng, scene.store, 'foliage')
    green = scene.material(Material(leaf.texture, leaf.tile_m, tuple(
        np.array([0.45, 0.75, 0.3]) * rng.uniform(0.4, 1.2))))
    trunk, height = rng.uniform(0.06, 0.3), rng.uniform(0.0, 4.0)
    bark = random_material(rng, scene.store, 'furniture')
    if height > 0.5:
        scene.add(moved(lathe([trunk, trunk * 0.7], [0, height + 1], 9), x, y, z), bark)
    highest = 1.5 if height > 0.5 else 0.1      # a bush has no trunk to carry more
    for _ in range(int(rng.integers(2, 8))):
        r = rng.uniform(0.3, 1.4)
        scene.add(moved(ellipsoid(r, r * rng.uniform(0.7, 1.2), r * rng.uniform(0.6, 1.4)),
                        x + rng.normal(0, 0.6), y + rng.normal(0, 0.6),
                        z + height + rng.uniform(-0.2, highest)), green)


def _yard(rng, scene: Scene, library: ObjectLibrary) -> None:
    wide, deep = np.exp(rng.uniform(np.log(6), np.log(40), 2))
    for x, y, length, turned in ((0, deep / 2, wide, 0), (0, -deep / 2, wide, 0),
                                 (wide / 2, 0, deep, 1), (-wide / 2, 0, deep, 1)):
        kind = rng.uniform()
        yaw = turned * np.pi / 2
        if kind < 0.35:
            wall = random_material(rng, scene.store, 'facade')
            scene.add(moved(box(length, 0.2, rng.uniform(0.6, 4)), x, y, 0, yaw), wall)
        elif kind < 0.6:
            _fence(rng, scene, x, y, length, yaw)
        elif kind < 0.85 and not turned:
            building(rng, scene, x, y + np.sign(y) * 5, length, 10, int(np.sign(y)))
        else:
            for _ in range(int(rng.integers(2, 10))):
                tree(rng, scene, x + rng.normal(0, 3), y + rng.normal(0, 3))
    names = library.names(0.3, 8.0)
    for _ in range(int(rng.integers(3, 26))):
        x, y = rng.uniform(-wide / 2, wide / 2), rng.uniform(-deep / 2, deep / 2)
        thing = (library.thing(rng, str(rng.choice(names))) if names and rng.uniform() < 0.5
                 else YARD[rng.integers(len(YARD))](rng, scene.store))
        thing.place(scene, x, y, rng.uniform(-3, 3))
    scene.regions = [(-wide / 2 + 0.3, -deep / 2 + 0.3, wide / 2 - 0.3, deep / 2 - 0.3)]


def _fence(rng, scene: Scene, x: float, y: float, length: float, yaw: float) -> None:
    material = scene.material(random_material(rng, scene.store, 'metal'))
    height, step = rng.uniform(0.7, 2.2), rng.uniform(0.1, 0.6)
    cos, sin = np.cos(yaw), np.sin(yaw)
    for at in np.arange(-length / 2, length / 2, max(step, length / 120)):
        scene.add(moved(box(0.03, 0.03, height), x + cos * at, y + sin * at, 0, yaw), material)
    for z in (0.15, height - 0.1):
        scene.add(moved(box(length, 0.04, 0.06, z), x, y, 0, yaw), material)


def _open(rng, scene: Scene, library: ObjectLibrary) -> None:
    for _ in range(int(rng.integers(5, 60))):
        distance, angle = np.exp(rng.uniform(np.log(3), np.log(80))), rng.uniform(-np.pi, np.pi)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        kind = rng.uniform()
        if kind < 0.7:
            tree(rng, scene, x, y)
        elif kind < 0.85:
            r = rng.uniform(0.2, 2)
            scene.add(moved(ellipsoid(r, r * rng.uniform(0.6, 1.5), r * 0.6), x, y, -0.2 * r),
                      random_material(rng, scene.store, 'ground'))
        else:
            scene.add(moved(cylinder(rng.uniform(0.05, 0.15), rng.uniform(2, 9)), x, y),
                      random_material(rng, scene.store, 'metal'))
    scene.regions = [(-8.0, -8.0, 8.0, 8.0)]
