# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera that does not show the world is told from one that does, on turning pictures."""

import cv2
import numpy as np
import pytest

from da_ros.cameras.image_health import ImageHealth, LENS_HW
from da_ros.cameras.models import ErpCamera
from da_ros.cameras.rig import Rig, View
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy

HZ, TURN_DEG = 10, 28.125          # per second: 20 of 256 columns
HEIGHT = LENS_HW[0]


def world(seed=0) -> np.ndarray:
    """Return a panorama with detail of all sizes below a plain sky."""
    rng = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, 2 * HEIGHT, 3), np.float32)
    for cells in (8, 32, 128):
        noise = rng.normal(0, 25, (cells, 2 * cells, 1)).astype(np.float32)
        image += cv2.resize(noise, LENS_HW[::-1], interpolation=cv2.INTER_NEAREST)[..., None]
    image[:HEIGHT // 3] = 80
    return np.clip(image + 110, 0, 249).astype(np.uint8)


def drive(judge: ImageHealth, fault=lambda image: image, seconds=2.0, start=0, view=None,
          frozen_s=0.8, turn=True) -> list:
    """Show turning pictures with a fault; return the health after each, ten a second."""
    view = view or View(Rig(), LENS_HW)
    said, panorama, rng = [], world(), np.random.default_rng(start)
    for number in range(start, start + round(seconds * HZ)):
        image = np.roll(panorama, 2 * number if turn else 0, axis=1)
        noisy = image + rng.integers(-1, 2, image.shape[:2])[..., None]
        image = fault(noisy.clip(0, 255).astype(np.uint8))
        judge.judge(image, view.image(image), view, 10**9 + number * 10**9 // HZ, frozen_s)
        said.append(judge.health)
    return said


def cover(azimuth_deg, elevation_deg, radius_deg, paint):
    """Return a fault: a round spot with a soft edge, as something near the lens has it."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    middle = [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
              np.sin(elevation)]
    off_deg = np.rad2deg(np.arccos(np.clip(erp_rays(HEIGHT, 2 * HEIGHT) @ middle, -1, 1)))
    there = np.clip((radius_deg - off_deg) / (0.3 * radius_deg) + 0.5, 0, 1)[..., None]
    return lambda image: (image * (1 - there) + paint(image) * there).astype(np.uint8)


FAULTS = {
    'thumb': cover(60, -10, 20, lambda image: np.full_like(image, 15)),
    'mud': cover(-120, 0, 14, lambda image: np.full_like(image, 70)),
    'drop': cover(180, -20, 25, lambda image: cv2.GaussianBlur(image, (0, 0), 4))}


def test_a_turning_and_a_standing_camera_are_healthy():
    judge = ImageHealth()
    said = drive(judge, seconds=6) + drive(judge, seconds=2, start=60, turn=False)
    assert not [one for one in said if one.blind or one.dirt]


@pytest.mark.parametrize('fault', FAULTS)
def test_what_sticks_to_the_lens_is_told_within_two_seconds_and_so_is_its_place(fault):
    judge = ImageHealth()
    drive(judge, seconds=3)
    said = drive(judge, FAULTS[fault], seconds=1.8, start=30)
    assert 'clean the lens' in said[-1].dirt and not said[-1].blind
    place = {'thumb': (60, -10), 'mud': (-120, 0), 'drop': (180, -20)}[fault]
    tiles = said[-1].tiles
    row = int((90 - place[1]) / 180 * tiles.shape[0])
    col = int((180 - place[0]) / 360 * tiles.shape[1]) % tiles.shape[1]
    assert tiles[row, col] and tiles.mean() < 0.15
    # A wiped lens is believed again.
    assert not drive(judge, seconds=4, start=48)[-1].dirt


def test_what_the_camera_does_not_see_is_no_dirt():
    judge, view = ImageHealth(), View(Rig(), LENS_HW)
    masked = np.zeros(LENS_HW, bool)
    masked[:, :] = cover(60, -10, 35, lambda image: np.full_like(image, 255))(
        np.zeros((*LENS_HW, 3), np.uint8))[..., 0] > 0
    view.unknown = lambda seen=None: masked
    assert not [one for one in drive(judge, FAULTS['thumb'], 4, view=view) if one.dirt]


@pytest.mark.parametrize('fault, text', [
    (lambda image: image // 32, 'the picture is black'),
    (lambda image: np.maximum(image, 252), 'the picture is over-exposed')])
def test_a_picture_that_shows_nothing_is_told_at_once(fault, text):
    judge = ImageHealth()
    drive(judge)
    said = drive(judge, fault, seconds=0.5, start=20)
    assert text in said[-1].blind and not said[0].blind
    assert not drive(judge, start=25)[-1].blind


def test_a_frozen_picture_is_told_when_it_has_lasted_and_only_where_stamps_go_on():
    judge, still = ImageHealth(), world()
    said = drive(judge, lambda image: still, seconds=1.5)
    assert [bool(one.blind) for one in said] == [False] * 8 + [True] * 7
    assert 'the same picture for 1 s' in said[-1].blind and 'frozen_s 0' in said[-1].blind
    assert not drive(judge, start=15, seconds=0.2)[-1].blind
    assert not drive(ImageHealth(), lambda image: still, frozen_s=0, seconds=5)[-1].blind
    judge, view = ImageHealth(), View(Rig(), LENS_HW)
    for _ in range(50):
        judge.judge(still, still, view, 10**9, 0.8)
    assert not judge.health.blind


def test_a_pause_and_a_clock_set_back_begin_anew():
    judge, still = ImageHealth(), world()
    drive(judge, lambda image: still, seconds=0.7)
    assert not drive(judge, lambda image: still, seconds=0.5, start=100)[-1].blind
    assert not drive(judge, lambda image: still, seconds=0.5, start=0)[-1].blind


@pytest.mark.parametrize('rig, tilt', [
    (Rig(), None), (Rig(ErpCamera(mirrored=True)), None),
    (Rig(body_from_camera=rotation_from_rpy(0, 0, 1.0)), rotation_from_rpy(0.1, 0.05, 0))])
def test_a_patch_of_the_camera_is_made_unknown_where_it_lies_in_the_map(rig, tilt):
    view = View(rig, (64, 128), map_from_body=tilt)
    image = np.zeros((HEIGHT, 2 * HEIGHT, 3), np.uint8)
    image[56:72, 40:64] = 255                                   # two by three tiles
    judge = ImageHealth()
    tiles = np.zeros((16, 32), bool)
    tiles[7:9, 5:8] = True
    judge.health = type(judge.health)(dirt='there', tiles=tiles)
    range_map = RangeMap(np.full((64, 128), np.inf, np.float32), 20.0, 0.3, view.image(image),
                         view=view)
    judge.forget_blind(range_map)
    unknown, white = np.isnan(range_map.range_m), range_map.image[..., 0] > 127
    assert white.sum() > 50 and (unknown != white).sum() < 0.15 * white.sum()
    small = view.in_camera(range_map.image, LENS_HW)[..., 0] > 127
    assert np.mean(small[56:72, 40:64]) > 0.85 and np.mean(small) < 0.02


def test_nothing_of_a_blind_picture_is_empty():
    judge = ImageHealth()
    drive(judge, lambda image: image // 32)
    range_map = RangeMap(np.full((4, 8), np.inf, np.float32), 20.0, 0.3, np.zeros((4, 8, 3)))
    judge.forget_blind(range_map)
    assert np.isnan(range_map.range_m).all()
