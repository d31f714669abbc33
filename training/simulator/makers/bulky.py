# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Large things that fill the view from close by: counters, cupboards, machines, crates."""

from __future__ import annotations

import numpy as np

from training.simulator.makers.things import make_thing, Thing
from training.simulator.materials import glass, mirror, random_colour, random_material
from training.simulator.scene import Material
from training.simulator.shapes import box, cylinder, lathe, moved, rod, tube


def _on_top(rng, x: float, y: float, z: float, most: int = 5) -> list:
    """Return a few boxes and jars that stand on a top of x by y metres."""
    parts = []
    for _ in range(int(rng.integers(0, most + 1))):
        at = rng.uniform(-0.4, 0.4, 2) * (x, y)
        if rng.uniform() < 0.6:
            shape = box(*rng.uniform(0.06, 0.38, 3))
        else:
            shape = cylinder(rng.uniform(0.03, 0.12), rng.uniform(0.08, 0.35), 10)
        parts.append((moved(shape, *at, z, rng.uniform(0, 3)),
                      Material(tint=random_colour(rng, 1.0))))
    return parts


def _fronts(rng, store, x: float, y: float, z: float) -> list:
    """Return doors or drawers with handles on the face at +x/2."""
    front = mirror(rng) if rng.uniform() < 0.04 else random_material(rng, store, 'furniture')
    grip = random_material(rng, store, 'metal')
    cols = max(1, round(y / rng.uniform(0.35, 0.7)))
    rows = int(rng.choice([1, 1, 2, 3, 4]))
    parts = []
    for i, j in np.ndindex(cols, rows):
        wide, tall = y / cols, (z - 0.1) / rows
        at, low = -y / 2 + (i + 0.5) * wide, 0.08 + j * tall
        parts.append((moved(box(0.02, wide - 0.01, tall - 0.012, low), x / 2 + 0.008, at), front))
        if rng.uniform() < 0.8:
            handle = box(0.03, 0.12, 0.012, low + tall - 0.07) if rows > 1 else box(
                0.03, 0.012, 0.15, low + 0.6 * tall)
            parts.append((moved(handle, x / 2 + 0.03, at + (0 if rows > 1 else 0.4 * wide)), grip))
    return parts


def counter(rng, store) -> Thing:
    """A bar, a reception desk or a kitchen block: large, at hand height."""
    x, y, z = rng.uniform(0.5, 1.0), rng.uniform(1.2, 4.0), rng.uniform(0.75, 1.25)
    body, top = (random_material(rng, store, 'furniture') for _ in range(2))
    toe = rng.choice([0.0, 0.1])
    parts = [(moved(box(x - toe, y, z), -toe / 2), body),
             (box(x + rng.uniform(0, 0.25), y + 0.06, rng.uniform(0.02, 0.08), z), top)]
    if rng.uniform() < 0.5:
        parts += _fronts(rng, store, x - 2 * toe, y, z)
    if rng.uniform() < 0.25:    # a raised bar along the front
        parts.append((moved(box(0.3, y, 0.04, z + 0.25), x / 2), top))
        parts.append((moved(box(0.06, y, 0.25, z), x / 2 - 0.05), body))
    return make_thing(parts + _on_top(rng, x, y, z + 0.06))


def corner_counter(rng, store) -> Thing:
    """A counter with a return: an L of two blocks under one top."""
    x, y, z = rng.uniform(0.5, 0.8), rng.uniform(1.5, 3.5), rng.uniform(0.75, 1.2)
    arm = rng.uniform(0.8, 2.0)
    body, top = (random_material(rng, store, 'furniture') for _ in range(2))
    side, shift = rng.choice([-1, 1]) * (y - x) / 2, (arm + x) / 2
    parts = [(box(x, y, z), body), (moved(box(arm, x, z), shift, side), body),
             (box(x + 0.06, y + 0.06, 0.04, z), top),
             (moved(box(arm + 0.06, x + 0.06, 0.04, z), shift, side), top)]
    return make_thing(parts + _on_top(rng, x, y, z + 0.04, 8))


def kitchen(rng, store) -> Thing:
    """A row of base units, a worktop, wall units above it and sometimes a tall unit."""
    y, z = rng.uniform(1.2, 3.6), rng.uniform(0.82, 0.95)
    body, top = random_material(rng, store, 'furniture'), random_material(rng, store, 'furniture')
    parts = [(box(0.58, y, z), body), (box(0.64, y, 0.04, z), top),
             *_fronts(rng, store, 0.58, y, z), *_on_top(rng, 0.5, y, z + 0.04)]
    if rng.uniform() < 0.7:
        low, tall = z + rng.uniform(0.45, 0.6), rng.uniform(0.4, 0.8)
        parts.append((moved(box(0.35, y, tall, low), -0.12), body))
        parts += [(moved(shape, -0.12, 0, low), m) for shape, m in _fronts(
            rng, store, 0.35, y, tall)]
        parts.append((moved(box(0.03, y, low - z, z), -0.28), random_material(
            rng, store, 'wall')))
    if rng.uniform() < 0.4:
        parts.append((moved(box(0.62, 0.6, rng.uniform(1.6, 2.2)), 0, y / 2 + 0.31), body))
    return make_thing(parts)


def cupboard(rng, store) -> Thing:
    """A wardrobe, a locker row, a sideboard or a chest of drawers."""
    x, y = rng.uniform(0.35, 0.75), rng.uniform(0.4, 2.6)
    z = float(rng.choice([rng.uniform(0.5, 1.1), rng.uniform(1.1, 1.6), rng.uniform(1.6, 2.3)]))
    body = random_material(rng, store, 'furniture')
    return make_thing([(box(x, y, z), body), *_fronts(rng, store, x, y, z),
                       *_on_top(rng, x, y, z, 3)])


def appliance(rng, store) -> Thing:
    """A fridge, an oven, a washing machine, a copier or a vending machine."""
    x, y = rng.uniform(0.5, 0.85), rng.uniform(0.5, 1.1)
    z = float(rng.choice([rng.uniform(0.8, 1.2), rng.uniform(1.5, 2.1)]))
    shell = Material(tint=tuple(np.ones(3) * rng.choice([rng.uniform(0.6, 0.95), 0.05, 0.3])))
    shell = shell if rng.uniform() < 0.6 else random_material(rng, store, 'metal')
    dark = Material(tint=(0.03, 0.03, 0.04))
    parts = [(box(x, y, z), shell)]
    if z < 1.3 and rng.uniform() < 0.5:
        door = cylinder(rng.uniform(0.14, 0.2), 0.04, 20)
        parts.append(((moved((door[0][..., [2, 1, 0]], door[1]), x / 2, 0, z * 0.45)), dark))
    else:
        split = rng.uniform(0.3, 0.7) * z
        parts.append((moved(box(0.01, y, 0.012, split), x / 2), dark))
        parts.append((moved(box(0.04, 0.025, 0.35 * z, 0.4 * z), x / 2 + 0.02, 0.4 * y),
                      random_material(rng, store, 'metal')))
    if rng.uniform() < 0.4:     # a lit panel
        glow = Material(tint=random_colour(rng, 1.0), emission=rng.uniform(0, 1.5))
        tall = rng.uniform(0.1, 0.5) * z
        parts.append((moved(box(0.012, 0.7 * y, tall, 0.45 * z), x / 2), glow))
    return make_thing(parts)


def machine(rng, store) -> Thing:
    """An industrial machine: blocks, a control box, pipes and feet."""
    x, y, z = rng.uniform(0.6, 1.5), rng.uniform(0.8, 2.8), rng.uniform(0.8, 2.0)
    paint, metal = Material(tint=random_colour(rng, 0.9)), random_material(rng, store, 'metal')
    parts = [(box(x, y, z * 0.6, 0.08), paint), (box(x * 0.9, y * 0.9, 0.08), metal)]
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.2, 0.8, 3) * (x, y, z * 0.6)
        parts.append((moved(box(*size, z * 0.68), rng.uniform(-0.2, 0.2) * x,
                            rng.uniform(-0.3, 0.3) * y), paint if rng.uniform() < 0.5 else metal))
    for _ in range(int(rng.integers(0, 4))):
        a = np.array([x / 2 + 0.04, rng.uniform(-0.45, 0.45) * y, rng.uniform(0.2, 0.6) * z])
        parts.append((tube([a, a + (0.1, 0, 0), a + (0.1, 0, 0.4 * z), a + (0, 0, 0.4 * z)],
                           rng.uniform(0.015, 0.05)), metal))
    return make_thing(parts)


def gondola(rng, store) -> Thing:
    """A shop shelf with a back, open on one or both sides, full of goods."""
    depth, y, z = rng.uniform(0.3, 0.5), rng.uniform(0.9, 2.6), rng.uniform(1.1, 2.1)
    frame = random_material(rng, store, 'furniture')
    sides = (-1, 1) if rng.uniform() < 0.6 else (1,)
    parts = [(box(0.03, y, z), frame)]
    goods = [random_material(rng, store, 'carton') for _ in range(4)]
    for side in sides:
        for low in np.linspace(0.08, z - 0.2, int(rng.integers(3, 6))):
            parts.append((moved(box(depth, y, 0.025, low), side * depth / 2), frame))
            at = -y / 2
            while at < y / 2 - 0.1:
                wide = rng.uniform(0.05, 0.35)
                if rng.uniform() < 0.85:
                    deep = depth * rng.uniform(0.5, 0.95)
                    shape = box(deep, wide * 0.95, rng.uniform(0.08, 0.22), low + 0.025)
                    parts.append((moved(shape, side * deep / 2, min(
                        at + wide / 2, y / 2 - wide / 2)), goods[rng.integers(4)]))
                at += wide
    return make_thing(parts)


def crate(rng, store) -> Thing:
    """A slatted or closed crate, or a machine in packing film."""
    x, y, z = rng.uniform(0.5, 1.3, 3) * (1, 1.3, 1)
    wood = random_material(rng, store, 'furniture')
    if rng.uniform() < 0.5:
        film = Material(tint=tuple(np.array([0.75, 0.78, 0.8]) * rng.uniform(0.5, 1.1)))
        shrink = rng.uniform(0.6, 1.0)
        corners, uv = box(x, y, z, 0.13)
        narrow = np.where(corners[..., 2:] > z * 0.6, shrink, 1)
        corners = corners * np.concatenate([narrow, narrow, np.ones_like(narrow)], -1)
        return make_thing([((corners.astype(np.float32), uv), film), (box(x, y, 0.12), wood)])
    parts = [(box(x * 0.9, y * 0.9, z * 0.9, 0.05), random_material(rng, store, 'carton'))]
    step = rng.uniform(0.12, 0.3)
    for low in np.arange(0.0, z, step):
        high = step * rng.uniform(0.5, 0.85)
        for side in (-1, 1):
            parts += [(moved(box(0.02, y, high, low), side * x / 2), wood),
                      (moved(box(x, 0.02, high, low), 0, side * y / 2), wood)]
    return make_thing(parts)


def cage(rng, store) -> Thing:
    """A roll container: a base on castors, walls of bars, boxes inside."""
    x, y, z = rng.uniform(0.6, 0.8), rng.uniform(0.7, 1.2), rng.uniform(1.2, 1.8)
    metal = random_material(rng, store, 'metal')
    parts = [(box(x, y, 0.04, 0.14), metal)]
    parts += [(moved(cylinder(0.05, 0.14, 8), sx * (x / 2 - 0.06), sy * (y / 2 - 0.06)), metal)
              for sx in (-1, 1) for sy in (-1, 1)]
    for sx in (-1, 1) if rng.uniform() < 0.5 else (-1,):
        for at in np.linspace(-y / 2, y / 2, int(rng.integers(4, 9))):
            parts.append((rod((sx * x / 2, at, 0.16), (sx * x / 2, at, z), 0.009, sides=5), metal))
    for sy in (-1, 1):
        for at in np.linspace(-x / 2, x / 2, int(rng.integers(3, 7))):
            parts.append((rod((at, sy * y / 2, 0.16), (at, sy * y / 2, z), 0.009, sides=5), metal))
    for low in (0.5, z):
        parts.append((tube([(x / 2, -y / 2, low), (-x / 2, -y / 2, low), (-x / 2, y / 2, low),
                            (x / 2, y / 2, low)], 0.011), metal))
    low = 0.18
    while low < z - 0.3 and rng.uniform() < 0.8:
        tall = rng.uniform(0.2, 0.5)
        parts.append((box(x * 0.85, y * rng.uniform(0.5, 0.9), tall, low),
                      random_material(rng, store, 'carton')))
        low += tall
    return make_thing(parts)


def trolley(rng, store) -> Thing:
    """A cart with two or three decks, a hospital bed, a platform truck."""
    x, y = rng.uniform(0.4, 0.9), rng.uniform(0.6, 2.0)
    z = rng.uniform(0.5, 1.0)
    metal, deck = random_material(rng, store, 'metal'), random_material(rng, store, 'furniture')
    parts = [(moved(cylinder(0.06, 0.12, 10), sx * (x / 2 - 0.05), sy * (y / 2 - 0.05)),
              Material(tint=(0.03,) * 3)) for sx in (-1, 1) for sy in (-1, 1)]
    levels = np.linspace(0.14, z, int(rng.integers(1, 4)))
    parts += [(box(x, y, rng.uniform(0.03, 0.15), float(low)), deck) for low in levels]
    high = max(z, 0.9) + rng.uniform(0, 0.15)
    for end in (-1, 1) if rng.uniform() < 0.5 else (1,):
        at = end * y / 2
        parts.append((tube([(-x / 2, at, 0.12), (-x / 2, at, high), (x / 2, at, high),
                            (x / 2, at, 0.12)], 0.015), metal))
    return make_thing(parts + _on_top(rng, x, y, float(levels[-1]) + 0.1, 4))


def panel(rng, store) -> Thing:
    """A partition, a screen on feet, a pin board, or two of them as a corner."""
    y, z = rng.uniform(0.5, 2.5), rng.uniform(0.6, 2.2)
    lift = rng.uniform(0.0, 0.3)
    frame = random_material(rng, store, 'metal')
    face = glass(rng) if rng.uniform() < 0.2 else random_material(rng, store, 'furniture')
    parts = [(box(0.04, y, z - lift, lift), face)]
    parts += [(moved(box(0.4, 0.04, 0.04), 0, s * y / 2), frame) for s in (-1, 1)]
    parts += [(moved(box(0.04, 0.04, z), 0, s * y / 2), frame) for s in (-1, 1)]
    if rng.uniform() < 0.3:
        parts.append((moved(box(y, 0.04, z - lift, lift), y / 2, y / 2), face))
    return make_thing(parts)


def planter(rng, store) -> Thing:
    """A trough with a hedge, a bench with a back, or a low wall."""
    x, y, z = rng.uniform(0.3, 0.7), rng.uniform(0.8, 3.0), rng.uniform(0.3, 0.8)
    body, kind = random_material(rng, store, 'facade'), rng.uniform()
    if kind < 0.5:
        leaf = random_material(rng, store, 'foliage')
        green = Material(leaf.texture, leaf.tile_m, (0.35, rng.uniform(0.5, 0.9), 0.25))
        hedge = box(x * 1.1, y, rng.uniform(0.2, 0.9), z)
        return make_thing([(box(x, y, z), body), (hedge, green)])
    if kind < 0.8:
        wood = random_material(rng, store, 'furniture')
        parts = [(box(0.42, y, 0.05, 0.42), wood),
                 (moved(box(0.05, y, 0.35, 0.5), -0.2), wood)]
        return make_thing(parts + [(moved(box(0.4, 0.06, 0.45), 0, s * y * 0.42), body)
                                   for s in (-1, 1)])
    return make_thing([(lathe([0, x, x * 0.9, 0], [0, 0, z, z], 20), body)])


def showcase(rng, store) -> Thing:
    """A glass case on a plinth with things in it, or a glazed cabinet."""
    x, y, z = rng.uniform([0.4, 0.6, 1.0], [0.7, 1.8, 2.0])
    low = float(rng.choice([0.12, rng.uniform(0.5, 0.9)]))
    body, pane = random_material(rng, store, 'furniture'), glass(rng)
    parts = [(box(x, y, low), body), (box(x, y, 0.03, z), body)]
    parts += [(moved(box(0.025, 0.025, z - low, low), sx * (x / 2 - 0.013), sy * (y / 2 - 0.013)),
               body) for sx in (-1, 1) for sy in (-1, 1)]
    parts += [(moved(box(0.006, y - 0.05, z - low, low), s * x / 2), pane) for s in (-1, 1)]
    parts += [(moved(box(x - 0.05, 0.006, z - low, low), 0, s * y / 2), pane) for s in (-1, 1)]
    for level in np.linspace(low, z, int(rng.integers(2, 5)))[:-1]:
        parts.append((box(x * 0.9, y * 0.95, 0.02, float(level)), body))
        parts += _on_top(rng, x * 0.7, y, float(level) + 0.02, 4)
    return make_thing(parts)
