# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Readers of perspective sets, each on a tiny made-up tree of the documented layout."""

import gzip
import json

import cv2
import numpy as np
import pytest

from training.data.catalogue import CATALOGUE, open_set
from training.data.files import DataError
from training.data.placement import stretch

SIZE = 6, 8
RGB = (200, 30, 90)


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), RGB[::-1], np.uint8))


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == '.npy':
        np.save(path, array)
    elif path.suffix == '.hdf5':
        h5py = pytest.importorskip('h5py')
        with h5py.File(path, 'w') as file:
            file['dataset'] = array
    else:
        assert cv2.imwrite(str(path), array)


def depth_of(view):
    """The z-depth [m] that the reader's range means."""
    return view.range_m / stretch(view.camera, *view.range_m.shape)


def make_hypersim(root):
    images = root / 'ai_001_002' / 'images'
    picture(images / 'scene_cam_00_final_preview' / 'frame.0007.tonemap.jpg')
    values = np.full(SIZE, 4.0, np.float16)
    values[0, 0] = np.nan
    save(images / 'scene_cam_00_geometry_hdf5' / 'frame.0007.depth_meters.hdf5', values)


def test_hypersim_is_a_range_already(tmp_path):
    make_hypersim(tmp_path)
    view = open_set('hypersim', tmp_path)[0]
    assert view.range_m[3, 7] == 4.0 and np.isnan(view.range_m[0, 0])       # not stretched
    assert np.degrees(2 * np.arctan(4 / view.camera.fx)) == pytest.approx(60)
    assert np.abs(view.image.astype(int) - RGB).max() < 8


def make_virtual_kitti2(root):
    where = 'Scene01/clone/frames/{}/Camera_1'
    picture(root / 'vkitti_2.0.3_rgb' / where.format('rgb') / 'rgb_00005.jpg')
    counts = np.full(SIZE, 250, np.uint16)
    counts[0], counts[1, 0] = 65535, 0
    save(root / 'vkitti_2.0.3_depth' / where.format('depth') / 'depth_00005.png', counts)
    text = root / 'vkitti_2.0.3_textgt' / 'Scene01' / 'clone' / 'intrinsic.txt'
    text.parent.mkdir(parents=True)
    text.write_text('frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n'
                    '5 0 9 9 1 1\n5 1 4.7 4.7 3.5 2.5\n')


def test_virtual_kitti2_is_centimetres_with_an_empty_sky(tmp_path):
    make_virtual_kitti2(tmp_path)
    view = open_set('virtual_kitti2', tmp_path)[0]
    np.testing.assert_allclose(depth_of(view)[2:], 2.5, rtol=1e-6)
    assert np.isposinf(view.range_m[0]).all() and np.isnan(view.range_m[1, 0])
    assert (view.camera.fx, view.camera.cx, view.camera.cy) == (4.7, 4.0, 3.0)


def test_virtual_kitti2_needs_its_cameras(tmp_path):
    make_virtual_kitti2(tmp_path)
    text = next(tmp_path.glob('**/intrinsic.txt'))
    text.write_text('frame\n6 1 4 4 3 2\n')
    with pytest.raises(DataError, match=r'intrinsic\.txt has no line for .*rgb_00005'):
        open_set('virtual_kitti2', tmp_path)[0]
    text.unlink()
    with pytest.raises(DataError, match=r'intrinsic\.txt cannot be read'):
        open_set('virtual_kitti2', tmp_path)[0]


def make_mvs_synth(root, c_x=4.0):
    picture(root / '0000' / 'images' / '0003.png')
    values = np.full(SIZE, 70.0, np.float32)
    values[0], values[1, 0] = np.inf, 0
    save(root / '0000' / 'depths' / '0003.exr', values)
    pose = root / '0000' / 'poses' / '0003.json'
    pose.parent.mkdir(parents=True)
    pose.write_text(json.dumps({'f_x': 5.0, 'f_y': 5.0, 'c_x': c_x, 'c_y': 3.0}))


def test_mvs_synth_is_depth_in_a_unit_that_must_be_given(tmp_path):
    make_mvs_synth(tmp_path)
    view = open_set('mvs_synth', tmp_path, metres_per_unit='0.1')[0]
    np.testing.assert_allclose(depth_of(view)[2:], 7.0, rtol=1e-6)
    assert np.isposinf(view.range_m[0]).all() and np.isnan(view.range_m[1, 0])
    with pytest.raises(DataError, match='MVS-Synth does not state the unit'):
        open_set('mvs_synth', tmp_path)


def test_mvs_synth_refuses_the_pose_of_a_larger_copy(tmp_path):
    make_mvs_synth(tmp_path, c_x=8.0)
    with pytest.raises(DataError, match=r'0003\.json: principal point \(8, 3\)'):
        open_set('mvs_synth', tmp_path, metres_per_unit=0.1)[0]


def make_unreal_stereo4k(root):
    for side, x in ((0, 0.0), (1, -0.25)):
        picture(root / '00001' / f'Image{side}' / '00002.png')
        text = root / '00001' / f'Extrinsics{side}' / '00002.txt'
        text.parent.mkdir(parents=True)
        text.write_text(f'8 0 4 0 8 3 0 0 1\n1 0 0 {x} 0 1 0 0 0 0 1 0\n')
        disparity = np.full(SIZE, 0.5, np.float32)
        disparity[0] = 0
        save(root / '00001' / f'Disp{side}' / '00002.npy', disparity)


def test_unreal_stereo4k_is_disparity_with_the_baseline_of_its_cameras(tmp_path):
    make_unreal_stereo4k(tmp_path)
    views = open_set('unreal_stereo4k', tmp_path, metres_per_unit=1)
    assert len(views) == 2
    for index in range(2):
        np.testing.assert_allclose(depth_of(views[index])[1:], 0.25 * 8 / 0.5, rtol=1e-6)
        assert np.isnan(views[index].range_m[0]).all()
    (tmp_path / '00001/Extrinsics1/00002.txt').write_text('1 2 3')
    with pytest.raises(DataError, match='line of 9 and a line of 12'):
        views[0]


def make_ken_burns(root):
    picture(root / 'town-flying' / '00012-bl-image.png')
    (root / 'town-flying' / '00012-meta.json').write_text('{"intSample": 12, "fltFov": 80.0}')
    values = np.full(SIZE, 3000.0, np.float32)
    values[0] = 1e6
    save(root / 'town-flying-depth' / '00012-bl-depth.exr', values)


def test_ken_burns_has_its_field_of_view_beside_each_sample(tmp_path):
    make_ken_burns(tmp_path)
    view = open_set('ken_burns', tmp_path, metres_per_unit=0.001)[0]
    np.testing.assert_allclose(depth_of(view)[1:], 3.0, rtol=1e-6)
    assert np.isposinf(view.range_m[0]).all()
    assert view.camera.fx == view.camera.fy == pytest.approx(4 / np.tan(np.radians(40)))
    (tmp_path / 'town-flying' / '00012-meta.json').write_text('')
    with pytest.raises(DataError, match=r'00012-meta\.json has no fltFov'):
        open_set('ken_burns', tmp_path, metres_per_unit=0.001)[0]


def make_dynamic_replica(root, form='ndc_isotropic'):
    picture(root / 'train' / 'a_left' / 'images' / 'a-0000.png')
    depth = np.full(SIZE, 2.5, np.float16)
    depth[0] = 0
    save(root / 'train' / 'a_left' / 'depths' / 'a_0000.geometric.png', depth.view(np.uint16))
    frame = {'image': {'path': 'a_left/images/a-0000.png', 'size': SIZE},
             'depth': {'path': 'a_left/depths/a_0000.geometric.png', 'scale_adjustment': 1.0},
             'viewpoint': {'focal_length': [1.5, 1.5], 'principal_point': [0.1, 0.0],
                           'intrinsics_format': form}}
    with gzip.open(root / 'frame_annotations_train.jgz', 'wt') as file:
        json.dump([frame], file)


def test_dynamic_replica_is_float16_bits_and_normalised_cameras(tmp_path):
    make_dynamic_replica(tmp_path)
    view = open_set('dynamic_replica', tmp_path)[0]
    np.testing.assert_allclose(depth_of(view)[1:], 2.5, rtol=1e-6)
    assert np.isnan(view.range_m[0]).all()
    assert (view.camera.fx, view.camera.cx) == (4.5, pytest.approx(3.7))
    make_dynamic_replica(tmp_path, 'something')
    with pytest.raises(DataError, match=r"_train\.jgz .*'something' is not known"):
        open_set('dynamic_replica', tmp_path)
    with pytest.raises(DataError, match=r'_test\.jgz is no list'):
        open_set('dynamic_replica', tmp_path, split='test')


def test_a_folder_of_rgbd_needs_its_field_of_view(tmp_path):
    picture(tmp_path / 'a.jpg')
    save(tmp_path / 'a_depth_mm.png', np.full(SIZE, 1500, np.uint16))
    view = open_set('rgbd_folder', tmp_path, field_deg='90')[0]
    np.testing.assert_allclose(depth_of(view), 1.5, rtol=1e-6)
    assert view.camera.fx == pytest.approx(4)
    with pytest.raises(DataError, match='needs field_deg'):
        open_set('rgbd_folder', tmp_path)


@pytest.mark.parametrize('field', ['180', '-60', 'NaN'])
def test_ken_burns_names_a_field_of_view_that_no_camera_has(tmp_path, field):
    make_ken_burns(tmp_path)
    (tmp_path / 'town-flying' / '00012-meta.json').write_text(f'{{"fltFov": {field}}}')
    with pytest.raises(DataError, match=r'00012-bl-depth\.exr: field of view '):
        open_set('ken_burns', tmp_path, metres_per_unit=0.001)[0]


def test_unreal_stereo4k_names_a_pose_without_an_inverse(tmp_path):
    make_unreal_stereo4k(tmp_path)
    (tmp_path / '00001/Extrinsics1/00002.txt').write_text('8 0 4 0 8 3 0 0 1\n' + '0 ' * 12)
    with pytest.raises(DataError, match=r'Disp0/00002\.npy: Singular matrix; it or a file of'):
        open_set('unreal_stereo4k', tmp_path, metres_per_unit=1)[0]


@pytest.mark.filterwarnings('ignore:divide by zero', 'ignore:invalid value')
@pytest.mark.parametrize('f_x', ['0', '-5', 'NaN', 'Infinity'])
def test_a_camera_needs_a_focal_length(tmp_path, f_x):
    make_mvs_synth(tmp_path)
    (tmp_path / '0000/poses/0003.json').write_text(
        f'{{"f_x": {f_x}, "f_y": 5, "c_x": 4, "c_y": 3}}')
    with pytest.raises(DataError, match=r'0003\.exr: its camera has focal lengths of '):
        open_set('mvs_synth', tmp_path, metres_per_unit=0.1)[0]


MAKE = {'hypersim': make_hypersim, 'virtual_kitti2': make_virtual_kitti2,
        'mvs_synth': make_mvs_synth, 'unreal_stereo4k': make_unreal_stereo4k,
        'ken_burns': make_ken_burns, 'dynamic_replica': make_dynamic_replica}


@pytest.mark.parametrize('name', MAKE)
def test_bad_files_are_named_in_one_line(tmp_path, name):
    MAKE[name](tmp_path)
    unit = {'metres_per_unit': 1} if name in ('mvs_synth', 'unreal_stereo4k', 'ken_burns') else {}
    views = open_set(name, tmp_path, **unit)
    depth = views.pairs[0].depth
    keep = depth.read_bytes()
    depth.write_bytes(keep[:len(keep) // 3])
    with pytest.raises(DataError, match=depth.name) as caught:
        views[0]
    assert '\n' not in str(caught.value)
    depth.unlink()
    with pytest.raises(DataError, match=depth.name):
        views[0]
    depth.write_bytes(keep)
    picture(views.pairs[0].image, (5, 8))
    with pytest.raises(DataError, match=r'\(6, 8\)|5 px'):
        views[0]
    views.pairs[0].image.write_bytes(b'no picture')
    with pytest.raises(DataError, match=views.pairs[0].image.name):
        views[0]


@pytest.mark.parametrize('name', [n for n in CATALOGUE if n != 'dynamic_replica'])
def test_an_empty_folder_is_named(tmp_path, name):
    options = {'metres_per_unit': 1} if name in ('mvs_synth', 'unreal_stereo4k', 'ken_burns',
                                                 'dap2m') else {}
    if name in ('panosuncg', 'dap2m'):
        (tmp_path / 'list').write_text('')
        options['list_file'] = tmp_path / 'list'
    if name == 'rgbd_folder':
        options['field_deg'] = 60
    with pytest.raises(DataError, match=str(tmp_path)):
        open_set(name, tmp_path, **options)


def test_the_papers_probabilities_sum_to_one_and_names_are_checked():
    assert sum(row.probability for row in CATALOGUE.values()) == pytest.approx(1.0)
    with pytest.raises(DataError, match="no data set 'kitti'; there are hypersim"):
        open_set('kitti', '.')
    with pytest.raises(DataError, match="hypersim has no option 'unit'; it has none"):
        open_set('hypersim', '.', unit=1)
    with pytest.raises(DataError, match="metres_per_unit='far' is no number"):
        open_set('mvs_synth', '.', metres_per_unit='far')
