# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Large halls: warehouses, workshops, shops and garages of racks, columns, pallets and beams."""

from __future__ import annotations

import numpy as np

from training.simulator.library import ObjectLibrary
from training.simulator.makers.bulky import gondola
from training.simulator.makers.furniture import column, rack, shelf
from training.simulator.materials import polished, random_colour, random_material
from training.simulator.near import DEPOT, SHOP
from training.simulator.rooms import (
    add_lamps,
    add_pictures,
    add_shell,
    add_wall,
    add_windows,
    furnish,
    make_walls,
)
from training.simulator.scene import Material, Scene
from training.simulator.shapes import box, moved, quad
from training.simulator.skies import backdrop


def make_hall(rng, scene: Scene, library: ObjectLibrary, panoramas: list[tuple]) -> None:
    """Fill the scene with one hall, 6 to 40 m long and 2.3 to 12 m high."""
    scene.sky = backdrop(rng, panoramas)
    scene.kind = str(rng.choice(['warehouse', 'shop', 'garage'], p=[0.6, 0.25, 0.15]))
    wide, deep = np.exp(rng.uniform(np.log(6), np.log(40), 2))
    low, high = {'warehouse': (4, 12), 'shop': (2.8, 5), 'garage': (2.3, 3.2)}[scene.kind]
    height = rng.uniform(low, high)
    room = (0.0, 0.0, float(wide), float(deep))
    walls = make_walls(room)
    floor = scene.material(polished(rng, random_material(rng, scene.store, 'floor'), 0.4))
    ceiling, wall_material = (
        scene.material(random_material(rng, scene.store, p)) for p in ('ceiling', 'wall'))
    add_shell(rng, scene, room, height, floor, ceiling)
    lower = scene.material(random_material(rng, scene.store, 'facade'))
    for wall in walls:
        windows = rng.uniform() < 0.25
        (add_windows if windows else add_pictures)(rng, scene, wall, height)
        split = rng.uniform(1, 3) if rng.uniform() < 0.3 and height > 3.5 and not windows else 0
        if split:
            add_wall(scene, wall, split, lower)
            scene.add(quad((*wall.start, split), (*(wall.along * wall.length), 0),
                           (0, 0, height - split)), wall_material)
        else:
            add_wall(scene, wall, height, wall_material)
    add_lamps(rng, scene, room, height, rng.uniform(4, 8))
    _roof_beams(rng, scene, room, height)
    _columns(rng, scene, room, height)
    if scene.kind == 'garage':
        _vehicles(rng, scene, room, library)
    else:
        _rows(rng, scene, room, rack if scene.kind == 'warehouse'
              else (gondola, shelf)[rng.integers(2)])
    makers = SHOP if scene.kind == 'shop' else DEPOT
    names = library.names(0.3, 4.0, 'gz_')
    furnish(rng, scene, room, walls, makers, library, rng.uniform(0.01, 0.12), names)
    _floor_marks(rng, scene, room)
    scene.regions = [room]
    scene.ambient = float(rng.uniform(0.2, 0.6))


def _rows(rng, scene: Scene, room, maker) -> None:
    """Stand rows of racks or shelves with aisles of 1 to 4 m."""
    wide, deep = room[2:]
    prototypes = [maker(rng, scene.store) for _ in range(3)]
    x = rng.uniform(0.6, 3)
    while x < wide - 1:
        if rng.uniform() < 0.7:
            y = rng.uniform(0.5, 3)
            yaw = rng.choice([0, np.pi])
            while y < deep - 2.5:
                thing = prototypes[rng.integers(3)]
                if rng.uniform() < 0.9:
                    thing.place(scene, x, y + thing.size[1] / 2, yaw)
                y += thing.size[1] + (0.02 if rng.uniform() < 0.8 else rng.uniform(0.5, 3))
        x += rng.uniform(1.0, 2.0) + rng.uniform(1.0, 4.0)


def _columns(rng, scene: Scene, room, height: float) -> None:
    if rng.uniform() < 0.5:
        return
    step = rng.uniform(4, 8)
    thing = column(rng, scene.store)
    shape, material = thing.parts[0]
    stretch = (1, 1, height / shape[0][..., 2].max())
    for x in np.arange(step, room[2] - 1, step):
        for y in np.arange(step, room[3] - 1, step):
            scene.add(moved(shape, x, y, scale=stretch), material)


def _roof_beams(rng, scene: Scene, room, height: float) -> None:
    if height < 3.2 or rng.uniform() < 0.3:
        return
    material = scene.material(random_material(rng, scene.store, 'metal'))
    depth, step = rng.uniform(0.15, 0.6), rng.uniform(1.5, 5)
    for x in np.arange(step / 2, room[2], step):
        scene.add(moved(box(0.2, room[3], depth, height - depth), x, room[3] / 2), material)
    if rng.uniform() < 0.5:
        for y in np.arange(step, room[3], 2 * step):
            scene.add(moved(box(room[2], 0.12, 0.12, height - depth - 0.12), room[2] / 2, y),
                      material)


def _vehicles(rng, scene: Scene, room, library: ObjectLibrary) -> None:
    names = [n for n in library.names(3, 6, 'gz_') if any(
        word in n for word in ('hatchback', 'suv', 'pickup'))]
    for x in np.arange(1.6, room[2] - 1.6, 2.6):
        for y in (3.0, room[3] - 3.0):
            if names and rng.uniform() < 0.4 and room[3] > 7:
                library.thing(rng, str(rng.choice(names))).place(
                    scene, x, y, rng.choice([0, np.pi]))


def _floor_marks(rng, scene: Scene, room) -> None:
    if rng.uniform() < 0.5:
        paint = scene.material(Material(tint=random_colour(rng, 1.0)))
        for x in rng.uniform(0.5, room[2] - 0.5, int(rng.integers(1, 6))):
            scene.add(quad((x, 0, 0.003), (0.1, 0, 0), (0, room[3], 0)), paint)
