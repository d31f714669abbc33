# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the readers of data sets say of files and folders that they cannot use."""

import gzip
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.catalogue import open_set
from training.data.files import (
    DataError,
    listed_pairs,
    Pair,
    Panoramas,
    read_exr,
    read_picture,
)
from training.data.unlabelled import find_portions


@pytest.mark.parametrize('name, options, message', [
    ('deep360', {'part': 'validation'}, r'holds no ep\*_500frames/validation with rgb and depth'),
    ('rgbd_folder', {'field_deg': 60}, r'holds no NAME\.jpg or \.png beside NAME_depth_mm\.png')])
def test_a_folder_without_samples_says_what_it_should_hold(tmp_path, name, options, message):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(DataError, match=f'{tmp_path} {message}'):
        open_set(name, tmp_path, **options)


def test_annotations_without_a_frame_are_named(tmp_path):
    with gzip.open(tmp_path / 'frame_annotations_train.jgz', 'wt') as file:
        json.dump([], file)
    with pytest.raises(DataError, match=r'frame_annotations_train\.jgz lists no frame'):
        open_set('dynamic_replica', tmp_path)


def test_an_image_without_depth_is_a_sample_that_says_so(tmp_path):
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((4, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'b_depth_mm.png'), np.full((4, 8), 1000, np.uint16))
    (tmp_path / 'notes.txt').write_text('of the camera')
    views = open_set('rgbd_folder', tmp_path, field_deg=60)
    assert len(views) == 2 and views[1].range_m.min() >= 1
    with pytest.raises(DataError, match=r'no file .*a_depth_mm\.png'):
        views[0]


@pytest.mark.parametrize('name', ['a.tif', 'a.TIFF', 'a.bmp', 'a.webp'])
def test_photos_of_every_usual_kind_are_read_and_cut_off_ones_are_named(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    content = cv2.imencode(Path(name).suffix.lower(), image)[1].tobytes()
    (tmp_path / name).write_bytes(content)
    portion, = find_portions([tmp_path])
    panorama, = portion.panoramas()
    assert panorama.image.shape == (64, 128, 3) and panorama.name.endswith(f'/{name}')
    for share in (2, 10, 1000):
        (tmp_path / name).write_bytes(content[:len(content) - len(content) // share])
        assert list(portion.panoramas()) == [f'{tmp_path / name} is not a readable picture']


@pytest.mark.parametrize('error', [ValueError, ZeroDivisionError])
def test_a_range_that_cannot_be_computed_is_a_sample_that_says_so(tmp_path, error):
    def decode(path):
        raise error('no such number')
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 8, 3), np.uint8))
    panoramas = Panoramas('own', [Pair(tmp_path / 'a.png', tmp_path / 'a.npy')], decode)
    with pytest.raises(DataError, match=r'a\.npy: no such number; it or a file of its camera'):
        panoramas[0]


@pytest.mark.parametrize('text, message', [
    ('a.png b.npy\n\na.png\n', r'list\.txt line 3 is not "IMAGE DEPTH": \'a\.png\''),
    ('\n', r'list\.txt lists no pair')])
def test_a_list_of_pairs_is_read_strictly(tmp_path, text, message):
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(DataError, match=message):
        listed_pairs(tmp_path, tmp_path / 'list.txt')


def test_an_exr_holds_one_channel_of_floats(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 8), np.uint8))
    with pytest.raises(DataError, match=r'a\.png must hold float32, got uint8'):
        read_exr(tmp_path / 'a.png')
    depth = np.full((4, 8, 3), 2.0, np.float32)
    cv2.imwrite(str(tmp_path / 'a.exr'), depth)
    assert (read_exr(tmp_path / 'a.exr') == 2).all()
    depth[..., 2] = 3
    cv2.imwrite(str(tmp_path / 'a.exr'), depth)
    with pytest.raises(DataError, match=r'a\.exr holds different channels; one of depth'):
        read_exr(tmp_path / 'a.exr')


def test_a_file_that_the_disk_does_not_give_is_named(tmp_path, monkeypatch):
    def failing(path):
        raise OSError(5, 'Input/output error')
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 8, 3), np.uint8))
    monkeypatch.setattr(Path, 'read_bytes', failing)
    with pytest.raises(DataError, match=r'a\.png cannot be read: Input/output error'):
        read_picture(tmp_path / 'a.png')
