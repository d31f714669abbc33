# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Points of another sensor in the panorama."""

import numpy as np
import pytest

from da_ros.sphere import erp_rays
from training.scoring.projection import pinhole_points, project_points, remove_hidden
from training.simulator.box_room import cast, furnished_room, lidar_points, panorama

H, W = 64, 128


def test_points_on_pixel_rays_come_back_in_their_pixels():
    rng = np.random.default_rng(0)
    range_m = rng.uniform(0.5, 20, (H, W)).astype(np.float32)
    points = (erp_rays(H, W) * range_m[..., None]).reshape(-1, 3).astype(np.float32)
    order = rng.permutation(len(points))
    np.testing.assert_allclose(project_points(points[order], H, W), range_m, rtol=1e-5)


def test_nearest_of_a_pixel_wins_and_empty_pixels_are_unknown():
    points = np.array([[5, 0.01, 0.01], [2, 0.004, 0.004], [9, 0.02, 0.02]], np.float32)
    projected = project_points(points, H, W)
    assert np.isfinite(projected).sum() == 1
    assert projected[H // 2 - 1, W // 2 - 1] == pytest.approx(2, rel=1e-4)


def test_seam_and_poles_fall_inside_the_image():
    eps = 1e-7
    points = np.array([[-3, eps, 0], [-3, -eps, 0], [0, 0, 4], [0, 0, -4], [-3, 0, 0]], np.float32)
    projected = project_points(points, H, W)
    assert np.isfinite(projected[H // 2, [0, W - 1]]).any()
    assert np.nanmax(projected[0]) == 4 and np.nanmax(projected[-1]) == 4


def test_own_mounting_and_no_points_are_fine():
    assert np.isnan(project_points(np.zeros((0, 3), np.float32), H, W)).all()
    assert np.isnan(project_points(np.full((5, 3), 0.01, np.float32), H, W)).all()


def test_points_behind_an_object_are_removed_and_the_object_and_floor_stay():
    up = erp_rays(H, W)[..., 2]
    floor = np.where(up < -0.02, -1.0 / np.minimum(up, -1e-3), np.nan).astype(np.float32)
    np.testing.assert_array_equal(remove_hidden(floor), floor)
    surface = np.full((H, W), np.nan, np.float32)
    surface[20:44:2, 50:70] = 2.0                   # an object in rings
    surface[31, 61] = 5.0                           # seen through it
    cleaned = remove_hidden(surface)
    assert np.isnan(cleaned[31, 61])
    surface[31, 61] = np.nan
    np.testing.assert_array_equal(cleaned, surface)
    beside = surface.copy()
    beside[31, 80] = 5.0
    np.testing.assert_array_equal(remove_hidden(beside), beside)
    np.testing.assert_array_equal(remove_hidden(np.roll(beside, 64, 1)), np.roll(beside, 64, 1))


def test_lidar_beside_the_camera_agrees_with_the_camera_after_removal():
    boxes = furnished_room()
    camera, lidar = np.eye(4), np.eye(4)
    camera[:3, 3], lidar[:3, 3] = (-1.6, -0.6, 0.4), (-1.6, -0.6, 1.6)
    _, truth = panorama(boxes, camera, 128, 256)
    points = lidar_points(boxes, lidar, rings=64, beams=1024, span_deg=(-60, 10))
    points = points + (lidar - camera)[:3, 3].astype(np.float32)
    raw = project_points(points, 128, 256)
    cleaned = remove_hidden(raw)

    def wrong(projected):
        return np.mean(projected[np.isfinite(projected)] > 1.3 * truth[np.isfinite(projected)])
    assert wrong(raw) > 0.003
    assert wrong(cleaned) < 0.25 * wrong(raw)
    assert np.isfinite(cleaned).sum() > 0.9 * np.isfinite(raw).sum()


def test_pinhole_pixels_become_points_along_the_axis():
    depth = np.full((5, 7), np.nan, np.float32)
    depth[2, 3], depth[2, 6], depth[0, 0] = 4.0, 2.0, 0.0
    points = pinhole_points(depth, np.array([10, 0, 3, 0, 10, 2, 0, 0, 1.0]))
    np.testing.assert_allclose(points, [[0, 0, 4], [0.6, 0, 2]])
    with pytest.raises(ValueError, match='no focal length'):
        pinhole_points(depth, np.zeros(9))


def test_cast_is_exact_on_the_axes_of_a_room():
    rays = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 0, -1.0]])
    hits = cast(furnished_room()[:1], np.array([0.5, 0.5, 1.0]), rays)
    np.testing.assert_allclose(hits.range_m, [4.0, 5.0, 3.0, 1.0], rtol=1e-6)
    hits = cast(furnished_room(), np.array([-2.0, 0.0, 0.3]), rays[:1])
    assert hits.range_m[0] == pytest.approx(1.5) and hits.box[0] != 0 and hits.axis[0] == 0
