# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da_ros.sphere import erp_rays, ray_from_angles
from training.curation.outpaint import CurationError, PyramidFill
from training.data.placement import (
    Pinhole,
    pinhole_as_printed,
    pinhole_from_field,
    place,
    place_as_printed,
    random_centre,
    range_from_depth,
    View,
)

HEIGHT, SIZE = 256, (360, 480)
CAMERA = pinhole_from_field(*SIZE, np.radians(70))


def view_of(depth_m, camera=CAMERA, image=None):
    depth_m = np.broadcast_to(np.float32(depth_m), SIZE).astype(np.float32)
    image = np.full((*SIZE, 3), 128, np.uint8) if image is None else image
    return View(image, range_from_depth(depth_m, camera), camera, 'test')


def sphere_view(radius_m=4.0):
    return View(np.zeros((*SIZE, 3), np.uint8), np.full(SIZE, radius_m, np.float32), CAMERA, 't')


def test_a_field_of_view_becomes_a_focal_length():
    camera = pinhole_from_field(768, 1024, np.radians(60))
    assert camera.fx == camera.fy == pytest.approx(886.81, abs=0.01)      # Hypersim's
    printed = pinhole_as_printed(768, 1024, np.radians(60))
    assert printed.fx == camera.fx and printed.fy / camera.fy == pytest.approx(1.0454, abs=1e-3)
    with pytest.raises(ValueError, match='180 degrees'):
        pinhole_from_field(3, 4, np.pi)


@pytest.mark.parametrize('azimuth, elevation', [(0, 0), (0.5, 0), (-0.3, 0.25), (3.1, -0.2)])
def test_a_wall_in_front_keeps_its_plane(azimuth, elevation):
    """All points of a wall 3 m before the camera lie 3 m along the optical axis."""
    placed = place(view_of(3.0), azimuth, elevation, HEIGHT)
    axis = ray_from_angles(azimuth, elevation)
    along = (erp_rays(HEIGHT, 2 * HEIGHT) @ axis)[placed.seen] * placed.range_m[placed.seen]
    np.testing.assert_allclose(along, 3.0, rtol=2e-6)


def test_a_slanted_floor_keeps_its_plane():
    """1 / depth is linear over a plane, so that bilinear sampling meets a floor 1.2 m below."""
    row = (np.arange(SIZE[0]) + 0.5)[:, None] * np.ones(SIZE[1])
    down = (row - CAMERA.cy) / CAMERA.fy
    depth_m = np.where(down > 0.05, 1.2 / np.maximum(down, 0.05), np.nan)
    placed = place(view_of(depth_m), 0.2, 0.1, HEIGHT)
    upright = np.isfinite(placed.range_m)
    rays = erp_rays(HEIGHT, 2 * HEIGHT)[upright]
    up_in_view = np.array([-np.sin(0.1) * np.cos(0.2), -np.sin(0.1) * np.sin(0.2), np.cos(0.1)])
    height = (rays @ up_in_view) * placed.range_m[upright]
    assert np.median(np.abs(height + 1.2)) < 4e-4 and np.abs(height + 1.2).max() < 0.12


def test_a_sphere_around_the_camera_keeps_its_radius():
    placed = place(sphere_view(), 0.4, -0.2, HEIGHT)
    error = np.abs(placed.range_m[placed.seen] / 4 - 1)
    assert np.median(error) < 1e-5 and error.max() < 1e-3       # half a pixel at the border


def test_seen_is_exactly_the_field_of_view():
    placed = place(sphere_view(), 0.0, 0.0, 512)
    middle = placed.seen[256] | placed.seen[255]
    assert middle.sum() == pytest.approx(70 / 360 * 1024, abs=1)
    rays = erp_rays(512, 1024)
    inside = (rays[..., 0] > 0) & (np.abs(rays[..., 1]) <= np.tan(np.radians(35)) * rays[..., 0])
    tall = SIZE[0] / 2 / CAMERA.fy
    inside &= np.abs(rays[..., 2]) <= tall * rays[..., 0]
    assert (inside != placed.seen).mean() < 1e-5
    turned = place(sphere_view(), np.radians(30), 0.0, 384).seen
    assert np.array_equal(np.roll(place(sphere_view(), 0, 0, 384).seen, -64, 1), turned)


def test_there_are_no_holes_and_nothing_outside():
    placed = place(view_of(3.0), 0.5, 0.26, HEIGHT)
    assert np.isfinite(placed.range_m[placed.seen]).all()
    assert np.isnan(placed.range_m[~placed.seen]).all() and (placed.image[~placed.seen] == 0).all()


def test_unknown_and_empty_stay_and_surfaces_do_not_mix():
    depth_m = np.full(SIZE, 2.0, np.float32)
    depth_m[:, 240:], depth_m[:120, :120], depth_m[:60] = 9.0, np.nan, np.inf
    placed = place(view_of(depth_m), 0.1, 0.05, HEIGHT)
    axis = ray_from_angles(0.1, 0.05)
    depth = (erp_rays(HEIGHT, 2 * HEIGHT) @ axis) * placed.range_m
    known = np.isfinite(placed.range_m)
    off = np.minimum(np.abs(depth[known] - 2), np.abs(depth[known] - 9))
    assert off.max() < 1e-4                                 # never a value in between
    assert np.isposinf(placed.range_m).sum() > 500 and np.isnan(depth[placed.seen]).sum() > 200


def test_the_view_appears_where_it_looks_and_the_right_way_round():
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, :240], image[180:, :, 2] = (200, 0, 0), 100       # left half red, lower half blue
    placed = place(view_of(3.0, image=image), np.radians(30), np.radians(10), HEIGHT)
    col, row = 256 - 512 * 30 // 360, 128 - 256 * 10 // 180
    assert placed.image[row - 12, col - 20].tolist() == [200, 0, 0]
    assert placed.image[row - 12, col + 20].tolist() == [0, 0, 0]
    assert placed.image[row + 12, col + 20].tolist() == [0, 0, 100]


def test_the_printed_formula_agrees_at_the_horizon_and_shears_above_it():
    level = [f(sphere_view(), 0.4, 0.0, HEIGHT).seen for f in (place, place_as_printed)]
    assert np.array_equal(*level)
    rotated, printed = (f(view_of(3.0), 0.0, np.radians(15), HEIGHT)
                        for f in (place, place_as_printed))
    assert (rotated.seen != printed.seen).sum() > 0.05 * rotated.seen.sum()
    axis = ray_from_angles(0.0, np.radians(15))
    along = (erp_rays(HEIGHT, 2 * HEIGHT) @ axis)[printed.seen] * printed.range_m[printed.seen]
    assert np.abs(along - 3.0).max() > 0.05                 # its wall is not flat


def test_an_off_centre_camera_shifts_the_view():
    camera = Pinhole(CAMERA.fx, CAMERA.fy, CAMERA.cx - 100, CAMERA.cy)
    cols = np.flatnonzero(place(view_of(3.0, camera), 0, 0, HEIGHT).seen.any(0))
    right = np.degrees(np.arctan((SIZE[1] - camera.cx) / camera.fx))
    assert cols.max() + 1 == pytest.approx(256 + right / 360 * 512, abs=1)


def test_centres_stay_within_the_papers_bounds():
    rng = np.random.default_rng(0)
    centres = np.degrees([random_centre(rng) for _ in range(500)])
    assert 29 < np.abs(centres[:, 0]).max() <= 30 and 14 < np.abs(centres[:, 1]).max() <= 15


def test_the_fill_keeps_the_seen_part_and_closes_at_the_seam():
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (*SIZE, 3), dtype=np.uint8)
    placed = place(view_of(3.0, image=image), 0.3, 0.1, 128)
    filled = PyramidFill()(placed.image, placed.seen, rng)
    assert np.array_equal(filled[placed.seen], placed.image[placed.seen])
    assert filled.min() > 40                                # nothing is left black
    seam = np.abs(filled[:, 0].astype(int) - filled[:, -1])
    assert seam.mean() < 4


def test_the_fill_of_one_colour_is_that_colour():
    placed = place(view_of(3.0), -0.4, 0.2, 128)
    assert (np.abs(PyramidFill()(placed.image, placed.seen, None).astype(int) - 128) <= 1).all()
    with pytest.raises(CurationError, match='nothing of the panorama is seen'):
        PyramidFill()(placed.image, np.zeros_like(placed.seen), None)
