# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small things that lie about: bags, shoes, bottles, books, balls, buckets, tools, toys."""

from __future__ import annotations

import numpy as np

from training.simulator.makers.things import make_thing, Thing
from training.simulator.materials import random_colour, random_material
from training.simulator.scene import Material
from training.simulator.shapes import box, ellipsoid, lathe, moved, ring, rod, tube


def _plain(rng) -> Material:
    return Material(tint=random_colour(rng, 1.2))


def _bag(rng, store):
    x, y, z = rng.uniform([0.12, 0.2, 0.2], [0.35, 0.6, 0.55])
    cloth = random_material(rng, store, 'fabric')
    strap = tube([(0, -y / 4, z * 0.9), (0, -y / 6, z + 0.12), (0, y / 6, z + 0.12),
                  (0, y / 4, z * 0.9)], 0.012)
    return [(ellipsoid(x / 2, y / 2, z / 2), cloth), (strap, cloth)]


def _suitcase(rng, store):
    x, y, z = rng.uniform([0.2, 0.35, 0.5], [0.3, 0.5, 0.75])
    shell = _plain(rng)
    handle = tube([(0, -0.1, z), (0, -0.1, z + 0.35), (0, 0.1, z + 0.35), (0, 0.1, z)], 0.01)
    return [(box(x, y, z - 0.04, 0.04), shell)] + ([(handle, _plain(rng))]
                                                   if rng.uniform() < 0.5 else [])


def _shoes(rng, store):
    leather = _plain(rng)
    return [(moved(ellipsoid(0.14, 0.05, 0.05), rng.uniform(-0.1, 0.1), y, 0,
                   rng.uniform(-0.4, 0.4)), leather) for y in (-0.08, 0.08)]


def _bottle(rng, store):
    r, z = rng.uniform(0.03, 0.08), rng.uniform(0.15, 0.4)
    return [(lathe([0, r, r, r * 0.3, r * 0.3, 0], [0, 0, z * 0.65, z * 0.8, z, z], 10),
             _plain(rng))]


def _books(rng, store):
    at, parts = 0.0, []
    for _ in range(int(rng.integers(1, 7))):
        tall = rng.uniform(0.01, 0.06)
        parts.append((moved(box(rng.uniform(0.14, 0.3), rng.uniform(0.1, 0.22), tall, at), 0, 0, 0,
                            rng.uniform(-0.3, 0.3)), _plain(rng)))
        at += tall
    return parts


def _ball(rng, store):
    r = rng.uniform(0.05, 0.35)
    return [(ellipsoid(r, r, r), random_material(rng, store, 'fabric'))]


def _bucket(rng, store):
    r, z = rng.uniform(0.1, 0.25), rng.uniform(0.2, 0.6)
    return [(lathe([0, r * rng.uniform(0.7, 1), r], [0, 0, z], 14), _plain(rng))]


def _cone(rng, store):
    z = rng.uniform(0.3, 0.9)
    orange, white = Material(tint=(0.9, 0.2, 0.03)), Material(tint=(0.9, 0.9, 0.9))
    r = z * 0.22
    return [(box(2.4 * r, 2.4 * r, 0.03), orange),
            (lathe([r, r * 0.6], [0.03, z * 0.45], 12), orange),
            (lathe([r * 0.6, r * 0.4], [z * 0.45, z * 0.65], 12), white),
            (lathe([r * 0.4, 0.02, 0], [z * 0.65, z, z], 12), orange)]


def _coil(rng, store):
    r, skin = rng.uniform(0.12, 0.35), _plain(rng)
    loops = [moved(ring(r * s, 0.012, 14), 0, 0, 0) for s in rng.uniform(0.8, 1.0, 3)]
    return [((shape[0][..., [0, 2, 1]] * np.float32([1, 1, 1]) + np.float32(
        [0, -r, 0.012 + 0.02 * i]), shape[1]), skin) for i, shape in enumerate(loops)]


def _toolbox(rng, store):
    x, y, z = rng.uniform([0.15, 0.3, 0.12], [0.3, 0.6, 0.3])
    return [(box(x, y, z), _plain(rng)), (box(x * 0.2, y * 0.6, 0.05, z), _plain(rng))]


def _basket(rng, store):
    x, y, z = rng.uniform([0.25, 0.3, 0.15], [0.5, 0.6, 0.5])
    wall = random_material(rng, store, 'furniture')
    parts = [(box(x, y, 0.02), wall)]
    for side in (-1, 1):
        parts += [(moved(box(0.02, y, z), side * x / 2), wall),
                  (moved(box(x, 0.02, z), 0, side * y / 2), wall)]
    return parts + [(moved(ellipsoid(x / 3, y / 3, z * 0.4), 0, 0, z * 0.3),
                     random_material(rng, store, 'fabric'))]


def _toy(rng, store):
    parts = [(box(0.3, 0.16, 0.1, 0.05), _plain(rng)), (box(0.12, 0.14, 0.1, 0.15), _plain(rng))]
    wheel = _plain(rng)
    return parts + [(rod((x, -0.1, 0.05), (x, 0.1, 0.05), 0.05), wheel) for x in (-0.1, 0.1)]


def _heap(rng, store):
    return [(moved(ellipsoid(*rng.uniform([0.1, 0.1, 0.04], [0.4, 0.3, 0.15])), *rng.normal(
        0, 0.15, 2)), random_material(rng, store, 'fabric')) for _ in range(int(
            rng.integers(1, 5)))]


def _bin(rng, store):
    r, z = rng.uniform(0.1, 0.22), rng.uniform(0.25, 0.75)
    body = [(lathe([0, r * 0.8, r, r * 0.9], [0, 0, z, z], 14), _plain(rng))]
    lid = (lathe([r, 0], [z, z + 0.06], 14), _plain(rng))
    return body + [lid] * int(rng.uniform() < 0.5)


SMALL = (_bag, _suitcase, _shoes, _bottle, _books, _ball, _bucket, _cone, _coil, _toolbox, _basket,
         _toy, _heap, _bin)


def small_thing(rng, store) -> Thing:
    """Return one thing of 5 to 75 cm."""
    return make_thing(SMALL[rng.integers(len(SMALL))](rng, store))


def litter(rng, store) -> Thing:
    """Return a few small things strewn over a square metre or two."""
    parts = []
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.normal(0, 0.5, 2)
        yaw = rng.uniform(-np.pi, np.pi)
        parts += [(moved(shape, x, y, 0, yaw), m) for shape, m in small_thing(rng, store).parts]
    return make_thing(parts)
