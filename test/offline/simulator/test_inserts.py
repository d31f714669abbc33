# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Things put into labelled photographs: where they may stand, and what range they get."""

import cv2
import numpy as np
import pytest

pytest.importorskip('open3d', reason='open3d is not installed (extra da_ros[training])')

from training.data.files import DataError
from training.data.readers import free_floor
from training.data.sample import Sample
from training.simulator.inserts import (
    HEIGHT_M,
    Inserter,
    load_photographs,
    Photograph,
    stands_free,
)
from training.simulator.makers.things import make_thing
from training.simulator.scene import Material
from training.simulator.shapes import box
from training.simulator.textures import TextureStore

HEIGHT, WIDTH = 64, 128
ELEVATION = np.radians(90 - 180 * (np.arange(HEIGHT) + 0.5) / HEIGHT)[:, None]


class Boxes(Inserter):
    """Every thing is a red box of 0.4 m."""

    def _draw(self, rng, scene, names):
        return make_thing([(box(0.4, 0.4, 0.4), Material(tint=(1.0, 0.05, 0.05)))])


class NoLibrary:
    """A library without objects."""

    def names(self, low_m, high_m):
        return []


def photograph(free_m: float) -> Photograph:
    """Return a grey picture whose floor is free up to a distance."""
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    near = HEIGHT_M / np.tan(np.maximum(-ELEVATION, 1e-9)) < free_m
    range_m = np.broadcast_to(np.where((ELEVATION < 0) & near, HEIGHT_M / np.sin(
        np.maximum(-ELEVATION, 1e-9)), np.nan), (HEIGHT, WIDTH)).astype(np.float32)
    return Photograph(Sample(image, range_m, np.isfinite(range_m), 'free_floor', HEIGHT_M),
                      np.full(WIDTH, free_m))


def boxes(free_m: float) -> Boxes:
    return Boxes([photograph(free_m)], TextureStore(), NoLibrary(), None)


@pytest.fixture(scope='module')
def put():
    """A photograph, and the same with boxes."""
    return photograph(5.0), next(boxes(5.0).samples((1, 0), 1))


def test_a_thing_stands_on_free_floor_only():
    thing, free = make_thing([(box(1.0, 0.2, 0.5), Material())]), np.full(360, 3.0)
    assert stands_free(thing, 2.0, 0.0, 0.0, free)                  # reaches to 2.5 m
    assert not stands_free(thing, 2.5, 0.0, 0.0, free)              # to 3.0
    assert stands_free(thing, 2.5, 0.0, np.pi / 2, free)            # turned: to 2.6
    assert not stands_free(thing, 0.6, 0.0, 0.0, free)              # on the camera's feet
    free[170:175] = 1.0                                             # azimuth 5 to 10 degrees
    assert stands_free(thing, 2.0, 0.0, 0.0, free)                  # 2.9 degrees wide
    assert not stands_free(thing, 2.0, 0.0, np.pi / 2, free)        # 14


def test_what_is_covered_has_the_range_of_the_thing_and_all_else_that_of_the_label(put):
    before, after = put
    thing = ~((after.range_m == before.sample.range_m)
              | (np.isnan(after.range_m) & np.isnan(before.sample.range_m)))
    assert 50 < thing.sum() < HEIGHT * WIDTH // 4
    ground = after.range_m * np.cos(ELEVATION)
    height = HEIGHT_M + after.range_m * np.sin(ELEVATION)
    assert (ground[thing] < 5).all() and (ground[thing] > 0.35).all()
    assert (height[thing] < 0.41).all() and (height[thing] > 0).all()
    assert after.camera_height_m == HEIGHT_M
    assert (after.valid == np.isfinite(after.range_m)).all()


def test_the_picture_shows_the_thing_and_its_shade_and_nothing_else(put):
    before, after = put
    thing = np.nan_to_num(after.range_m) != np.nan_to_num(before.sample.range_m)
    inside = cv2.erode(thing.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    red, green = after.image[inside].astype(int)[:, :2].T
    assert np.median(red - green) > 10
    around = cv2.dilate(thing.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    above = np.broadcast_to(ELEVATION > 0, thing.shape)
    assert (after.image[above & ~around] == 120).all()
    floor = ~above & ~around & np.isfinite(before.sample.range_m)
    assert after.image[floor].max() <= 121 and after.image[floor].min() < 110


def test_the_seed_decides_everything(put):
    again = next(boxes(5.0).samples((1, 0), 1))
    other = next(boxes(5.0).samples((2, 0), 1))
    np.testing.assert_array_equal(again.image, put[1].image)
    assert (other.image != again.image).any()


def test_where_no_floor_is_free_the_photograph_stays_as_it_is():
    sample = next(boxes(0.5).samples((1, 0), 1))
    assert (sample.image == 120).all() and sample.source == 'photograph'


def test_photographs_without_a_label_are_refused(tmp_path):
    with pytest.raises(DataError, match='no labelled panorama below'):
        load_photographs(tmp_path)


def test_the_floor_is_free_up_to_the_foot_of_what_stands_there():
    label = {'intervals': [
        {'azimuth_deg': [-180, 0], 'kind': 'clear', 'points': [[-180, -45], [0, -45]]},
        {'azimuth_deg': [0, 180], 'kind': 'far', 'points': [[0, -10], [180, -10]]}]}
    free = free_floor.free_distance(label, 360)
    np.testing.assert_allclose(free[:180], 1 / np.tan(np.radians(10)), rtol=1e-6)   # left half
    np.testing.assert_allclose(free[180:], 1.0, rtol=1e-6)
