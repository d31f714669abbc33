# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the level scan."""

import re

import numpy as np
import pytest

from da_ros.panorama import Extent, unseen
from da_ros.range_map import RangeMap
from da_ros.scan import ScanProjector
from da_ros.sphere import erp_rays, rotation_from_rpy, solid_angles

H, W = 256, 512
INF, NAN = np.inf, np.nan


def as_map(range_m, limit_m=20.0, min_range_m=0.3) -> RangeMap:
    range_m = np.broadcast_to(np.float32(range_m), (H, W)).copy()
    range_m[range_m >= limit_m] = INF
    return RangeMap(range_m, limit_m, min_range_m, np.zeros((H, W, 3), np.uint8))


def scan(range_m, beams=720, band=(-0.2, 0.2), limit_m=20.0, rotation=None, **options):
    projector = ScanProjector((H, W), beams, band, 0.3, limit_m, rotation, **options)
    return projector.project(as_map(range_m, limit_m))


def box_room(half_x=3.0, half_y=2.0, floor=-1.0, ceiling=1.5, rotation=None):
    """Range to the walls of a room around the camera, in closed form."""
    rays = erp_rays(H, W) if rotation is None else erp_rays(H, W) @ rotation.T
    bounds = np.where(rays > 0, [half_x, half_y, ceiling], [-half_x, -half_y, floor])
    with np.errstate(divide='ignore'):
        return np.nanmin(np.where(rays == 0, INF, bounds / rays), axis=-1)


def wall_distance(azimuth, half_x=3.0, half_y=2.0):
    return np.minimum(half_x / np.maximum(np.abs(np.cos(azimuth)), 1e-9),
                      half_y / np.maximum(np.abs(np.sin(azimuth)), 1e-9))


def angles(got):
    return got.angle_min + got.angle_increment * np.arange(len(got.ranges))


@pytest.mark.parametrize('beams', [72, 360, 512, 720, 1000])
def test_walls_of_a_room_lie_where_geometry_says(beams):
    got = scan(box_room(), beams)
    wanted = wall_distance(angles(got))
    # a beam takes the nearest of the pixels that it touches: never farther than the wall
    assert (got.ranges <= wanted * 1.01).all() and np.isfinite(got.ranges).all()
    width = max(2 * np.pi / beams, 2 * np.pi / W) * 2
    nearest = np.min([wall_distance(angles(got) + d) for d in np.linspace(-width, width, 9)], 0)
    assert (got.ranges >= nearest * 0.99).all()


def test_angles_are_beam_centres_that_rise_counter_clockwise():
    got = scan(box_room(), 720)
    assert np.isclose(angles(got)[0], -np.pi + np.pi / 720)
    assert np.isclose(angles(got)[-1], np.pi - np.pi / 720)
    left = got.ranges[np.argmin(np.abs(angles(got) - np.pi / 2))]
    assert np.isclose(left, 2.0, rtol=0.01)


def test_rolling_the_panorama_turns_the_scan():
    rng = np.random.default_rng(0)
    range_m = rng.uniform(1, 15, (1, W)) * np.ones((H, 1))
    still, turned = scan(range_m, 512), scan(np.roll(range_m, -32, axis=1), 512)
    np.testing.assert_array_equal(np.roll(still.ranges, 32), turned.ranges)


def test_floor_and_ceiling_outside_the_band_are_no_obstacles():
    room = box_room(half_x=15, half_y=15, floor=-0.5, ceiling=0.5)
    assert np.nanmin(scan(room).ranges) > 14


def test_floor_is_no_obstacle_and_empty_is_seen_empty_outdoors():
    rays = erp_rays(H, W)
    with np.errstate(divide='ignore'):
        ground = np.where(rays[..., 2] < 0, -1.0 / rays[..., 2], INF)
    assert np.isposinf(scan(ground, limit_m=20.0).ranges).all()
    assert np.isposinf(scan(ground, limit_m=100.0).ranges).all()


@pytest.mark.parametrize('distance', [2.0, 15.0, 40.0, 95.0])
def test_a_wall_is_seen_at_every_distance_though_the_band_is_thinner_than_a_pixel(distance):
    wall = distance / np.maximum(np.hypot(*np.moveaxis(erp_rays(H, W)[..., :2], -1, 0)), 1e-6)
    got = scan(wall, limit_m=100.0)
    assert np.allclose(got.ranges, distance, rtol=1e-3)


@pytest.mark.parametrize('band', [(-0.95, 0.5), (-0.9, -0.1), (0.1, 0.5)])
def test_bands_above_below_and_around_the_camera_see_a_far_wall(band):
    wall = 10 / np.maximum(np.hypot(*np.moveaxis(erp_rays(H, W)[..., :2], -1, 0)), 1e-6)
    assert np.allclose(scan(wall, band=band).ranges, 10, rtol=1e-3)


def test_a_low_box_is_seen_in_the_band_and_not_in_a_band_above_it():
    range_m = np.full((H, W), INF)
    rows = slice(140, 150)                            # some 10 degrees down
    range_m[rows, 240:272] = 2.0
    seen = scan(range_m, band=(-0.5, 0.2)).ranges
    assert np.isclose(seen[360], 2.0 * np.cos(np.deg2rad(15)), rtol=0.03)
    above = scan(range_m, band=(-0.05, 0.2)).ranges
    assert np.isposinf(above[360])


def test_unknown_never_clears_and_does_not_hide_an_obstacle():
    range_m = np.full((H, W), INF)
    range_m[130, 100] = NAN
    got = scan(range_m, 512).ranges
    assert np.isnan(got).sum() >= 1 and np.isposinf(got).sum() >= 510 - 3
    range_m[127, 100] = 3.0
    hit = scan(range_m, 512).ranges
    assert np.isfinite(hit).sum() >= 1
    assert np.isnan(hit).sum() <= np.isnan(got).sum()


def test_what_hides_the_band_leaves_it_unknown():
    canopy = np.full((H, W), INF)
    canopy[128:] = 1.0                   # something close below the camera, above the band
    assert np.isnan(scan(canopy, band=(-3.0, -1.5)).ranges).all()


@pytest.mark.parametrize('too_near, wanted', [('range_min', np.float32(0.3)), ('minus_inf', -INF)])
def test_too_near_is_at_the_minimum_range_or_minus_infinity_as_chosen(too_near, wanted):
    range_m = np.full((H, W), 5.0)
    range_m[128, 256] = -INF
    got = scan(range_m, 512, too_near=too_near).ranges
    assert (got == wanted).sum() in (1, 2, 3)
    assert np.allclose(got[got != wanted], 5, rtol=0.01)


def test_no_beam_is_rounded_below_the_minimum_range_that_consumers_cut_at():
    rays = erp_rays(H, W)
    planar = np.hypot(rays[..., 0], rays[..., 1])
    for min_range_m in (0.3, 0.1, 0.7):
        post = np.float32(min_range_m / planar * (1 + 1e-7))        # stands on the cylinder
        got = ScanProjector((H, W), 720, (-0.1, 0.1), min_range_m, 20.0).project(
            as_map(post, min_range_m=min_range_m))
        assert (got.ranges >= np.float32(min_range_m)).all()
        assert np.float32(got.range_min) == np.float32(min_range_m)


def test_all_unknown_gives_no_beam():
    assert np.isnan(scan(NAN).ranges).all()


def test_scan_of_a_tilted_camera_is_level():
    tilt = rotation_from_rpy(0.2, -0.1, 0.3)
    got = scan(box_room(half_x=6, half_y=5, rotation=tilt), 180, band=(-0.5, 0.5), rotation=tilt)
    wanted = wall_distance(angles(got), 6, 5)
    assert np.allclose(got.ranges, wanted, rtol=0.06)
    assert (got.ranges <= wanted * 1.01).all()


def test_every_obstacle_pixel_in_the_band_shows_in_a_beam():
    rng = np.random.default_rng(3)
    projector = ScanProjector((H, W), 720, (-0.3, 0.3), 0.3, 20.0)
    for _ in range(50):
        row, col = rng.integers(120, 136), rng.integers(0, W)
        range_m = np.full((H, W), INF)
        range_m[row, col] = rng.uniform(0.5, 2.0)
        got = projector.project(as_map(range_m)).ranges
        centre = np.pi * (1 - 2 * (col + 0.5) / W)
        beam = int((centre + np.pi) / (2 * np.pi) * 720) % 720
        assert np.isfinite(got[beam])
    assert np.isclose(solid_angles(H, W).sum(), 4 * np.pi)


def with_deck(range_m, below_m, radius_m):
    """Put the robot's round deck below the camera."""
    rise = erp_rays(H, W)[..., 2]
    reach = np.where(rise < 0, -below_m / np.minimum(rise, -1e-9), INF)
    planar = reach * np.hypot(*np.moveaxis(erp_rays(H, W)[..., :2], -1, 0))
    range_m = np.where((planar < radius_m) & (rise < 0), np.minimum(reach, range_m), range_m)
    return np.where(range_m < 0.3, -INF, range_m)


@pytest.mark.parametrize('below_m', [0.2, 0.4])
def test_the_robots_own_deck_neither_hides_the_room_nor_the_open_field(below_m):
    band = (0.05 - 0.8, 1.5 - 0.8)                     # a camera 0.8 m above the floor
    room = with_deck(box_room(5, 5, floor=-0.8, ceiling=2), below_m, 0.2)
    got = scan(room, band=band)
    assert np.allclose(got.ranges, wall_distance(angles(got), 5, 5), rtol=0.02)
    field = with_deck(box_room(INF, INF, floor=-0.8, ceiling=INF), below_m, 0.2)
    assert np.isposinf(scan(field, band=band).ranges).all()


def test_what_stands_inside_the_minimum_range_is_too_near():
    post = np.full((H, W), 5.0)
    post[120:160, 200:210] = 0.31              # some rays: 0.31 m along the ray, less in the plane
    got = scan(post, band=(-0.3, 0.3)).ranges
    beam = int((np.pi * (1 - 2 * 205 / W) + np.pi) / (2 * np.pi) * 720)
    assert got[beam] == np.float32(0.3) and got[beam + 60] > 4


def outdoors(extent: Extent) -> np.ndarray:
    """Return the range over an endless floor, 1.2 m below the camera, where the camera sees."""
    up = erp_rays(H, W)[..., 2]
    with np.errstate(divide='ignore'):
        range_m = np.where(up < 0, -1.2 / up, INF)
    return np.where(unseen(extent, (H, W)), NAN, range_m)


BANDS = [(-0.2, 0.2), (-1.03, 0.3), (0.1, 0.5), (-0.5, -0.1)]
SPANS = [(-90, 90), (-60, 60), (-45, 45), (-40, 40), (-30, 60), (-60, 30), (-30, 30), (-10, 10),
         (0, 60), (-90, 0)]


@pytest.mark.parametrize('band', BANDS[:2])
@pytest.mark.parametrize('span', SPANS[::2])
@pytest.mark.parametrize('rotation', [None, rotation_from_rpy(0.1, -0.2, 1.0)])
def test_beams_that_can_never_be_empty_are_those_not_empty_in_an_empty_world(band, span, rotation):
    projector = ScanProjector((H, W), 720, band, 0.3, 20.0, rotation)
    rays = erp_rays(H, W) if rotation is None else erp_rays(H, W) @ rotation.T
    free = np.where(unseen(Extent(*span), (H, W)), NAN, np.full(rays.shape[:2], INF))
    ranges = projector.project(as_map(free)).ranges
    np.testing.assert_array_equal(projector.never_empty(Extent(*span)), ~np.isposinf(ranges))
    assert (projector.unseen_text(Extent(*span)) == '') == np.isposinf(ranges).all()


@pytest.mark.parametrize('band', BANDS)
@pytest.mark.parametrize('span', SPANS[4:])
def test_the_remedies_of_a_band_that_is_never_seen_empty_are_right(band, span):
    extent = Extent(*span)
    text = ScanProjector((H, W), 720, band, 0.3, 20.0).unseen_text(extent)
    if not text:
        assert np.isposinf(scan(outdoors(extent), band=band).ranges).all()
        return
    assert f'{band[0]:g} to {band[1]:g} m' in text and f'{span[0]:g} to {span[1]:g} deg' in text
    assert '720 of 720 beams' in text
    if near := re.search(r'raise min_range_m to ([\d.]+)', text):
        wider = ScanProjector((H, W), 720, band, float(near[1]), 20.0)
        assert wider.unseen_text(extent) == ''
    low, high = map(float, re.search(r'to within (\S+) to (\S+) m', text).groups())
    narrow = max(band[0], low), min(band[1], high)
    if narrow[1] - narrow[0] > 0.05:
        share = ScanProjector((H, W), 720, (narrow[0] * 0.9, narrow[1] * 0.9), 0.3,
                              20.0).never_empty(extent).mean()
        assert share == 0
