# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What networks overlook in photographs: low plinths and platforms, plain fronts, rails, glass.

Every maker takes (rng, store) and returns a Thing that stands on z = 0, centred in x and y.
"""

from __future__ import annotations

import numpy as np

from training.simulator.makers.things import legs, make_thing, Thing
from training.simulator.materials import glass, random_material
from training.simulator.scene import Material
from training.simulator.shapes import box, cylinder, lathe, moved, rod


def plain(rng, low: float = 0.25, high: float = 0.95) -> Material:
    """Return white, grey or nearly so: the paint of fronts, plinths and machines."""
    tint = rng.uniform(low, high) * (1 + rng.normal(0, 0.03, 3))
    return Material(tint=tuple(float(c) for c in np.clip(tint, 0, 1)))


def _surface(rng, store) -> Material:
    kind = rng.uniform()
    if kind < 0.5:
        return plain(rng)
    return random_material(rng, store, 'floor' if kind < 0.75 else 'furniture')


def plinth(rng, store) -> Thing:
    """A low solid block, alone or with a machine, a seat or a column on it."""
    x, y = np.exp(rng.uniform(np.log(0.4), np.log(2.8), 2))
    z = rng.uniform(0.08, 0.42)
    parts = [(box(x, y, z), _surface(rng, store))]
    kind = rng.uniform()
    if kind < 0.25:
        share = rng.uniform(0.3, 0.8, 2)
        parts.append((moved(box(x * share[0], y * share[1], rng.uniform(0.2, 1.4), z),
                            *(rng.uniform(-0.1, 0.1, 2) * (x, y))), plain(rng)))
    elif kind < 0.4:
        parts.append((cylinder(0.3 * min(x, y), rng.uniform(0.3, 2.0) + z, 16), plain(rng)))
    elif kind < 0.55:
        parts.append((box(x + 0.06, y + 0.06, 0.03, z), _surface(rng, store)))
    return make_thing(parts)


def platform(rng, store) -> Thing:
    """A stage, a podium or a landing with an edge and sometimes a step or a rail."""
    x, y, z = rng.uniform(1.2, 3.5), rng.uniform(1.2, 4.5), rng.uniform(0.1, 0.42)
    top, side = _surface(rng, store), _surface(rng, store)
    parts = [(box(x, y, z - 0.02), side), (box(x + 0.03, y + 0.03, 0.02, z - 0.02), top)]
    if rng.uniform() < 0.4:
        parts.append((moved(box(0.3, y * rng.uniform(0.3, 1), z / 2), x / 2 + 0.15), side))
    if rng.uniform() < 0.3:
        parts += [(moved(s, -x / 2 + 0.05), m) for s, m in _rail(rng, store, y, z)]
    return make_thing(parts)


def plain_front(rng, store) -> Thing:
    """A white or grey cabinet, counter or bench without handles, on a recessed or no foot."""
    x, y = rng.uniform(0.3, 0.9), rng.uniform(0.5, 3.2)
    z = float(rng.choice([rng.uniform(0.35, 0.6), rng.uniform(0.7, 1.1), rng.uniform(1.1, 2.2)]))
    body = plain(rng, 0.45)
    foot = float(rng.choice([0.0, 0.03, 0.1]))
    parts = [(box(x, y, z - foot, foot), body)]
    if foot:
        parts.append((box(x - 0.08, y - 0.04, foot), plain(rng, 0.02, 0.8)))
    for at in np.linspace(-y / 2, y / 2, int(rng.integers(1, 6)))[1:-1]:
        parts.append((moved(box(0.004, 0.006, z - foot - 0.04, foot + 0.02), x / 2, at),
                      plain(rng, 0.1, 0.5)))
    if rng.uniform() < 0.5:
        parts.append((box(x + 0.03, y + 0.03, 0.03, z), _surface(rng, store)))
    return make_thing(parts)


def low_bench(rng, store) -> Thing:
    """A seat without a back, a pouf, a mattress or a coffee table."""
    x, y, z = rng.uniform(0.35, 1.0), rng.uniform(0.4, 2.0), rng.uniform(0.18, 0.48)
    top = random_material(rng, store, 'fabric' if rng.uniform() < 0.5 else 'furniture')
    kind = rng.uniform()
    if kind < 0.35:
        return make_thing([(box(x, y, z), top)])
    if kind < 0.5:
        r = rng.uniform(0.2, 0.5)
        return make_thing([(lathe([0, r, r * 1.05, r, 0], [0, 0, z / 2, z, z], 18), top)])
    slab = rng.uniform(0.03, 0.12)
    leg = random_material(rng, store, 'metal')
    return make_thing([(box(x, y, slab, z - slab), top), *legs(rng, x, y, z - slab, leg)])


def open_shelf(rng, store) -> Thing:
    """Boards between posts, no back, few things: one sees the wall through it."""
    x, y, z = rng.uniform(0.25, 0.6), rng.uniform(0.6, 2.0), rng.uniform(0.6, 2.1)
    board, post = _surface(rng, store), random_material(rng, store, 'metal')
    heights = np.linspace(rng.uniform(0.05, 0.3), z, int(rng.integers(2, 6)))
    parts = [(box(x, y, 0.025, float(h) - 0.025), board) for h in heights]
    parts += legs(rng, x, y, z, post)
    for h in heights[:-1]:
        for _ in range(int(rng.integers(0, 4))):
            size = rng.uniform(0.08, 0.3, 3)
            parts.append((moved(box(*size, float(h)), 0, rng.uniform(-0.4, 0.4) * y),
                          _surface(rng, store)))
    return make_thing(parts)


def _rail(rng, store, y: float, z: float = 0.0) -> list:
    """Return posts, a hand rail and balusters, wires, bars or a pane, along y from height z."""
    metal = random_material(rng, store, 'metal')
    high = z + rng.uniform(0.75, 1.15)
    parts = [(rod((0, -y / 2, high), (0, y / 2, high), rng.uniform(0.015, 0.04)), metal)]
    for at in np.linspace(-y / 2, y / 2, max(2, round(y / rng.uniform(0.8, 1.6)) + 1)):
        parts.append((moved(box(0.05, 0.05, high - z, z), 0, at), metal))
    kind = rng.uniform()
    if kind < 0.3:
        for at in np.arange(-y / 2, y / 2, rng.uniform(0.09, 0.16)):
            parts.append((rod((0, at, z), (0, at, high), 0.01, sides=5), metal))
    elif kind < 0.55:
        for h in np.linspace(z + 0.1, high, int(rng.integers(3, 8)))[:-1]:
            parts.append((rod((0, -y / 2, h), (0, y / 2, h), 0.008, sides=5), metal))
    else:
        parts.append((box(0.012, y, high - z - 0.12, z + 0.08), glass(rng)))
    return parts


def balustrade(rng, store) -> Thing:
    """A rail of bars, wires or glass, with or without a kerb at its foot."""
    y = rng.uniform(1.0, 4.5)
    foot = float(rng.choice([0.0, rng.uniform(0.05, 0.35)]))
    parts = _rail(rng, store, y, foot)
    if foot:
        parts.append((box(rng.uniform(0.08, 0.3), y, foot), _surface(rng, store)))
    return make_thing(parts)


def glass_front(rng, store) -> Thing:
    """A glazed wall or door with a frame whose foot and posts can be seen."""
    y, z = rng.uniform(0.8, 4.0), rng.uniform(1.8, 2.6)
    frame, pane = plain(rng, 0.02, 0.9), glass(rng)
    foot = rng.uniform(0.03, 0.3)
    parts = [(box(0.06, y, foot), frame), (box(0.06, y, 0.06, z - 0.06), frame)]
    count = max(1, round(y / rng.uniform(0.7, 1.3)))
    for at in np.linspace(-y / 2, y / 2, count + 1):
        parts.append((moved(box(0.06, 0.05, z), 0, at), frame))
    if rng.uniform() < 0.4:
        parts.append((box(0.05, y, 0.05, rng.uniform(0.8, 1.1)), frame))
    return make_thing([*parts, (box(0.01, y - 0.04, z - foot - 0.06, foot), pane)])


def steps(rng, store) -> Thing:
    """Two to six steps up, solid, with sides."""
    y, rise, run = rng.uniform(0.7, 2.5), rng.uniform(0.12, 0.2), rng.uniform(0.25, 0.35)
    stone = _surface(rng, store)
    count = int(rng.integers(2, 7))
    return make_thing([(moved(box((count - i) * run, y, rise, i * rise), i * run / 2), stone)
                       for i in range(count)])


def hung(rng, store) -> Thing:
    """Something that hangs or leans over the floor: a table end, a wall unit, an arm, a shelf."""
    y, x = rng.uniform(0.5, 2.2), rng.uniform(0.3, 1.0)
    low = rng.uniform(0.35, 1.1)
    thick = float(rng.choice([0.03, 0.05, rng.uniform(0.1, 0.5)]))
    top = _surface(rng, store)
    parts = [(box(x, y, thick, low), top)]
    if rng.uniform() < 0.6:         # one central foot, set back
        parts += [(moved(cylinder(rng.uniform(0.02, 0.05), low, 10), -0.2 * x), top),
                  (moved(cylinder(rng.uniform(0.15, 0.3), 0.025, 16), -0.2 * x), top)]
    else:
        parts.append((moved(box(0.05, y * rng.uniform(0.3, 1), low + thick), -x / 2 + 0.03), top))
    return make_thing(parts)


LOW = (plinth, plinth, platform, plain_front, plain_front, low_bench, open_shelf, balustrade,
       glass_front, steps, hung, hung)


def low_thing(rng, store) -> Thing:
    """Return one of them."""
    return LOW[rng.integers(len(LOW))](rng, store)
