# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Thin obstacles: poles, sign posts, stands, stools, railings, cables, frames, bicycles."""

from __future__ import annotations

import numpy as np

from training.simulator.makers.things import make_thing, Thing
from training.simulator.materials import glass, random_colour, random_material
from training.simulator.scene import Material
from training.simulator.shapes import box, cylinder, ellipsoid, lathe, moved, ring, rod, tube


def _paint(rng, store) -> Material:
    if rng.uniform() < 0.5:
        return random_material(rng, store, 'metal')
    return Material(tint=random_colour(rng, 1.1))


def _foot(rng, material) -> list:
    """Return a plate, a tripod or nothing, for what stands on one post."""
    kind, reach = rng.uniform(), rng.uniform(0.12, 0.3)
    if kind < 0.45:
        return [(cylinder(reach, rng.uniform(0.015, 0.04), 16), material)]
    if kind < 0.75:
        return [(rod((0, 0, 0.12), (reach * np.cos(a), reach * np.sin(a), 0.012), 0.011),
                 material) for a in np.arange(0, 2 * np.pi, rng.choice([2.094, 1.257]))]
    return []


def pole(rng, store) -> Thing:
    """A post, a stand with a foot, or a cordon post."""
    height = rng.choice([rng.uniform(0.5, 1.3), rng.uniform(1.3, 3.0)])
    radius = float(np.exp(rng.uniform(np.log(0.012), np.log(0.09))))
    material = random_material(rng, store, 'metal')
    parts = [(cylinder(radius, height, 10), material)]
    if rng.uniform() < 0.6:
        parts.append((cylinder(radius + rng.uniform(0.08, 0.22), 0.03, 16), material))
    if rng.uniform() < 0.25:
        parts.append((moved(ellipsoid(0.18, 0.18, 0.15), z=height),
                      Material(tint=(1, 0.95, 0.85), emission=1.0)))
    return make_thing(parts)


def sign(rng, store) -> Thing:
    """A traffic or shop sign on a post."""
    post, plate = _paint(rng, store), random_material(rng, store, 'picture')
    high, radius = rng.uniform(0.7, 2.6), rng.uniform(0.015, 0.045)
    y, z = rng.uniform(0.25, 0.75, 2)
    parts = [(cylinder(radius, high, 8), post), *_foot(rng, post)]
    if rng.uniform() < 0.5:     # round
        disc = cylinder(y / 2, 0.015, 16)
        disc = (disc[0][..., [2, 1, 0]], disc[1])
        return make_thing([*parts, (moved(disc, radius, 0, high - y / 2),
                                    Material(tint=random_colour(rng, 1.2)))])
    plate = Material(plate.texture, y, plate.tint)
    return make_thing([*parts, (moved(box(0.015, y, z), radius + 0.01, 0, high - z), plate)])


def floor_lamp(rng, store) -> Thing:
    """A lamp, a coat stand, a drip stand or a microphone stand."""
    metal = _paint(rng, store)
    high, radius = rng.uniform(1.1, 2.1), rng.uniform(0.008, 0.025)
    parts = [(cylinder(radius, high, 8), metal), *_foot(rng, metal)]
    kind = rng.uniform()
    if kind < 0.35:
        shade = rng.uniform(0.1, 0.25)
        parts.append((moved(lathe([shade, shade * rng.uniform(0.4, 1)], [0, shade * 1.3]),
                            z=high - shade), Material(tint=(1, 0.93, 0.8),
                                                      emission=rng.uniform(0, 2))))
    elif kind < 0.7:
        for angle in np.arange(0, 2 * np.pi, np.pi / 2):
            parts.append((rod((0, 0, high - 0.1), (0.16 * np.cos(angle), 0.16 * np.sin(angle),
                                                   high), 0.008), metal))
        if rng.uniform() < 0.6:
            parts.append((moved(ellipsoid(0.1, 0.2, 0.4), 0.1, 0, high - 0.85),
                          random_material(rng, store, 'fabric')))
    else:
        parts.append((rod((0, 0, high), (0.3, 0.1, high - rng.uniform(-0.3, 0.3)), 0.008), metal))
    return make_thing(parts)


def tripod(rng, store) -> Thing:
    """Three slanted legs with a head: a camera, an instrument, an easel."""
    metal, high = _paint(rng, store), rng.uniform(0.5, 1.7)
    reach, radius = high * rng.uniform(0.2, 0.4), rng.uniform(0.008, 0.02)
    parts = [(rod((reach * np.cos(a), reach * np.sin(a), 0.01), (0, 0, high), radius), metal)
             for a in (0.3, 2.4, 4.5)]
    size = rng.uniform(0.06, 0.3, 3)
    return make_thing([*parts, (box(*size, high), Material(tint=random_colour(rng)))])


def stool(rng, store) -> Thing:
    """A bar stool or a small table on slanted legs or one post."""
    metal, seat = _paint(rng, store), random_material(rng, store, 'furniture')
    high, wide = rng.uniform(0.42, 1.1), rng.uniform(0.28, 0.6)
    parts = [(moved(cylinder(wide / 2, rng.uniform(0.02, 0.08), 16), z=high), seat)]
    if rng.uniform() < 0.35:
        return make_thing([*parts, (cylinder(0.025, high), metal),
                           (cylinder(wide * 0.45, 0.02), metal)])
    radius, spread = rng.uniform(0.008, 0.02), rng.uniform(0.9, 1.4) * wide / 2
    for angle in np.arange(np.pi / 4, 2 * np.pi, np.pi / 2):
        x, y = np.cos(angle), np.sin(angle)
        parts.append((rod((x * spread, y * spread, 0), (x * wide * 0.3, y * wide * 0.3, high),
                          radius), metal))
    return make_thing(parts)


def wire_chair(rng, store) -> Thing:
    """A chair of bent tubes: cantilever, folding or stacking."""
    metal, cloth = _paint(rng, store), random_material(rng, store, 'furniture')
    x, seat, back = rng.uniform(0.4, 0.5), rng.uniform(0.42, 0.48), rng.uniform(0.75, 1.0)
    radius, lean = rng.uniform(0.008, 0.014), rng.uniform(0.02, 0.15)
    kind = rng.uniform()
    parts = [(box(x, x, 0.025, seat), cloth),
             (moved(box(0.02, x, rng.uniform(0.15, back - seat - 0.05)), -x / 2 - lean / 2, 0,
                    back - 0.3), cloth)]
    for y in (-x / 2, x / 2):
        top = (-x / 2 - lean, y, back)
        if kind < 0.4:      # cantilever
            points = [(-x / 2, y, 0.015), (x / 2, y, 0.015), (x / 2, y, seat), (-x / 2, y, seat),
                      top]
        elif kind < 0.7:    # folding
            points = [(x / 2, y, 0), (-x / 2, y, seat), top]
            parts.append((rod((-x / 2, y, 0), (x / 2, y, seat), radius), metal))
        else:
            points = [(-x / 2 - lean, y, 0), (-x / 2, y, seat), top]
            parts.append((rod((x / 2 + 0.03, y, 0), (x / 2 - 0.03, y, seat), radius), metal))
        parts.append((tube(points, radius), metal))
    return make_thing(parts)


def trestle(rng, store) -> Thing:
    """A table top on trestles, X legs, a sledge frame or hairpins."""
    x, y, z = rng.uniform(0.5, 0.9), rng.uniform(0.9, 2.2), rng.uniform(0.45, 1.05)
    top = glass(rng) if rng.uniform() < 0.15 else random_material(rng, store, 'furniture')
    metal = _paint(rng, store)
    radius, kind = rng.uniform(0.006, 0.025), rng.uniform()
    parts = [(box(x, y, rng.uniform(0.012, 0.05), z), top)]
    for side in (-1, 1):
        at, a, b = side * (y / 2 - 0.1), -x / 2 + 0.05, x / 2 - 0.05
        if kind < 0.3:
            lines = [[(a, at, 0), (b, at, z)], [(b, at, 0), (a, at, z)]]
        elif kind < 0.6:
            lines = [[(a, at, z), (a, at, radius), (b, at, radius), (b, at, z)]]
        else:
            spread = side * rng.uniform(0.02, 0.15)
            lines = [[(end, at + spread, 0), (end * 0.8, at, z)] for end in (a, b)]
            lines += [[(end, at - spread, 0), (end * 0.8, at, z)] for end in (a, b)]
        parts += [(tube(line, radius), metal) for line in lines]
    return make_thing(parts)


def railing(rng, store) -> Thing:
    """A handrail, a balustrade or a barrier of bars or mesh."""
    y, z = rng.uniform(0.8, 4.0), rng.uniform(0.6, 1.3)
    metal, radius = _paint(rng, store), rng.uniform(0.006, 0.025)
    thick = radius * rng.uniform(1, 2)
    parts = [(rod((0, -y / 2, z), (0, y / 2, z), thick), metal)]
    posts = np.linspace(-y / 2, y / 2, max(2, round(y / rng.uniform(0.5, 1.8)) + 1))
    parts += [(rod((0, at, 0), (0, at, z), thick), metal) for at in posts]
    kind = rng.uniform()
    if kind < 0.4:
        bars = np.arange(-y / 2, y / 2, rng.uniform(0.09, 0.16))
        parts += [(rod((0, at, 0.1), (0, at, z), radius * 0.7, sides=5), metal) for at in bars]
    levels = (0.1,) if kind < 0.4 else np.arange(0.2, z - 0.1, rng.uniform(0.15, 0.5))
    parts += [(rod((0, -y / 2, h), (0, y / 2, h), radius, sides=5), metal) for h in levels]
    return make_thing(parts)


def cordon(rng, store) -> Thing:
    """Posts with a belt, a rope, a chain or barrier tape between them."""
    post, band = _paint(rng, store), Material(tint=random_colour(rng, 1.3))
    gap, high, radius = rng.uniform(0.9, 2.0), rng.uniform(0.75, 1.05), rng.uniform(0.015, 0.04)
    count, sag = int(rng.integers(2, 4)), rng.uniform(0, 0.25)
    parts = []
    for i in range(count):
        y = (i - (count - 1) / 2) * gap
        parts += [(moved(cylinder(radius, high, 10), 0, y), post),
                  (moved(cylinder(0.15, 0.03, 16), 0, y), post)]
        if i:
            t = np.linspace(0, 1, 9)
            points = np.stack([0 * t, y - gap + gap * t, high - 0.06 - 4 * sag * t * (1 - t)], -1)
            if sag < 0.05:
                parts.append((moved(box(0.006, gap, rng.uniform(0.04, 0.09)), 0, y - gap / 2,
                                    high - 0.12), band))
            else:
                parts.append((tube(points, rng.uniform(0.008, 0.02)), band))
    return make_thing(parts)


def cable(rng, store) -> Thing:
    """A cable or hose that hangs from above, or between two stands."""
    skin, radius = Material(tint=random_colour(rng, 1.0)), rng.uniform(0.005, 0.03)
    t = np.linspace(0, 1, 12)
    if rng.uniform() < 0.5:
        high, sway = rng.uniform(1.5, 2.6), rng.uniform(0, 0.2, 2)
        points = np.stack([sway[0] * np.sin(3 * t), sway[1] * np.sin(4 * t), high * t], -1)
        return make_thing([(tube(points, radius), skin)])
    y, high = rng.uniform(1.0, 3.5), rng.uniform(0.4, 1.6)
    sag = rng.uniform(0.05, 0.9) * high
    points = np.stack([0 * t, (t - 0.5) * y, high - 4 * sag * t * (1 - t)], -1)
    post = _paint(rng, store)
    return make_thing([(tube(points, radius), skin)] + [
        (rod((0, s * y / 2, 0), (0, s * y / 2, high), 0.02), post) for s in (-1, 1)])


def clothes_rail(rng, store) -> Thing:
    """A rail on wheels, a drying rack, or a bare frame; with or without clothes."""
    metal, y, z = _paint(rng, store), rng.uniform(0.7, 1.8), rng.uniform(0.9, 1.9)
    radius, foot = rng.uniform(0.008, 0.02), rng.uniform(0.2, 0.35)
    parts = [(rod((0, -y / 2, z), (0, y / 2, z), radius), metal)]
    for side in (-1, 1):
        at = side * y / 2
        parts += [(rod((0, at, 0.05), (0, at, z), radius), metal),
                  (rod((-foot, at, 0.05), (foot, at, 0.05), radius), metal)]
    for _ in range(int(rng.integers(0, 12))):
        size = rng.uniform([0.25, 0.02, 0.4], [0.45, 0.06, 0.9])
        parts.append((moved(box(*size), 0, rng.uniform(-0.45, 0.45) * y, z - size[2] - 0.05),
                      random_material(rng, store, 'fabric')))
    return make_thing([p for p in parts if p[0][0][..., 2].min() > -1e-3])


def bicycle(rng, store) -> Thing:
    """Two wheels and a frame of tubes."""
    frame, rubber = Material(tint=random_colour(rng, 1.2)), Material(tint=(0.03, 0.03, 0.03))
    radius, base = rng.uniform(0.22, 0.36), rng.uniform(0.85, 1.1)
    rear, front = (-base / 2, 0, radius), (base / 2, 0, radius)
    crank, saddle = (-0.08, 0, radius * 0.9), (-0.2, 0, radius * 2.5)
    head = (0.35, 0, radius * 2.5)
    parts = [(moved(ring(radius, 0.02), x), rubber) for x in (-base / 2, base / 2)]
    for wheel in (rear, front):
        for angle in np.arange(0, np.pi, np.pi / 5):
            tip = 0.95 * radius * np.array([np.cos(angle), 0, np.sin(angle)])
            parts.append((rod(wheel - tip, wheel + tip, 0.003, sides=4), rubber))
    lines = [(rear, crank), (crank, saddle), (saddle, rear), (saddle, head), (crank, head),
             (head, front)]
    parts += [(rod(a, b, 0.016), frame) for a, b in lines]
    parts.append((moved(box(0.25, 0.13, 0.06), *saddle), rubber))
    bar = np.array(head) + (0, 0, 0.12)
    parts += [(rod(head, bar, 0.014), frame),
              (rod(bar - (0, 0.28, 0), bar + (0, 0.28, 0), 0.013), rubber)]
    return make_thing(parts)


def step_ladder(rng, store) -> Thing:
    """A ladder of two slanted frames, open."""
    z, y = rng.uniform(0.7, 2.2), rng.uniform(0.35, 0.55)
    metal, spread = _paint(rng, store), z * rng.uniform(0.2, 0.35)
    parts = []
    for side in (-1, 1):
        for end in (-1, 1):
            parts.append((rod((end * spread, side * y / 2, 0), (0, side * y / 2 * 0.8, z), 0.018),
                          metal))
    for h in np.arange(0.25, z, 0.26):
        at = spread * (1 - h / z)
        parts.append((moved(box(0.07, y * 0.9, 0.02, h), at), metal))
    return make_thing([*parts, (box(0.2, y * 0.85, 0.03, z), metal)])


def broom(rng, store) -> Thing:
    """A stick that leans: a broom, a pipe, a plank, a rake."""
    high, lean = rng.uniform(0.9, 2.2), rng.uniform(0.05, 0.5)
    radius = rng.uniform(0.008, 0.03)
    stick = random_material(rng, store, 'furniture')
    parts = [(rod((lean, 0, 0.02), (0, 0, high), radius), stick)]
    if rng.uniform() < 0.6:
        parts.append((moved(box(0.06, rng.uniform(0.2, 0.5), 0.08), lean), _paint(rng, store)))
    return make_thing(parts)


def ladder(rng, store) -> Thing:
    z, y = rng.uniform(1.2, 2.6), rng.uniform(0.35, 0.5)
    metal = random_material(rng, store, 'metal')
    parts = [(moved(box(0.05, 0.03, z), 0, s * y / 2), metal) for s in (-1, 1)]
    return make_thing(parts + [(box(0.04, y, 0.025, h), metal) for h in np.arange(0.25, z, 0.28)])


