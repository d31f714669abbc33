# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The floor tells the scale, and without a scale no metre is published."""

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

from da_ros.config import ConfigError, RangeRule, ScaleConfig
from da_ros.estimator import RangeEstimator
from da_ros.scale import check_scale, floor_below, metres_per_unit, ScaleError
from da_ros.sphere import erp_rays


def room(height_m: float, half_m=3.0, ceiling_m=2.0, size=(64, 128)) -> np.ndarray:
    """Return the range to a room's planes around a camera above the floor."""
    rays = erp_rays(*size)
    bounds = np.where(rays > 0, [half_m, half_m, ceiling_m], [-half_m, -half_m, -height_m])
    return (bounds / np.where(rays == 0, 1e-12, rays)).min(axis=-1)


@pytest.mark.parametrize('height_m', [0.2, 0.6, 1.5, 4.0])
@pytest.mark.parametrize('unit_m', [0.1, 1.0, 25.0])
def test_the_floor_is_found_at_its_depth_in_any_unit(height_m, unit_m):
    depth, share = floor_below(room(height_m, half_m=5 * height_m) / unit_m)
    assert np.isclose(depth * unit_m, height_m, rtol=0.01) and share > 0.7


def test_furniture_and_unknown_pixels_do_not_move_the_floor():
    range_m = room(1.2)
    range_m[40:48, 20:50] *= 0.5                        # a table
    range_m[:, 100:] = np.nan
    range_m[60:] = -np.inf
    depth, share = floor_below(range_m)
    assert np.isclose(depth, 1.2, rtol=0.01) and 0.3 < share < 0.9


def test_without_data_there_is_no_floor():
    depth, share = floor_below(np.full((32, 64), np.nan))
    assert np.isnan(depth) and share == 0


def test_camera_height_turns_units_into_metres():
    scale = ScaleConfig(source='camera_height')
    assert np.isclose(metres_per_unit(room(1.3) / 7, scale, 1.3), 7, rtol=0.01)
    assert metres_per_unit(room(1.3), ScaleConfig('fixed', 2.5), 0) == 2.5


def test_a_view_without_floor_is_refused():
    noise = np.exp(np.random.default_rng(0).uniform(-3, 3, (64, 128)))
    with pytest.raises(ScaleError, match='no floor to take the scale from: one plane fills'):
        metres_per_unit(noise, ScaleConfig(source='camera_height'), 1.0)


def test_estimator_scales_a_scale_invariant_bundle(tmp_path):
    bundle = write_stand_in_bundle(
        tmp_path / 'b', size_hw=(64, 128), kind='scale_invariant', masks=(), max_range_m=None,
        metres_per_unit=None)
    estimator = RangeEstimator(bundle, 'onnxruntime',
                               rule=RangeRule(camera_height_m=0.6, min_range_m=0.1))
    units = painted(room(1.2) * 8)                       # 0.4 m steps: scale up for resolution
    estimator.scale = ScaleConfig(source='camera_height')
    got = estimator.predict(units).range_m
    assert np.isclose(floor_below(got)[0], 0.6, rtol=0.02)
    estimator.scale = ScaleConfig('fixed', 0.5)
    assert np.allclose(estimator.predict(painted(np.full((64, 128), 8.0))).range_m, 4)


@pytest.mark.parametrize('scale, height_m, message', [
    (ScaleConfig(), 1.0, "'da2' is scale_invariant: it gives no metres by itself"),
    (ScaleConfig('camera_height'), 0.0, 'camera_height needs camera_height_m above 0')])
def test_unscaled_metres_are_refused(scale, height_m, message):
    with pytest.raises(ConfigError, match=message):
        check_scale('scale_invariant', 'da2', scale, height_m)
    check_scale('metric', 'dap', scale, height_m)
