# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_fisheye: frames or a bag in, a calibration and a picture out."""

from pathlib import Path

import cv2
from fisheye_frames import CAMERA, fisheye_frames
import numpy as np
import pytest

import da_ros
from da_ros.cameras.calibration import read_calibration
from da_ros.commands.fisheye import main


@pytest.fixture(scope='module')
def frames():
    return fisheye_frames(CAMERA, 2)


def test_pictures_become_a_calibration_and_a_panorama(frames, tmp_path, capsys):
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f'{number}.png'), frame)
    out = tmp_path / 'out/camera.yaml'
    assert main([str(tmp_path), '--out', str(out), '--fov', '194']) == 0
    assert 'lenses agree within 0.0' in capsys.readouterr().out
    assert abs(read_calibration(out).lenses[0].fov_deg - 196) < 0.3
    assert out.read_text().startswith('# ') and 'patches in 2 frames' in out.read_text()
    panorama = cv2.imread(str(out.with_suffix('.jpg')))[:512]
    # The first frame is the lounge, level: above the floor it looks like the sample itself.
    lounge = cv2.imread(str(Path(da_ros.__file__).parent / 'samples/lounge.jpg'))
    a, b = (cv2.GaussianBlur(image, (0, 0), 3).astype(float).ravel()
            for image in (panorama, lounge))
    assert np.corrcoef(a, b)[0, 1] > 0.95


def test_frames_are_taken_from_a_bag(frames, tmp_path):
    pytest.importorskip('rosbags', reason='the extra da_ros[bags] is not installed')
    from da_ros.bags.bag_writer import BagWriter
    with BagWriter(tmp_path / 'bag') as bag:
        for number, frame in enumerate(frames * 2):
            bag.write('/image', bag.image(number, 'camera', frame, 'bgr8'), number)
    out = tmp_path / 'camera.yaml'
    assert main([str(tmp_path / 'bag'), '--out', str(out), '--frames', '2']) == 0
    assert 'in 2 frames' in out.read_text()


@pytest.mark.parametrize('arguments, text', [
    (['nowhere.jpg'], 'nowhere.jpg does not exist'),
    (['{}/blank.png'], 'left half of the image shows no round rim on black')])
def test_what_is_wrong_is_one_line(arguments, text, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'blank.png'), np.full((64, 128, 3), 99, np.uint8))
    assert main([a.format(tmp_path) for a in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith('da_ros_fisheye: ') and text in error and error.count('\n') == 1
