# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Paint, rugs and other coverings on the floor of a photograph, in its own light.

What lies on a floor is no obstacle. Networks that see few real floors take patterns for things,
and the more so, the more they are asked to find things.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from training.simulator.marks import scatter_marks
from training.simulator.materials import random_material
from training.simulator.render import render
from training.simulator.scene import Material, Scene
from training.simulator.shapes import quad
from training.simulator.textures import TextureStore

FLOOR_M = 60.0
GAMMA = 2.2
BARE = 0.5                      # reflectance of the floor as it is
COVERED_SHARE = 0.4             # of floors that get another pattern all over
LIGHT_PX = 21                   # side of the box over which a covering hides what it lies on


def painted(rng, image: np.ndarray, free: np.ndarray, height_m: float, store: TextureStore,
            device: str = 'cpu') -> np.ndarray:
    """
    Return a photograph (H, W, 3) uint8 whose free floor has another pattern, marks or rugs.

    :param free: (H, W) bool, where its floor is seen
    :param height_m: of the level camera above the floor
    """
    scene = _lit_alike(rng, store, height_m, device)
    double = (2 * image.shape[0], 2 * image.shape[1])
    drawn = halved(render(scene, (0, 0, height_m), double, rng)[0])
    pattern = drawn / np.maximum(np.median(drawn[free], 0).mean(), 0.05)
    pattern *= rng.uniform(0.7, 1.2)
    bare = np.abs(drawn - BARE).max(-1, keepdims=True) < 1e-3       # no covering here
    linear = (image.astype(np.float32) / 255) ** GAMMA
    hidden = rng.uniform(0, 1) * ~bare
    light = (1 - hidden) * linear + hidden * _light_on(linear, free)
    floor = np.clip(light * np.where(bare, 1.0, pattern), 0, 1)
    inside = cv2.GaussianBlur(free.astype(np.float32), (0, 0), 0.5)[..., None] * free[..., None]
    return (((1 - inside) * linear + inside * floor) ** (1 / GAMMA) * 255 + 0.5).astype(np.uint8)


def _lit_alike(rng, store: TextureStore, height_m: float, device: str) -> Scene:
    """Return a floor with what lies on it; its radiance is its reflectance."""
    scene = Scene(store, lights=[], ambient=1.0, occlusion=False, device=device)
    material = Material(tint=(BARE,) * 3)
    if rng.uniform() < COVERED_SHARE:
        material = replace(random_material(rng, store, str(rng.choice(['floor', 'ground']))),
                           mirror=0.0)
    side = np.array([[np.cos(yaw), np.sin(yaw), 0] for yaw in rng.uniform(0, np.pi)
                     + np.array([0, np.pi / 2])]) * FLOOR_M
    scene.add(quad(-side.sum(0) / 2, side[0], side[1]), material)
    scatter_marks(rng, scene, np.array([0, 0, height_m]), height_m)
    return scene


def _light_on(linear: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the mean colour of the free floor around each pixel."""
    pad = LIGHT_PX // 2
    both = np.concatenate([linear * free[..., None], free[..., None].astype(np.float32)], -1)
    wrapped = cv2.copyMakeBorder(both, 0, 0, pad, pad, cv2.BORDER_WRAP)
    mean = cv2.blur(wrapped, (LIGHT_PX, LIGHT_PX))[:, pad:-pad]
    return mean[..., :3] / np.maximum(mean[..., 3:], 1e-3)


def halved(picture: np.ndarray) -> np.ndarray:
    """Return the means of 2 x 2 pixels; (2 H, 2 W, C) -> (H, W, C)."""
    height, width, channels = picture.shape
    return picture.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3))
