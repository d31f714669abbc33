# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which things stand where, and the near obstacles around a camera."""

from __future__ import annotations

import numpy as np

from training.simulator.enrich import Enricher, NEAR_SHARE
from training.simulator.library import ObjectLibrary
from training.simulator.makers.bulky import (
    appliance,
    cage,
    corner_counter,
    counter,
    crate,
    cupboard,
    gondola,
    kitchen,
    machine,
    panel,
    planter,
    showcase,
    trolley,
)
from training.simulator.makers.clutter import litter, small_thing
from training.simulator.makers.furniture import (
    barrel,
    bed,
    cabinet,
    carton,
    chair,
    column,
    plant,
    rack,
    shelf,
    sofa,
    stack,
    table,
)
from training.simulator.makers.people import person
from training.simulator.makers.slender import (
    bicycle,
    broom,
    cable,
    clothes_rail,
    cordon,
    floor_lamp,
    ladder,
    pole,
    railing,
    sign,
    step_ladder,
    stool,
    trestle,
    tripod,
    wire_chair,
)
from training.simulator.makers.things import Thing
from training.simulator.scene import Scene

HOME = (table, trestle, chair, chair, wire_chair, stool, cabinet, cupboard, shelf, sofa, bed,
        plant, counter, kitchen, appliance, floor_lamp, clothes_rail, person, litter, small_thing)
OFFICE = (table, trestle, table, chair, wire_chair, chair, cabinet, cupboard, shelf, panel, panel,
          plant, carton, corner_counter, counter, floor_lamp, person, appliance, small_thing)
WARD = (trolley, trolley, bed, chair, wire_chair, floor_lamp, panel, cupboard, counter, person,
        railing, cabinet, small_thing, appliance)
DEPOT = (rack, stack, stack, stack, carton, crate, crate, barrel, column, ladder, step_ladder,
         panel, table, cage, cage, machine, trolley, person, cordon, litter, broom, small_thing)
SHOP = (gondola, gondola, showcase, counter, corner_counter, cage, stack, carton, person, person,
        sign, plant, appliance, trolley, clothes_rail, small_thing)
YARD = (stack, carton, crate, barrel, barrel, pole, person, person, column, panel, planter,
        planter, bicycle, railing, table, wire_chair, litter, broom, sign, step_ladder)
PAVEMENT = (pole, pole, sign, sign, person, person, person, bicycle, railing, planter, cordon,
            barrel, stack, wire_chair, small_thing)

BULKY = (counter, counter, corner_counter, kitchen, cupboard, cupboard, cabinet, appliance,
         machine, gondola, gondola, shelf, crate, cage, trolley, panel, planter, stack, rack, sofa,
         column, bed, showcase)
SLENDER = (pole, pole, sign, floor_lamp, floor_lamp, tripod, stool, wire_chair, wire_chair, chair,
           trestle, table, railing, cordon, cable, clothes_rail, bicycle, ladder, step_ladder,
           broom)
SMALL = (litter, small_thing, small_thing, carton, barrel, plant)
NEAR = ((0.38, BULKY), (0.27, SLENDER), (0.15, (person,)), (0.20, SMALL))
MIN_GAP_M, MAX_GAP_M, CLOSE_GAP_M = 0.3, 3.0, 1.5
CAMERA_ROOM_M = 0.25


def near_thing(rng, store, library: ObjectLibrary, names: list[str]) -> tuple[Thing, bool]:
    """Return a thing to put before a camera, and whether it is a bulky one."""
    if names and rng.uniform() < 0.15:
        return library.thing(rng, str(rng.choice(names))), False
    group = rng.choice(len(NEAR), p=[share for share, _ in NEAR])
    makers = NEAR[group][1]
    return makers[rng.integers(len(makers))](rng, store), makers is BULKY


def scatter_near(rng, scene: Scene, cameras, library: ObjectLibrary, mean: float,
                 enricher: Enricher | None = None) -> None:
    """
    Stand obstacles 0.3 to 3 m from each camera, bulky ones within 1.5 m, never around a camera.

    :param cameras: (position (3,) m, height [m]) of each
    :param enricher: makes a share of them; None for benchmarks, which it would change
    """
    names = library.names(0.3, 2.6)
    # all rays before the first addition: each addition makes the next ray rebuild the hierarchy
    plans = [_directions(rng, scene, position, mean) for position, _ in cameras]
    for (position, height), (angles, frees) in zip(cameras, plans):
        for angle, free in zip(angles, frees):
            if enricher and rng.uniform() < NEAR_SHARE:
                thing, bulky = enricher.near_thing(rng, scene), rng.uniform() < 0.6
            else:
                thing, bulky = near_thing(rng, scene.store, library, names)
            far = CLOSE_GAP_M if bulky and rng.uniform() < 0.7 else MAX_GAP_M
            gap = float(np.exp(rng.uniform(np.log(MIN_GAP_M), np.log(far))))
            if gap > free:
                continue                # would stand behind a wall
            # half of them face the camera
            yaw = angle + np.pi if rng.uniform() < 0.5 else rng.uniform(-np.pi, np.pi)
            reach = reach_of(thing.size, angle - yaw)
            x = position[0] + np.cos(angle) * (gap + reach)
            y = position[1] + np.sin(angle) * (gap + reach)
            if all(is_clear(thing.size, p[0] - x, p[1] - y, yaw) for p, _ in cameras):
                thing.place(scene, x, y, yaw, position[2] - height)


def _directions(rng, scene: Scene, position, mean: float):
    """Return some random azimuths [rad] and how far a level ray gets there [m]."""
    count = int(rng.poisson(mean * rng.choice([0, 1, 2], p=[0.2, 0.5, 0.3])))
    angle = rng.uniform(-np.pi, np.pi, count)
    rays = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], -1)
    return angle, scene.cast(position, rays)[0] if count else angle


def reach_of(size, angle: float) -> float:
    """Return the half width of a rectangle along a direction in its own frame."""
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    return min(size[0] / 2 / max(cos, 1e-6), size[1] / 2 / max(sin, 1e-6))


def is_clear(size, dx: float, dy: float, yaw: float) -> bool:
    """Return whether a point lies outside a turned rectangle, with room for a camera."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y = abs(cos * dx + sin * dy), abs(-sin * dx + cos * dy)
    return np.hypot(max(x - size[0] / 2, 0), max(y - size[1] / 2, 0)) > CAMERA_ROOM_M
