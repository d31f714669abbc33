# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The four figures of Nav2's bag test of its collision monitor, in every direction at 10 Hz."""

from dataclasses import replace

from costmap_model import Monitor
import numpy as np
import pytest
from scenes import person, Post, seen

from da_ros.derived.edges import EdgeFilter
from da_ros.derived.floor import floor_pixels, FloorTracker
from da_ros.points import PointProjector
from da_ros.scan import ScanProjector

SIZE = (128, 256)
CAMERA_M, PERIOD_S = 1.0, 0.1
BAND = (0.15 - CAMERA_M, 1.5 - CAMERA_M)
AROUND_DEG = [0, 45, 90, 135, 180, -135, -90, -45, 179.6, -179.7]       # the last two: the seam


class Sensor:
    """The node's scan and cloud of one frame, geometry alone, with the noise of an estimate."""

    def __init__(self, noise=0.02, seed=0):
        self._scan = ScanProjector(SIZE, 720, BAND, 0.3, 20.0)
        self._points = PointProjector(SIZE, 30000)
        self._edges, self._floor = EdgeFilter(SIZE, 5.0), FloorTracker()
        self._noise, self._rng = noise, np.random.default_rng(seed)

    def sources(self, things):
        range_map = seen(things, (0, 0, CAMERA_M), SIZE)
        factor = self._rng.normal(1, self._noise, SIZE).astype(np.float32)
        range_map = replace(range_map, range_m=range_map.range_m * factor)
        floor = self._floor.update(range_map.range_m, CAMERA_M)
        hidden = self._edges.find(range_map.range_m).flying() | floor_pixels(
            range_map.range_m, floor, 0.1)
        cloud = self._points.project(range_map, hidden, floor)
        return [(self._scan.project(range_map), 0.05), (cloud.copy(), 0.05)]


DISTANCE_M = np.concatenate(
    [np.linspace(3, 0.6, 16), np.full(20, 0.6), np.linspace(0.6, 3, 16)])


def figures(monitor, frames, azimuth):
    """Return the four figures; `frames` are the sources at DISTANCE_M of somebody's middle."""
    skin = DISTANCE_M - 0.2
    reach = _reach(monitor, azimuth)
    inside = skin < reach - 0.02
    stopped = np.array([monitor.stops(sources, CAMERA_M, 3) for sources in frames])
    entered, left = np.flatnonzero(inside)[[0, -1]]
    to_stop = (np.flatnonzero(stopped[entered:])[0]) * PERIOD_S
    to_resume = (np.flatnonzero(~stopped[left + 1:])[0] + 1) * PERIOD_S
    outside = skin > reach + 0.05
    return (to_stop, stopped[entered:left + 1].mean(), to_resume, stopped[outside].mean())


def _reach(monitor, azimuth):
    c, s = np.cos(azimuth), np.sin(azimuth)
    x = monitor.x[1] / c if c > 1e-9 else monitor.x[0] / c if c < -1e-9 else np.inf
    y = monitor.y[1] / s if s > 1e-9 else monitor.y[0] / s if s < -1e-9 else np.inf
    return min(x, y)


@pytest.mark.parametrize('azimuth_deg', AROUND_DEG)
def test_it_stops_holds_and_resumes_in_time_in_every_direction(azimuth_deg):
    azimuth = np.deg2rad(azimuth_deg)
    direction, sensor = np.array([np.cos(azimuth), np.sin(azimuth)]), Sensor()
    frames = [sensor.sources([person(*(d * direction))]) for d in DISTANCE_M]
    for monitor in (Monitor(), Monitor().towards(0.4 * direction), Monitor(use_height_field=True)):
        to_stop, hold, to_resume, false_stop = figures(monitor, frames, azimuth)
        assert to_stop <= 0.6 and hold >= 0.9 and to_resume <= 0.6 and false_stop <= 0.05


def test_an_empty_floor_never_stops_it_with_either_height():
    sensor = Sensor()
    for monitor in (Monitor(), Monitor(use_height_field=True)):
        assert not any(monitor.stops(sensor.sources([]), CAMERA_M, 3) for _ in range(20))


@pytest.mark.parametrize('azimuth_deg', [0, 90, 180, 179.7])
def test_somebody_at_half_the_minimum_range_stops_it(azimuth_deg):
    azimuth = np.deg2rad(azimuth_deg)
    close = Post(0.35 * np.cos(azimuth), 0.35 * np.sin(azimuth), 0.2)
    sources = Sensor().sources([close])
    for source in sources:                         # each of them alone would do
        assert Monitor().stops([source], CAMERA_M, 3)


def test_points_of_all_sources_count_together():
    monitor = Monitor(min_points=4)
    cloud = np.float32([[0.5, 0, 0, 1.0]] * 3)
    empty = Sensor(0.0).sources([])[0]
    assert not monitor.stops([empty, (cloud, 0.0)], CAMERA_M)
    assert monitor.stops([(cloud, 0.0), (cloud[:1], 0.0)], CAMERA_M)


def test_a_stale_source_and_a_missing_height_field_stop_it():
    sources = Sensor().sources([])
    assert Monitor().stops([(sources[0][0], 0.6)], CAMERA_M)
    assert Monitor(use_height_field=True).stops(sources, CAMERA_M, None)
