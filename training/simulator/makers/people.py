# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""People of simple shapes, clothed: standing, walking, reaching, sitting, crouching."""

from __future__ import annotations

import numpy as np

from training.simulator.makers.things import legs, make_thing, Thing
from training.simulator.materials import random_colour, random_material
from training.simulator.scene import Material
from training.simulator.shapes import box, ellipsoid, lathe, moved, rod

# Hip and shoulder height, knee and foot forward of the hip, knee height; shares of body height.
POSES = {'standing': (0.52, 0.0, 0.0, 0.27), 'walking': (0.51, 0.06, 0.14, 0.27),
         'sitting': (0.27, 0.24, 0.24, 0.27), 'crouching': (0.18, 0.2, 0.04, 0.3)}


def person(rng, store, pose: str = '') -> Thing:
    """
    Return somebody of 1 to 2 m who looks along x; a third of them sit or crouch.

    :param pose: one of POSES; '' = any
    """
    pose = pose or str(rng.choice(list(POSES), p=[0.4, 0.26, 0.24, 0.1]))
    tall = float(rng.choice([rng.uniform(1.5, 2.0), rng.uniform(1.0, 1.5)], p=[0.85, 0.15]))
    wide = rng.uniform(0.095, 0.14)
    shirt, trousers = _clothes(rng, store), _clothes(rng, store)
    skin = Material(tint=tuple(np.array([0.75, 0.5, 0.38]) * rng.uniform(0.2, 1.15)))
    hip, knee_x, foot_x, knee = POSES[pose]
    lean = rng.uniform(-0.03, 0.06) + (0.15 if pose == 'crouching' else 0)
    shoulder = np.array([lean, 0, hip + 0.3])
    parts = [*_trunk(rng, hip, shoulder, wide, shirt), *_head(rng, shoulder, skin)]
    for side in (-1, 1):
        step = side if pose == 'walking' else 1
        parts += _leg(rng, side, hip, knee, step * knee_x, step * foot_x, trousers)
        parts += _arm(rng, side, shoulder, wide, shirt, skin)
    parts += _extras(rng, store, hip, shoulder, wide, trousers, pose)
    scaled = [(moved(shape, scale=tall), material) for shape, material in parts]
    if pose == 'sitting':
        seat = random_material(rng, store, 'furniture')
        high = (hip - 0.075) * tall
        scaled += [(box(0.45, 0.45, 0.04, high - 0.04), seat), *legs(rng, 0.44, 0.44,
                                                                   high - 0.04, seat)]
        if rng.uniform() < 0.6:
            scaled.append((moved(box(0.04, 0.45, 0.5, high), -0.22), seat))
    return make_thing(scaled)


def _clothes(rng, store) -> Material:
    if rng.uniform() < 0.55:
        return Material(tint=tuple(np.array(random_colour(rng, 1.2)).clip(0.01, 1)))
    return random_material(rng, store, 'fabric')


def _trunk(rng, hip, shoulder, wide, shirt) -> list:
    """Return hips, belly, chest and neck as one elliptical body, leant forward."""
    belly = rng.uniform(0.75, 1.15) * wide
    radii = np.array([0.5 * wide, 0.85 * wide, belly, wide * 1.05, wide * 0.85, 0.035, 0.032])
    heights = np.array([-0.03, 0.02, 0.12, 0.24, 0.3, 0.32, 0.36])
    corners, uv = lathe(radii, heights, 12)
    corners = corners * np.array([rng.uniform(0.55, 0.75), 1, 1], np.float32)
    corners[..., 0] += corners[..., 2] * np.float32(shoulder[0] / 0.3)
    return [((corners + np.array([0, 0, hip], np.float32), uv), shirt)]


def _head(rng, shoulder, skin) -> list:
    x, z = shoulder[0] + 0.01, shoulder[2] + 0.045
    hair = Material(tint=tuple(rng.uniform(0.01, 0.35) * np.array([1, 0.8, 0.6])))
    if rng.uniform() < 0.3:     # a hat or a helmet
        hair = Material(tint=random_colour(rng, 1.2))
    return [(moved(ellipsoid(0.055, 0.047, 0.068), x, 0, z), skin),
            (moved(ellipsoid(0.058, 0.052, 0.05), x - 0.01, 0, z + 0.05), hair)]


def _leg(rng, side, hip, knee, knee_x, foot_x, material) -> list:
    y = side * rng.uniform(0.045, 0.075)
    joint = (knee_x, y * 1.1, knee)
    ankle = (foot_x - (0.05 if foot_x else 0), y, 0.03)
    shoe = Material(tint=random_colour(rng, 0.6))
    return [(rod((0, y, hip), joint, 0.056, 0.036), material),
            (rod(joint, ankle, 0.036, 0.026), material),
            (moved(box(0.15, 0.055, 0.042), ankle[0] + 0.035, y), shoe)]


def _arm(rng, side, shoulder, wide, sleeve, skin) -> list:
    start = shoulder + np.array([0, side * (wide + 0.005), -0.005])
    reach, out = rng.uniform(-0.5, 1.2), rng.uniform(0.0, 0.35) * side
    upper = np.array([np.sin(reach * 0.6), out, -np.cos(reach * 0.6)]) * 0.17
    bend = reach * 0.6 + rng.uniform(0, 1.6)
    lower = np.array([np.sin(bend), out * 0.5, -np.cos(bend)]) * 0.15
    elbow = start + upper
    hand = elbow + lower
    bare = skin if rng.uniform() < 0.35 else sleeve
    return [(rod(start, elbow, 0.032, 0.025), sleeve), (rod(elbow, hand, 0.025, 0.018), bare),
            (moved(ellipsoid(0.025, 0.018, 0.025), *(hand - np.array([0, 0, 0.025]))), skin)]


def _extras(rng, store, hip, shoulder, wide, trousers, pose) -> list:
    """Return a skirt or coat, a backpack, a bag in the hand: any of them or none."""
    parts = []
    if pose in ('standing', 'walking') and rng.uniform() < 0.25:
        low = rng.uniform(0.12, 0.35)
        shape = lathe([0.1, wide * 0.9], [low, hip + 0.05], 12)
        parts.append((moved(shape, scale=(0.8, 1, 1)), trousers))
    if rng.uniform() < 0.2:
        depth = rng.uniform(0.06, 0.14)
        parts.append((moved(box(depth, 0.17, 0.26), shoulder[0] - 0.06 - depth / 2, 0, hip + 0.04),
                      _clothes(rng, store)))
    if pose != 'sitting' and rng.uniform() < 0.2:
        size = rng.uniform([0.06, 0.04, 0.1], [0.2, 0.1, 0.22])
        parts.append((moved(box(*size), 0.02, wide + 0.07, max(0.0, hip - 0.08 - size[2])),
                      _clothes(rng, store)))
    return parts
