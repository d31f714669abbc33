# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ways through a scene: who walks sees how far it is free and goes where there is room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.simulator.scene import Scene

LOOKS = np.linspace(-np.pi, np.pi, 72, endpoint=False)     # azimuths looked along
FARTHEST_M = 4.0                # room beyond attracts nobody
TURN_COST = 0.9                 # m of room that a radian of turning is worth


@dataclass
class Walker:
    """A robot or a person on the floor; `track` grows by one (x, y, yaw) per step."""

    position: np.ndarray                    # (2,) m
    yaw: float                              # rad
    floor_m: float                          # height of the floor
    radius_m: float
    speed_m_s: float                        # where there is room
    turn_rad_s: float
    heights_m: tuple[float, ...]            # above the floor, at which it may bump into things
    pause: tuple[float, float] = (0.0, 0.0)     # from, to [s]: it stands
    velocity_m_s: float = 0.0
    track: list[tuple[float, float, float]] = field(default_factory=list)


def walk(rng, scene: Scene, walkers: list[Walker], steps: int, step_s: float) -> None:
    """Let all walk at once, around what stands there and around each other."""
    whims = rng.uniform(-1, 1, (len(walkers), 2))
    for number in range(steps):
        for index, walker in enumerate(walkers):
            walker.track.append((*walker.position.tolist(), walker.yaw))
            others = [other for other in walkers if other is not walker]
            whim = whims[index, 0] * np.sin(0.3 * number * step_s + 3 * whims[index, 1])
            _step(scene, walker, others, number * step_s, step_s, float(whim))


def _step(scene: Scene, walker: Walker, others: list[Walker], time_s: float, step_s: float,
          whim: float) -> None:
    points = _around(scene, walker, others)
    if walker.pause[0] <= time_s < walker.pause[1]:
        walker.velocity_m_s = max(0.0, walker.velocity_m_s - 1.5 * step_s)
    else:
        turns = (LOOKS - walker.yaw + np.pi) % (2 * np.pi) - np.pi
        rooms = np.array([_room(points, look, walker.radius_m) for look in LOOKS])
        wish = np.minimum(rooms, FARTHEST_M) - TURN_COST * np.abs(turns - 0.5 * whim)
        turn = float(turns[int(np.argmax(wish))])
        most = walker.turn_rad_s * step_s
        walker.yaw += float(np.clip(0.4 * turn, -most, most))
        ahead = _room(points, walker.yaw, walker.radius_m)
        wanted = float(np.clip(ahead - 0.3, 0.0, walker.speed_m_s))
        walker.velocity_m_s += float(np.clip(wanted - walker.velocity_m_s,
                                             -3 * step_s, 1.0 * step_s))
    ahead = max(0.0, _room(points, walker.yaw, walker.radius_m) - 0.05)
    way = min(walker.velocity_m_s * step_s, ahead)
    walker.position = walker.position + way * np.array([np.cos(walker.yaw), np.sin(walker.yaw)])


def _around(scene: Scene, walker: Walker, others: list[Walker]) -> np.ndarray:
    """Return what may be bumped into, (N, 2) m relative to the walker."""
    level = np.stack([np.cos(LOOKS), np.sin(LOOKS), np.zeros(len(LOOKS))], -1).astype(np.float32)
    found = []
    for height in walker.heights_m:
        origin = np.array([*walker.position, walker.floor_m + height], np.float32)
        range_m = scene.cast(origin, level)[0]
        seen = np.isfinite(range_m)
        found.append(level[seen, :2] * range_m[seen, None])
    for other in others:
        ring = other.position + other.radius_m * level[::6, :2]
        found.append(ring - walker.position)
    return np.concatenate(found)


def _room(points: np.ndarray, look: float, radius_m: float) -> float:
    """Return how far a disc may go along an azimuth before it meets a point."""
    along = points @ np.array([np.cos(look), np.sin(look)])
    aside = np.abs(points @ np.array([-np.sin(look), np.cos(look)]))
    before = (along > 0) & (aside < radius_m)
    reach = along[before] - np.sqrt(radius_m ** 2 - aside[before] ** 2)
    return float(max(0.0, reach.min(initial=2 * FARTHEST_M)))
