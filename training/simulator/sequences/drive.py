# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A drive through a scene as samples at a fixed rate, each with the exact pose of its camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from da_ros.sphere import rotation_from_rpy
from training.data.sample import Sample
from training.simulator.library import ObjectLibrary
from training.simulator.makers.people import person
from training.simulator.makers.things import Thing
from training.simulator.marks import scatter_marks
from training.simulator.near import scatter_near
from training.simulator.render import render
from training.simulator.scene import Scene
from training.simulator.sequences.walks import LOOKS, walk, Walker
from training.simulator.views import nearest_lamps, random_camera, Sensor, ViewConfig

RATE_HZ = 10.0
STRIDE_M = 0.7                  # after which a person puts the other foot forward
PLACES = 4                      # around which near obstacles are scattered
PERSON_ROOM_M = 0.8


@dataclass(frozen=True)
class DriveConfig:
    """How sequences differ."""

    frames: int = 80
    min_height_m: float = 0.3
    max_height_m: float = 1.2
    most_people: int = 3
    shake_deg: float = 1.0          # largest roll and pitch of a camera that drives fast


def drive(rng, scene: Scene, library: ObjectLibrary, view: ViewConfig,
          config: DriveConfig) -> Iterator[Sample]:
    """
    Yield the frames of one drive; none if the scene has no free place.

    `meta` holds `stamp_s` and `odom_from_camera` (4 x 4), the pose of the camera's body frame.
    """
    places = [place for place in (random_camera(rng, scene, view) for _ in range(PLACES)) if place]
    if not places:
        return
    scatter_near(rng, scene, places, library, view.near_things)
    # where there is room to drive; near obstacles stand there by now
    places.sort(key=lambda place: -_clearance(scene, place[0]))
    (start, height), free = places[0], places[1:]
    floor_m = start[2] - height
    if rng.uniform() < view.marked:
        scatter_marks(rng, scene, start, height)
    height = float(rng.uniform(config.min_height_m, config.max_height_m))
    robot = Walker(start[:2], rng.uniform(-np.pi, np.pi), floor_m, 0.25, rng.uniform(0.4, 1.0),
                   rng.uniform(0.6, 1.2), (0.1, 0.3, height), _pause(rng, config.frames))
    people = _people(rng, scene, free, start, config.most_people)
    walk(rng, scene, [robot, *(walker for walker, _ in people)], config.frames, 1 / RATE_HZ)
    poses = camera_poses(rng, robot, height, config.shake_deg)
    middle = np.array([*np.mean([place[:2] for place in robot.track], 0), 1.0])
    scene.lights = nearest_lamps(scene.lights, middle, 4)
    sensor = Sensor(rng)
    for number, pose in enumerate(poses):
        moment = scene.overlaid()
        for walker, bodies in people:
            _stand(moment, walker, bodies, number)
        radiance, range_m = render(moment, pose[:3, 3], view.size_hw, rng, pose[:3, :3])
        yield Sample(sensor.develop(rng, radiance), range_m, np.isfinite(range_m), scene.kind,
                     height, {'environment': 'indoor' if scene.indoor else 'outdoor',
                              'stamp_s': number / RATE_HZ, 'odom_from_camera': pose.tolist()})


def camera_poses(rng, robot: Walker, height: float, shake_deg: float) -> list[np.ndarray]:
    """Return (4, 4) odom from camera along a track; it shakes the more the faster it goes."""
    track = np.array(robot.track)
    speed = np.linalg.norm(np.diff(track[:, :2], axis=0, append=track[-1:, :2]), axis=1) * RATE_HZ
    share = 0.1 + 0.9 * np.minimum(speed / 1.0, 1.0)
    time = np.arange(len(track)) / RATE_HZ
    waves = [rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * rng.uniform(0.4, 4.0) * time
                                            + rng.uniform(0, 7)) for _ in range(9)]
    roll, pitch, heave = (share * sum(waves[3 * k:3 * k + 3]) / 3 for k in range(3))
    poses = []
    for (x, y, yaw), a, b, c in zip(track, roll, pitch, heave):
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_rpy(*np.deg2rad(shake_deg) * np.array([a, b]), yaw)
        pose[:3, 3] = x, y, robot.floor_m + height + 0.01 * c
        poses.append(pose)
    return poses


def _clearance(scene: Scene, position: np.ndarray) -> float:
    level = np.stack([np.cos(LOOKS), np.sin(LOOKS), np.zeros(len(LOOKS))], -1)
    return float(np.quantile(scene.cast(position.astype(np.float32), level.astype(np.float32))[0],
                             0.1))


def _pause(rng, frames: int) -> tuple[float, float]:
    start = rng.uniform(0, frames / RATE_HZ)
    return start, start + rng.uniform(0, 0.3) * frames / RATE_HZ


def _people(rng, scene: Scene, free, robot: np.ndarray,
            most: int) -> list[tuple[Walker, tuple[Thing, Thing]]]:
    """Return walkers at free places and near the robot, each with its two strides."""
    people: list[tuple[Walker, tuple[Thing, Thing]]] = []
    for position, height in free[:int(rng.integers(0, most + 1))]:
        if np.linalg.norm(position[:2] - robot[:2]) < PERSON_ROOM_M:
            continue
        floor_m = position[2] - height
        walker = Walker(position[:2], rng.uniform(-np.pi, np.pi), floor_m, 0.28,
                        rng.uniform(0.7, 1.5), 1.5, (0.15, 0.6, 1.2))
        body = person(rng, scene.store, 'walking')
        mirrored = Thing([((shape[0] * np.array([1, -1, 1], np.float32), shape[1]), material)
                          for shape, material in body.parts], body.size)
        people.append((walker, (body, mirrored)))
    return people


def _stand(moment: Scene, walker: Walker, bodies: tuple[Thing, Thing], number: int) -> None:
    track = np.array(walker.track[:number + 1])
    gone = np.linalg.norm(np.diff(track[:, :2], axis=0), axis=1).sum() if number else 0.0
    x, y, yaw = walker.track[number]
    bodies[int(gone / STRIDE_M) % 2].place(moment, x, y, yaw, walker.floor_m)
