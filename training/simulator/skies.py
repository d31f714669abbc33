# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Skies of outdoor scenes, and what is seen through windows."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from training.data.leaks import refuse_evaluation_picture
from training.simulator.scene import Sky

# Panoramas that are open sky above this elevation [rad]; what stands lower is far away, or lifted
# below the horizon, because everything of a sky counts as empty.
OPEN_SKIES = {
    'blender_night': 0.05, 'blender_sunrise': 0.05, 'drei_dikhololo_night_1k': 0.15,
    'drei_immenstadter_horn_1k': 0.35, 'drei_kiara_1_dawn_1k': 0.12,
    'gkj_hilly_terrain_01_1k': 0.05, 'gkj_kloppenheim_05_1k': 0.03,
    'mm_kloofendal_48d_partly_cloudy_1k': 0.08, 'vikram_rogland_clear_night_1k': 0.2,
    'vikram_rooftop_night_1k': 0.2, 'vrview_chichen-itza': 0.3,
    'wonglok_bryanston_park_sunrise_1k': 0.2}
# The benchmarks keep the skies they have always had. Photographs of the free-space benchmark are
# among them, so training never sees these.
BENCHMARK_SKIES = {'ph_park': 0.0, 'ph_venice': 0.0, 'ph_noon_grass': 0.0,
                   'ph_eilenriede_park': 0.0, 'ph_st_peters_square_night': 0.3,
                   'ph_narrow_moonlit_road': 0.45}


def random_sky(rng, panoramas: list[tuple]) -> Sky:
    """
    Return a photographed sky or a gradient, with or without sun.

    :param panoramas: (image (H, W, 3) uint8 RGB, lowest open elevation [rad])
    """
    elevation, azimuth = rng.uniform(0.15, 1.4), rng.uniform(-np.pi, np.pi)
    sun = (float(np.cos(elevation) * np.cos(azimuth)), float(np.cos(elevation) * np.sin(azimuth)),
           float(np.sin(elevation)))
    power = float(rng.choice([0.0, rng.uniform(0.5, 1.5)], p=[0.35, 0.65]))
    if panoramas and rng.uniform() < 0.6:
        image, lift = panoramas[rng.integers(len(panoramas))]
        return Sky(image, yaw=float(rng.uniform(0, 7)), lift=lift + float(rng.uniform(0, 0.3)),
                   sun=sun, sun_power=power)
    grey = rng.uniform() < 0.4
    zenith = np.array((0.6, 0.62, 0.66) if grey else (0.2, 0.38, 0.75)) * rng.uniform(0.6, 1.3)
    horizon = np.array((0.8, 0.8, 0.8) if grey else (0.75, 0.82, 0.9)) * rng.uniform(0.7, 1.2)
    return Sky(None, tuple(zenith), tuple(horizon), sun=sun, sun_power=power)


def backdrop(rng, panoramas: list[tuple]) -> Sky:
    """Return what is seen through the windows of a building: a whole panorama, ground included."""
    if not panoramas:
        return random_sky(rng, panoramas)
    image, _ = panoramas[rng.integers(len(panoramas))]
    return Sky(image, gain=float(rng.uniform(0.8, 3.0)), yaw=float(rng.uniform(0, 7)))


def load_skies(folder: Path, open_above: dict[str, float]) -> list[tuple[np.ndarray, float]]:
    """
    Return those panoramas of a folder that exist: (256, 512, 3) uint8 RGB, lowest elevation.

    :param open_above: name -> lowest open elevation [rad]
    :raises LeakError: if a sky of training is an evaluation picture
    """
    skies = []
    for name, lift in open_above.items():
        file = folder / f'{name}.jpg'
        if file.is_file():
            image = cv2.imread(str(file))[..., ::-1]
            if open_above is not BENCHMARK_SKIES:
                refuse_evaluation_picture(np.ascontiguousarray(image), file.name)
            small = cv2.resize(image, (512, 256), interpolation=cv2.INTER_AREA)
            skies.append((np.ascontiguousarray(small), lift))
    return skies
