# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What the outputs for navigation add to a frame, over depth, points and scan as they were.

    python -m bench.outputs

At 256 x 512 and 512 x 1024: each part alone, then all of them on at once; median and p90 of 200,
and the load average, because other work on the machine shows in every row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import os

import numpy as np
from sensor_msgs.msg import Image, LaserScan, PointCloud2

from bench.timing import seconds_of
from da_ros.config import CliffConfig, Config, EdgesConfig, PointsConfig, RangeRule, ScanConfig
from da_ros.derived.frame import Derivation, Derived
from da_ros.range_map import RangeMap
from da_ros.ros import conversions as to_ros
from da_ros.sphere import erp_rays

REPEATS = 200
HEADER = to_ros.header_for(10**9, 'camera_link')
PLAIN = replace(Config(), points=PointsConfig(thinning='uniform'), edges=EdgesConfig(points=False),
                rule=RangeRule(camera_height_m=1.0),
                scan=ScanConfig(min_height_m=0.15, max_height_m=1.5))
ALL = replace(PLAIN, points=PointsConfig(height=True, floor='drop', rgb=True),
              edges=EdgesConfig(), cliff=CliffConfig(enabled=True),
              scan=replace(PLAIN.scan, floor='drop'))
DEFAULTS = replace(PLAIN, points=PointsConfig(), edges=EdgesConfig())


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return median and p90 [ms] after a warm-up."""
    times = seconds_of(work, REPEATS)
    return float(np.median(times) * 1e3), float(np.quantile(times, 0.9) * 1e3)


def room(size_hw: tuple[int, int]) -> RangeMap:
    """Return a furnished room with windows, as an estimate would say it."""
    rng, rays = np.random.default_rng(0), erp_rays(*size_hw)
    bounds = np.where(rays > 0, [6, 4, 2], [-6, -4, -1.0])
    with np.errstate(divide='ignore'):
        range_m = np.nanmin(np.where(rays == 0, np.inf, bounds / rays), axis=-1)
    height, width = size_hw
    for _ in range(40):
        row, col = rng.integers(height // 3, 2 * height // 3), rng.integers(0, width - width // 20)
        range_m[row:row + height // 8, col:col + width // 40] = rng.uniform(0.2, 4)
    range_m[height // 3:height // 2, :width // 6] = np.inf
    range_m = (range_m * rng.normal(1, 0.01, size_hw)).astype(np.float32)
    range_m[range_m < 0.3] = -np.inf
    probability = np.where(np.isfinite(range_m), 0.99, 0.01).astype(np.float32)
    image = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    return RangeMap(range_m, 20.0, 0.3, image, probability=probability, mask_m=20.0)


class Frame:
    """The messages of one configuration, filled as the node fills them."""

    def __init__(self, range_map: RangeMap, config: Config):
        self._map, self._config, self._derivation = range_map, config, Derivation()
        self._msgs = {kind: kind() for kind in (Image, LaserScan, PointCloud2)}

    def derived(self) -> Derived:
        """Return what follows from the map, nothing of it computed yet."""
        return self._derivation.of(self._map, self._config)

    def basic(self, derived: Derived | None = None) -> None:
        """Fill scan, points and depth."""
        derived = derived or self.derived()
        to_ros.fill_scan(self._msgs[LaserScan], HEADER, derived.scan())
        self.cloud(derived)
        to_ros.fill_image(self._msgs[Image], HEADER, self._map.range_m, '32FC1')

    def cloud(self, derived: Derived) -> None:
        """Fill points."""
        to_ros.fill_cloud(self._msgs[PointCloud2], HEADER, derived.points(), None,
                          ('rgb', 'height') if self._config.points.rgb else ('height',))

    def everything(self) -> None:
        """Fill every output but pinhole views and the preview."""
        derived = self.derived()
        self.basic(derived)
        to_ros.fill_scan(self._msgs[LaserScan], HEADER, derived.obstacle_distance())
        to_ros.fill_cloud(self._msgs[PointCloud2], HEADER, derived.clearing())
        to_ros.fill_scan(self._msgs[LaserScan], HEADER, derived.cliff())
        to_ros.fill_image(self._msgs[Image], HEADER, derived.confidence(), 'mono8')


def main() -> None:
    """Print a table per network size."""
    for size_hw in ((256, 512), (512, 1024)):
        range_map = room(size_hw)
        frames = {name: Frame(range_map, config) for name, config in (
            ('plain', PLAIN), ('defaults', DEFAULTS), ('all', ALL))}
        rows = {
            'scan + points + depth, uniform thinning, no edges': frames['plain'].basic,
            'the same, defaults (nearest, edges)': frames['defaults'].basic,
            'all outputs': frames['all'].everything}
        parts = {
            'edges': lambda d: d._edges_of_map().flying(), 'floor fit': lambda d: d.floor(),
            'floor pixels': lambda d: d._pixels_of_floor(), 'points': lambda d: d.points(),
            'clearing': lambda d: d.clearing(), 'scan': lambda d: d.scan(),
            'obstacle_distance, of a scan': lambda d: d.obstacle_distance(),
            'cliff': lambda d: d.cliff(), 'confidence': lambda d: d.confidence()}
        print(f'\n{size_hw[0]} x {size_hw[1]}, load average {os.getloadavg()[0]:.1f}\n\n'
              '| outputs | median ms | p90 ms |\n|---|---|---|')
        results = {}
        for name, work in rows.items():
            results[name] = timed(work)
            print('| {} | {:.2f} | {:.2f} |'.format(name, *results[name]))
        first, *_, last = results.values()
        print(f'| **added by all** | **{last[0] - first[0]:.2f}** | |')
        for name, part in parts.items():
            print('| {} (with what it needs) | {:.2f} | {:.2f} |'.format(
                name, *timed(lambda part=part, frame=frames['all']: part(frame.derived()))))


if __name__ == '__main__':
    main()
