# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The documented rules of Nav2's obstacle layer and collision monitor, as small models of our own.

What a rule drops, the model drops; nothing here is kinder than the consumer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from da_ros.scan import Scan

FREE, LETHAL = 0, 254
INF_EPSILON_M = 1e-4


@dataclass(frozen=True)
class Source:
    """One observation source; the defaults are Nav2's, traps included."""

    marking: bool = True
    clearing: bool = False
    inf_is_valid: bool = False
    min_obstacle_height: float = 0.0
    max_obstacle_height: float = 0.0           # drops everything above the floor
    obstacle_min_range: float = 0.0
    obstacle_max_range: float = 2.5
    raytrace_min_range: float = 0.0
    raytrace_max_range: float = 3.0


@dataclass
class Pose:
    """Sensor in the costmap's global frame."""

    xyz: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))


def project_laser(scan: Scan, inf_is_valid: bool = False) -> np.ndarray:
    """Return (N, 3) points in the scan's frame as laser_geometry does; all in float32."""
    ranges, limit = scan.ranges.copy(), np.float32(scan.range_max)
    if inf_is_valid:
        ranges[np.isposinf(ranges)] = limit - np.float32(INF_EPSILON_M)
    with np.errstate(invalid='ignore'):
        kept = (ranges < limit) & (ranges >= np.float32(scan.range_min))
    angle = scan.angle_min + scan.angle_increment * np.flatnonzero(kept)
    return np.stack([ranges[kept] * np.cos(angle), ranges[kept] * np.sin(angle),
                     np.zeros(len(angle))], -1)


class Costmap:
    """A square 2-D costmap around the origin of the global frame."""

    def __init__(self, size_m: float = 14.0, resolution: float = 0.05,
                 layer_heights: tuple[float, float] = (0.0, 2.0)):
        self.resolution, self.layer_heights = resolution, layer_heights
        self.count = round(size_m / resolution)
        self.origin = -size_m / 2
        self.cells = np.full((self.count, self.count), FREE, np.uint8)       # [y, x]

    def cell(self, x, y):
        """Return integer cell coordinates and which of them lie in the map."""
        cx = np.floor((np.asarray(x) - self.origin) / self.resolution).astype(int)
        cy = np.floor((np.asarray(y) - self.origin) / self.resolution).astype(int)
        return cx, cy, (cx >= 0) & (cy >= 0) & (cx < self.count) & (cy < self.count)

    def at(self, x: float, y: float) -> int:
        cx, cy, _ = self.cell(x, y)
        return int(self.cells[cy, cx])

    def marked(self, x: float, y: float, within_m: float) -> bool:
        """Return whether a lethal cell lies within a distance of a place."""
        cy, cx = np.nonzero(self.cells == LETHAL)
        at = (np.stack([cx, cy], -1) + 0.5) * self.resolution + self.origin
        return bool((np.hypot(*(at - [x, y]).T) <= within_m).any())

    def lethal_points(self) -> np.ndarray:
        """Return the centres (N, 2) of the lethal cells."""
        cy, cx = np.nonzero(self.cells == LETHAL)
        return (np.stack([cx, cy], -1) + 0.5) * self.resolution + self.origin

    def update(self, observations: list[tuple[Source, object]], pose: Pose | None = None) -> None:
        """
        Take one observation of each source: all rays are cleared first, then points are marked.

        :param observations: sources with a Scan or (N, 3+) points in the sensor's frame
        """
        pose = pose or Pose()
        buffered = [(source, self._buffered(source, data, pose)) for source, data in observations]
        for source, points in buffered:
            if source.clearing:
                self._clear(source, points, pose.xyz)
        for source, points in buffered:
            if source.marking:
                self._mark(source, points, pose.xyz)

    def _buffered(self, source: Source, data, pose: Pose) -> np.ndarray:
        """Move to the global frame; the height filter comes here, before clearing."""
        points = (project_laser(data, source.inf_is_valid) if isinstance(data, Scan)
                  else np.asarray(data)[:, :3])
        points = points[np.isfinite(points).all(axis=1)]
        points = points @ pose.rotation.T + pose.xyz
        z = points[:, 2]
        return points[(z <= source.max_obstacle_height) & (z >= source.min_obstacle_height)]

    def _clear(self, source: Source, points: np.ndarray, origin: np.ndarray) -> None:
        x0, y0, inside = self.cell(origin[0], origin[1])
        if not inside or not len(points):
            return
        low, high = self.origin, self.origin + self.count * self.resolution
        offset = points[:, :2] - origin[:2]
        with np.errstate(divide='ignore', invalid='ignore'):
            reach = np.where(offset > 0, (high - 1e-3 - origin[:2]) / offset,
                             np.where(offset < 0, (low - origin[:2]) / offset, np.inf)).min(axis=1)
        end = origin[:2] + offset * np.minimum(reach, 1)[:, None]
        x1, y1, legal = self.cell(end[:, 0], end[:, 1])
        dx, dy = (x1 - x0)[legal], (y1 - y0)[legal]
        longest = np.maximum(np.maximum(np.abs(dx), np.abs(dy)), 1)
        distance = np.maximum(np.hypot(dx, dy), 1e-9)
        steps = (np.minimum(1, source.raytrace_max_range / self.resolution / distance)
                 * longest).astype(int)
        along = np.arange(steps.max() + 1)
        taken = along <= steps[:, None]
        x = x0 + np.sign(dx)[:, None] * self._bresenham(along, np.abs(dx), longest)
        y = y0 + np.sign(dy)[:, None] * self._bresenham(along, np.abs(dy), longest)
        self.cells[y[taken], x[taken]] = FREE

    @staticmethod
    def _bresenham(along, extent, longest):
        """Return how far each line has come on one axis after a number of steps."""
        minor = (along * extent[:, None] + longest[:, None] // 2) // longest[:, None]
        return np.where((extent == longest)[:, None], along, minor)

    def _mark(self, source: Source, points: np.ndarray, origin: np.ndarray) -> None:
        low, high = self.layer_heights
        square = ((points - origin) ** 2).sum(axis=1)
        z = points[:, 2]
        kept = ((z >= low) & (z <= high) & (square < source.obstacle_max_range ** 2)
                & (square >= source.obstacle_min_range ** 2))
        x, y, inside = self.cell(points[kept, 0], points[kept, 1])
        self.cells[y[inside], x[inside]] = LETHAL


@dataclass(frozen=True)
class Monitor:
    """The stop zone of a collision monitor: a polygon, here a rectangle, of the base frame."""

    x: tuple[float, float] = (-0.6, 0.6)
    y: tuple[float, float] = (-0.6, 0.6)
    min_points: int = 4
    heights: tuple[float, float] = (0.05, 2.0)
    use_height_field: bool = False
    source_timeout_s: float = 0.5

    def towards(self, velocity: tuple[float, float], seconds: float = 1.0) -> Monitor:
        """Return the velocity polygon: the zone, longer where the robot is going."""
        (x0, x1), (y0, y1), (vx, vy) = self.x, self.y, velocity
        return replace(self, x=(x0 + min(vx, 0) * seconds, x1 + max(vx, 0) * seconds),
                       y=(y0 + min(vy, 0) * seconds, y1 + max(vy, 0) * seconds))

    def stops(self, sources: list[tuple[object, float]], sensor_height_m: float,
              height_column: int | None = None) -> bool:
        """
        Return whether the robot must stand.

        :param sources: Scan or cloud in a level frame at the sensor, with the age [s] of its stamp
        :param height_column: of the cloud; needed if `use_height_field`, its absence stops
        """
        inside = 0
        for data, age_s in sources:
            if age_s > self.source_timeout_s:
                return True
            points = self._points(data, sensor_height_m, height_column)
            if points is None:
                return True
            inside += int(((points[:, 0] > self.x[0]) & (points[:, 0] < self.x[1])
                           & (points[:, 1] > self.y[0]) & (points[:, 1] < self.y[1])).sum())
        return inside >= self.min_points

    def _points(self, data, sensor_height_m, height_column):
        if isinstance(data, Scan):
            with np.errstate(invalid='ignore'):
                kept = (data.ranges >= np.float32(data.range_min)) & (
                    data.ranges <= np.float32(data.range_max))
            angle = data.angle_min + data.angle_increment * np.flatnonzero(kept)
            return np.stack([data.ranges[kept] * np.cos(angle),
                             data.ranges[kept] * np.sin(angle)], -1)
        if self.use_height_field and height_column is None:
            return None
        points = np.asarray(data)
        height = (points[:, height_column] if self.use_height_field
                  else points[:, 2] + sensor_height_m)
        with np.errstate(invalid='ignore'):
            kept = (height >= self.heights[0]) & (height <= self.heights[1])   # NaN drops out
        return points[kept, :2]
