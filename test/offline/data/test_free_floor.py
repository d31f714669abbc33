# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Hand labels of real panoramas as training data: closed form, and what they must not hold."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.catalogue import CATALOGUE, open_set
from training.data.files import DataError
from training.data.leaks import LeakError
from training.data.readers import free_floor

HEIGHT, WIDTH = 180, 360            # one degree per pixel
FOLDER = Path(free_floor.__file__).parents[2]


def label(*intervals):
    """Return a label of (start, stop, kind, elevation, further fields)."""
    return {'intervals': [
        {'azimuth_deg': [start, stop], 'kind': kind, 'points': [[start, foot], [stop, foot]],
         **more} for start, stop, kind, foot, more in intervals]}


def column(ranges, azimuth):
    return ranges[:, int(180 - azimuth)] / free_floor.HEIGHT_M


def row(elevation):
    return int(90 - elevation)


def elevations():
    return np.radians(90 - (np.arange(HEIGHT) + 0.5))


@pytest.fixture
def ranges():
    return free_floor.labelled_range(label(
        (-180, -90, 'clear', -45.0, {}), (-90, 0, 'unsure', -45.0, {}),
        (0, 90, 'overhang', -45.0, {'overhang_points': [[0, -10.0], [90, -10.0]]}),
        (90, 93, 'thin', -45.0, {}), (93, 180, 'thin', -45.0, {})), HEIGHT, WIDTH)


@pytest.mark.parametrize('azimuth', [-135, -45, 45, 91.5, 135])
def test_below_the_boundary_lies_floor(ranges, azimuth):
    below = elevations() < np.radians(-45)
    np.testing.assert_allclose(column(ranges, azimuth)[below], 1 / np.sin(-elevations()[below]),
                               rtol=1e-6)


@pytest.mark.parametrize('azimuth', [-135, 91.5])
def test_a_front_stands_upright_up_to_a_third_of_the_height(ranges, azimuth):
    # its foot is 1 h away at -45 degrees, so 0.3 h above the floor is seen at atan 0.7
    front = (elevations() > np.radians(-45)) & (elevations() < -np.arctan(0.7))
    np.testing.assert_allclose(column(ranges, azimuth)[front], 1 / np.cos(elevations()[front]),
                               rtol=1e-6)
    assert np.isnan(column(ranges, azimuth)[elevations() > -np.arctan(0.7)]).all()


@pytest.mark.parametrize('azimuth', [-45, 135])
def test_what_stands_there_is_unknown_where_no_upright_front_is_labelled(ranges, azimuth):
    assert np.isnan(column(ranges, azimuth)[elevations() > np.radians(-45)]).all()


def test_the_edge_of_an_overhang_lies_above_its_plumb_line(ranges):
    values = column(ranges, 45)
    on_edge = np.abs(elevations() - np.radians(-10)) < np.radians(free_floor.EDGE_PX - 0.01)
    np.testing.assert_allclose(values[on_edge], 1 / np.cos(elevations()[on_edge]), rtol=1e-6)
    away = np.abs(elevations() - np.radians(-10)) > np.radians(free_floor.EDGE_PX + 0.01)
    assert np.isnan(values[(elevations() > np.radians(-45)) & away]).all()


def test_a_pole_narrower_than_a_column_is_not_lost():
    ranges = free_floor.labelled_range(label(
        (-180, 10.1, 'far', -4.0, {}), (10.1, 10.3, 'thin', -30.0, {}),
        (10.3, 180, 'far', -4.0, {})), HEIGHT, WIDTH)
    foot = row(-30) - 1                 # the first pixel above the foot
    assert column(ranges, 10.2)[foot] == pytest.approx(
        1 / np.tan(np.radians(30)) / np.cos(elevations()[foot]), rel=1e-6)


def test_the_farther_side_of_a_silhouette_is_unknown_above_the_nearer_foot():
    ranges = free_floor.labelled_range(label(
        (-180, 0, 'clear', -45.0, {}), (0, 180, 'clear', -20.0, {})), HEIGHT, WIDTH)
    between = (elevations() > np.radians(-44)) & (elevations() < np.radians(-21))
    assert np.isnan(column(ranges, 0.5)[between]).all()
    assert np.isfinite(column(ranges, 5.5)[between]).all()


def write_panorama(folder, name, level=True, image=None):
    """Write a picture below a folder and its label beside the others that count."""
    (folder / 'pictures').mkdir(exist_ok=True)
    (folder / 'labels').mkdir(exist_ok=True)
    if image is None:
        noise = np.random.default_rng(len(name)).integers(0, 255, (16, 32, 3)).astype(np.uint8)
        image = cv2.resize(noise, (640, 320), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / 'pictures' / f'{name}.jpg'), image)
    text = json.dumps({'level': level, **label((-180, 180, 'clear', -45.0, {}))})
    (folder / 'labels' / f'{name}.json').write_text(text)


def test_pictures_with_a_level_camera_are_read(tmp_path, monkeypatch):
    write_panorama(tmp_path, 'upright')
    write_panorama(tmp_path, 'tilted', level=False)
    monkeypatch.setattr(free_floor, 'LABELS', tmp_path / 'labels')
    opened = open_set('free_floor', tmp_path / 'pictures')
    assert len(opened) == 1
    sample = opened[0]
    assert sample.image.shape == (*free_floor.SIZE_HW, 3)
    assert sample.camera_height_m == free_floor.HEIGHT_M
    assert 0.5 < sample.valid.sum() / (0.25 * sample.valid.size) < 1.5


def test_an_evaluation_picture_is_refused(tmp_path, monkeypatch):
    benchmark = FOLDER / 'benchmarks' / 'free_space' / 'blender_courtyard.jpg'
    write_panorama(tmp_path, 'courtyard', image=cv2.imread(str(benchmark)))
    monkeypatch.setattr(free_floor, 'LABELS', tmp_path / 'labels')
    with pytest.raises(LeakError, match='blender_courtyard'):
        open_set('free_floor', tmp_path / 'pictures')[0]


def test_a_folder_without_them_is_one_line(tmp_path):
    with pytest.raises(DataError, match='no labelled panorama below .*NAME.json'):
        open_set('free_floor', tmp_path)


def test_the_labels_that_ship_are_whole_and_of_no_evaluation_picture():
    benchmarks = {path.stem for path in (FOLDER / 'benchmarks' / 'free_space').glob('*.json')}
    files = sorted(free_floor.LABELS.glob('*.json'))
    assert len(files) >= 30
    for file in files:
        assert file.stem not in benchmarks
        ranges = free_floor.labelled_range(json.loads(file.read_text()), 90, 180)
        assert np.isfinite(ranges).mean() > 0.05, file.stem
    assert CATALOGUE['free_floor'].panoramic
