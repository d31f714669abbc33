# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the robot sees itself: closed form for boxes and cuts, pictures, and learning."""

import cv2
import numpy as np
import pytest

from da_ros.body_mask import BodyMask, BodyMaskError, boxes_from, check_boxes, learn, read_picture
from da_ros.cameras.models import ErpCamera, FisheyeCamera, Lens
from da_ros.config import ConfigError
from da_ros.levelling import Mounting
from da_ros.sphere import angles_from_ray, erp_rays, rotation_from_rpy

RAYS = erp_rays(128, 256)
AZIMUTH, ELEVATION = (np.degrees(angle) for angle in angles_from_ray(RAYS))
FULL = ErpCamera()


def test_without_a_part_nothing_is_masked():
    assert not BodyMask() and not BodyMask().covers(RAYS, FULL).any()


def test_a_cut_masks_all_below_an_elevation():
    assert (BodyMask(below_deg=-50).covers(RAYS, FULL) == (ELEVATION < -50)).all()


def test_a_box_hides_what_a_tangent_says():
    """The camera 1 m above a 0.8 m x 0.6 m deck: each side lies at its own elevation."""
    mask = BodyMask(boxes=boxes_from('-0.4 -0.3 -0.2 0.4 0.3 0'),
                    base_from_body=Mounting((0, 0, 1)).base_from_body)
    covered = mask.covers(RAYS, FULL)
    reach = np.minimum(0.4 / np.abs(np.cos(np.radians(AZIMUTH))),
                       0.3 / np.abs(np.sin(np.radians(AZIMUTH))))       # of the deck's top
    assert (covered == (ELEVATION < -np.degrees(np.arctan2(1, reach)))).all()


def test_a_mast_beside_the_camera_is_seen_where_it_stands():
    """Of a turned camera: the mast is at the base's rear left, 45 degrees right of the lens."""
    mounting = Mounting((0, 0, 1.0), (0, 0, np.pi))
    mask = BodyMask(boxes=boxes_from('-0.25 0.15 0 -0.15 0.25 2; 5 5 0 6 6 1'),
                    base_from_body=mounting.base_from_body)
    covered = mask.covers(RAYS, FULL)
    horizon = covered[64]
    half = np.degrees(np.arctan2(0.25, 0.15) - np.pi / 4)
    near = np.abs(AZIMUTH[64] + 45) < half
    far = np.abs(AZIMUTH[64] + 135) < 6                # the second box, 7 m ahead of the base
    assert (horizon[near]).all() and not horizon[~near & ~far].any()


def test_rays_within_a_face_of_a_box_do_not_count_as_nan():
    rays = np.float64([[[1, 0, 0], [-1, 0, 0], [0, 0, -1], [0, 1, 0]]])
    mask = BodyMask(boxes=((1, 0, -1, 2, 1, 0),))
    assert mask.covers(rays, FULL).tolist() == [[True, False, False, False]]


def test_a_box_around_the_camera_is_refused():
    mask = BodyMask(boxes=boxes_from('-1 -1 0 1 1 2'), base_from_body=Mounting((0, 0, 1)
                                                                              ).base_from_body)
    with pytest.raises(ConfigError, match='the camera, at 0 0 1 m in the base frame, is inside '
                                          '-1 -1 0 1 1 2; correct the box'):
        check_boxes(mask)


@pytest.mark.parametrize('text', ['1 2 3', '0 0 0 1 1 x', '0 0 0 1 1 0', '0 0 0 1 nan 1'])
def test_a_box_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=f"body_mask.boxes '{text}' is no box; give x0 y0 z0"):
        boxes_from('0 0 0 1 1 1; ' + text)


# ---- pictures ----

@pytest.mark.parametrize('rpy', [(0, 0, 0), (180, 0, 0), (10, -20, 140)])
def test_a_picture_is_turned_with_the_camera(rpy):
    camera_from_body = rotation_from_rpy(*np.deg2rad(rpy))
    picture = np.where(erp_rays(240, 480)[..., 2] < -0.7, 255, 0).astype(np.uint8)
    covered = BodyMask(picture).covers(RAYS, FULL, camera_from_body)
    height = (RAYS @ camera_from_body.T)[..., 2]
    assert covered[height < -0.705].all() and not covered[height > -0.66].any()


def test_a_cable_of_one_pixel_is_not_lost_between_the_rays():
    picture = np.zeros((960, 1920), np.uint8)
    picture[300:700, 1003] = 255
    covered = BodyMask(picture).covers(RAYS, FULL)
    assert covered[44:90].any(1).all() and covered[44:90].sum() <= 2 * 46


def test_a_cable_on_the_seam_grows_to_both_sides():
    picture = np.zeros((256, 512), np.uint8)
    picture[100:150, 0] = 255
    assert BodyMask(picture).covers(RAYS, FULL)[60, [0, 255]].any()


def test_a_picture_of_two_fisheye_circles():
    camera = FisheyeCamera((480, 960), (Lens((240, 240), 236, 200),
                                        Lens((720, 240), 236, 200, yaw_deg=180)))
    picture = np.zeros((480, 960), np.uint8)
    # 160 px below both axes: 67.8 degrees there, arcsin(160 / 236 sin 100 deg) = 41.9 at the rims
    picture[400:, :] = 255
    covered = BodyMask(picture).covers(RAYS, camera)
    assert covered[ELEVATION < -72].all() and not covered[ELEVATION > -39].any()


def test_a_picture_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / 'mask.png'
    with pytest.raises(BodyMaskError, match='mask.png.* is not a readable image; give a PNG'):
        read_picture(path, FULL)
    cv2.imwrite(str(path), np.zeros((100, 150), np.uint8))
    with pytest.raises(BodyMaskError, match='does not fit the camera: image is 150 x 100 px'):
        read_picture(path, FULL)
    cv2.imwrite(str(path), np.full((100, 200, 3), 255, np.uint8))
    assert read_picture(path, FULL).shape == (100, 200)


# ---- learning ----

def drive(count: int, moving: bool = True, sky: bool = False):
    """Return pictures of a textured world that turns, above a still deck with a mast."""
    rng = np.random.default_rng(0)
    world = cv2.GaussianBlur(rng.integers(0, 256, (64, 512, 3), dtype=np.uint8), (0, 0), 1.2)
    deck = ELEVATION[::2, ::2] < -55 + 6 * np.cos(np.radians(AZIMUTH[::2, ::2]))
    deck |= (np.abs(AZIMUTH[::2, ::2] - 175) < 8) & (ELEVATION[::2, ::2] < 20)
    paint = cv2.GaussianBlur(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8), (0, 0), 2)
    images, ranges = [], []
    for k in range(count):
        shift = 37 * k if moving else 0
        image = np.roll(world, shift, 1)[:, :128].astype(np.float32)
        image[deck] = paint[deck]
        if sky:
            image[:14] = 200, 120, 60
        image = image * rng.uniform(0.8, 1.1) + rng.normal(0, 2, image.shape)
        range_m = np.roll(rng.uniform(0.8, 6, (64, 128)) if moving else np.full((64, 128), 2.0),
                          shift, 1)
        range_m[deck] = 0.5 * rng.uniform(0.95, 1.05)
        range_m[ELEVATION[::2, ::2] < -80] = -np.inf
        if sky:
            range_m[:12], range_m[12:14] = np.inf, np.nan
        images.append(np.clip(image, 0, 255).astype(np.uint8))
        ranges.append(range_m.astype(np.float32))
    return images, ranges, deck


def test_the_robot_is_what_stays_while_it_drives():
    images, ranges, deck = drive(20)
    body, _ = learn(images, ranges, reach_m=1.5, grow_px=0)
    assert (body & deck).sum() / (body | deck).sum() > 0.9
    grown, _ = learn(images, ranges, reach_m=1.5, grow_px=2)
    assert grown[deck].mean() > 0.995 and grown.sum() < 1.35 * deck.sum()


def test_a_sky_that_never_changes_is_not_the_robot():
    body, still = learn(*drive(20, sky=True)[:2], reach_m=1.5)
    assert still[:12].mean() > 0.9 and not body[:14].any()


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(BodyMaskError, match='3 usable frames, needs 8; record a longer drive'):
        learn(*drive(3)[:2], reach_m=1.5)
    with pytest.raises(BodyMaskError, match='of the picture stay as they are: the robot hardly'):
        learn(*drive(12, moving=False)[:2], reach_m=1.5)
