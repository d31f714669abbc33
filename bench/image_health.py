# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
How soon faults of a camera are told, and how often a good one is accused.

    python -m bench.image_health [--panoramas FOLDER ...] [--turn-s 24] [--lap-s 24]

Each panorama turns by 28 deg/s at 10 Hz, and has each fault once. The laps, in which nothing is
wrong, are those of `training.demo_bag` at five speeds. Stamps are simulated.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.image_health import ImageHealth
from da_ros.cameras.rig import Rig, View
from da_ros.sphere import erp_rays
from training.demo_bag import base_pose, DriveConfig
from training.simulator.box_room import furnished_room, panorama

Image = NDArray[np.uint8]
Fault = Callable[[Image], Image]
HZ, HEIGHT, BEGIN_S = 10, 128, 2.0
SPEEDS = (0.2, 0.4, 0.7, 1.0, 1.3)


def cover(azimuth_deg: float, elevation_deg: float, radius_deg: float, paint: Fault) -> Fault:
    """Return a round spot with a soft edge, as something on the lens has it."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    middle = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
              np.sin(elevation)]
    off_deg = np.rad2deg(np.arccos(np.clip(erp_rays(HEIGHT, 2 * HEIGHT) @ middle, -1, 1)))
    there = np.clip((radius_deg - off_deg) / (0.35 * radius_deg) + 0.5, 0, 1)[..., None]
    return lambda image: (image * (1 - there) + paint(image) * there).astype(np.uint8)


def frozen() -> Fault:
    """Return a fault that repeats its first picture."""
    first: list[Image] = []

    def repeat(image: Image) -> Image:
        first.append(image)
        return first[0]
    return repeat


FAULTS: dict[str, Callable[[], Fault]] = {
    'frozen': frozen,
    'black': lambda: lambda image: image // 40,
    'over-exposed': lambda: lambda image: np.maximum(image, 252),
    'thumb, 20 deg': lambda: cover(60, -10, 20, lambda image: np.full_like(image, 15)),
    'mud, 12 deg': lambda: cover(-120, 0, 12, lambda image: np.full_like(image, 70)),
    'grease, 25 deg': lambda: cover(150, -15, 25,
                                    lambda image: cv2.GaussianBlur(image, (0, 0), 7))}


def turning(image: Image, seconds: float) -> Iterator[Image]:
    """Yield a panorama that turns, with the noise of a sensor."""
    rng = np.random.default_rng(0)
    for number in range(round(seconds * HZ)):
        turned = np.roll(image, round(number * 2.8 / 360 * image.shape[1]), axis=1)
        yield (turned + rng.integers(-1, 2, image.shape[:2])[..., None]).clip(0, 255).astype(
            np.uint8)


def driving(seconds: float, speed: float) -> Iterator[Image]:
    """Yield the panoramas of the demo's drive."""
    config, boxes = DriveConfig(speed=speed), furnished_room()
    rng = np.random.default_rng(0)
    for number in range(round(seconds * HZ)):
        pose = base_pose(number / HZ, config)
        pose[2, 3] += config.camera_height_m
        image, _ = panorama(boxes, pose, HEIGHT, 2 * HEIGHT)
        yield (image + rng.integers(-1, 2, image.shape[:2])[..., None]).clip(0, 255).astype(
            np.uint8)


def watch(images: Iterable[Image], fault: Fault | None = None) -> tuple[float, int, int, float]:
    """Return when a fault was told [s], pictures told as bad, pictures, and ms per picture."""
    judge, view = ImageHealth(), View(Rig(), (HEIGHT, 2 * HEIGHT))
    told_s, bad, spent = np.inf, 0, []
    for number, image in enumerate(images):
        since_s = number / HZ - BEGIN_S
        image = fault(image) if fault and since_s >= 0 else image
        began = time.thread_time()
        judge.judge(image, image, view, 10**9 + round(number * 1e9 / HZ), 0.8)
        spent.append(time.thread_time() - began)
        if judge.health.blind or judge.health.dirt:
            bad, told_s = bad + 1, min(told_s, since_s)
    return told_s, bad, len(spent), 1e3 * float(np.mean(spent))


def report(photographs: dict[str, Image], turn_s: float, lap_s: float) -> None:
    """Print the false alarms and the times."""
    told: dict[str, list[float]] = {name: [] for name in FAULTS}
    bad = pictures = 0
    for speed in SPEEDS:
        _, accused, count, cost_ms = watch(driving(lap_s, speed))
        bad, pictures = bad + accused, pictures + count
        print(f'lap at {1.7 * speed:.1f} m/s: {accused} of {count} accused, {cost_ms:.2f} ms each')
    for name, image in photographs.items():
        _, accused, count, cost_ms = watch(turning(image, turn_s))
        bad, pictures = bad + accused, pictures + count
        print(f'{name}: {accused} of {count} accused, {cost_ms:.2f} ms each', flush=True)
        for fault, make in FAULTS.items():
            told[fault].append(watch(turning(image, BEGIN_S + 4), make())[0])
    print(f'\ngood pictures accused: {bad} of {pictures}, {pictures / HZ:.0f} s\n')
    print('| fault | told within 2 s | median [s] | worst [s] |\n|---|---|---|---|')
    for fault, seconds in told.items():
        print(f'| {fault} | {sum(s <= 2 for s in seconds)} of {len(seconds)} | '
              f'{np.median(seconds):.1f} | {max(seconds):.1f} |')


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[1])
    parser.add_argument('--panoramas', type=Path, nargs='*', default=[
        Path('da_ros/samples'), Path('training/benchmarks/free_space')])
    parser.add_argument('--turn-s', type=float, default=24.0)
    parser.add_argument('--lap-s', type=float, default=24.0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    report({path.name: cv2.resize(cv2.imread(str(path)), (2 * HEIGHT, HEIGHT),
                                  interpolation=cv2.INTER_AREA)
            for folder in given.panoramas for path in sorted(folder.glob('*.jpg'))},
           given.turn_s, given.lap_s)


if __name__ == '__main__':
    main()
