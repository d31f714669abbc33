# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a maker returns: the parts of one thing, ready to be placed. Makers take (rng, store)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulator.scene import Material, Scene
from training.simulator.shapes import box, cylinder, moved, Shape


@dataclass
class Thing:
    parts: list[tuple[Shape, Material]]
    size: tuple[float, float]   # footprint x, y [m]

    def place(self, scene: Scene, x: float, y: float, yaw: float, z: float = 0.0) -> None:
        """Add the thing to a scene."""
        for shape, material in self.parts:
            scene.add(moved(shape, x, y, z, yaw), material)


def make_thing(parts) -> Thing:
    """Return a Thing of (shape, Material) parts, centred in x and y, not below z = 0."""
    low = np.min([s[0].reshape(-1, 3).min(0) for s, _ in parts], 0)
    high = np.max([s[0].reshape(-1, 3).max(0) for s, _ in parts], 0)
    x, y = -(low + high)[:2] / 2
    return Thing([(moved(shape, x, y, max(0.0, -low[2])), material) for shape, material in parts],
                 (float(high[0] - low[0]), float(high[1] - low[1])))


def legs(rng, x: float, y: float, height: float, material: Material) -> list:
    """Return four round or square legs under a top of x by y metres."""
    thick = rng.uniform(0.01, 0.035)
    is_round = rng.uniform() < 0.5
    shape = cylinder(thick, height, 8) if is_round else box(2 * thick, 2 * thick, height)
    dx, dy = x / 2 - thick, y / 2 - thick
    return [(moved(shape, sx * dx, sy * dy), material) for sx in (-1, 1) for sy in (-1, 1)]
