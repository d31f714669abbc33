# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The obstacle metrics on worlds with a known answer."""

import numpy as np
import pytest

from da_ros.sphere import erp_rays
from training.data.obstacles import floor_below, nearest_per_col, thin_pixels
from training.scoring.obstacles import by_range, by_width, obstacle_metrics, sector_table

H, W = 180, 360
HEIGHT_M = 0.8


def floor_only(height_m=HEIGHT_M):
    """Range of an endless floor under an open sky."""
    up = erp_rays(H, W)[..., 2]
    return np.where(up < 0, -height_m / np.minimum(up, -1e-9), np.inf)


def with_pole(distance_m, width_px=4, col=100, top_m=2.0):
    """Put an upright surface at a horizontal distance into some columns."""
    world = floor_only()
    up = erp_rays(H, W)[:, 0, 2]
    wall = distance_m / np.sqrt(1 - up ** 2)
    wall[wall * up > top_m - HEIGHT_M] = np.inf
    world[:, col:col + width_px] = np.minimum(world[:, col:col + width_px], wall[:, None])
    return world


def test_floor_and_sky_are_no_obstacle():
    table = sector_table(floor_only(), floor_only(), HEIGHT_M)
    assert np.isinf(table['true_m']).all()
    scores = obstacle_metrics(table, 5)
    assert scores['obstacles'] == 0 and np.isnan(scores['miss_rate'])
    assert scores['false_alarm_rate'] == 0


def test_distance_is_horizontal_and_ceiling_is_ignored():
    world = with_pole(2.0)
    nearest = nearest_per_col(world, HEIGHT_M)
    assert nearest[100] == pytest.approx(2.0)
    up = erp_rays(H, W)[..., 2]
    ceiling = np.where(up > 0, 1.0 / np.maximum(up, 1e-9), np.inf)  # 1.8 m above the floor
    assert np.isinf(nearest_per_col(ceiling, HEIGHT_M)).all()


def test_perfect_prediction_hits_everything():
    world = with_pole(2.0)
    scores = obstacle_metrics(sector_table(world, world, HEIGHT_M), 5)
    assert scores['obstacles'] == 1
    assert scores['miss_rate'] == 0 and scores['false_alarm_rate'] == 0
    assert scores['error_m'] == 0


@pytest.mark.parametrize('distance_m, pred_m, miss, alarm', [
    (2.0, 2.35, 0, 0),   # within 20 %
    (2.0, 2.45, 1, 0),   # beyond 20 % and 0.3 m, too far: missed
    (2.0, 1.55, 1, 1),   # below 0.8 x
    (0.5, 0.75, 0, 0),   # within 0.3 m
    (4.9, 5.3, 0, 0),    # a hit may lie beyond R
])
def test_hit_and_false_alarm_tolerances(distance_m, pred_m, miss, alarm):
    scores = obstacle_metrics(
        sector_table(with_pole(pred_m), with_pole(distance_m), HEIGHT_M), 5)
    assert scores['miss_rate'] == miss
    assert scores['false_alarm_rate'] == pytest.approx(alarm / 36)


def test_ghost_where_there_is_nothing_is_a_false_alarm_within_r_only():
    table = sector_table(with_pole(4.0), floor_only(), HEIGHT_M)
    assert obstacle_metrics(table, 5)['false_alarm_rate'] == pytest.approx(1 / 36)
    assert obstacle_metrics(table, 3)['false_alarm_rate'] == 0


def test_nothing_predicted_is_a_miss():
    table = sector_table(np.full((H, W), np.inf), with_pole(2.0), HEIGHT_M)
    assert obstacle_metrics(table, 5)['miss_rate'] == 1
    assert np.isnan(obstacle_metrics(table, 5)['error_m'])


def test_underestimated_range_turns_the_floor_into_an_obstacle():
    table = sector_table(floor_only() * 0.8, floor_only(), HEIGHT_M)
    assert obstacle_metrics(table, 5)['false_alarm_rate'] == 1


def test_unknown_sectors_do_not_count():
    truth = with_pole(2.0)
    truth[:, :180] = np.nan
    table = sector_table(with_pole(2.0), truth, HEIGHT_M)
    assert table['observed'].sum() == 18
    assert obstacle_metrics(table, 5)['obstacles'] == 0
    truth[:] = np.nan
    scores = obstacle_metrics(sector_table(truth, truth, HEIGHT_M), 5)
    assert np.isnan(scores['false_alarm_rate'])


def test_width_is_metric_and_crosses_sector_and_seam():
    for col in (100, 357):
        pole = with_pole(2.0, width_px=6)
        world = np.roll(pole, col - 100, axis=1)
        table = sector_table(world, world, HEIGHT_M)
        width = table['width_m'][np.isfinite(table['width_m'])]
        assert width == pytest.approx(6 * 2.0 * 2 * np.pi / W)
    round_wall = with_pole(1.0, width_px=W, col=0)
    table = sector_table(round_wall, round_wall, HEIGHT_M)
    assert table['width_m'] == pytest.approx(2 * np.pi)


def test_bins_split_by_true_range_and_by_width():
    worlds = [with_pole(0.8, 2), with_pole(2.5, 20)]
    table = np.concatenate([sector_table(np.full((H, W), np.inf), w, HEIGHT_M) for w in worlds])
    ranges, widths = by_range(table), by_width(table, 3)
    assert [name for name, s in ranges.items() if s['obstacles']] == ['0.5-1 m', '2-3 m']
    assert widths['0-0.1 m']['miss_rate'] == 1 and widths['> 1 m']['obstacles'] == 0


def test_sector_azimuths_fall_from_left_to_right():
    azimuth = sector_table(floor_only(), floor_only(), HEIGHT_M)['azimuth']
    assert azimuth[0] == pytest.approx(np.radians(175))
    assert (np.diff(azimuth) < 0).all()


def test_camera_height_must_be_known():
    with pytest.raises(ValueError, match='camera height above 0 m, got 0'):
        sector_table(floor_only(), floor_only(), 0.0)


def test_floor_is_measured_where_the_scene_is_not_level_with_its_origin():
    assert floor_below(floor_only(0.77), HEIGHT_M) == pytest.approx(0.77, rel=1e-3)
    assert floor_below(floor_only(0.3), HEIGHT_M) == HEIGHT_M     # a table, not the floor
    assert floor_below(np.full((H, W), np.nan), HEIGHT_M) == HEIGHT_M


def test_only_narrow_upright_things_that_stand_clear_are_thin():
    pole, wide = with_pole(1.0, width_px=4), with_pole(1.0, width_px=8)     # 7 and 14 cm
    thin = thin_pixels(pole, HEIGHT_M)
    assert thin[:, 100:104].any() and not thin[:, :100].any() and not thin[:, 104:].any()
    assert not thin_pixels(wide, HEIGHT_M).any()
    before_a_wall = np.minimum(pole, with_pole(1.1, width_px=60, col=80))
    assert not thin_pixels(before_a_wall, HEIGHT_M).any()
    beside_a_wall = np.minimum(pole, with_pole(0.6, width_px=30, col=70))   # no gap on the left
    assert not thin_pixels(beside_a_wall, HEIGHT_M)[:, 100].any()
    assert thin_pixels(np.roll(pole, 258, axis=1), HEIGHT_M)[:, 358:].any()     # across the seam


def test_a_leg_is_missed_although_the_seat_above_it_is_seen():
    world = with_pole(1.5, width_px=2)
    rows = np.abs(np.degrees(np.arcsin(erp_rays(H, W)[:, 0, 2]))) < 3
    seat = 1.5 / np.sqrt(1 - erp_rays(H, W)[rows, 0, 2] ** 2)
    world[rows, 95:108] = seat[:, None]
    blind_to_legs = floor_only()
    blind_to_legs[rows] = world[rows]
    scores = obstacle_metrics(sector_table(blind_to_legs, world, HEIGHT_M), 3)
    assert scores['miss_rate'] == 0 and scores['thin_obstacles'] == 1
    assert scores['thin_miss_rate'] == 1
    assert obstacle_metrics(sector_table(world, world, HEIGHT_M), 3)['thin_miss_rate'] == 0


def test_thin_obstacles_are_binned_by_their_own_distance():
    world = np.minimum(with_pole(2.5, 1, col=104), with_pole(0.8, 20, col=110))
    bins = by_range(sector_table(np.full((H, W), np.inf), world, HEIGHT_M))
    assert bins['2-3 m']['thin_obstacles'] == 1 and bins['0.5-1 m']['thin_obstacles'] == 0
    assert bins['2-3 m']['thin_miss_rate'] == 1
