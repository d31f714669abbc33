# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""All that a configuration makes of one range map, each part computed once and on demand."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from da_ros.config import Config
from da_ros.derived.cliff import CliffProjector
from da_ros.derived.confidence import confidence
from da_ros.derived.edges import EdgeFilter, Edges
from da_ros.derived.floor import floor_pixels, FloorTracker, Plane
from da_ros.derived.obstacle_distance import ObstacleDistance
from da_ros.memory.near import NearPoints, NOTHING, scan_with
from da_ros.points import ClearingProjector, PointProjector, Room, turn_points
from da_ros.range_map import RangeMap
from da_ros.scan import Scan, ScanProjector
from da_ros.sphere import rotation_from_rpy

Maker = TypeVar('Maker')
# An organised cloud is turned by so much of a column, 0.06 mm at 1 m: models of LiDARs have beams
# at whole multiples of the step, our columns lie half-way between two, and rounding would put two
# points into one beam and none into the next.
BREAK_TIES = 0.01


class Derivation:
    """
    The geometry behind all outputs: computed once per configuration, shared by the frames.

    Scans are in the frame of the range map, the level one; clouds in the camera's body. The floor
    is tracked from frame to frame, and only while something that needs it is asked for.
    """

    def __init__(self) -> None:
        """Begin with nothing computed."""
        self.tracker = FloorTracker()
        self._kept: dict[str, tuple[Hashable, Any]] = {}

    def of(self, range_map: RangeMap, config: Config, seen: RangeMap | None = None,
           near: NearPoints = NOTHING) -> Derived:
        """
        Return what follows from one range map; to be used before the next is asked for.

        :param range_map: what scans and clouds show
        :param seen: the present frame alone, for what is aligned with the depth image; None = it
        :param near: remembered points that scans and clouds show as well
        """
        return Derived(self, range_map, config, seen or range_map, near)

    def keep(self, name: str, key: Hashable, make: Callable[[], Maker]) -> Maker:
        """Return what was made for this key, or make it anew."""
        if name not in self._kept or self._kept[name][0] != key:
            self._kept[name] = key, make()
        return self._kept[name][1]


class Derived:
    """What follows from one range map under one configuration; see `Derivation`."""

    def __init__(self, derivation: Derivation, range_map: RangeMap, config: Config,
                 seen: RangeMap, near: NearPoints):
        """Take the frame; nothing is computed yet."""
        self._derivation, self._map, self._config = derivation, range_map, config
        self._seen, self._near = seen, near
        self._edges: Edges | None = None
        self._scan: Scan | None = None
        self._floor: tuple[Plane | None] | None = None
        self._floor_pixels: NDArray[np.bool_] | None = None

    def points(self, room: Room | None = None) -> NDArray[np.float32]:
        """
        Return the point records of the cloud: x y z [rgb] [height] [age].

        The height is left out as long as no floor was seen: a consumer that asks for it then
        stops, where a number made up would let it run over what it does not know.

        :param room: see `PointProjector.project`
        """
        points, size, view = self._config.points, self._map.size_hw, self._map.view
        turn = BREAK_TIES * 2 * np.pi / size[1] if points.organised else 0.0
        projector = self._keep('points', (size, points), lambda: PointProjector(
            size, points.max_points, points.rgb, points.organised, rotation_from_rpy(0, 0, turn),
            thinning=points.thinning, too_near=points.too_near))
        range_map, hidden = self._map, self._hidden()
        floor = self.floor() if points.height else None
        if view is None or not view.turned:
            return self._with_near(projector.project(
                range_map, hidden, floor, points.age, room), floor)
        body_from_map = view.map_from_body.T
        if points.organised:      # rows and columns of the body, not of the level frame
            index = view.body_index()
            assert index is not None
            hidden = None if hidden is None else np.take(hidden.reshape(-1), index)
            floor = None if floor is None else floor.rotated(body_from_map)
            return projector.project(range_map.at(index), hidden, floor, points.age, room)
        records = self._with_near(projector.project(
            range_map, hidden, floor, points.age, room), floor)
        turn_points(records, body_from_map)
        return records

    def fields(self) -> tuple[str, ...]:
        """Return the names of the values after x y z of a point."""
        points = self._config.points
        height = points.height and self.floor() is not None
        wanted = ('rgb', points.rgb), ('height', height), ('age', points.age)
        return tuple(name for name, chosen in wanted if chosen)

    def _with_near(self, records: NDArray[np.float32],
                   floor: Plane | None) -> NDArray[np.float32]:
        """Return the records with those of remembered points; an organised cloud has no room."""
        near, points = self._near, self._config.points
        if not len(near.points) or points.organised:
            return records
        added = np.zeros((len(near.points), records.shape[1]), np.float32)
        added[:, :3] = near.points
        if floor is not None:
            added[:, 3 + points.rgb] = floor.height_of(added[:, :3])
        if points.age:
            added[:, -1] = near.age_s
        return np.concatenate([records, added])

    def _hidden(self) -> NDArray[np.bool_] | None:
        """Return the pixels that are left out of the cloud; None = none."""
        hidden = self._edges_of_map().flying() if self._config.edges.points else None
        if self._config.points.floor == 'drop' and (
                floor := self._pixels_of_floor()) is not None:
            hidden = floor if hidden is None else hidden | floor
        return hidden

    def clearing(self) -> NDArray[np.float32]:
        """Return points (N, 3) along rays seen empty."""
        points, size, view = self._config.points, self._map.size_hw, self._map.view
        records = self._keep(
            'clearing', (size, points.max_points, points.clearing_range_m),
            lambda: ClearingProjector(size, points.max_points, points.clearing_range_m)
        ).project(self._map)
        if view is not None and view.turned:
            turn_points(records, view.map_from_body.T)
        return records

    def scan(self) -> Scan:
        """Return the level scan."""
        if self._scan is None:
            self._scan = self._level_scan()
        return self._scan

    def _level_scan(self) -> Scan:
        rule, scan, size = self._config.rule, self._config.scan, self._map.size_hw
        band = scan.min_height_m - rule.camera_height_m, scan.max_height_m - rule.camera_height_m
        limits = rule.min_range_m, self._map.limit_m
        projector = self._keep('scan', (size, scan, band, limits), lambda: ScanProjector(
            size, scan.beams, band, *limits, too_near=scan.too_near))
        range_map = self._map
        if scan.floor == 'drop' and (floor := self._pixels_of_floor()) is not None:
            # Down to the floor the band is free, though a tilt that nobody knows of may lift the
            # floor into the band.
            range_map = replace(range_map, range_m=np.where(
                floor, np.float32(np.inf), range_map.range_m))
        return scan_with(projector.project(range_map), self._near.points, band, scan.too_near)

    def obstacle_distance(self) -> Scan:
        """Return the 72 beams of a flight controller; see `ObstacleDistance`."""
        beams = self._config.scan.beams
        return self._keep('obstacle_distance', beams, lambda: ObstacleDistance(beams)
                          ).project(self.scan())

    def cliff(self) -> Scan:
        """Return the scan of drops, of the present frame: memory would hide a new one."""
        cliff, size = self._config.cliff, self._map.size_hw
        return self._keep('cliff', (size, cliff), lambda: CliffProjector(
            size, cliff.least_drop_m, cliff.reach_m, cliff.steepest_deg)
        ).project(self._seen, self.floor())

    def confidence(self) -> NDArray[np.uint8]:
        """Return the confidence (H, W) of this frame, halved where memory contradicts it."""
        edges = self._edges_of_map() if self._seen is self._map else self._edges_of(
            self._seen, 'edges of seen')
        sure = confidence(self._seen, edges.steps(), self.floor(),
                          self._config.rule.camera_height_m)
        if self._map.age_s is not None:
            # Two frames before saw something else there, which scan and clouds show.
            np.right_shift(sure, self._map.age_s > 0, out=sure, casting='unsafe')
        return sure

    def floor(self) -> Plane | None:
        """Return the floor, or the last one seen; None = none seen yet."""
        if self._floor is None:
            self._floor = (self._derivation.tracker.update(
                self._map.range_m, self._config.rule.camera_height_m),)
        return self._floor[0]

    def _pixels_of_floor(self) -> NDArray[np.bool_] | None:
        floor = self.floor()
        if self._floor_pixels is None and floor is not None:
            self._floor_pixels = floor_pixels(
                self._map.range_m, floor, self._config.floor.up_to_m)
        return self._floor_pixels

    def _edges_of_map(self) -> Edges:
        if self._edges is None:
            self._edges = self._edges_of(self._map, 'edges')
        return self._edges

    def _edges_of(self, range_map: RangeMap, name: str) -> Edges:
        edges, size = self._config.edges, range_map.size_hw
        return self._keep(name, (size, edges), lambda: EdgeFilter(size, edges.grazing_deg)
                          ).find(range_map.range_m)

    def _keep(self, name: str, key: Hashable, make: Callable[[], Maker]) -> Maker:
        return self._derivation.keep(name, key, make)
