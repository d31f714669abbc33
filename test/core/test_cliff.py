# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of drops: flat floor and ramps have none; stairs down, kerbs, holes and table tops do."""

import numpy as np
import pytest

from da_ros.derived.cliff import CliffProjector
from da_ros.derived.floor import fit_floor
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy

H, W = 256, 512
CAMERA_M = 1.0
INF, NAN = np.inf, np.nan
AZIMUTH = -np.pi + np.pi / 180 * (np.arange(360) + 0.5)


def terrain(height_of, rotation=None, reach=12.0):
    """Return the range to a surface z = height_of(x, y) below the camera, by marching."""
    rays = erp_rays(H, W) if rotation is None else erp_rays(H, W) @ rotation.T
    range_m = np.full((H, W), INF)
    down = rays[..., 2] < -0.02
    x, y, z = np.moveaxis(rays[down], -1, 0)

    def below(r):
        return r * z <= height_of(r * x, r * y) - CAMERA_M
    free, hit = np.full(len(x), 0.0), np.full(len(x), INF)
    for r in np.geomspace(0.5, reach, 250)[::-1]:
        inside = below(r)
        hit[inside], free[inside] = r, r / (reach / 0.5) ** (1 / 249)
    for _ in range(12):
        middle = np.where(np.isfinite(hit), (free + hit) / 2, 1.0)
        inside = below(middle) & np.isfinite(hit)
        hit = np.where(inside, middle, hit)
        free = np.where(inside, free, middle)
    range_m[down] = hit
    return range_m.astype(np.float32)


def cliffs(range_m, rotation=None, **changes):
    options = dict(least_drop_m=0.15, reach_m=3.0, steepest_deg=10.0) | changes
    plane, _ = fit_floor(range_m, CAMERA_M)
    projector = CliffProjector(range_m.shape, scan_from_camera=rotation, **options)
    range_map = RangeMap(range_m, 20.0, 0.3, np.zeros((H, W, 3), np.uint8))
    return projector.project(range_map, plane)


def flat(x, y):
    return 0 * x


def step_down(x, y):
    return np.where(x > 1.5, -0.17 * np.ceil((x - 1.5) / 0.28), 0.0)      # stairs


def kerb(x, y):
    return np.where(y > 1.0, -0.2, 0.0)


def hole(x, y):
    return np.where(np.hypot(x + 1.8, y) < 0.5, -1.5, 0.0)


def table(x, y):
    return np.where((np.abs(x) < 1.2) & (np.abs(y) < 1.2), 0.0, -0.75)


def ramp(x, y):
    return np.where(x > 1.0, -np.tan(np.deg2rad(6)) * (x - 1.0), 0.0)


@pytest.mark.parametrize('surface', [flat, ramp])
@pytest.mark.parametrize('tilt', [None, (0.05, -0.03)])
def test_flat_floor_and_a_ramp_have_no_cliff(surface, tilt):
    rotation = None if tilt is None else rotation_from_rpy(*tilt, 0.4)
    got = cliffs(terrain(surface, rotation), rotation)
    assert np.isposinf(got.ranges).all()
    assert got.range_max == 3.0


@pytest.mark.parametrize('tilt', [None, (0.05, -0.03)])
@pytest.mark.parametrize('surface, edge', [
    (step_down, lambda a: np.where(np.cos(a) > 0, 1.5 / np.maximum(np.cos(a), 1e-9), INF)),
    (kerb, lambda a: np.where(np.sin(a) > 0, 1.0 / np.maximum(np.sin(a), 1e-9), INF)),
    (table, lambda a: 1.2 / np.maximum(np.abs(np.cos(a)), np.abs(np.sin(a))))])
def test_an_edge_is_found_where_it_is_and_never_farther(surface, edge, tilt):
    rotation = None if tilt is None else rotation_from_rpy(*tilt, 0.4)
    got = cliffs(terrain(surface, rotation), rotation).ranges
    wanted = edge(AZIMUTH)
    near, none = wanted < 2.0, wanted > 3.0
    assert near.sum() > 60 and np.isfinite(got[near]).all()
    beside = np.maximum(edge(AZIMUTH - 0.013), edge(AZIMUTH + 0.013))     # pixels are no beams
    assert (got[near] <= np.maximum(wanted, beside)[near] + 0.01).all()
    assert (got[near] >= wanted[near] - 0.2).all()
    assert not np.isfinite(got[none]).any()


def test_a_hole_behind_the_robot_is_found_across_the_seam():
    got = cliffs(terrain(hole)).ranges
    inside = np.abs(np.pi - np.abs(AZIMUTH)) < 0.15
    assert np.isfinite(got[inside]).all() and np.allclose(got[inside], 1.3, atol=0.2)
    assert np.isposinf(got[np.abs(AZIMUTH) < 2]).all()


def test_bottomless_is_a_drop_and_unknown_is_not():
    def pit(x, y):
        return np.where(x > 1.2, -100.0, 0.0)
    got = cliffs(terrain(pit)).ranges
    assert np.isclose(got[180], 1.2, atol=0.1)
    unknown = terrain(flat)
    unknown[:, 200:300] = NAN
    got = cliffs(unknown).ranges
    assert not np.isfinite(got).any() and np.isnan(got[180]) and np.isposinf(got[5])


def test_an_obstacle_hides_the_floor_and_is_no_drop():
    range_m = terrain(flat)
    rays = erp_rays(H, W)
    wall = np.where(rays[..., 0] > 0, 1.0 / np.maximum(rays[..., 0], 1e-9), INF)
    got = cliffs(np.minimum(range_m, wall).astype(np.float32)).ranges
    assert np.isnan(got[180]) and np.isposinf(got[5])


def test_the_robot_itself_below_the_camera_does_not_make_beams_unknown():
    range_m = terrain(flat)
    range_m[230:] = NAN
    assert np.isposinf(cliffs(range_m).ranges).all()


def test_one_wrong_pixel_is_no_cliff():
    range_m = terrain(flat)
    range_m[180, 256] = 9.0
    assert not np.isfinite(cliffs(range_m).ranges).any()


def test_without_a_floor_nothing_is_known():
    projector = CliffProjector((H, W), 0.15, 3.0, 10.0)
    range_map = RangeMap(terrain(flat), 20.0, 0.3, np.zeros((H, W, 3), np.uint8))
    assert np.isnan(projector.project(range_map, None).ranges).all()


def test_the_table_follows_a_floor_that_moves():
    projector = CliffProjector((H, W), 0.15, 3.0, 10.0)
    surface = terrain(step_down)
    for scale in (1.0, 1.002, 1.3):
        range_m = (surface * scale).astype(np.float32)
        plane, _ = fit_floor(range_m, CAMERA_M * scale)
        got = projector.project(
            RangeMap(range_m, 20.0, 0.3, np.zeros((H, W, 3), np.uint8)), plane).ranges
        assert np.isclose(got[180], 1.5 * scale, atol=0.2) and got[180] <= 1.5 * scale + 0.01
