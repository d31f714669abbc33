# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What follows from a range map."""

import numpy as np

from da_ros.range_map import colour, millimetres, RangeMap, resample_nearest, seam_ratio

INF, NAN = np.inf, np.nan


def as_map(range_m, limit_m=100.0) -> RangeMap:
    range_m = np.float32(range_m)
    return RangeMap(range_m, limit_m, 0.3, np.zeros((*range_m.shape, 3), np.uint8))


def test_every_pixel_is_valid_empty_or_neither():
    got = as_map([[1, INF, -INF, NAN], [2, 3, INF, NAN]])
    assert got.valid.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    assert got.empty.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert got.range_mask.tolist() == [[255, 0, 255, 128], [255, 255, 0, 128]]
    assert got.size_hw == (2, 4)


def test_colours_tell_the_four_kinds_apart_and_near_from_far():
    painted = colour(as_map([[0.5, 50.0, INF, NAN, -INF, 99.0]]))
    near, far, empty, unknown, too_near, farther = painted[0].astype(int)
    assert empty.tolist() == [0] * 3 and unknown.tolist() == [128] * 3
    assert too_near.tolist() == [255] * 3
    assert near[2] > near[0] and far[0] > far[2]        # red is near, blue is far
    assert (far != farther).any()


def test_colouring_survives_a_map_without_any_range():
    for value in (NAN, INF, -INF):
        assert colour(as_map(np.full((2, 4), value), INF)).shape == (2, 4, 3)


def test_resampling_up_repeats_pixels_and_down_picks_one_of_them():
    range_m = np.arange(8, dtype=np.float32).reshape(2, 4)
    range_m[0, 0] = NAN
    up = resample_nearest(range_m, 4, 8)
    np.testing.assert_array_equal(up, range_m.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(resample_nearest(up, 2, 4), range_m)
    down = resample_nearest(np.random.default_rng(0).random((9, 18), dtype=np.float32), 4, 8)
    assert down.shape == (4, 8)


def test_seam_ratio_is_one_without_a_seam_and_large_with_one():
    rng = np.random.default_rng(0)
    range_m = np.exp(rng.normal(0, 0.1, (64, 128))).astype(np.float32)
    assert 0.6 < seam_ratio(range_m) < 1.6
    ramp = np.linspace(1, 5, 128, dtype=np.float32) * np.ones((64, 1), np.float32)
    assert seam_ratio(ramp) > 50
    assert np.isnan(seam_ratio(np.full((4, 8), NAN, np.float32)))


def test_millimetres_are_zero_where_there_is_no_range():
    got = millimetres(np.float32([[1.2346, np.inf, -np.inf, np.nan, 65.535, 65.6, -1]]))
    assert got.dtype == np.uint16 and got.tolist() == [[1235, 0, 0, 0, 65535, 0, 0]]
