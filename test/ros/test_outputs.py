# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames, sizes and encodings of the outputs."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from da_ros.config import Config, ConfigError, DepthConfig, ErpConfig, FramesConfig
from da_ros.ros.outputs import at_depth_size, body_frame, check_depth_encoding, FrameIdError


@pytest.mark.parametrize('camera, frames, wanted', [
    ('camera_frame', {}, 'camera_link'),
    ('front_optical_frame', {}, 'front_link'),
    ('theta', {}, 'theta_link'),
    ('camera_frame', {'body': 'head'}, 'head'),
    ('camera_frame', {'image_axes': 'body'}, 'camera_frame'),
    ('camera_frame', {'image_axes': 'body', 'body': 'head'}, 'head')])
def test_body_frame_is_given_or_derived(camera, frames, wanted):
    assert body_frame(replace(Config(), frames=FramesConfig(**frames)), camera) == wanted


def test_an_image_without_a_frame_is_refused_unless_the_frame_is_given():
    with pytest.raises(FrameIdError, match='image has no frame_id; set it in the camera driver'):
        body_frame(Config(), '')
    assert body_frame(replace(Config(), frames=FramesConfig(body='head')), '') == 'head'


def test_depth_at_camera_size_covers_the_rows_that_the_camera_sees():
    range_m = np.arange(32, dtype=np.float32)[:, None] * np.ones((1, 64), np.float32)
    config = replace(Config(), depth=DepthConfig(size='camera'))
    assert at_depth_size(range_m, config, (64, 128)).shape == (64, 128)
    partial = replace(config, erp=ErpConfig(elevation_max_deg=45, elevation_min_deg=-45))
    got = at_depth_size(range_m, partial, (32, 128))
    np.testing.assert_array_equal(got[:, 0], np.arange(8, 24).repeat(2))
    assert at_depth_size(range_m, Config(), (64, 128)) is range_m


def test_millimetres_are_refused_where_they_do_not_fit():
    config = replace(Config(), depth=DepthConfig(encoding='16UC1'))
    check_depth_encoding(config, 65.535)
    with pytest.raises(ConfigError, match='16UC1 holds at most 65.535 m, but the limit is 65.6 m'):
        check_depth_encoding(config, 65.6)


def test_a_camera_smaller_than_the_network_keeps_the_nearest_of_the_pixels_that_merge():
    range_m = np.full((64, 128), 20.0, np.float32)
    range_m[33, 61], range_m[10, 10], range_m[10, 13] = 4.0, np.inf, np.nan
    range_m[20:22, 20:22], range_m[22, 22] = np.inf, -np.inf
    range_m[30:32, 30:32] = np.array([[np.inf, np.nan], [np.inf, np.inf]])
    config = replace(Config(), depth=DepthConfig(size='camera'))
    got = at_depth_size(range_m, config, (32, 64))
    assert got.shape == (32, 64) and got[16, 30] == 4 and got[5, 5] == 20 and got[5, 6] == 20
    assert np.isposinf(got[10, 10]) and np.isneginf(got[11, 11]) and np.isnan(got[15, 15])
    assert (got == 20).sum() == 32 * 64 - 4
    odd = at_depth_size(range_m, config, (25, 50))
    assert odd.shape == (25, 50) and odd.min() == -np.inf and (odd == 4).sum() == 1
