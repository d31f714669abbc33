# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Things put into labelled photographs: where they may stand, and what range they get."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('open3d', reason='open3d is not installed (extra da_ros[training])')

from training.data.files import DataError
from training.data.readers import free_floor
from training.data.sample import Sample
from training.data.shards import write_shard
from training.simulator import inserts
from training.simulator.floor_paint import painted
from training.simulator.inserts import (
    free_floor_pixels,
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


class Panes(Inserter):
    """Every thing is a pane of green glass, 0.8 m wide and high, without a frame."""

    def _draw(self, rng, scene, names):
        return make_thing([(box(0.01, 0.8, 0.8), Material(tint=(0.25, 1.0, 0.25), clear=True))])


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


@pytest.fixture(autouse=True, scope='module')
def bare_floors():
    """No paint on floors, unless a test asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inserts, 'PAINTED_SHARE', 0.0)
        yield


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


def test_through_a_pane_the_photograph_is_seen_and_its_range_is_that_of_the_pane():
    before = photograph(6.0)
    before.sample.image[:, ::2] = 60                # stripes, which must not move
    after = next(Panes([before], TextureStore(), NoLibrary(), None).samples((4, 0), 1))
    pane = np.nan_to_num(after.range_m) != np.nan_to_num(before.sample.range_m)
    assert pane.sum() > 50
    inside = cv2.erode(pane.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    ground = (after.range_m * np.cos(ELEVATION))[inside]
    assert np.isfinite(ground).all() and (ground < 6).all() and (ground > 0.35).all()
    old, new = before.sample.image[inside].astype(float), after.image[inside].astype(float)
    # light that passes two faces of tint 0.25: a part of 0.0625, in sRGB .28; green all but whole
    assert np.median(new[:, 0] / old[:, 0]) == pytest.approx(0.0625 ** (1 / 2.2), abs=0.03)
    assert np.median(new[:, 1] / old[:, 1]) == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(old[:, 1], new[:, 1])[0, 1] > 0.95


def test_paint_lies_on_the_free_floor_only_and_leaves_the_range_as_it_was():
    before = photograph(5.0)
    free, store = free_floor_pixels(before), TextureStore()
    changed = np.zeros_like(free)
    store.add(np.full((8, 8, 3), (200, 20, 20), np.uint8), 'stripes')
    for seed in range(6):
        after = painted(np.random.default_rng(seed), before.sample.image, free, HEIGHT_M, store)
        changed |= (after != before.sample.image).any(-1)
        assert (after[~free] == before.sample.image[~free]).all()
    assert changed[free].mean() > 0.3


def test_a_share_of_the_photographs_is_painted(monkeypatch):
    store = TextureStore()
    store.add(np.full((8, 8, 3), (200, 20, 20), np.uint8), 'stripes')
    before = photograph(5.0)
    empty = Boxes([before], store, NoLibrary(), None)
    monkeypatch.setattr(empty, '_stand_things', lambda *_: 0)
    assert all((s.image == 120).all() for s in empty.samples((1, 0), 3))
    monkeypatch.setattr(inserts, 'PAINTED_SHARE', 1.0)
    for sample in empty.samples((1, 0), 3):
        assert (sample.image != 120).any()
        np.testing.assert_array_equal(sample.range_m, before.sample.range_m)


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


def test_labels_of_a_network_tell_what_the_hand_leaves_open(tmp_path, monkeypatch):
    label = {'intervals': [{'azimuth_deg': [-180, 180], 'kind': 'clear',
                            'points': [[-180, -30], [180, -30]]}]}
    (tmp_path / 'hall.json').write_text(json.dumps(label), encoding='utf-8')
    picture = np.random.default_rng(0).integers(0, 255, (320, 640, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'hall.jpg'), picture)
    monkeypatch.setattr(free_floor, 'LABELS', tmp_path)
    by_hand = load_photographs(tmp_path)[0].sample
    round_wall = HEIGHT_M / np.tan(np.radians(30))
    elevation = np.radians(90 - 180 * (np.arange(160) + 0.5) / 160)[:, None]
    said = np.minimum(round_wall / np.cos(elevation), np.where(
        elevation < 0, HEIGHT_M / np.sin(np.maximum(-elevation, 1e-9)), np.inf))
    said = np.broadcast_to(1.2 * said, (160, 320)).astype(np.float32)
    sample = Sample(picture[::2, ::2], said, np.isfinite(said), 'x', 1.5, {'name': 'a/hall.jpg'})
    (tmp_path / 'labels').mkdir()
    write_shard(tmp_path / 'labels' / '00000.tar', [sample], {})
    both = load_photographs(tmp_path, tmp_path / 'labels')[0].sample
    (tmp_path / 'others').mkdir()
    write_shard(tmp_path / 'others' / '00000.tar', [
        Sample(picture, np.ones((320, 640), np.float32), np.ones((320, 640), bool), 'x', 1.5,
               {'name': 'a/other.jpg'})], {})
    with pytest.raises(DataError, match='others is of a photograph below'):
        load_photographs(tmp_path, tmp_path / 'others')
    open_before = np.isnan(by_hand.range_m)
    assert 0.55 < open_before.mean() < 0.7
    np.testing.assert_array_equal(both.range_m[~open_before], by_hand.range_m[~open_before])
    above = both.range_m[80:100]                # well above the foot: all of it was open
    expected = round_wall / np.cos(np.radians(90 - 180 * (np.arange(80, 100) + 0.5) / 320))
    np.testing.assert_allclose(above, np.repeat(expected[:, None], 640, 1), rtol=0.02)
    assert (both.valid == np.isfinite(both.range_m)).all()


def test_the_floor_is_free_up_to_the_foot_of_what_stands_there():
    label = {'intervals': [
        {'azimuth_deg': [-180, 0], 'kind': 'clear', 'points': [[-180, -45], [0, -45]]},
        {'azimuth_deg': [0, 180], 'kind': 'far', 'points': [[0, -10], [180, -10]]}]}
    free = free_floor.free_distance(label, 360)
    np.testing.assert_allclose(free[:180], 1 / np.tan(np.radians(10)), rtol=1e-6)   # left half
    np.testing.assert_allclose(free[180:], 1.0, rtol=1e-6)
