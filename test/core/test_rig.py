# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The camera on its robot: what the network sees, what is unknown, and the way back."""

from dataclasses import replace

import numpy as np
import pytest

from da_ros.body_mask import BodyMask
from da_ros.cameras.models import ErpCamera, FisheyeCamera, Lens
from da_ros.cameras.rig import Rig, rig_from, View
from da_ros.config import (
    BodyMaskConfig,
    Config,
    ConfigError,
    DepthConfig,
    ErpConfig,
    FisheyeConfig,
    LevellingConfig,
    MountingConfig,
)
from da_ros.config_checks import check_config
from da_ros.panorama import Extent, resize_erp
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy

SIZE = (64, 128)
TILT = rotation_from_rpy(0.2, -0.3, 0)
NOISE = np.random.default_rng(0).integers(0, 256, (240, 480, 3), dtype=np.uint8)


def test_a_panorama_that_is_not_turned_is_resized_bit_for_bit():
    view = View(Rig(), SIZE)
    assert view.plain and not view.turned
    assert (view.image(NOISE) == resize_erp(NOISE, SIZE, 'area')).all()
    assert view.camera_index(SIZE) is None and view.body_index() is None
    assert not view.unknown().any()


def test_a_whole_turn_of_roll_is_no_turn():
    assert View(Rig(body_from_camera=rotation_from_rpy(2 * np.pi, 0, 0)), SIZE).plain


@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('map_from_body', [None, TILT])
def test_the_way_back_leads_to_the_camera_and_to_the_body(mirrored, map_from_body):
    body_from_camera = rotation_from_rpy(np.pi, 0.1, 2)
    view = View(Rig(ErpCamera(mirrored=mirrored), body_from_camera), SIZE, 'area', map_from_body)
    picture = np.zeros((*SIZE, 3), np.uint8)
    range_map = RangeMap(erp_rays(*SIZE)[..., 0].astype(np.float32), 100, 0.3, picture, view=view)
    level = np.eye(3) if map_from_body is None else map_from_body
    rays = erp_rays(*SIZE)[:, ::-1] if mirrored else erp_rays(*SIZE)
    expected = (rays @ (level @ body_from_camera).T)[..., 0]
    assert np.abs(range_map.at(view.camera_index(SIZE)).range_m - expected).max() < 0.05
    expected = (erp_rays(*SIZE) @ level.T)[..., 0]
    assert np.abs(range_map.at(view.body_index()).range_m - expected).max() < 0.05
    assert range_map.at(view.camera_index((32, 64))).size_hw == (32, 64)


def test_what_the_camera_or_its_image_does_not_show_is_unknown_in_the_map():
    rays = erp_rays(*SIZE) @ TILT                          # of the map, in the camera
    elevation = np.degrees(np.arcsin(rays[..., 2]))
    view = View(Rig(ErpCamera(Extent(-50, 90))), SIZE, 'area', TILT)
    view.image(np.zeros((187, 480, 3), np.uint8))
    assert (view.unknown() == (elevation < -50)).mean() > 0.999
    whole = View(Rig(), SIZE, 'area', TILT)
    unknown = whole.unknown(Extent(-50, 90))
    assert (unknown == (elevation < -50)).mean() > 0.97 and unknown[elevation < -53].all()


def test_the_robot_tilts_with_the_camera():
    """Its mask is made once; a turned view covers at least the same directions."""
    rig = Rig(mask=BodyMask(below_deg=-40))
    level, tilted = View(rig, SIZE).unknown(), View(rig, SIZE, 'area', TILT).unknown()
    elevation = np.degrees(np.arcsin(erp_rays(*SIZE)[..., 2]))
    assert (level == (elevation < -40)).all()
    in_body = np.degrees(np.arcsin((erp_rays(*SIZE) @ TILT)[..., 2]))
    assert tilted[in_body < -40].all() and not tilted[in_body > -34].any()


def test_a_rig_is_read_from_a_configuration():
    rig = rig_from(replace(
        Config(), erp=ErpConfig(elevation_min_deg=-30, yaw_deg=90, mirrored=True),
        mounting=MountingConfig('0 0 1 0 0 0'), body_mask=BodyMaskConfig(boxes='-3 -1 0 -2 1 2')))
    assert rig.camera == ErpCamera(Extent(-30, 90), True)
    assert np.allclose(rig.body_from_camera @ [1, 0, 0], [0, 1, 0])
    assert rig.mask.boxes == ((-3, -1, 0, -2, 1, 2),) and rig.mask.base_from_body[2, 3] == 1


@pytest.mark.parametrize('changes, text', [
    (dict(mounting=MountingConfig('0 0 1 0 0 0'), levelling=LevellingConfig('tf')),
     "base_from_camera '0 0 1 0 0 0' contradicts levelling.source tf"),
    (dict(fisheye=FisheyeConfig('a.yaml'), erp=ErpConfig(elevation_min_deg=-30)),
     'contradict fisheye.calibration'),
    (dict(fisheye=FisheyeConfig('a.yaml'), erp=ErpConfig(mirrored=True)),
     'contradict fisheye.calibration'),
    (dict(fisheye=FisheyeConfig('a.yaml'), depth=DepthConfig(size='camera')),
     'depth.size camera needs panoramas'),
    (dict(levelling=LevellingConfig('gravity')), "levelling.source 'gravity' is none of fixed")])
def test_parameters_that_contradict_are_refused(changes, text):
    with pytest.raises(ConfigError, match=text):
        check_config(replace(Config(), **changes))


def test_fisheye_circles_are_no_oddity(stand_in):
    """What is declared needs no warning; undeclared, the same picture is told of."""
    from da_ros.estimator import RangeEstimator
    frame = np.zeros((160, 320, 3), np.uint8)
    col, row = np.meshgrid(np.arange(320) % 160 - 79.5, np.arange(160) - 79.5)
    frame[np.hypot(col, row) < 78] = 120
    estimator = RangeEstimator(stand_in, 'onnxruntime')
    assert any('fisheye circles' in text for text in estimator.oddities(frame))
    estimator.rig = Rig(FisheyeCamera((160, 320), (Lens((80, 80), 78, 200),
                                                   Lens((240, 80), 78, 200, yaw_deg=180))))
    assert estimator.oddities(frame) == ()
    assert estimator.predict(frame).range_m.shape == stand_in.size_hw
