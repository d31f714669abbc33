# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of thinning: the budget, the sphere, and that nothing near is lost."""

import numpy as np
import pytest

from da_ros.derived.thinning import NearestCells, sphere_uniform_index
from da_ros.points import PointProjector
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, solid_angles

H, W = 64, 128
INF, NAN = np.inf, np.nan


@pytest.mark.parametrize('size_hw', [(H, W), (256, 512), (3, 6), (1, 2)])
def test_thinning_spends_any_budget_exactly_and_repeats_no_pixel(size_hw):
    total = size_hw[0] * size_hw[1]
    for budget in {1, 2, 3, 5, 10, 69, 511, 513, 3000, 8000, total - 1, total, 10**6} - {0}:
        index = sphere_uniform_index(size_hw, budget)
        assert len(index) == min(budget, total) == len(np.unique(index)), budget
        assert index.min() >= 0 and index.max() < total


def test_a_single_point_is_a_level_one():
    for size_hw in ((H, W), (256, 512), (512, 1024)):
        index, = sphere_uniform_index(size_hw, 1)
        assert abs(index // size_hw[1] + 0.5 - size_hw[0] / 2) <= 1
    range_map = RangeMap(np.full((H, W), 2, np.float32), 100.0, 0.3, np.zeros((H, W, 3), np.uint8))
    points = PointProjector((H, W), 1).project(range_map)
    assert points.shape == (1, 3) and np.isclose(np.linalg.norm(points), 2)


@pytest.mark.parametrize('budget', [2000, 4000])
def test_thinning_is_uniform_on_the_sphere(budget):
    index = sphere_uniform_index((H, W), budget)
    row = index // W
    solid = solid_angles(H, W)[:, 0] * W
    for band in np.array_split(np.arange(H), 8):
        share = np.isin(row, band).mean()
        assert np.isclose(share, solid[band].sum() / (4 * np.pi), atol=0.02)
    octant = np.bincount(index % W // (W // 8), minlength=8) / len(index)
    assert np.allclose(octant, 1 / 8, atol=0.01)


@pytest.mark.parametrize('size_hw', [(H, W), (50, 100), (1, 2)])
@pytest.mark.parametrize('budget', [1, 2, 10, 500, 3000, 8000])
def test_every_pixel_belongs_to_one_cell_of_the_budget(size_hw, budget):
    cells = NearestCells(size_hw, budget)
    empty = np.full(size_hw, INF, np.float32)
    assert len(cells.centre) <= budget and cells.empty(empty).all()
    rng = np.random.default_rng(0)
    for pixel in rng.choice(empty.size, min(empty.size, 60), replace=False):
        lonely = empty.copy()
        lonely.reshape(-1)[pixel] = 4.0
        assert cells.nearest(lonely).tolist() == [pixel]
        assert cells.empty(lonely).sum() == len(cells.centre) - 1
        assert np.unique(cells.centre).size == cells.centre.size


@pytest.mark.parametrize('budget', [100, 2000, 6000])
def test_each_cell_keeps_its_nearest_pixel_and_the_nearest_of_all_survives(budget):
    rng = np.random.default_rng(1)
    cells = NearestCells((H, W), budget)
    for _ in range(5):
        range_m = rng.uniform(0.3, 80, (H, W)).astype(np.float32)
        range_m[rng.random((H, W)) < 0.2] = rng.choice([INF, NAN, -INF])
        kept = cells.nearest(range_m)
        assert np.isfinite(range_m.reshape(-1)[kept]).all()
        assert np.nanmin(range_m[np.isfinite(range_m)]) == range_m.reshape(-1)[kept].min()


def test_cells_without_a_finite_range_give_nothing():
    cells = NearestCells((H, W), 500)
    for value in (INF, -INF, NAN):
        assert len(cells.nearest(np.full((H, W), value, np.float32))) == 0


@pytest.mark.parametrize('budget', [2000, 4000])
def test_cells_are_of_about_equal_size(budget):
    cells = NearestCells((H, W), budget)
    row = cells.centre // W
    solid = solid_angles(H, W)[:, 0] * W
    for band in np.array_split(np.arange(H), 4):
        assert np.isclose(np.isin(row, band).mean(), solid[band].sum() / (4 * np.pi), atol=0.04)


@pytest.mark.parametrize('size_hw', [(256, 512), (512, 1024)])
@pytest.mark.parametrize('azimuth_deg', [0.0, 37.3, 90.0, 179.9])
def test_a_leg_3_cm_wide_and_45_cm_high_at_3_m_keeps_four_points(size_hw, azimuth_deg):
    rays = erp_rays(*size_hw)
    planar = np.hypot(rays[..., 0], rays[..., 1])
    turned = (np.arctan2(rays[..., 1], rays[..., 0]) - np.deg2rad(azimuth_deg) + np.pi) % (
        2 * np.pi) - np.pi
    half = max(0.015 / 3, np.pi / size_hw[1])            # at least the pixel that it covers
    rise = 3 * rays[..., 2] / planar                      # camera 0.6 m above the floor
    leg = (np.abs(turned) <= half + 1e-9) & (rise > -0.6) & (rise < -0.15)
    floor = np.where(rays[..., 2] < 0, -0.6 / np.minimum(rays[..., 2], -1e-9), INF)
    range_m = np.where(leg, 3 / planar, np.minimum(floor, 8 / planar)).astype(np.float32)
    points = PointProjector(size_hw, 30000).project(
        RangeMap(range_m, 100.0, 0.3, np.zeros((*size_hw, 3), np.uint8)))
    on_leg = (np.abs(np.hypot(points[:, 0], points[:, 1]) - 3) < 0.01) & (points[:, 2] > -0.59)
    assert on_leg.sum() >= 4
