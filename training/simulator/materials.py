# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Random materials by purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from training.simulator.scene import Material
from training.simulator.textures import TextureStore

GROUPS = {
    'wall': ('wall', 'wall', 'wall', 'brick', 'tiles', 'wood', 'fabric'),
    'floor': ('floor', 'floor', 'tiles', 'wood', 'stone', 'wall', 'paving'),
    'ceiling': ('ceiling', 'wall', 'wall', 'wood'),
    'furniture': ('wood', 'wood', 'fabric', 'metal', 'misc', 'stone', 'furniture_atlas', 'tiles'),
    'fabric': ('fabric',),
    'metal': ('metal',),
    'facade': ('brick', 'brick', 'wall', 'stone', 'tiles', 'wood', 'metal'),
    'ground': ('asphalt', 'paving', 'grass', 'ground', 'wall', 'stone'),
    'road': ('asphalt',),
    'picture': ('pictures',),
    'carton': ('misc', 'wood', 'wall'),
    'foliage': ('grass', 'ground', 'wood'),
}
PLAIN_PROBABILITY = {'wall': 0.45, 'ceiling': 0.7, 'furniture': 0.4, 'facade': 0.25,
                     'metal': 0.4, 'carton': 0.4, 'floor': 0.12, 'fabric': 0.3}


def random_colour(rng: np.random.Generator, saturation: float = 0.5) -> tuple:
    """Return a linear colour: any hue, mostly pale, sometimes dark."""
    hue = rng.uniform(0, 2 * np.pi) + np.array([0, 2, 4]) * np.pi / 3
    strength = saturation * rng.uniform() ** 2
    value = rng.choice([rng.uniform(0.5, 1.0), rng.uniform(0.08, 0.6), rng.uniform(0.02, 0.15)],
                       p=[0.6, 0.3, 0.1])
    return tuple(float(c) for c in value * (1 - strength * (0.5 + 0.5 * np.cos(hue))))


def random_material(rng: np.random.Generator, store: TextureStore, purpose: str) -> Material:
    """Return a plain or textured material for a purpose of :data:`GROUPS`."""
    groups = [g for g in GROUPS[purpose] if g in store.names]
    if not groups or rng.uniform() < PLAIN_PROBABILITY.get(purpose, 0.0):
        saturation = 0.25 if purpose in ('wall', 'ceiling') else 0.8
        colour = np.array(random_colour(rng, saturation))
        if purpose in ('wall', 'ceiling'):
            colour = 0.5 * colour + 0.45
        return Material(tint=tuple(colour))
    texture = int(rng.choice(store.names[str(rng.choice(groups))]))
    tint = np.ones(3) * rng.uniform(0.7, 1.3)
    if rng.uniform() < 0.35:
        tint = tint * (0.4 + 0.8 * np.array(random_colour(rng)))
    tile = float(np.exp(rng.uniform(np.log(0.5), np.log(3.0))))
    return Material(texture, tile, tuple(float(c) for c in tint))


def glass(rng: np.random.Generator) -> Material:
    """Return a clear pane, sometimes tinted; its range is unknown."""
    tint = np.array([0.92, 0.96, 0.94]) * rng.choice([1.0, rng.uniform(0.3, 1.0)])
    return Material(tint=tuple(float(c) for c in tint), mirror=float(rng.uniform(0.04, 0.15)),
                    clear=True)


def mirror(rng: np.random.Generator) -> Material:
    """Return a mirror; its range is unknown."""
    return Material(tint=(0.1, 0.1, 0.1), mirror=float(rng.uniform(0.8, 0.95)))


def polished(rng: np.random.Generator, material: Material, share: float = 0.3) -> Material:
    """Return the material, in a share of cases one that reflects like a waxed floor."""
    if rng.uniform() > share:
        return material
    return replace(material, mirror=float(np.exp(rng.uniform(np.log(0.02), np.log(0.25)))))
