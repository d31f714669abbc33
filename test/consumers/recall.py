# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What of the obstacles around a robot arrives in Nav2's costmap: scan, cloud, costmap model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from costmap_model import Costmap, Pose, Source
import numpy as np
from parameter_files import node_config
import yaml

from da_ros.config import Config
from da_ros.derived.frame import Derivation
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays

SECTORS = 36
WITHIN_M = 5.0
HIT_M, ALARM_RATIO = 0.3, 0.8                      # as training.data.obstacles


def nav2_files(path) -> tuple[Config, dict[str, Source]]:
    """Return the node's configuration and the costmap sources of config/nav2_pano.yaml."""
    tree = yaml.safe_load(path.read_text())
    layer = tree['local_costmap']['local_costmap']['ros__parameters']['pano']
    names = {item.name for item in fields(Source)}
    return node_config(tree), {
        source: Source(**{k: v for k, v in layer[source].items() if k in names})
        for source in ('scan', 'points')}


def with_height(config: Config, camera_height_m: float) -> Config:
    """Return the configuration for another camera height, its band included."""
    low = round(0.05 + 0.1 * camera_height_m, 3)
    return replace(config, rule=replace(config.rule, camera_height_m=camera_height_m),
                   scan=replace(config.scan, min_height_m=low),
                   floor=replace(config.floor, up_to_m=low))


@dataclass
class Robot:
    """The node's outputs and a costmap around a robot that moves without turning."""

    config: Config
    sources: dict[str, Source]

    def __post_init__(self):
        self.grid, self._derivation = Costmap(layer_heights=(-0.5, 2.0)), Derivation()

    def look(self, range_map: RangeMap, xyz) -> None:
        """Take one frame at a place."""
        derived = self._derivation.of(range_map, self.config)
        self.grid.update([(self.sources['scan'], derived.scan()),
                          (self.sources['points'], derived.points())], Pose(np.asarray(xyz)))

    def score(self, true_xy: np.ndarray, anything_xy: np.ndarray, xy) -> np.ndarray:
        """
        Return obstacles, hits, false alarms and sectors of one frame.

        The obstacle of a sector is its nearest true point; a hit is a lethal cell within 0.3 m of
        it. A false alarm is a sector whose nearest lethal cell is nearer than 0.8 times anything
        that there is in it and its neighbours, and by 0.3 m.

        :param true_xy: (N, 2) true obstacle points around the robot
        :param anything_xy: (M, 2) true points of all heights that may be marked
        :param xy: where the robot is
        """
        cells = self.grid.lethal_points() - np.asarray(xy)
        true = nearest_of_sectors(true_xy)
        obstacle = np.hypot(*true.T) <= WITHIN_M
        gaps = np.hypot(*(true[obstacle][:, None] - cells[None]).transpose(2, 0, 1))
        hits = (gaps.min(axis=1) <= HIT_M).sum() if cells.size else 0
        there_m, cell_m = (np.hypot(*nearest_of_sectors(xy).T) for xy in (anything_xy, cells))
        around = np.minimum.reduce([there_m, np.roll(there_m, 1), np.roll(there_m, -1)])
        alarm = (cell_m <= WITHIN_M) & (cell_m < ALARM_RATIO * around) & (cell_m < around - HIT_M)
        return np.array([obstacle.sum(), hits, alarm.sum(), SECTORS])


def nearest_of_sectors(xy: np.ndarray) -> np.ndarray:
    """Return the nearest point (sectors, 2) of each sector; far away where there is none."""
    nearest = np.full((SECTORS, 2), 1e6)
    order = np.argsort(-np.hypot(*xy.T))
    sector = np.floor((np.arctan2(xy[:, 1], xy[:, 0]) / (2 * np.pi) + 0.5) * SECTORS).astype(int)
    nearest[sector[order] % SECTORS] = xy[order]       # the last one written is the nearest
    return nearest


def true_points(range_map: RangeMap, config: Config, sources: dict[str, Source]
                ) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (N, 2) within the scan's band, and those (M, 2) that may be marked."""
    height_m, scan, points = config.rule.camera_height_m, config.scan, sources['points']
    return (obstacle_points(range_map, height_m, scan.min_height_m, scan.max_height_m),
            obstacle_points(range_map, height_m,
                            min(scan.min_height_m, points.min_obstacle_height),
                            max(scan.max_height_m, points.max_obstacle_height)))


def obstacle_points(range_map: RangeMap, camera_height_m: float, low_m: float,
                    high_m: float) -> np.ndarray:
    """Return the points (N, 2) around the camera that lie between two heights over the floor."""
    range_m = np.where(np.isneginf(range_map.range_m), range_map.min_range_m, range_map.range_m)
    points = (erp_rays(*range_map.size_hw) * np.where(np.isfinite(range_m), range_m, 0)[..., None])
    height = points[..., 2] + camera_height_m
    return points[np.isfinite(range_m) & (height >= low_m) & (height <= high_m)][:, :2]
