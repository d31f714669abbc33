# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the confidence image."""

import numpy as np
import pytest

from da_ros.derived.confidence import confidence, frame_factor
from da_ros.derived.edges import EdgeFilter
from da_ros.derived.floor import Plane
from da_ros.range_map import RangeMap
from da_ros.sphere import rotation_from_rpy

H, W = 32, 64
LEVEL = Plane(np.array([0.0, 0.0, 1.0]), 1.0)
INF, NAN = np.inf, np.nan


def sure(range_m, probability=None, floor=LEVEL, told_m=1.0, mask_m=100.0, edges=None):
    range_m = np.broadcast_to(np.float32(range_m), (H, W)).copy()
    if probability is not None:
        probability = np.broadcast_to(np.float32(probability), (H, W)).copy()
    edges = np.zeros((H, W), bool) if edges is None else edges
    range_map = RangeMap(range_m, mask_m, 0.3, np.zeros((H, W, 3), np.uint8),
                         probability=probability,
                         mask_m=mask_m if probability is not None else 0.0)
    got = confidence(range_map, edges, floor, told_m)
    assert got.dtype == np.uint8 and got.shape == (H, W)
    return got


def test_it_falls_with_the_disagreement_of_mask_and_range_on_both_sides_of_the_mask():
    inside = [sure(3.0, 1 - s)[0, 0] for s in (0, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.6, 1)]
    beyond = [sure(INF, s)[0, 0] for s in (0, 1e-4, 1e-3, 0.01, 0.1, 0.3, 0.6, 1)]
    for levels in (inside, beyond):
        assert (np.diff(np.int32(levels)) < 0).all() and levels[0] == 255 and levels[-1] == 0


def test_without_a_mask_what_is_farther_is_less_sure():
    levels = [int(sure(r)[0, 0]) for r in (0.5, 1, 3, 10, 50)]
    assert levels == sorted(levels, reverse=True) and levels[0] > levels[-1]
    assert sure(-INF)[0, 0] == 255 and sure(INF)[0, 0] == 0


def test_unknown_is_never_sure_and_nothing_is_written_into_the_map():
    range_m = np.full((H, W), 2.0, np.float32)
    range_m[3] = NAN
    got = sure(range_m, 1.0)
    assert (got[3] == 0).all() and (got[4] == 255).all()
    probability = np.full((H, W), 0.75, np.float32)
    range_map = RangeMap(range_m, 100.0, 0.3, np.zeros((H, W, 3), np.uint8),
                         probability=probability, mask_m=100.0)
    confidence(range_map, np.zeros((H, W), bool), LEVEL, 1.0)
    assert (probability == 0.75).all() and (range_map.range_m[4] == 2).all()


def test_both_sides_of_an_edge_are_half_as_sure():
    range_m = np.full((H, W), 5.0, np.float32)
    range_m[:, :20] = 2.0
    edges = EdgeFilter((H, W), 5.0).find(range_m).steps()
    got = sure(range_m, 0.999, edges=edges)
    plain = sure(range_m, 0.999)
    assert (got[:, [0, 19, 20, W - 1]] == plain[:, [0, 19, 20, W - 1]] // 2).all()
    assert (got[:, 5] == plain[:, 5]).all()


@pytest.mark.parametrize('height_m', [0.5, 0.85, 0.95, 1.05, 1.2, 3.0])
def test_a_floor_off_the_told_height_makes_the_frame_less_sure(height_m):
    factor = frame_factor(Plane(np.array([0, 0, 1.0]), height_m), 1.0)
    off = max(height_m, 1 / height_m)
    assert factor == 1 if off < 1.1 else factor < 1
    assert factor == 0.4 if off > 1.4 else factor > 0.4
    assert np.isclose(sure(2.0, 1.0, Plane(LEVEL.normal, height_m))[0, 0], 255 * factor, atol=1)


def test_tilt_no_floor_and_an_untold_height_make_it_less_sure_too():
    def tilted(deg):
        return Plane(rotation_from_rpy(np.deg2rad(deg), 0, 0) @ [0, 0, 1], 1.0)
    factors = [frame_factor(tilted(deg), 1.0) for deg in (0, 4, 8, 15, 25)]
    assert factors[:2] == [1, 1] and factors == sorted(factors, reverse=True)
    assert factors[2] > factors[3] > factors[4] == 0.4
    assert frame_factor(LEVEL, 0.0) < 1 and frame_factor(None, 0.0) < 1
    assert frame_factor(None, 1.0) == 0.4
