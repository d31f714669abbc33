# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Furniture and stock of homes, offices and depots, of boxes, cylinders and ellipsoids.

Every maker takes (rng, store) and returns a Thing that stands on z = 0, centred in x and y.
"""

from __future__ import annotations

import numpy as np

from training.simulator.makers.things import legs, make_thing, Thing
from training.simulator.materials import random_colour, random_material
from training.simulator.scene import Material
from training.simulator.shapes import box, cylinder, ellipsoid, lathe, moved, rod


def table(rng, store) -> Thing:
    """A table on four legs."""
    x, y, z = rng.uniform(0.5, 2.2), rng.uniform(0.4, 1.1), rng.uniform(0.35, 1.05)
    top = random_material(rng, store, 'furniture')
    leg = top if rng.uniform() < 0.5 else random_material(rng, store, 'metal')
    slab = rng.uniform(0.02, 0.06)
    if rng.uniform() < 0.25:
        radius = min(x, 1.2) / 2
        return make_thing([(moved(cylinder(radius, slab, 20), z=z - slab), top),
                       (cylinder(0.04, z), leg), (cylinder(radius * 0.5, 0.03), leg)])
    return make_thing([(box(x, y, slab, z - slab), top)] + legs(rng, x, y, z - slab, leg))


def chair(rng, store) -> Thing:
    """A chair with a back."""
    x, seat = rng.uniform(0.38, 0.55), rng.uniform(0.4, 0.5)
    material = random_material(rng, store, 'furniture')
    leg = material if rng.uniform() < 0.4 else random_material(rng, store, 'metal')
    back = rng.uniform(0.75, 1.1)
    parts = [(box(x, x, 0.04, seat - 0.04), material),
             (moved(box(0.03, x, back - seat - 0.1), -x / 2 + 0.02, 0, seat + 0.1), material)]
    if rng.uniform() < 0.3:   # office chair
        return make_thing([*parts, (cylinder(0.03, seat - 0.04), leg),
                           (cylinder(0.28, 0.05), leg)])
    return make_thing(parts + legs(rng, x, x, seat - 0.04, leg) + [
        (moved(box(0.03, 0.03, back - seat), -x / 2 + 0.02, s * (x / 2 - 0.02), seat), leg)
        for s in (-1, 1)])


def cabinet(rng, store) -> Thing:
    """A low or a tall closed cabinet with a front of its own."""
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.4, 2.4)
    z = rng.choice([rng.uniform(0.4, 0.95), rng.uniform(1.2, 2.3)])
    body, front = (random_material(rng, store, 'furniture') for _ in range(2))
    front = body if rng.uniform() < 0.5 else front
    parts = [(box(x, y, z), body)]
    doors = max(1, round(y / rng.uniform(0.4, 0.8)))
    for i in range(doors):
        width = y / doors
        parts.append((moved(box(0.02, width - 0.02, z - 0.1, 0.06), x / 2,
                            -y / 2 + (i + 0.5) * width), front))
    if rng.uniform() < 0.5:
        parts.append((box(x + 0.06, y + 0.04, 0.03, z), random_material(rng, store, 'furniture')))
    return make_thing(parts)


def shelf(rng, store) -> Thing:
    """An open shelf of three to six boards."""
    x, y, z = rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.8), rng.uniform(0.9, 2.3)
    material = random_material(rng, store, 'furniture')
    levels = int(rng.integers(3, 7))
    heights = np.linspace(0.05, z - 0.03, levels)
    parts = [(box(x, y, 0.025, float(h)), material) for h in heights]
    parts += [(moved(box(x, 0.025, z), 0, s * y / 2), material) for s in (-1, 1)]
    if rng.uniform() < 0.6:
        parts.append((moved(box(0.02, y, z), -x / 2), material))
    for h in heights[:-1]:
        at = -y / 2 + 0.05
        while at < y / 2 - 0.15:
            width = rng.uniform(0.03, 0.35)
            if rng.uniform() < 0.75:
                tall = rng.uniform(0.3, 0.9) * (z / levels)
                parts.append((moved(box(x * rng.uniform(0.4, 0.9), width * 0.9, tall), 0,
                                    at + width / 2, float(h) + 0.025),
                              Material(tint=random_colour(rng, 0.9))))
            at += width
    return make_thing(parts)


def rack(rng, store) -> Thing:
    """A warehouse rack of posts, beams and pallets of boxes."""
    x, y = rng.uniform(0.8, 1.2), rng.uniform(1.8, 3.6)
    levels, step = int(rng.integers(2, 5)), rng.uniform(0.7, 1.6)
    post = Material(tint=random_colour(rng, 0.95))
    beam = Material(tint=random_colour(rng, 0.95))
    deck = random_material(rng, store, 'furniture')
    z = levels * step
    parts = legs(rng, x, y, z, post)
    for level in range(levels):
        height = level * step + 0.1
        parts += [(moved(box(0.05, y, 0.1, height), s * (x / 2 - 0.03)), beam) for s in (-1, 1)]
        parts.append((box(x, y, 0.02, height + 0.1), deck))
        at = -y / 2 + 0.05
        while at < y / 2 - 0.3:
            width = rng.uniform(0.25, 1.1)
            if rng.uniform() < 0.8 and at + width < y / 2:
                parts.append((moved(box(x * rng.uniform(0.5, 0.95), width * 0.95,
                                        rng.uniform(0.2, 0.8) * step, height + 0.12), 0,
                                    at + width / 2), random_material(rng, store, 'carton')))
            at += width
    return make_thing(parts)


def sofa(rng, store) -> Thing:
    """A sofa with back and arms."""
    x, y = rng.uniform(0.75, 1.0), rng.uniform(0.8, 2.4)
    material = random_material(rng, store, 'fabric')
    seat, back, arm = rng.uniform(0.35, 0.48), rng.uniform(0.7, 1.0), rng.uniform(0.1, 0.25)
    foot = rng.uniform(0.0, 0.12)
    return make_thing([(box(x, y, seat - foot, foot), material),
                   (moved(box(0.2, y, back - foot, foot), -x / 2 + 0.1), material)]
                  + [(moved(box(x, arm, seat + 0.2 - foot, foot), 0, s * (y - arm) / 2), material)
                     for s in (-1, 1)])


def bed(rng, store) -> Thing:
    """A bed: frame, mattress and head."""
    x, y, z = rng.uniform(1.9, 2.15), rng.uniform(0.9, 1.9), rng.uniform(0.35, 0.6)
    frame, cover = random_material(rng, store, 'furniture'), random_material(rng, store, 'fabric')
    return make_thing([(box(x, y, z * 0.5, z * 0.15), frame), (box(x - 0.05, y - 0.05, z * 0.4,
                                                              z * 0.6), cover),
                   (moved(box(0.06, y, z + rng.uniform(0.2, 0.7)), -x / 2), frame),
                   (moved(box(0.45, y * 0.8, 0.12), -x / 2 + 0.35, 0, z),
                    Material(tint=(0.8, 0.8, 0.8)))])


def carton(rng, store) -> Thing:
    """One box, 0.15 to 1.1 m along each side (log-uniform)."""
    sizes = np.exp(rng.uniform(np.log(0.15), np.log(1.1), 3))
    return make_thing([(box(*sizes), random_material(rng, store, 'carton'))])


def stack(rng, store) -> Thing:
    """A pallet with boxes on it."""
    wood = random_material(rng, store, 'furniture')
    parts = [(moved(box(1.2, 0.1, 0.09), 0, dy), wood) for dy in (-0.35, 0, 0.35)]
    parts.append((box(1.2, 0.8, 0.03, 0.09), wood))
    nx, ny, nz = (int(rng.integers(1, 4)) for _ in range(3))
    height = rng.uniform(0.2, 0.5)
    material = random_material(rng, store, 'carton')
    for i, j, k in np.ndindex(nx, ny, nz):
        if rng.uniform() < 0.9 or k == 0:
            parts.append((moved(box(1.15 / nx - 0.02, 0.75 / ny - 0.02, height - 0.01),
                                (i + 0.5) * 1.15 / nx - 0.575, (j + 0.5) * 0.75 / ny - 0.375,
                                0.12 + k * height), material))
    return make_thing(parts)


def column(rng, store) -> Thing:
    """A round or square column of 2.4 to 6 m."""
    size, height = rng.uniform(0.2, 0.7), rng.uniform(2.4, 6.0)
    shape = cylinder(size / 2, height, 18) if rng.uniform() < 0.5 else box(size, size, height)
    return make_thing([(shape, random_material(rng, store, 'wall'))])


def barrel(rng, store) -> Thing:
    """A barrel or bin."""
    radius, height = rng.uniform(0.12, 0.4), rng.uniform(0.3, 1.1)
    bulge = radius * rng.uniform(0.7, 1.0)
    material = random_material(rng, store, 'furniture')
    return make_thing([(lathe([0, bulge, radius, bulge, 0], [0, 0, height / 2, height, height]),
                    material)])


def plant(rng, store) -> Thing:
    """A potted plant."""
    pot, leaf = random_material(rng, store, 'furniture'), random_material(
        rng, store, 'foliage')
    height, radius = rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.2)
    parts = [(lathe([0, radius * 0.7, radius, 0], [0, 0, height, height]), pot)]
    green = Material(leaf.texture, leaf.tile_m, (0.35, rng.uniform(0.5, 0.9), 0.25))
    for _ in range(int(rng.integers(3, 9))):
        r = rng.uniform(0.06, 0.25)
        leaves = ellipsoid(r, r * rng.uniform(0.4, 1), r * rng.uniform(0.5, 2))
        base = (rng.normal(0, 0.12), rng.normal(0, 0.12), height + rng.uniform(0, 0.6))
        stem = rod((0, 0, height * 0.9), (*base[:2], base[2] + 0.05), 0.008, sides=5)
        parts += [(moved(leaves, *base), green), (stem, green)]
    return make_thing(parts)
