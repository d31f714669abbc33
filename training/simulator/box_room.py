# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A furnished room of boxes with exact ranges: numpy only, no asset, no ray-casting library.

For bags and tests; training data come from the other modules of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays

Array = NDArray[np.floating]
LIGHT = np.array([0.35, 0.25, 0.9])


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in the world (x, y in the plane, z up, floor at 0)."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    colour: tuple[int, int, int]     # BGR
    tile_m: float = 0.25             # side of its painted tiles


def furnished_room() -> tuple[Box, ...]:
    """Return a 9 x 7 x 2.8 m room; the first box is the room itself, seen from inside."""
    wood, metal, cloth = (70, 110, 160), (150, 150, 140), (120, 80, 60)
    legs = [Box((x, y, 0), (x + 0.05, y + 0.05, 0.72), wood, 0.1)
            for x in (1.6, 2.75) for y in (-2.6, -1.85)]
    return (
        Box((-4.5, -3.5, 0), (4.5, 3.5, 2.8), (200, 205, 210), 0.5),
        Box((1.55, -2.65, 0.72), (2.85, -1.75, 0.76), wood, 0.3), *legs,     # table
        Box((3.9, -1.0, 0), (4.5, 1.2, 1.9), (90, 140, 90), 0.3),            # cupboard
        Box((-4.5, 1.6, 0), (-3.6, 3.5, 0.9), (160, 90, 70), 0.2),           # counter
        Box((-0.5, -0.4, 0), (0.5, 0.4, 0.6), (60, 170, 210), 0.2),          # crate in the middle
        Box((-3.0, -3.4, 0), (-1.2, -2.7, 0.45), cloth, 0.3),                # bench
        Box((2.2, 2.3, 0), (2.28, 2.38, 2.8), metal, 0.4),                   # pillar
        Box((-2.9, 1.0, 0), (-2.82, 1.08, 1.1), (40, 40, 200), 0.2),         # post
        Box((0.9, 2.9, 0), (1.4, 3.3, 1.7), (110, 60, 150), 0.25))           # person-sized


@dataclass(frozen=True)
class Hits:
    """What rays meet, one entry per ray."""

    range_m: Array              # +inf: nothing
    box: NDArray[np.uint8]      # index of the box
    axis: NDArray[np.uint8]     # 0, 1, 2: the face's normal lies along x, y, z


def cast(boxes: tuple[Box, ...], origin: Array, rays: Array) -> Hits:
    """
    Return the first hit of each ray; exact (slab method).

    :param boxes: the first one is seen from inside, the others from outside
    :param origin: (3,) m, world, inside the first box
    :param rays: (N, 3) unit vectors, world
    """
    columns = np.ascontiguousarray(rays.T, np.float32)
    inverse = 1 / np.where(np.abs(columns) < 1e-9, np.float32(1e-9), columns)
    nearest = np.full(len(rays), np.inf, np.float32)
    box = np.zeros(len(rays), np.uint8)
    axis = np.zeros(len(rays), np.uint8)
    for index, item in enumerate(boxes):
        low, high = (((np.asarray(corner) - origin).astype(np.float32)[:, None]) * inverse
                     for corner in (item.low, item.high))
        near, far = np.minimum(low, high), np.maximum(low, high)
        enter, leave = near.max(0), far.min(0)
        distance = leave if index == 0 else enter
        hit = (distance > 0) & (enter <= leave) & (distance < nearest)
        faces = (far if index == 0 else near)[:, hit]
        nearest[hit], box[hit] = distance[hit], index
        axis[hit] = faces.argmin(0) if index == 0 else faces.argmax(0)
    return Hits(nearest, box, axis)


def panorama(boxes: tuple[Box, ...], pose: Array, height: int,
             width: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """
    Render a panorama and its exact range.

    :param pose: (4, 4), world from camera body frame
    :return: (height, width, 3) uint8 BGR, (height, width) float32 m
    """
    rays = erp_rays(height, width).reshape(-1, 3) @ pose[:3, :3].T
    hits = cast(boxes, pose[:3, 3], rays)
    points = (pose[:3, 3] + rays * hits.range_m[:, None]).astype(np.float32)
    image = _paint(boxes, hits, points).reshape(height, width, 3)
    return image, hits.range_m.reshape(height, width).astype(np.float32)


def lidar_points(boxes: tuple[Box, ...], pose: Array, rings: int = 16, beams: int = 900,
                 span_deg: tuple[float, float] = (-25.0, 15.0), noise_m: float = 0.0,
                 seed: int = 0) -> NDArray[np.float32]:
    """
    Return one turn of a spinning LiDAR.

    :param pose: (4, 4), world from LiDAR (x forward, z up)
    :return: (rings * beams, 3) float32 m in the LiDAR frame
    """
    elevation = np.radians(np.linspace(*span_deg, rings))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, beams, endpoint=False)[None]
    rays = np.stack(np.broadcast_arrays(
        np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
        np.sin(elevation)), -1).reshape(-1, 3)
    range_m = cast(boxes, pose[:3, 3], rays @ pose[:3, :3].T).range_m
    range_m = range_m + noise_m * np.random.default_rng(seed).standard_normal(len(range_m))
    return (rays * range_m[:, None]).astype(np.float32)


def _paint(boxes: tuple[Box, ...], hits: Hits, points: Array) -> NDArray[np.uint8]:
    """Return the colour of each hit: tiles, grain and light by the face's direction."""
    colour = np.array([box.colour for box in boxes], np.float32)[hits.box]
    floor = (hits.box == 0) & (hits.axis == 2) & (points[:, 2] < 0.01)
    colour[floor] = (95, 120, 140)
    tile = np.array([box.tile_m for box in boxes], np.float32)[hits.box][:, None]
    shade = (0.55 + 0.45 * LIGHT)[hits.axis] / (1 + 0.02 * hits.range_m ** 2)
    grain = _hash(points, np.float32(0.03), hits) - 0.5
    value = shade * (0.82 + 0.26 * _hash(points, tile, hits) + 0.10 * grain)
    return np.clip(colour * value[:, None], 0, 255).astype(np.uint8)


def _hash(points: Array, cell_m: Array, hits: Hits) -> Array:
    """Return a number in [0, 1) that depends on the face and the cell of each point on it."""
    cells = np.floor(points / cell_m + np.float32(1e-4)).astype(np.int32)
    cells[np.arange(len(points)), hits.axis] = hits.box
    mixed = cells[:, 0] * np.int32(73856093) ^ cells[:, 1] * np.int32(19349663) ^ (
        cells[:, 2] * np.int32(83492791))
    mixed = (mixed ^ (mixed >> 13)) * np.int32(1274126177)
    return (mixed & 0xFFFF) / np.float32(65536)
