# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the panorama's geometry."""

import numpy as np
import pytest

from da_ros import sphere


@pytest.mark.parametrize('ray, azimuth, elevation', [
    ((1, 0, 0), 0, 0), ((0, 1, 0), np.pi / 2, 0), ((0, -1, 0), -np.pi / 2, 0),
    ((-1, 0, 0), -np.pi, 0), ((0, 0, 1), 0, np.pi / 2), ((0, 0, -1), 0, -np.pi / 2)])
def test_axis_directions_have_closed_form_angles(ray, azimuth, elevation):
    assert np.allclose(sphere.ray_from_angles(azimuth, elevation), ray, atol=1e-15)
    assert np.allclose(sphere.angles_from_ray(ray), (azimuth, elevation), atol=1e-15)


def test_image_centre_looks_forward_and_left_half_looks_left():
    rays = sphere.erp_rays(64, 128)
    centre = rays[31:33, 63:65].mean(axis=(0, 1))
    assert np.allclose(centre / np.linalg.norm(centre), (1, 0, 0), atol=1e-12)
    assert (rays[:, :64, 1] > 0).all() and (rays[:, 64:, 1] < 0).all()
    assert (rays[:32, :, 2] > 0).all() and (rays[32:, :, 2] < 0).all()


def test_rays_are_unit_vectors_and_read_only():
    rays = sphere.erp_rays(33, 66)
    assert np.allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-14)
    with pytest.raises(ValueError, match='read-only'):
        rays[0, 0, 0] = 0


def test_angles_survive_the_round_trip_through_rays_and_pixels():
    rng = np.random.default_rng(0)
    azimuth = rng.uniform(-np.pi, np.pi, 1000)
    elevation = rng.uniform(-np.pi / 2, np.pi / 2, 1000)
    back = sphere.angles_from_ray(sphere.ray_from_angles(azimuth, elevation) * 7.5)
    assert np.allclose(back, (azimuth, elevation), atol=1e-12)
    col = sphere.col_from_azimuth(azimuth, 512)
    row = sphere.row_from_elevation(elevation, 256)
    assert np.allclose(sphere.azimuth_from_col(col, 512), azimuth, atol=1e-12)
    assert np.allclose(sphere.elevation_from_row(row, 256), elevation, atol=1e-12)


@pytest.mark.parametrize('azimuth', [
    np.pi, -np.pi, 3 * np.pi, np.pi - 1e-17, np.nextafter(np.pi, 0), np.nextafter(np.pi, 4),
    np.nextafter(-np.pi, 0), np.nextafter(-np.pi, -4)])
def test_column_never_leaves_the_image_at_the_seam(azimuth):
    col = float(sphere.col_from_azimuth(azimuth, 512))
    assert 0 <= col < 512
    assert min(col, 512 - col) < 1e-9


def test_rolling_columns_rotates_rays_about_z():
    rays = sphere.erp_rays(16, 32)
    turn = sphere.rotation_from_rpy(0, 0, 2 * np.pi * 3 / 32)
    assert np.allclose(np.roll(rays, -3, axis=1) @ turn.T, rays, atol=1e-12)


@pytest.mark.parametrize('height', [1, 7, 64])
def test_solid_angles_sum_to_4_pi(height):
    assert np.isclose(sphere.solid_angles(height, 2 * height).sum(), 4 * np.pi, rtol=1e-13)


def test_roll_pitch_yaw_follow_rep_103():
    quarter = np.pi / 2
    forward, left, up = np.eye(3)
    assert np.allclose(sphere.rotation_from_rpy(0, 0, quarter) @ forward, left)
    assert np.allclose(sphere.rotation_from_rpy(0, quarter, 0) @ forward, -up)
    assert np.allclose(sphere.rotation_from_rpy(quarter, 0, 0) @ left, up)


def test_optical_axes_are_right_down_forward():
    right, down, forward = sphere.BODY_FROM_OPTICAL.T
    assert np.allclose([right, down, forward], [(0, -1, 0), (0, 0, -1), (1, 0, 0)])


@pytest.mark.parametrize('size', [(10, 21), (0, 0), (512, 512)])
def test_a_size_that_is_not_two_to_one_is_refused_by_value(size):
    with pytest.raises(ValueError, match=f'twice as wide as high, got {size[1]} x {size[0]} px'):
        sphere.erp_rays(*size)
