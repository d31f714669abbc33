# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What makes a training scene richer than the benchmarks: catalogue furniture and low things.

The benchmarks never see these, so that their pictures stay what they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulator.furniture_catalogue import (
    Entry,
    FurnitureCatalogue,
    INDOOR,
    OUTDOOR,
    PEOPLE,
)
from training.simulator.makers.low import low_thing
from training.simulator.makers.things import Thing
from training.simulator.scene import Light, Scene

NEAR_SHARE = 0.55               # of near obstacles that come from here
HUNG_ABOVE_M = 0.25             # elevation from which a model hangs on a wall or from the ceiling
MOST_THINGS = 26                # per scene: each costs rays
WALL_GAP_M = 0.03


@dataclass(frozen=True)
class Enricher:
    """Draws things of a catalogue and of `simulator.low`, and stands them in scenes."""

    catalogue: FurnitureCatalogue

    def near_thing(self, rng, scene: Scene) -> Thing:
        """Return something to stand before a camera."""
        if rng.uniform() < 0.45 or not self.catalogue.entries:
            return low_thing(rng, scene.store)
        kinds = (*INDOOR, *PEOPLE) if scene.indoor else (*OUTDOOR, *PEOPLE, 'Miscellaneous')
        standing = [e for e in self.catalogue.of(*kinds)
                    if e.elevation_m < HUNG_ABOVE_M and max(e.size) > 0.25 and min(e.size) < 3]
        return self._one_of(rng, standing) or low_thing(rng, scene.store)

    def furnish(self, rng, scene: Scene) -> None:
        """Stand things along the walls and on the floor of every region, things on their tops."""
        areas = np.array([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in scene.regions])
        count = min(MOST_THINGS, int(rng.poisson(rng.uniform(0.05, 0.35) * min(areas.sum(), 80))))
        for _ in range(count):
            region = scene.regions[rng.choice(len(areas), p=areas / areas.sum())]
            self._place_one(rng, scene, region)
        if rng.uniform() < 0.5:
            recolour_light(rng, scene)

    def _place_one(self, rng, scene: Scene, region) -> None:
        if rng.uniform() < 0.25 or not self.catalogue.entries:
            thing = low_thing(rng, scene.store)
            thing.place(scene, *place_in(rng, region, thing, rng.uniform() < 0.5))
            return
        entries = self.catalogue.of(*(INDOOR if scene.indoor else OUTDOOR), *PEOPLE)
        entry = entries[rng.integers(len(entries))]
        thing = self.catalogue.thing(rng, entry)
        if thing is None or (entry.elevation_m > HUNG_ABOVE_M and not scene.indoor):
            return
        at_wall = entry.elevation_m > HUNG_ABOVE_M or (entry.category not in PEOPLE
                                                       and rng.uniform() < 0.6)
        x, y, yaw = place_in(rng, region, thing, at_wall)
        thing.place(scene, x, y, yaw, entry.elevation_m)
        if entry.top_m > 0.2:
            self._load(rng, scene, entry, (x, y))

    def _load(self, rng, scene: Scene, table: Entry, at: tuple[float, float]) -> None:
        """Stand a few small models on another one."""
        small = [e for e in self.catalogue.of(*INDOOR)
                 if max(e.size) < 0.5 and e.elevation_m < HUNG_ABOVE_M]
        reach = min(table.size[:2]) / 4
        for _ in range(int(rng.integers(0, 4))):
            if (thing := self._one_of(rng, small)) is not None:
                dx, dy = rng.uniform(-reach, reach, 2)
                thing.place(scene, at[0] + dx, at[1] + dy, rng.uniform(-3, 3),
                            table.elevation_m + table.top_m)

    def _one_of(self, rng, entries: list[Entry]) -> Thing | None:
        if not entries:
            return None
        return self.catalogue.thing(rng, entries[rng.integers(len(entries))])


def place_in(rng, region, thing: Thing, at_wall: bool) -> tuple[float, float, float]:
    """
    Return x, y [m] and yaw [rad] of a thing in a rectangle, its back (-x) to a wall or anywhere.

    :param region: x0, y0, x1, y1 [m]
    """
    x0, y0, x1, y1 = region
    depth, width = thing.size
    if not at_wall:
        return (float(rng.uniform(x0, x1)), float(rng.uniform(y0, y1)),
                float(rng.uniform(-np.pi, np.pi)))
    side, back = int(rng.integers(4)), depth / 2 + WALL_GAP_M
    half = width / 2
    along_x = float(rng.uniform(*sorted((x0 + half, x1 - half))))      # wider than the wall: any
    along_y = float(rng.uniform(*sorted((y0 + half, y1 - half))))
    return ((along_x, y0 + back, np.pi / 2), (x1 - back, along_y, np.pi),
            (along_x, y1 - back, -np.pi / 2), (x0 + back, along_y, 0.0))[side]


def recolour_light(rng, scene: Scene) -> None:
    """Give all lamps another power and a common cast, and the ambient light another level."""
    cast = np.exp(rng.normal(0, 0.2, 3))
    factor = float(np.exp(rng.normal(0, 0.5)))
    scene.ambient = float(np.clip(scene.ambient * np.exp(rng.normal(0, 0.4)), 0.05, 0.9))
    scene.lights = [Light(light.position, light.power * factor,
                          tuple(float(c) for c in np.array(light.colour) * cast))
                    for light in scene.lights]
