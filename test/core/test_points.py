# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the point cloud."""

import numpy as np
import pytest

from da_ros.derived.floor import Plane
from da_ros.points import ClearingProjector, PointProjector
from da_ros.range_map import RangeMap
from da_ros.sphere import angles_from_ray, erp_rays, rotation_from_rpy

H, W = 64, 128
INF, NAN = np.inf, np.nan


def as_map(range_m, image=None) -> RangeMap:
    range_m = np.broadcast_to(np.float32(range_m), (H, W)).copy()
    return RangeMap(range_m, 100.0, 0.3, np.zeros((H, W, 3), np.uint8) if image is None else image)


def test_points_lie_on_their_rays_at_their_range():
    range_m = np.random.default_rng(0).uniform(0.5, 50, (H, W))
    points = PointProjector((H, W)).project(as_map(range_m))
    wanted = (erp_rays(H, W) * range_m[..., None]).reshape(-1, 3)
    assert np.allclose(points, wanted, rtol=1e-5, atol=1e-5)


def test_only_finite_ranges_become_points():
    range_m = np.full((H, W), 2.0)
    range_m[0], range_m[1], range_m[2] = INF, -INF, NAN
    points = PointProjector((H, W), too_near='minus_inf').project(as_map(range_m))
    assert points.shape == ((H - 3) * W, 3) and np.isfinite(points).all()
    assert np.allclose(np.linalg.norm(points, axis=1), 2)


def test_organised_cloud_keeps_the_image_order_with_nan():
    range_m = np.full((H, W), 2.0)
    range_m[0], range_m[1, 5] = INF, -INF
    points = PointProjector((H, W), 100, organised=True, too_near='minus_inf').project(
        as_map(range_m))
    points = points.reshape(H, W, 3)
    assert np.isnan(points[0]).all() and np.isnan(points[1, 5]).all()
    assert np.isfinite(points[1:]).all(axis=-1).sum() == (H - 1) * W - 1
    assert np.allclose(points[20, 30], 2 * erp_rays(H, W)[20, 30], atol=1e-6)


def test_rotation_turns_the_cloud_and_nothing_else():
    turn = rotation_from_rpy(0.1, -0.2, 1.0)
    plain = PointProjector((H, W), 1000).project(as_map(3.0)).copy()
    turned = PointProjector((H, W), 1000, body_from_camera=turn).project(as_map(3.0))
    assert np.allclose(turned, plain @ turn.T, atol=1e-5)


@pytest.mark.parametrize('budget', [0, 777])
def test_colour_is_that_of_the_pixel_in_pcl_order(budget):
    image = np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)
    range_m = np.full((H, W), 2.0)
    range_m[:, ::3] = NAN
    points = PointProjector((H, W), budget, rgb=True).project(as_map(range_m, image))
    azimuth, elevation = angles_from_ray(points[:, :3])
    col = np.round((0.5 - azimuth / (2 * np.pi)) * W - 0.5).astype(int)
    row = np.round((0.5 - elevation / np.pi) * H - 0.5).astype(int)
    packed = np.ascontiguousarray(points[:, 3]).view(np.uint32)
    blue, green, red = image[row, col].T.astype(np.uint32)
    assert (packed == red << 16 | green << 8 | blue).all()


def test_all_unknown_is_an_empty_cloud():
    assert PointProjector((H, W), 100).project(as_map(NAN)).shape == (0, 3)


@pytest.mark.parametrize('layout', [{}, {'max_points': 500}, {'organised': True},
                                    {'max_points': 500, 'thinning': 'uniform'}])
def test_what_is_too_near_is_a_point_at_the_minimum_range(layout):
    points = PointProjector((H, W), **layout).project(as_map(-INF))
    assert len(points) and np.allclose(np.linalg.norm(points, axis=1), 0.3, rtol=1e-5)
    hidden = PointProjector((H, W), too_near='minus_inf', **layout).project(as_map(-INF))
    assert not np.isfinite(hidden).any()


def test_one_pixel_too_near_is_kept_by_a_thinned_cloud():
    range_m = np.full((H, W), 5.0)
    range_m[40, 77] = -INF
    points = PointProjector((H, W), 300).project(as_map(range_m))
    nearest = points[np.argmin(np.linalg.norm(points, axis=1))]
    assert np.allclose(nearest, 0.3 * erp_rays(H, W)[40, 77], atol=1e-5)


@pytest.mark.parametrize('layout', [{}, {'max_points': 2000}, {'organised': True}])
def test_hidden_pixels_are_no_points(layout):
    hidden = np.zeros((H, W), bool)
    hidden[30:, :] = True
    range_map = as_map(4.0)
    points = PointProjector((H, W), **layout).project(range_map, hidden)
    lowest = erp_rays(H, W)[29, 0, 2] * 4
    assert (points[np.isfinite(points[:, 2]), 2] > lowest - 1e-4).all()
    assert np.isfinite(range_map.range_m).all()           # the map itself is left alone


def test_the_height_field_is_the_distance_from_the_plane():
    floor = Plane(np.array([0.1, -0.05, 1.0]) / np.linalg.norm([0.1, -0.05, 1.0]), 0.9)
    points = PointProjector((H, W), 700, rgb=True).project(as_map(2.5), None, floor)
    assert points.shape[1] == 5
    assert np.allclose(points[:, 4], points[:, :3] @ floor.normal + 0.9, atol=1e-5)


def test_clearing_points_lie_beyond_the_limit_along_empty_rays_only():
    range_m = np.full((H, W), INF)
    range_m[:, :40], range_m[20] = 3.0, NAN
    turn = rotation_from_rpy(0, 0, 1.0)
    points = ClearingProjector((H, W), 2000, 0.0, turn).project(as_map(range_m))
    assert np.allclose(np.linalg.norm(points, axis=1), 100.1, rtol=1e-5)
    azimuth, elevation = angles_from_ray(points @ turn)
    col = (0.5 - azimuth / (2 * np.pi)) * W
    row = (0.5 - elevation / np.pi) * H
    assert len(points) > 500 and (col > 40).all()
    assert (np.abs(row - 20.5) > 0.4).all()
    near = ClearingProjector((H, W), 2000, 7.5).project(as_map(range_m))
    assert np.allclose(np.linalg.norm(near, axis=1), 7.5, rtol=1e-5)


@pytest.mark.parametrize('value', [NAN, -INF, 2.0])
def test_nothing_is_cleared_where_nothing_was_seen_empty(value):
    assert ClearingProjector((H, W), 500, 0.0).project(as_map(value)).shape == (0, 3)
    dotted = np.full((H, W), INF)
    dotted[:, ::2] = value                                # one such pixel in every cell
    assert len(ClearingProjector((H, W), 500, 0.0).project(as_map(dotted))) == 0
