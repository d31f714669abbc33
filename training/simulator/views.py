# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cameras in a scene, near obstacles around them, and the sensor that takes the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from da_ros.sphere import erp_rays, rotation_from_rpy
from training.simulator.enrich import Enricher
from training.simulator.library import ObjectLibrary
from training.simulator.marks import scatter_marks
from training.simulator.near import scatter_near
from training.simulator.render import render
from training.simulator.scene import Light, Scene

PROBE_HW = (32, 64)
MIN_CLEARANCE_M = 0.15
MIN_RANGE_M = 0.05
MIN_OUTDOOR_HEADROOM_M = 1.5
HIGH_M = 5.0


@dataclass(frozen=True)
class ViewConfig:
    size_hw: tuple[int, int] = (256, 512)
    min_height_m: float = 0.15
    max_height_m: float = 2.0
    high: float = 0.0               # share of cameras above max_height_m, up to HIGH_M
    tilted: float = 0.25            # share of views that are not quite level
    tilt_rad: float = 0.02          # standard deviation of roll and pitch of most of those
    steep: float = 0.2              # share of those on a ramp, a kerb or a legged robot
    steep_rad: float = 0.08         # standard deviation of these
    headroom_m: float = 0.0         # least height of what is above the camera, over the floor
    near_things: float = 2.6        # mean number of near obstacles per camera
    marked: float = 0.45            # share of cameras with paint or rugs on the floor around


def random_camera(rng, scene: Scene, config: ViewConfig, tries: int = 40):
    """
    Return a free position above a floor, or None.

    :return: (position (3,) m, camera height above the floor under it [m])
    """
    areas = np.array([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in scene.regions])
    probe = erp_rays(*PROBE_HW).reshape(-1, 3)
    level = np.abs(probe[:, 2]) < 0.9
    for _ in range(tries):
        x0, y0, x1, y1 = scene.regions[rng.choice(len(areas), p=areas / areas.sum())]
        low, top = config.min_height_m, config.max_height_m
        if config.high and rng.uniform() < config.high:
            low, top = top, HIGH_M
        # Log-uniform: 0.2 m and 0.4 m differ for a network as 1 m and 2 m do, and an even draw
        # would show it a low robot once in ten pictures.
        height = float(np.exp(rng.uniform(np.log(low), np.log(top))))
        position = np.array([rng.uniform(x0, x1), rng.uniform(y0, y1), height])
        range_m, _, _ = scene.cast(position, probe)
        axes, _, _ = scene.cast(position, np.array([[0, 0, -1], [0, 0, 1]]))
        floor = position[2] - axes[0]
        if not np.isfinite(axes[0]) or abs(floor) > 0.25:
            continue
        position[2] += floor            # stand on the floor found
        # Nearer than a camera can stand, or locked into a box: the picture would teach nothing.
        if range_m[level].min() < MIN_CLEARANCE_M or np.median(range_m[level]) < 0.6:
            continue
        if height + axes[1] < config.headroom_m:
            continue
        seen = np.isfinite(range_m)
        if scene.indoor and (not np.isfinite(axes[1]) or seen.mean() < 0.9):
            continue
        if not scene.indoor and axes[1] < MIN_OUTDOOR_HEADROOM_M:
            continue                    # under a raised lawn or inside a building
        return position, height
    return None


def take_pictures(rng, scene: Scene, library: ObjectLibrary, count: int, config: ViewConfig,
                  enricher: Enricher | None = None):
    """
    Yield (image (H, W, 3) uint8 RGB, range_m (H, W) float32, camera height [m]) of a scene.

    Fewer than `count` come when the scene has no free place.

    :param enricher: of training scenes: stands things near the cameras, and cameras expose worse
    """
    cameras = [c for c in (random_camera(rng, scene, config) for _ in range(count)) if c]
    scatter_near(rng, scene, cameras, library, config.near_things, enricher)
    for position, height in cameras:
        if rng.uniform() < config.marked:
            scatter_marks(rng, scene, position, height)
    lamps = scene.lights
    for position, height in cameras:
        scene.lights = nearest_lamps(lamps, position, 3)
        rotation = None
        if rng.uniform() < config.tilted:
            deviation = config.steep_rad if rng.uniform() < config.steep else config.tilt_rad
            rotation = rotation_from_rpy(*rng.normal(0, deviation, 2), 0.0)
        radiance, range_m = render(scene, position, config.size_hw, rng, rotation)
        if np.nanmin(range_m) > MIN_RANGE_M:
            look = develop_badly if enricher and rng.uniform() < 0.5 else develop
            yield look(rng, radiance), range_m, height
    scene.lights = lamps


def nearest_lamps(lamps: list[Light], position, count: int) -> list[Light]:
    """Return copies of the lamps nearest to a position [m]."""
    order = sorted(lamps, key=lambda lamp: float(
        np.linalg.norm(np.asarray(lamp.position) - position)))
    return [replace(lamp) for lamp in order[:count]]


def develop(rng, radiance: np.ndarray) -> np.ndarray:
    """
    Return the picture a camera would deliver: exposure, colour cast, curve and noise.

    :param radiance: (H, W, 3) linear
    :return: (H, W, 3) uint8 RGB
    """
    return Sensor(rng).develop(rng, radiance)


class Sensor:
    """One camera: how it exposes, what it does to colours, and how noisy it is."""

    def __init__(self, rng) -> None:
        """Draw a camera."""
        self._exposure = rng.uniform(0.12, 0.4)
        self._cast = np.exp(rng.normal(0, 0.08, 3)).astype(np.float32)
        self._knee = rng.uniform(0.6, 3.0)      # extended Reinhard; white point = knee
        self._shoulder = rng.uniform(0.2, 1.0)
        self._gamma = rng.uniform(1.9, 2.4)
        self._noise = np.float32(rng.uniform(0, 0.02) * (rng.uniform() < 0.6))

    def develop(self, rng, radiance: np.ndarray) -> np.ndarray:
        """Return its picture (H, W, 3) uint8 RGB of a linear radiance (H, W, 3)."""
        luminance = radiance[::2, ::2].mean(-1)
        middle = np.percentile(luminance, 60) + 1e-4
        linear = radiance * (self._exposure / middle) * self._cast
        linear = linear * (1 + linear / self._knee ** 2) / (1 + linear * self._shoulder)
        encoded = np.clip(linear, 0, 1) ** (1 / self._gamma)
        if self._noise:
            encoded = encoded + self._noise * rng.standard_normal(encoded.shape, np.float32)
        return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)


def develop_badly(rng, radiance: np.ndarray) -> np.ndarray:
    """
    Return the picture of a worse camera or hour: over- or under-exposed, cast, hazy, noisy.

    :param radiance: (H, W, 3) linear
    :return: (H, W, 3) uint8 RGB
    """
    luminance = radiance[::2, ::2].mean(-1)
    middle = np.percentile(luminance, rng.uniform(35, 75)) + 1e-4
    linear = radiance * (np.exp(rng.uniform(np.log(0.06), np.log(0.9))) / middle)
    linear = linear * np.exp(rng.normal(0, 0.18, 3)).astype(np.float32)
    linear = linear + np.float32(rng.uniform(0, 0.04) * (rng.uniform() < 0.3))     # stray light
    if rng.uniform() < 0.5:
        linear = linear / (1 + linear * rng.uniform(0.3, 1.5))
    encoded = np.clip(linear, 0, 1) ** (1 / rng.uniform(1.8, 2.6))
    noise = rng.uniform(0, 0.05) * (rng.uniform() < 0.6)
    if noise:
        grain = rng.standard_normal(encoded.shape, np.float32)
        encoded = encoded + np.float32(noise) * grain * (1.2 - encoded)
    return (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)
