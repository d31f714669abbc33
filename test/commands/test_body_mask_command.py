# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_body_mask: a drive in, the robot's own shape out; and evaluation leaves it out."""

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags', reason='the extra da_ros[bags] is not installed')

from da_ros.cameras.models import FisheyeCamera, Lens
from da_ros.commands.body_mask import camera_mask, main
from da_ros.sphere import angles_from_ray, erp_rays
from training.demo_bag import DriveConfig, write_drive

HEIGHT = 96
AZIMUTH, ELEVATION = (np.degrees(angle) for angle in angles_from_ray(
    erp_rays(HEIGHT, 2 * HEIGHT)))
DECK = (ELEVATION < -50) | ((np.abs(AZIMUTH - 160) < 8) & (ELEVATION < 25))


@pytest.fixture(scope='module')
def drive(tmp_path_factory):
    """Return a bag of a drive through a room with the robot's deck and mast in the picture."""
    rng = np.random.default_rng(0)
    paint = cv2.resize(rng.integers(30, 220, (12, 24, 3), dtype=np.uint8),
                       (2 * HEIGHT, HEIGHT), interpolation=cv2.INTER_CUBIC)
    path = tmp_path_factory.mktemp('drive') / 'bag'
    write_drive(path, DriveConfig(seconds=12, rate_hz=2, lidar_hz=0.5, depth_kind='none',
                                  height=HEIGHT, transforms=False),
                paint=lambda image, _: np.where(DECK[..., None], paint, image))
    return path


def learned(drive, model, out, *more: str) -> int:
    return main([str(drive), '--out', str(out), '--model', model, '--backend', 'onnxruntime',
                 '--grow', '1', *more])


def test_a_drive_becomes_a_mask_of_the_camera_image(drive, tmp_path, model, capsys):
    assert learned(drive, model, tmp_path / 'robot.png') == 0
    assert '24 frames, ' in capsys.readouterr().out
    mask = cv2.imread(str(tmp_path / 'robot.png'), cv2.IMREAD_GRAYSCALE) == 255
    assert mask.shape == (HEIGHT, 2 * HEIGHT)
    assert (mask & DECK).sum() > 0.9 * DECK.sum() and (mask & ~DECK).sum() < 0.25 * DECK.sum()
    assert cv2.imread(str(tmp_path / 'robot_shown.jpg')).shape[:2] == (32, 64)


def test_what_cannot_be_learned_from_is_one_line(drive, tmp_path, model, capsys):
    assert learned(drive, model, tmp_path / 'robot.png', '--frames', '3') == 1
    assert capsys.readouterr().err == (
        'da_ros_body_mask: 3 usable frames, needs 8; record a longer drive\n')
    assert learned(tmp_path / 'none', model, tmp_path / 'robot.png') == 1
    assert learned(drive, model, tmp_path / 'robot.png', '--topic', '/nowhere') == 1
    assert not (tmp_path / 'robot.png').exists()


def test_a_mask_of_the_panorama_as_one_of_fisheye_circles():
    camera = FisheyeCamera((160, 320), (Lens((80, 80), 78, 200),
                                        Lens((240, 80), 78, 200, yaw_deg=180)))
    mask = camera_mask(ELEVATION < -45, camera, camera.size_hw)
    assert mask[150, 80] and mask[150, 240] and not mask[80].any() and not mask[5, 5]
    assert not mask[155, 5]                            # outside the circles


def test_evaluation_leaves_the_robot_out(drive, tmp_path, model):
    from training.evaluate_bag import main as evaluate
    cv2.imwrite(str(tmp_path / 'robot.png'), np.where(DECK, 255, 0).astype(np.uint8))
    shares = []
    for name, more in (('with', ()), ('without', ('--body-mask', str(tmp_path / 'robot.png')))):
        assert evaluate([str(drive), '--bundle', model, '--backend', 'onnxruntime', '--truth',
                         'none', '--range-mask', '0', '--out', str(tmp_path / name), '--every',
                         '6', *more]) == 0
        rows = (tmp_path / name / 'frames.csv').read_text().splitlines()
        column = rows[0].split(',').index('unknown_share')
        shares.append(float(rows[1].split(',')[column]))
    assert shares[0] < 0.05 and abs(shares[1] - DECK.mean()) < 0.05
