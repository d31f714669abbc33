# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""No picture that a model is judged on is in its training, whatever was done to it."""

import json
from pathlib import Path

from conftest import ROOT
import cv2
import numpy as np
import pytest

from training.data import leaks
from training.data.files import IMAGE_SUFFIXES, read_picture
from training.simulator.skies import OPEN_SKIES

PRINTS = json.loads(leaks.PRINTS.read_text())
FOLDERS = (ROOT / 'training' / 'benchmarks', ROOT / 'da_ros' / 'samples',
           *(ROOT / 'da_ros' / 'bundles').glob('*/self_check'))
SHIPPED = sorted(path for folder in FOLDERS for path in folder.rglob('*')
                 if path.suffix.lower() in IMAGE_SUFFIXES)


def disguised(image, rng):
    """Return a picture turned, perhaps mirrored, exposed otherwise, resized and compressed."""
    image = np.roll(image, rng.integers(image.shape[1]), axis=1)
    image = image[:, ::-1] if rng.random() < 0.5 else image
    gamma, gain = rng.uniform(0.7, 1.4), rng.uniform(0.6, 1.5)
    image = (255 * np.clip((image / 255) ** gamma * gain, 0, 1)).astype(np.uint8)
    width = int(rng.choice([256, 392, 512, 768]))
    image = cv2.resize(image, (width, width // 2), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
    return cv2.imdecode(cv2.imencode('.jpg', image, quality)[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_every_evaluation_picture_of_the_repository_is_known_in_any_disguise(path):
    image, rng = read_picture(path), np.random.default_rng(3)
    name = leaks.near_evaluation_picture(image)
    assert name
    if path.parent.name == 'free_space':
        assert name == path.stem and PRINTS[name] == leaks.fingerprint(image)
    for _ in range(3):
        assert leaks.near_evaluation_picture(disguised(image, rng)) == name


def test_the_list_names_every_labelled_photograph_and_the_real_pairs():
    assert {path.stem for path in SHIPPED if path.parent.name == 'free_space'} <= set(PRINTS)
    assert sum(name.startswith('ph_') for name in PRINTS) == 29
    assert {'real_m3d_dac', 'real_stereo_room'} <= set(PRINTS)


def test_other_pictures_are_let_through():
    rng = np.random.default_rng(0)
    row, col = np.mgrid[:256, :512]
    sky = np.where(row < 128, 200, 90) + 20 * np.sin(col / 40)
    blocks = np.kron(rng.integers(0, 255, (16, 32)), np.ones((16, 16)))
    for grey in (rng.integers(0, 255, (256, 512)), sky, blocks, np.zeros((256, 512))):
        image = np.repeat(np.uint8(grey)[..., None], 3, axis=2)
        assert leaks.near_evaluation_picture(image) == ''
        leaks.refuse_evaluation_picture(image, 'blocks')


def test_a_leak_names_the_picture_and_what_to_do():
    photo = read_picture(ROOT / 'da_ros' / 'samples' / 'city.jpg')
    with pytest.raises(leaks.LeakError, match='sky_7.jpg is the evaluation picture ph_city, .*'
                                              'leave it out of the training'):
        leaks.refuse_evaluation_picture(photo, 'sky_7.jpg')


def test_no_sky_of_the_training_is_an_evaluation_picture():
    assert not {Path(name).stem for name in OPEN_SKIES} & set(PRINTS)
