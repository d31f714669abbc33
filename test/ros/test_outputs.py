"""Frames, sizes and encodings of the outputs."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from da_ros.config import Config, ConfigError, DepthConfig, ErpConfig, FramesConfig
from da_ros.outputs import body_frame, check_depth_encoding, depth_pixels, FrameIdError
from da_ros.range_map import RangeMap


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
    range_map = RangeMap(range_m, 100.0, 0.3, np.zeros((32, 64, 3), np.uint8))
    config = replace(Config(), depth=DepthConfig(size='camera'))
    assert depth_pixels(range_map, config, (64, 128)).shape == (64, 128)
    partial = replace(config, erp=ErpConfig(elevation_max_deg=45, elevation_min_deg=-45))
    got = depth_pixels(range_map, partial, (32, 128))
    np.testing.assert_array_equal(got[:, 0], np.arange(8, 24).repeat(2))
    assert depth_pixels(range_map, Config(), (64, 128)) is range_map.range_m


def test_millimetres_are_refused_where_they_do_not_fit():
    config = replace(Config(), depth=DepthConfig(encoding='16UC1'))
    check_depth_encoding(config, 65.535)
    with pytest.raises(ConfigError, match='16UC1 holds at most 65.535 m, but the limit is 65.6 m'):
        check_depth_encoding(config, 65.6)
