# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the fitted floor: its height and tilt, what is floor, and when it freezes."""

import numpy as np
import pytest

from da_ros.derived.floor import fit_floor, floor_pixels, FloorTracker, Plane
from da_ros.sphere import erp_rays, rotation_from_rpy

H, W = 128, 256
INF, NAN = np.inf, np.nan


def room(height_m=1.0, tilt=(0.0, 0.0), half_m=6.0):
    """Range to floor, walls and ceiling from a camera tilted by roll and pitch [rad]."""
    rays = erp_rays(H, W) @ rotation_from_rpy(*tilt, 0.3).T       # level from camera
    bounds = np.where(rays > 0, [half_m, half_m, 2.0], [-half_m, -half_m, -height_m])
    with np.errstate(divide='ignore'):
        return np.nanmin(np.where(rays == 0, INF, bounds / rays), axis=-1).astype(np.float32)


@pytest.mark.parametrize('height_m', [0.2, 1.0, 3.0])
@pytest.mark.parametrize('tilt_deg', [(0, 0), (3, 0), (-2, 5), (8, -6)])
def test_the_fit_finds_height_and_tilt_whatever_the_unit(height_m, tilt_deg):
    tilt = np.deg2rad(tilt_deg)
    range_m = room(height_m, tilt, half_m=6 * height_m)
    for unit in (1.0, 7.3):
        plane, share = fit_floor(range_m * np.float32(unit))
        assert np.isclose(plane.height, height_m * unit, rtol=2e-3) and share > 0.5
        wanted = rotation_from_rpy(*tilt, 0.3).T @ [0, 0, 1]
        assert np.allclose(plane.normal, wanted, atol=2e-3)


def test_furniture_and_noise_do_not_move_it():
    rng = np.random.default_rng(0)
    range_m = room() * rng.normal(1, 0.03, (H, W)).astype(np.float32)
    range_m[80:, :90] *= 0.5                           # a third of the view is something nearer
    range_m[70:75, 100:] = NAN
    plane, share = fit_floor(range_m)
    assert np.isclose(plane.height, 1.0, rtol=0.01) and plane.tilt_rad < 0.01
    assert 0.3 < share < 0.7


def test_nothing_below_is_no_floor():
    for range_m in (np.full((H, W), NAN), np.full((H, W), INF)):
        assert fit_floor(range_m) == (None, 0.0)
    rising, share = fit_floor(room(half_m=0.4))        # a shaft: walls, and no plane to speak of
    assert rising is None or share < 0.2


def test_a_told_height_keeps_a_table_beside_the_robot_from_being_the_floor():
    rays = erp_rays(H, W)
    range_m = room(1.0)
    azimuth = np.arctan2(rays[..., 1], rays[..., 0])
    table = np.where(rays[..., 2] < 0, -0.4 / np.minimum(rays[..., 2], -1e-9), INF)
    over_table = (np.abs(azimuth) < 2.0) & (table < 2.0)
    range_m = np.where(over_table, table, range_m).astype(np.float32)
    assert np.isclose(fit_floor(range_m)[0].height, 0.4, rtol=0.02)
    assert np.isclose(fit_floor(range_m, told_height=1.0)[0].height, 1.0, rtol=0.02)


def test_floor_pixels_are_those_near_the_plane_or_below_it():
    tilt = np.deg2rad((3, -2))
    range_m = room(1.0, tilt, half_m=4)
    range_m[90, 10:14] = range_m[90, 10:14] * 0.5      # something half as far: 0.5 m high
    range_m[100, 50] = range_m[100, 50] * 2            # a hole
    range_m[110, 60], range_m[111, 60], range_m[112, 60] = NAN, INF, -INF
    plane, _ = fit_floor(range_m)
    got = floor_pixels(range_m, plane, 0.1)
    points = (erp_rays(H, W) * range_m[..., None]).reshape(-1, 3)
    with np.errstate(invalid='ignore'):
        height = (points @ plane.normal + plane.height).reshape(H, W)
        wanted = (height < 0.1) & np.isfinite(range_m)
    assert (got == wanted).all()
    assert not got[90, 10:14].any() and got[100, 50] and not got[110:113, 60].any()


def test_a_plane_turns_with_its_frame():
    turn = rotation_from_rpy(0.2, -0.1, 0.7)
    plane = Plane(np.array([0.0, 0.6, 0.8]), 1.3)
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    there = plane.rotated(turn).height_of(points @ turn.T.astype(np.float32))
    assert np.allclose(there, plane.height_of(points), atol=1e-5)
    assert plane.rotated(None) is plane


def test_the_tracker_freezes_where_no_floor_is_seen_and_says_so():
    tracker = FloorTracker()
    unseen = np.full((H, W), NAN, np.float32)
    assert tracker.update(unseen) is None and 'no floor seen' in str(tracker)
    seen = tracker.update(room(1.0))
    assert np.isclose(seen.height, 1.0, rtol=0.01) and 'FROZEN' not in str(tracker)
    assert tracker.update(unseen) is seen and 'FROZEN for 1 frames' in str(tracker)
    assert tracker.update(unseen) is seen and 'FROZEN for 2 frames' in str(tracker)
    assert tracker.update(room(1.05)) is not seen and 'FROZEN' not in str(tracker)


def test_a_jump_of_the_floor_must_last_to_be_believed():
    tracker = FloorTracker()
    tracker.update(room(1.0))
    for _ in range(4):
        assert np.isclose(tracker.update(room(0.5, half_m=3)).height, 1.0, rtol=0.01)
    assert np.isclose(tracker.update(room(0.5, half_m=3)).height, 0.5, rtol=0.01)


def test_a_plane_far_from_the_told_height_is_never_the_floor():
    tracker = FloorTracker()
    for _ in range(10):
        assert tracker.update(room(0.4, half_m=3), told_height_m=1.0) is None
