# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What follows from one range map under a configuration: frames, floors, and nothing twice."""

from dataclasses import replace

import numpy as np
import pytest

from da_ros.cameras.rig import Rig, View
from da_ros.config import CliffConfig, Config, EdgesConfig, PointsConfig, RangeRule, ScanConfig
from da_ros.derived.frame import Derivation
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy

H, W = 64, 128
TILT = rotation_from_rpy(0.2, -0.1, 0.0)                 # map from body
CONFIG = replace(Config(), rule=RangeRule(camera_height_m=1.0),
                 points=PointsConfig(height=True, max_points=0), edges=EdgesConfig(points=False),
                 scan=ScanConfig(min_height_m=0.15, max_height_m=1.5))


def room(view=None) -> RangeMap:
    """Walls at 3 m and 4 m, open above; a map that is level, whatever the body does."""
    rays = erp_rays(H, W)
    bounds = np.where(rays > 0, [4, 3, np.inf], [-4, -3, -1.0])
    with np.errstate(divide='ignore', invalid='ignore'):
        range_m = np.nanmin(np.where(rays == 0, np.inf, bounds / rays), axis=-1)
    range_m[rays[..., 2] > 0.5] = np.inf
    return RangeMap(range_m.astype(np.float32), 20.0, 0.3, np.zeros((H, W, 3), np.uint8),
                    view=view)


def tilted() -> RangeMap:
    return room(View(Rig(), (H, W), map_from_body=TILT))


def test_clouds_are_in_the_body_and_heights_and_scans_do_not_mind_its_tilt():
    level, turned = (Derivation().of(range_map, CONFIG) for range_map in (room(), tilted()))
    upright, leaning = level.points(), turned.points()
    assert np.allclose(leaning[:, :3] @ TILT.T, upright[:, :3], atol=1e-4)
    assert np.allclose(leaning[:, 3], upright[:, 3], atol=1e-4)
    assert np.allclose(turned.clearing() @ TILT.T, level.clearing(), atol=1e-3)
    np.testing.assert_array_equal(turned.scan().ranges, level.scan().ranges)


def test_an_organised_cloud_of_a_tilted_body_has_the_same_heights_by_place():
    config = replace(CONFIG, points=PointsConfig(height=True, organised=True))
    points = Derivation().of(tilted(), config).points()
    assert points.shape == (H * W, 4)
    points = points[np.isfinite(points[:, 0])]
    height = (points[:, :3] @ TILT.T)[:, 2] + 1.0
    assert np.abs(points[:, 3] - height).max() < 0.15      # of a look-up by whole pixels
    assert np.median(np.abs(points[:, 3] - height)) < 0.01


@pytest.mark.parametrize('points, columns', [
    (PointsConfig(), 3), (PointsConfig(rgb=True), 4), (PointsConfig(height=True, rgb=True), 5)])
def test_columns_follow_the_configuration(points, columns):
    got = Derivation().of(room(), replace(CONFIG, points=points)).points()
    assert got.shape[1] == columns


def test_dropped_floor_leaves_the_walls_and_unknown_floor_leaves_everything():
    config = replace(CONFIG, points=PointsConfig(floor='drop', max_points=0))
    got = Derivation().of(room(), config).points()
    assert got[:, 2].min() > -0.95 and len(got) > 1000
    ceiling_only = replace(room(), range_m=np.where(
        erp_rays(H, W)[..., 2] > -0.1, 3.0, np.nan).astype(np.float32))
    derived = Derivation().of(ceiling_only, config)
    assert len(derived.points()) == np.isfinite(ceiling_only.range_m).sum()
    assert derived.floor() is None and np.isnan(derived.cliff().ranges).all()


def test_the_floor_is_looked_at_once_a_frame_and_only_if_somebody_asks():
    derivation = Derivation()
    plain = replace(CONFIG, points=PointsConfig(), edges=EdgesConfig())
    derived = derivation.of(room(), plain)
    derived.points(), derived.scan(), derived.obstacle_distance(), derived.clearing()
    assert derivation.tracker.frames == 0
    everything = replace(CONFIG, points=PointsConfig(floor='drop', height=True),
                         scan=replace(CONFIG.scan, floor='drop'),
                         cliff=CliffConfig(enabled=True))
    derived = derivation.of(room(), everything)
    derived.points(), derived.scan(), derived.cliff(), derived.confidence(), derived.floor()
    assert derivation.tracker.frames == 1
    assert derived.scan() is derived.scan()


def test_geometry_is_kept_until_the_configuration_changes():
    derivation = Derivation()
    derivation.of(room(), CONFIG).scan()
    kept = derivation._kept['scan'][1]
    derivation.of(room(), CONFIG).scan()
    assert derivation._kept['scan'][1] is kept
    wider = replace(CONFIG, scan=replace(CONFIG.scan, max_height_m=1.2))
    derivation.of(room(), wider).scan()
    assert derivation._kept['scan'][1] is not kept


def test_the_map_itself_is_never_written_into():
    range_map = room()
    before = range_map.range_m.copy()
    config = replace(CONFIG, points=PointsConfig(floor='drop'), edges=EdgesConfig(),
                     scan=replace(CONFIG.scan, floor='drop'))
    derived = Derivation().of(range_map, config)
    derived.points(), derived.scan(), derived.confidence(), derived.cliff(), derived.clearing()
    np.testing.assert_array_equal(range_map.range_m, before)
