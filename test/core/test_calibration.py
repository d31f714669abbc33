# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Fisheye calibration: the file, what is refused, and lenses found again in rendered frames."""

from dataclasses import replace
from pathlib import Path

import cv2
from fisheye_frames import CAMERA, fisheye_frames
import numpy as np
import pytest
import yaml

import da_ros
from da_ros.cameras.calibration import CalibrationError, read_calibration, write_calibration
from da_ros.cameras.fit import find_circles, fit
from da_ros.cameras.models import FisheyeCamera, Lens

NARROW = FisheyeCamera((960, 1920), (
    Lens((479, 482), 470, 190, roll_deg=90),
    Lens((1441, 481), 470, 190, roll_deg=-89, pitch_deg=2, yaw_deg=178)))


def test_a_file_is_read_as_it_was_written(tmp_path):
    write_calibration(tmp_path / 'new/fisheye.yaml', CAMERA, 'two lines\nof comment')
    assert (tmp_path / 'new/fisheye.yaml').read_text().startswith('# two lines\n# of comment\n')
    assert read_calibration(tmp_path / 'new/fisheye.yaml') == CAMERA


def test_the_example_of_the_documentation_is_a_calibration(tmp_path):
    import da_ros.cameras.calibration
    (tmp_path / 'a.yaml').write_text(da_ros.cameras.calibration.__doc__.split('image.\n\n')[1])
    assert read_calibration(tmp_path / 'a.yaml').lenses[1].yaw_deg == 180


@pytest.mark.parametrize('change, text', [
    (lambda d: d.pop('image'), 'the file lacks image; it holds format, image, blend_deg, lenses'),
    (lambda d: d.update(format=2), 'format 2 is not known, only 1'),
    (lambda d: d.update(lens=1), "the file has an unknown 'lens'"),
    (lambda d: d.update(lenses=[]), 'lenses must be a list of one or two'),
    (lambda d: d.update(blend_deg=30), 'blend_deg 30 is outside 0 to the overlap of the lenses, '
                                       '16 deg'),
    (lambda d: d['lenses'][0].update(fov_deg=400), 'lens 1 has fov_deg 400, an impossible field '
                                                   'of view; give 60 to 280'),
    (lambda d: d['lenses'][1].update(fov_deg='wide'), "lens 2 fov_deg is 'wide', needs a number"),
    (lambda d: d['lenses'][1].pop('radius_px'), 'lens 2 lacks radius_px'),
    (lambda d: d['lenses'][1].update(radius_px=-3), 'lens 2 has radius_px -3, needs a length'),
    (lambda d: d['lenses'][1].update(centre_px=[5000, 3]), r'centre_px \[5000, 3\] outside the '
                                                           'image of 1440 x 720 px'),
    (lambda d: d['lenses'][1].update(centre_px=5), 'lens 2 has centre_px 5, needs'),
    (lambda d: d['lenses'][1].update(yaw_deg=float('nan')), 'lens 2 yaw_deg is nan, needs a')])
def test_what_no_camera_can_be_is_refused_by_name(tmp_path, change, text):
    path = tmp_path / 'fisheye.yaml'
    write_calibration(path, CAMERA)
    stored = yaml.safe_load(path.read_text())
    change(stored)
    path.write_text(yaml.safe_dump(stored))
    with pytest.raises(CalibrationError, match=f'calibration {path}: .*{text}'):
        read_calibration(path)


@pytest.mark.parametrize('content', [None, 'lenses: [', b'\xff\xfe\x00', 'plain text', ''])
def test_an_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / 'fisheye.yaml'
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CalibrationError, match=f'calibration {path}(: the file la| is not re)'):
        read_calibration(path)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(CalibrationError, match='cannot be written: '):
        write_calibration(tmp_path / 'file/fisheye.yaml', CAMERA)


# ---- the fit ----

@pytest.mark.parametrize('camera, count', [(CAMERA, 2), (NARROW, 2)])
def test_lenses_are_found_again_in_rendered_frames(camera, count):
    """Unequal brightness, dark rims and noise; the field is 6 degrees off to begin with."""
    frames = fisheye_frames(camera, count)
    field = camera.lenses[0].fov_deg
    found = fit(frames, field - 6, camera.lenses[0].roll_deg)
    assert found.error_deg < 0.05 and found.matches > 100
    for got, true in zip(found.camera.lenses, camera.lenses):
        assert got.fov_deg / got.radius_px == pytest.approx(field / true.radius_px, rel=2e-3)
        assert np.allclose(got.centre_px, true.centre_px, atol=1.0)
    got, true = (c.lenses[1].camera_from_lens for c in (found.camera, camera))
    off = np.degrees(np.arccos(np.clip((np.trace(got.T @ true) - 1) / 2, -1, 1)))
    assert off < 0.35
    assert found.camera.blend_deg == 4 and found.camera.size_hw == camera.size_hw


def test_rims_that_the_image_cuts_off_and_dark_scenes_do_not_move_the_circles():
    """Both circles reach beyond the image's rows; the floor is black."""
    frame = np.full((700, 1440, 3), 120, np.uint8)
    col, row = np.meshgrid(np.arange(1440) + 0.5, np.arange(700) + 0.5)
    circles = (352.0, 345.0, 356.0), (1091.0, 352.0, 355.0)
    inside = [np.hypot(col - x, row - y) <= r for x, y, r in circles]
    frame[~(inside[0] & (col < 720) | inside[1] & (col >= 720))] = 0
    frame[560:] = 0
    assert np.allclose(find_circles([frame]), circles, atol=1.0)


def test_a_panorama_has_no_circles():
    frame = cv2.imread(str(Path(da_ros.__file__).parent / 'samples/lounge.jpg'))
    with pytest.raises(CalibrationError, match='left half of the image shows no round rim'):
        fit([frame])


def test_a_blank_place_is_refused():
    frames = fisheye_frames(CAMERA, 1)
    blank = np.where(frames[0].max(2, keepdims=True) > 25, 128, 0).astype(np.uint8)
    with pytest.raises(CalibrationError, match='circles show nothing alike where they overlap; '
                       'give more frames of a place with texture'):
        fit([np.repeat(blank, 3, 2)])


def test_lenses_that_do_not_overlap_are_refused():
    camera = replace(CAMERA, lenses=tuple(replace(lens, fov_deg=183.0)
                                          for lens in CAMERA.lenses))
    with pytest.raises(CalibrationError, match='overlap'):
        fit(fisheye_frames(camera, 1), 183)


def test_frames_of_two_sizes_are_refused():
    with pytest.raises(CalibrationError, match='frames are of 2 sizes'):
        fit([np.zeros((8, 16, 3), np.uint8), np.zeros((8, 18, 3), np.uint8)])
