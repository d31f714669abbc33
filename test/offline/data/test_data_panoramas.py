# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Readers of panoramic sets, each on a tiny made-up tree of the documented layout."""

import cv2
import numpy as np
import pytest

from da_ros.sphere import angles_from_ray, erp_rays
from training.data.catalogue import open_set
from training.data.files import DataError, read_picture
from training.data.readers.deep360 import cassini_pixels

SIZE = 8, 16
RGB = (10, 120, 220)


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), RGB[::-1], np.uint8))


def counts(path, value, size=SIZE, **rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full(size, value, np.uint16)
    for row, other in rows.items():
        array[int(row[3:])] = other
    cv2.imwrite(str(path), array)


def make_structured3d(root, furniture='full', light='raw', value=2300):
    folder = root / 'scene_00001/2D_rendering/485/panorama' / furniture
    picture(folder / f'rgb_{light}light.png')
    counts(folder / 'depth.png', value, row0=0)


def test_structured3d_is_millimetres_for_each_furniture(tmp_path):
    for furniture, value in (('full', 2300), ('empty', 4000)):
        make_structured3d(tmp_path, furniture, value=value)
        sample = open_set('structured3d', tmp_path, furniture=furniture)[0]
        np.testing.assert_allclose(sample.range_m[1:], value / 1000, rtol=1e-6)
        assert np.isnan(sample.range_m[0]).all() and not sample.valid[0].any()
        assert sample.valid[1:].all() and sample.source == 'structured3d'
        assert sample.image[4, 4].tolist() == list(RGB)
    with pytest.raises(DataError, match="got 'some', 'raw'"):
        open_set('structured3d', tmp_path, furniture='some')


def make_stanford2d3d(root):
    name = 'camera_00d1_office_3_frame_equirectangular_domain_{}.png'
    picture(root / 'area_1/pano/rgb' / name.format('rgb'))
    counts(root / 'area_1/pano/depth' / name.format('depth'), 1024, row0=65535, row1=0)


def test_stanford2d3d_has_two_protocols(tmp_path):
    make_stanford2d3d(tmp_path)
    for protocol, metres in (('dap', 2.0), ('da2', 1.024)):
        sample = open_set('stanford2d3d', tmp_path, protocol=protocol)[0]
        np.testing.assert_allclose(sample.range_m[2:], metres, rtol=1e-6)
        assert np.isnan(sample.range_m[:2]).all()
    with pytest.raises(DataError, match="protocol 'own' is none of dap, da2"):
        open_set('stanford2d3d', tmp_path, protocol='own')


def make_matterport3d(root):
    folder = root / 'Matterport3D'
    picture(folder / '0_ab_color_0_Left_Down_0.0.png')
    range_m = np.full(SIZE, 3.25, np.float32)
    range_m[0], range_m[1], range_m[2] = np.inf, 0, np.nan
    from training.data import files  # noqa: F401  lets OpenCV write EXR
    assert cv2.imwrite(str(folder / '0_ab_depth_0_Left_Down_0.0.exr'), range_m)


def test_matterport3d_holes_are_unknown_not_empty(tmp_path):
    make_matterport3d(tmp_path)
    sample = open_set('matterport3d', tmp_path)[0]
    assert (sample.range_m[3:] == 3.25).all() and np.isnan(sample.range_m[:3]).all()


def test_matterport3d_of_da2_needs_a_list(tmp_path):
    picture(tmp_path / 'a/rgb.png')
    counts(tmp_path / 'a/depth.png', 5120, row0=0)
    (tmp_path / 'list.txt').write_text('a/rgb.png a/depth.png\n\n')
    options = {'protocol': 'da2', 'list_file': str(tmp_path / 'list.txt')}
    sample = open_set('matterport3d', tmp_path, **options)[0]
    assert (sample.range_m[1:] == 2.0).all() and np.isnan(sample.range_m[0]).all()
    with pytest.raises(DataError, match='needs list_file'):
        open_set('matterport3d', tmp_path, protocol='da2')
    (tmp_path / 'list.txt').write_text('a/rgb.png\n')
    with pytest.raises(DataError, match=r'list\.txt line 1 is not "IMAGE DEPTH"'):
        open_set('matterport3d', tmp_path, **options)


def cassini_of(values_of_ray, height=32):
    """Sample a function of the ray on the pixel centres of a Cassini picture."""
    turn = np.pi * (1 - 2 * (np.arange(2 * height) + 0.5) / (2 * height))[:, None]
    side = np.pi * (0.5 - (np.arange(height) + 0.5) / height)[None, :]
    rays = np.stack(np.broadcast_arrays(np.cos(side) * np.cos(turn), np.sin(side),
                                        np.cos(side) * np.sin(turn)), -1)
    return values_of_ray(rays)


def floor_range(rays):
    with np.errstate(divide='ignore'):
        return np.where(rays[..., 2] < -0.02, -1.5 / rays[..., 2], 1000.0)


def make_deep360(root, height=32, images=12):
    folder = root / 'ep1_500frames/testing'
    colour = cassini_of(lambda rays: np.clip(127 + 120 * rays, 0, 255).astype(np.uint8), height)
    for index in range(images):
        path = folder / 'rgb' / f'000001_{index:02d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), colour[..., ::-1] if index == 0 else colour[..., ::-1] * 0)
    (folder / 'depth').mkdir(exist_ok=True)
    np.savez(folder / 'depth/000001_depth.npz',
             cassini_of(floor_range, height).astype(np.float32))


def test_deep360_becomes_a_level_panorama(tmp_path):
    make_deep360(tmp_path)
    sample = open_set('deep360', tmp_path)[0]
    rays = erp_rays(32, 64)
    assert np.abs(sample.image.astype(float) - (127 + 120 * rays)).mean() < 2
    below = rays[..., 2] < -0.3
    ratio = sample.range_m[below] / floor_range(rays[below])
    assert np.median(np.abs(ratio - 1)) < 0.06 and np.abs(ratio - 1).max() < 0.4
    assert np.isposinf(sample.range_m[rays[..., 2] > 0.2]).all()


def test_cassini_coordinates_follow_the_stated_axes():
    row, col = cassini_pixels(64)
    azimuth, elevation = angles_from_ray(erp_rays(64, 128))
    level = np.abs(elevation) < 0.05
    ahead = level & (np.abs(azimuth) < 0.05)
    assert np.abs(row[ahead] / 128 - 0.5).max() < 0.02      # forward: the middle
    assert np.abs(col[ahead] / 64 - 0.5).max() < 0.02
    left = level & (np.abs(azimuth - np.pi / 2) < 0.05)
    assert col[left].max() < 3                              # left: the first column
    top = elevation > 1.5
    assert np.abs(row[top] / 128 - 0.25).max() < 0.04       # up: a quarter from the top


def test_deep360_counts_its_pictures(tmp_path):
    make_deep360(tmp_path, images=11)
    with pytest.raises(DataError, match='11 pictures and 1 ranges; 12 pictures per range'):
        open_set('deep360', tmp_path)


@pytest.mark.parametrize('name', ['rgb', 'depth'])
def test_deep360_names_a_folder_that_is_missing(tmp_path, name):
    make_deep360(tmp_path)
    (tmp_path / 'ep1_500frames/testing' / name).rename(tmp_path / 'elsewhere')
    with pytest.raises(DataError, match=f'testing/{name} cannot be read: No such file'):
        open_set('deep360', tmp_path)


def test_panosuncg_is_channel_0_over_20(tmp_path):
    picture(tmp_path / 'rgb.png')
    depth = np.zeros((*SIZE, 3), np.uint8)
    depth[..., 0], depth[0], depth[1] = 50, 0, 255
    cv2.imwrite(str(tmp_path / 'depth.png'), depth)
    (tmp_path / 'list.txt').write_text('rgb.png depth.png')
    sample = open_set('panosuncg', tmp_path, list_file=str(tmp_path / 'list.txt'))[0]
    assert (sample.range_m[2:] == 2.5).all() and np.isnan(sample.range_m[:2]).all()
    counts(tmp_path / 'depth.png', 50)
    with pytest.raises(DataError, match=r'depth\.png must be an 8-bit picture, got uint16'):
        open_set('panosuncg', tmp_path, list_file=str(tmp_path / 'list.txt'))[0]


def test_dap2m_is_a_published_list_in_a_unit_that_must_be_given(tmp_path):
    picture(tmp_path / 'raw_data_0701/raw_images_panorama/panorama_3.png')
    range_m = np.full(SIZE, 42.0, np.float32)
    range_m[0], range_m[1], range_m[2] = 5000, np.nan, 0
    path = tmp_path / 'raw_data_0701/erp_distance_npy/erp_distance_3.npy'
    path.parent.mkdir()
    np.save(path, range_m)
    lines = tmp_path / 'list.txt'
    lines.write_text('raw_data_0701/raw_images_panorama/panorama_3.png '
                     'raw_data_0701/erp_distance_npy/erp_distance_3.npy\n')
    sample = open_set('dap2m', tmp_path, list_file=str(lines), metres_per_unit='1')[0]
    assert (sample.range_m[3:] == 42).all() and np.isposinf(sample.range_m[0]).all()
    assert np.isnan(sample.range_m[1:3]).all()
    with pytest.raises(DataError, match='DAP-2M does not state the unit'):
        open_set('dap2m', tmp_path, list_file=str(lines))
    np.save(path, np.ones(SIZE, np.int32))
    with pytest.raises(DataError, match=r'erp_distance_3\.npy must hold floats'):
        open_set('dap2m', tmp_path, list_file=str(lines), metres_per_unit=1)[0]


MAKE = {'structured3d': make_structured3d, 'stanford2d3d': make_stanford2d3d,
        'matterport3d': make_matterport3d, 'deep360': make_deep360}


@pytest.mark.parametrize('name', MAKE)
def test_bad_files_are_named_in_one_line(tmp_path, name):
    MAKE[name](tmp_path)
    panoramas = open_set(name, tmp_path)
    assert len(panoramas) == 1
    for path in (panoramas.pairs[0].depth, panoramas.pairs[0].image):
        keep = path.read_bytes()
        path.write_bytes(keep[:len(keep) // 3])
        with pytest.raises(DataError, match=path.name) as caught:
            panoramas[0]
        assert '\n' not in str(caught.value)
        path.unlink()
        with pytest.raises(DataError, match=path.name):
            panoramas[0]
        path.write_bytes(keep)


@pytest.mark.parametrize('name', ['structured3d', 'stanford2d3d'])
def test_wrong_types_and_sizes_are_named(tmp_path, name):
    MAKE[name](tmp_path)
    panoramas = open_set(name, tmp_path)
    pair = panoramas.pairs[0]
    picture(pair.depth)
    with pytest.raises(DataError, match=r'must be a uint16 picture of one channel, got uint8'):
        panoramas[0]
    counts(pair.depth, 100, (4, 8))
    with pytest.raises(DataError, match=r'is \(4, 8\), its image .* \(8, 16\)'):
        panoramas[0]
    counts(pair.depth, 100, (8, 12))
    picture(pair.image, (8, 12))
    with pytest.raises(DataError, match='12 x 8 px; a panorama is twice as wide as high'):
        panoramas[0]


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_a_picture_cut_near_its_end_is_refused(tmp_path, suffix):
    """OpenCV itself fills the missing rows of such a file with grey."""
    path = tmp_path / f'a.{suffix}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf'a\.{suffix} is cut off; fetch it again'):
        read_picture(path)
