# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Virtual pinhole views: a wall is a constant depth, and points come back where they are."""

from dataclasses import replace

import numpy as np
import pytest

from da_ros.config import ConfigError
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy
from da_ros.views import View, ViewProjector, views_from

SIZE = (512, 1024)
FRONT = View('front', 0, 0, 90, 160, 120)


def range_map(range_m: np.ndarray, image: np.ndarray | None = None) -> RangeMap:
    picture = np.zeros((*range_m.shape, 3), np.uint8) if image is None else image
    return RangeMap(range_m.astype(np.float32), 100.0, 0.3, picture)


def wall(normal: np.ndarray, metres: float, rays: np.ndarray) -> np.ndarray:
    """Return the range to a plane that `normal` meets squarely at some metres; else +inf."""
    with np.errstate(divide='ignore'):
        along = metres / (rays @ normal)
    return np.where(along > 0, along, np.inf)


def test_the_intrinsics_are_those_of_the_field_of_view():
    k = FRONT.intrinsics
    assert np.allclose(k, [[80, 0, 79.5], [0, 80, 59.5], [0, 0, 1]])
    assert np.allclose(FRONT.rays_optical[0, 0], [(0 - 79.5) / 80, (0 - 59.5) / 80, 1])


@pytest.mark.parametrize('yaw, pitch, axis', [
    (0, 0, (1, 0, 0)), (90, 0, (0, 1, 0)), (-90, 0, (0, -1, 0)), (180, 0, (-1, 0, 0)),
    (0, 90, (0, 0, -1)), (0, -90, (0, 0, 1)), (45, 0, (np.sqrt(.5), np.sqrt(.5), 0))])
def test_a_wall_that_faces_a_view_has_one_depth(yaw, pitch, axis):
    """Across the seam and at the poles as well; the range itself grows by 47 % to the corner."""
    view = replace(FRONT, yaw_deg=yaw, pitch_deg=pitch)
    assert np.allclose(view.body_from_optical @ [0, 0, 1], axis)
    range_m = wall(np.float64(axis), 4.0, erp_rays(*SIZE))
    depth = ViewProjector(view, SIZE).depth(range_map(range_m))
    # The ray of the nearest pixel is up to half a pixel off: tan(angle) * 0.0043 rad.
    assert np.abs(depth / 4 - 1).max() < 0.0065 and depth.shape == (120, 160)


def test_left_is_left_and_up_is_up():
    rays = erp_rays(*SIZE)
    projector = ViewProjector(FRONT, SIZE)
    left = projector.depth(range_map(np.where(rays[..., 1] > 0, 2.0, 8.0)))
    assert (left[60, :80] < 2.01).all() and (left[60, 80:] > 5).all()
    high = projector.depth(range_map(np.where(rays[..., 2] > 0, 2.0, 8.0)))
    assert (high[:60, 80] < 2.01).all() and (high[60:, 80] > 5).all()


def test_points_of_a_view_are_the_points_of_the_map():
    """Depth and K, put together as depth_image_proc does, lie on the same wall (body frame)."""
    normal = rotation_from_rpy(0, 0.2, 0.7) @ [1, 0, 0]
    range_m = wall(normal, 3.0, erp_rays(*SIZE))
    view = View('left', 40, 10, 80, 200, 150)
    depth = ViewProjector(view, SIZE).depth(range_map(range_m))
    points = (view.rays_optical * depth[..., None]) @ view.body_from_optical.T
    assert np.abs(points @ normal - 3).max() < 0.02


def test_a_turned_map_gives_the_same_view():
    normal = np.array([1.0, 0, 0])
    map_from_body = rotation_from_rpy(0.3, -0.2, 0)
    range_m = wall(map_from_body @ normal, 4.0, erp_rays(*SIZE))
    projector = ViewProjector(FRONT, SIZE, map_from_body)
    assert np.abs(projector.depth(range_map(range_m)) / 4 - 1).max() < 0.008


def test_what_is_not_finite_stays_as_it_is():
    rays = erp_rays(*SIZE)
    values = np.select([rays[..., 1] > 0.3, rays[..., 1] > 0, rays[..., 1] > -0.3],
                       [np.nan, np.inf, -np.inf], 5.0)
    depth = ViewProjector(FRONT, SIZE).depth(range_map(values))[60]
    assert np.isnan(depth[0]) and depth[75] == np.inf and depth[85] == -np.inf
    assert np.isfinite(depth[-1])


def test_the_image_is_that_of_the_network():
    image = np.round(127.5 + 100 * erp_rays(*SIZE)).astype(np.uint8)
    view = View('rear', 180, -20, 100, 96, 64)
    got = ViewProjector(view, SIZE).image(range_map(np.ones(SIZE), image)).astype(float)
    rays = view.rays_optical @ view.body_from_optical.T
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    assert np.abs(got - (127.5 + 100 * unit)).max() <= 1.5


def test_views_are_read_from_a_parameter():
    assert views_from('') == ()
    assert views_from('front 0 0 90 320x240; rear_2 180, 10, 120, 64x48;') == (
        View('front', 0, 0, 90, 320, 240), View('rear_2', 180, 10, 120, 64, 48))


@pytest.mark.parametrize('text, message', [
    ('front 0 0 90', "views 'front 0 0 90' is no view; give NAME YAW PITCH FOV WIDTHxHEIGHT"),
    ('front 0 0 90 320', 'is no view'), ('front 0 0 x 320x240', 'is no view'),
    ('fr/ont 0 0 90 320x240', 'is no view'), ('2nd 0 0 90 320x240', 'is no view'),
    ('front 0 0 180 320x240', "field of view 180 of 'front' is outside 1 to 150"),
    ('front 0 nan 90 320x240', "pitch nan of 'front' is outside -90 to 90"),
    ('front 0 0 90 2x240', "width 2 of 'front' is outside 8 to 4096"),
    ('front 0 0 140 32x240', "'front' is 240 px high, a vertical field of view above 150 deg"),
    ('a 0 0 90 32x24; a 9 0 90 32x24', "views gives 'a' twice")])
def test_views_that_are_none_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        views_from(text)
