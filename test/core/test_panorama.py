# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of pictures of the sphere: their place, their size, and what is odd about them."""

from importlib import resources
from pathlib import Path

from conftest import painted
import cv2
import numpy as np
from pictures import two_circles
import pytest

from da_ros.bundle import shipped_bundles
from da_ros.estimator import RangeEstimator
from da_ros.files import read_panorama
from da_ros.panorama import (
    Extent,
    FULL_SPHERE,
    full_sphere,
    looks_like_fisheye,
    oddities,
    place,
    resize_erp,
    unseen,
)
from da_ros.sphere import azimuth_from_col, elevation_from_row

PANORAMAS = [*sorted(Path(str(resources.files('da_ros'))).joinpath('samples').glob('*.jpg')),
             *(path for folder in shipped_bundles().values()
               for path in sorted(folder.glob('self_check/*.png')))]


@pytest.mark.parametrize('size_hw', [(32, 64), (64, 128), (100, 200), (16, 32), (480, 960)])
@pytest.mark.parametrize('method', ['area', 'linear', 'cubic'])
def test_any_camera_size_becomes_network_size_and_keeps_the_mean(size_hw, method):
    image = np.full((*size_hw, 3), (10, 100, 200), np.uint8)
    got = resize_erp(image, (32, 64), method)
    assert got.shape == (32, 64, 3) and (got == (10, 100, 200)).all()


def test_halving_agrees_with_one_area_pass_on_a_picture():
    coarse = np.random.default_rng(0).integers(0, 256, (60, 120, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (1920, 960), interpolation=cv2.INTER_CUBIC)
    one_pass = cv2.resize(image, (512, 256), interpolation=cv2.INTER_AREA)
    assert np.abs(resize_erp(image, (256, 512), 'area').astype(int) - one_pass).max() <= 8


def wave(height: int, width: int) -> np.ndarray:
    """Return a panorama that varies smoothly with the azimuth, sampled exactly."""
    azimuth = azimuth_from_col(np.arange(width) + 0.5, width)
    value = np.round(127 + 100 * np.sin(azimuth + 1.0)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(value[None, :, None], (height, width, 3)))


@pytest.mark.parametrize('method', ['area', 'linear', 'cubic'])
@pytest.mark.parametrize('height', [16, 23, 24, 33, 48, 63, 64, 100, 480])
def test_resizing_is_no_worse_at_the_seam_than_elsewhere(method, height):
    error = np.abs(resize_erp(wave(height, 2 * height), (64, 128), method).astype(int)
                   - wave(64, 128))[..., 0]
    assert error[:, [0, 1, -2, -1]].max() <= error[:, 3:-3].max() + 1 <= 4


@pytest.mark.parametrize('method', ['area', 'linear', 'cubic'])
@pytest.mark.parametrize('size_hw', [(16, 32), (24, 48), (40, 80)])
def test_resizing_commutes_with_turning_the_camera_by_half(method, size_hw):
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    turned = resize_erp(np.roll(image, size_hw[0], axis=1), (32, 64), method)
    np.testing.assert_array_equal(turned, np.roll(resize_erp(image, (32, 64), method), 32, axis=1))


def test_padding_keeps_rows_at_their_elevation():
    camera = np.repeat(np.arange(70, dtype=np.uint8)[:, None], 256, 1)[..., None].repeat(3, -1)
    full = place(np.ascontiguousarray(camera), Extent(-38.4, 60.0))
    assert full.shape == (128, 256, 3)
    assert (full[:22] == 0).all() and full[21 + 5, 0, 0] == 5 and (full[91:] == 69).all()


def angles_image(height: int, width: int) -> np.ndarray:
    """Return a panorama whose blue and green are its column and row."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(width)[None], np.arange(height)[:, None]
    return image


@pytest.mark.parametrize('left, top, width, height', [
    (64, 32, 128, 64), (0, 0, 256, 40), (0, 88, 256, 40), (200, 10, 100, 50), (0, 0, 1, 1),
    (255, 127, 1, 1), (255, 0, 256, 128), (3, 0, 17, 128)])
def test_a_crop_lies_where_it_was_cut_and_only_there_is_seen(left, top, width, height):
    full = angles_image(128, 256)
    crop = np.roll(full, -left, axis=1)[top:top + height, :width]
    azimuth_max = 180 - 360 * left / 256
    extent = Extent(90 - 180 * (top + height) / 128, 90 - 180 * top / 128,
                    azimuth_max - 360 * width / 256, azimuth_max)
    inside = np.zeros((128, 256), bool)
    inside[top:top + height, :width] = True
    inside = np.roll(inside, left, axis=1)
    placed = place(np.ascontiguousarray(crop), extent)
    assert placed.shape == full.shape
    np.testing.assert_array_equal(placed[inside], full[inside])
    np.testing.assert_array_equal(unseen(extent, (128, 256)), ~inside)


def test_a_tiny_crop_of_a_huge_panorama_takes_no_memory():
    with pytest.raises(ValueError, match='part of a panorama of 36000 x 18000 px, larger than'):
        place(np.zeros((100, 100, 3), np.uint8), Extent(0, 1, 0, 1), 1 << 27)


def test_ranges_outside_what_was_seen_are_unknown(stand_in):
    estimator = RangeEstimator(stand_in, 'onnxruntime')
    seen = Extent(-45, 45, -90, 90)
    got = estimator.predict(painted(np.full((32, 64), 4.0)), seen).range_m
    np.testing.assert_array_equal(np.isnan(got), unseen(seen, (32, 64)))
    assert 0.2 < np.isnan(got).mean() < 0.8 and np.allclose(got[~np.isnan(got)], 4.0)


@pytest.mark.parametrize('height, width', [(1920, 3839), (1920, 3841), (1920, 3842), (1919, 3840),
                                           (257, 512), (64, 127)])
def test_a_column_or_two_off_is_served_and_told_with_the_number_needed(height, width):
    image = np.full((height, width, 3), 90, np.uint8)
    assert resize_erp(full_sphere(image, FULL_SPHERE), (32, 64), 'area').shape == (32, 64, 3)
    text, = oddities(image)
    assert f'{width} x {height} px' in text and f'need {2 * height} columns' in text
    assert oddities(np.full((height, 2 * height, 3), 90, np.uint8)) == ()


@pytest.mark.parametrize('height, width', [(1920, 3843), (1920, 3837), (960, 1280), (32, 62),
                                           (4, 6), (1, 1), (0, 0), (512, 512)])
def test_more_is_refused_with_the_number_needed_and_both_ways_to_declare_a_part(height, width):
    with pytest.raises(ValueError, match=f'{width} x {height} px, not twice as wide as high '
                       f'.{height} rows need {2 * height} columns.; .*erp.elevation_min_deg .* '
                       '--elevation MIN MAX'):
        full_sphere(np.zeros((height, width, 3), np.uint8), FULL_SPHERE)


@pytest.mark.parametrize('height, width', [(736, 1472), (256, 512), (720, 1280)])
@pytest.mark.parametrize('fov_deg', [185, 200])
@pytest.mark.parametrize('path', PANORAMAS[:3], ids=lambda path: path.stem)
def test_two_fisheye_circles_are_told_from_a_panorama(path, fov_deg, height, width):
    pano = read_panorama(path).image
    circles = two_circles(pano, height, width, fov_deg)
    compressed = cv2.imdecode(cv2.imencode('.jpg', circles, (cv2.IMWRITE_JPEG_QUALITY, 60))[1], 1)
    for image in (circles, compressed):
        assert looks_like_fisheye(image)
        if width == 2 * height:
            assert 'two fisheye circles' in oddities(image)[0]
        else:
            with pytest.raises(ValueError, match='two fisheye circles'):
                full_sphere(image, FULL_SPHERE)


def night_and_tripod(height: int) -> np.ndarray:
    elevation = elevation_from_row(np.arange(height) + 0.5, height)
    image = np.full((height, 2 * height, 3), 120, np.uint8)
    image[np.abs(elevation) > 0.8] = 0
    return image


@pytest.mark.parametrize('image', [
    *(pytest.param(path, id=f'{path.parent.parent.name}-{path.stem}') for path in PANORAMAS),
    pytest.param(np.zeros((256, 512, 3), np.uint8), id='black'),
    pytest.param(night_and_tripod(256), id='black poles'),
    pytest.param(np.full((256, 512, 3), 255, np.uint8), id='white'),
    pytest.param(np.zeros((2, 4, 3), np.uint8), id='tiny'),
    pytest.param(np.zeros((0, 0, 3), np.uint8), id='empty')])
def test_a_panorama_is_not_taken_for_two_circles(image):
    image = read_panorama(image).image if isinstance(image, Path) else image
    assert not looks_like_fisheye(image)
