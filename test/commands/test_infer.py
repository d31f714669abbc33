# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_infer: files in, files out, one line when something is wrong."""

import signal
import subprocess
import sys

from conftest import painted, write_stand_in_bundle
import cv2
import numpy as np
import pytest

from da_ros.commands.infer import main
from da_ros.files import FileError, write_image
from da_ros.range_map import colour, RangeMap
from da_ros.sphere import erp_rays


@pytest.fixture
def panorama(tmp_path):
    path = tmp_path / 'room.png'
    cv2.imwrite(str(path), np.full((64, 128, 3), (10, 255, 0), np.uint8))
    return path


ROOM = np.full((64, 128, 3), (10, 255, 0), np.uint8)


def infer(stand_in, *arguments) -> int:
    return main([*map(str, arguments), '--model', str(stand_in.folder),
                 '--backend', 'onnxruntime'])


def test_a_folder_becomes_range_preview_depth_and_cloud(stand_in, panorama, tmp_path):
    out = tmp_path / 'out'
    assert infer(stand_in, panorama.parent, '--out', out, '--ply') == 0
    assert np.allclose(np.load(out / 'room_range.npy'), 4)
    assert (cv2.imread(str(out / 'room_depth_mm.png'), cv2.IMREAD_UNCHANGED) == 4000).all()
    preview = cv2.imread(str(out / 'room_preview.png'))
    range_m = np.full((32, 64), 4, np.float32)
    np.testing.assert_array_equal(preview[:32], colour(RangeMap(range_m, 100.0, 0.3, preview)))
    assert preview.shape[0] > 40 and preview[32:].min() < 100       # and its metres below
    assert (out / 'room_scan.png').stat().st_size > 5000
    from plyfile import PlyData
    vertex = PlyData.read(str(out / 'room.ply'))['vertex']
    assert len(vertex) == 32 * 64 and set(vertex['blue']) == {10} and set(vertex['green']) == {255}
    assert np.allclose(np.hypot(np.hypot(vertex['x'], vertex['y']), vertex['z']), 4, rtol=1e-5)


def test_what_is_too_near_is_in_the_cloud_with_its_own_colour(stand_in, tmp_path):
    picture = np.full((64, 128, 3), (10, 255, 0), np.uint8)
    picture[20:24, 40:44] = 0, 255, 77                     # range 0
    cv2.imwrite(str(tmp_path / 'near.png'), picture)
    assert infer(stand_in, tmp_path / 'near.png', '--out', tmp_path / 'out', '--ply') == 0
    from plyfile import PlyData
    vertex = PlyData.read(str(tmp_path / 'out/near.ply'))['vertex']
    range_m = np.sqrt(vertex['x'] ** 2 + vertex['y'] ** 2 + vertex['z'] ** 2)
    assert len(vertex) == 32 * 64 and set(vertex['red'][range_m < 0.31]) == {77}
    assert (range_m < 0.31).sum() == 4 and set(vertex['red'][range_m > 0.31]) == {0}


@pytest.mark.parametrize('arguments, message', [
    (['nowhere.jpg'], 'nowhere.jpg does not exist; give an image'),
    (['{}', '--range-mask', '33'], "range_mask_m 33 is not in bundle 'stand_in'"),
    (['{}', '--camera-height', '-1'], 'camera_height_m -1 is outside 0 to 50'),
    (['{}', '--elevation', '-60', '60'], 'room.png: image is 128 x 64 px, but elevation -60')])
def test_errors_are_one_line_and_exit_code_1(stand_in, panorama, capsys, arguments, message):
    filled = [text.replace('{}', str(panorama)) for text in arguments]
    assert infer(stand_in, *filled) == 1
    errors = capsys.readouterr().err
    assert message in errors and errors.count('\n') == 1
    assert 'Traceback' not in errors


def test_inputs_that_would_overwrite_each_other_are_refused(stand_in, panorama, capsys):
    assert infer(stand_in, panorama, panorama.parent) == 1
    assert "two inputs are called 'room'" in capsys.readouterr().err


def test_an_image_that_is_no_panorama_is_named(stand_in, tmp_path, capsys):
    path = tmp_path / 'flat.png'
    cv2.imwrite(str(path), np.zeros((10, 10, 3), np.uint8))
    assert infer(stand_in, path, '--out', tmp_path / 'out') == 1
    assert 'flat.png: image is 10 x 10 px, not twice as wide as high' in capsys.readouterr().err


def test_an_image_that_its_format_cannot_hold_is_one_line(tmp_path):
    for image, suffix in ((np.zeros((66_000, 1, 3), np.uint8), 'jpg'),
                          (np.zeros((0, 4, 3), np.uint8), 'png')):
        with pytest.raises(FileError, match=f'{suffix} takes no image of shape .{len(image)}, '):
            write_image(tmp_path / f'x.{suffix}', image)
        assert not list(tmp_path.iterdir())


def test_bad_files_are_named_the_others_are_done_and_the_exit_code_is_1(
        stand_in, tmp_path, capsys):
    folder, out = tmp_path / 'in', tmp_path / 'out'
    folder.mkdir()
    jpeg = cv2.imencode('.jpg', ROOM)[1].tobytes()
    for name, data in (('._a.jpg', b'\0\5\x16\7' + bytes(99)), ('a.jpg', jpeg), ('b.jpg', b''),
                       ('cut.jpg', jpeg[:len(jpeg) // 3]), ('z.jpeg', jpeg)):
        (folder / name).write_bytes(data)
    cv2.imwrite(str(folder / 'flat.png'), np.zeros((10, 10, 3), np.uint8))
    (folder / 'x.exr').write_bytes(b'v/1\1' + bytes(99))
    assert infer(stand_in, folder, folder / 'x.exr', '--out', out) == 1
    printed = capsys.readouterr()
    assert printed.out.endswith(f'2 panoramas -> {out}; 4 could not be used\n')
    lines = printed.err.splitlines()
    assert len(lines) == 4 and all(name in ''.join(lines) for name in (
        'b.jpg', 'cut.jpg', 'flat.png', 'x.exr'))
    assert all(line.count(str(folder)) == 1 for line in lines), lines
    assert sorted(p.name for p in out.glob('*.npy')) == ['a_range.npy', 'z_range.npy']


def test_outputs_beside_the_inputs_are_not_read_again(stand_in, panorama, capsys):
    folder = panorama.parent
    for _ in range(2):
        assert infer(stand_in, panorama, '--out', folder) == 0
        names = sorted(p.name for p in folder.iterdir() if p.is_file())
        assert infer(stand_in, folder, '--out', folder) == 0
        assert '1 panoramas ->' in capsys.readouterr().out
    assert names == ['room.png', 'room_depth_mm.png', 'room_preview.png', 'room_range.npy',
                     'room_scan.png']


def test_a_line_tells_floor_scale_and_what_is_unknown(tmp_path, capsys):
    size = 64, 128
    bundle = write_stand_in_bundle(tmp_path / 'b', size_hw=size)
    drop = -erp_rays(*size)[..., 2]
    floor = np.where(drop > 0.05, 2.0 / np.maximum(drop, 0.05), 30.0)     # 2 m below the camera
    cv2.imwrite(str(tmp_path / 'hall.png'), painted(floor))
    for height, scale in (('1', 'scale 0.5'), ('0', 'scale not checked (give --camera-height)')):
        assert infer(bundle, tmp_path / 'hall.png', '--out', tmp_path / 'o', '--camera-height',
                     height) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert line.startswith('hall.png: floor ') and scale in line and '0.0% unknown' in line
        assert float(line.split()[2]) == pytest.approx(2, rel=0.05)


def test_a_bundle_without_metres_is_refused_or_scaled(tmp_path, capsys):
    bundle = write_stand_in_bundle(tmp_path / 'b', size_hw=(64, 128), kind='scale_invariant',
                                   masks=(), max_range_m=None, metres_per_unit=None)
    drop = -erp_rays(64, 128)[..., 2]
    cv2.imwrite(str(tmp_path / 'hall.png'), painted(np.where(
        drop > 0.05, 4.0 / np.maximum(drop, 0.05), 80.0)))
    options = tmp_path / 'hall.png', '--out', tmp_path / 'o'
    assert infer(bundle, *options) == 1
    error = capsys.readouterr().err
    assert 'is scale_invariant: it gives no metres by itself' in error
    assert '--scale-source, --camera-height, --metres-per-unit' in error
    assert not (tmp_path / 'o').exists()
    assert infer(bundle, *options, '--scale-source', 'camera_height', '--camera-height', 1) == 0
    straight_down = np.load(tmp_path / 'o/hall_range.npy')[-1]
    np.testing.assert_allclose(straight_down, 1, rtol=0.1)
    assert infer(bundle, *options, '--scale-source', 'fixed', '--metres-per-unit', 0.5) == 0
    np.testing.assert_allclose(np.load(tmp_path / 'o/hall_range.npy')[-1], 2, rtol=0.1)


def test_a_partial_panorama_is_unknown_where_it_shows_nothing(stand_in, tmp_path):
    cv2.imwrite(str(tmp_path / 'band.png'), ROOM[:43])        # 60 degrees up and down
    assert infer(stand_in, tmp_path / 'band.png', '--out', tmp_path, '--elevation', -60, 60) == 0
    known = np.isfinite(np.load(tmp_path / 'band_range.npy')).all(axis=1)
    elevation = 90 - 180 * (np.arange(32) + 0.5) / 32
    np.testing.assert_array_equal(known, np.abs(elevation) < 60)


def test_a_full_disk_leaves_no_half_file(stand_in, panorama, small_disk, capsys):
    assert infer(stand_in, panorama, '--out', small_disk) == 1
    error = capsys.readouterr().err
    assert 'cannot be written: No space left on device' in error and error.count('\n') == 1
    for path in small_disk.iterdir():
        if path.suffix == '.npy':
            assert np.load(path).shape == (32, 64)
        else:
            assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
    assert not list(small_disk.glob('.*'))


def test_ctrl_c_is_one_line_and_what_was_done_is_whole(stand_in, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    for i in range(400):
        (folder / f'{i:03}.png').write_bytes(cv2.imencode('.png', ROOM)[1].tobytes())
    process = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.infer', str(folder), '--out',
         str(tmp_path / 'out'), '--model', str(stand_in.folder), '--backend', 'onnxruntime'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()                 # the first one is done
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and 'Traceback' not in error
    assert error.splitlines()[-1].startswith('da_ros_infer: interrupted; ')
    for path in (tmp_path / 'out').iterdir():
        assert not path.name.startswith('.')
    found = [len(list((tmp_path / 'out').glob(f'*{end}'))) for end in (
        '_range.npy', '_preview.png', '_depth_mm.png', '_scan.png')]
    assert len(set(found)) == 1 and f'{found[0]} panoramas' in error


def test_fisheye_circles_are_inferred_by_their_calibration(stand_in, tmp_path, capsys):
    from da_ros.cameras.calibration import write_calibration
    from da_ros.cameras.models import FisheyeCamera, Lens
    write_calibration(tmp_path / 'lenses.yaml', FisheyeCamera((160, 320), (
        Lens((80, 80), 78, 200), Lens((240, 80), 78, 200, yaw_deg=180))))
    image = np.full((160, 320, 3), (10, 255, 0), np.uint8)
    image[:, 160:] = 20, 255, 0                         # 4 m ahead, 8 m behind
    cv2.imwrite(str(tmp_path / 'circles.png'), image)
    out = tmp_path / 'out'
    assert infer(stand_in, tmp_path / 'circles.png', '--out', out, '--fisheye',
                 tmp_path / 'lenses.yaml') == 0
    range_m = np.load(out / 'circles_range.npy')
    assert np.allclose(range_m[8:24, 20:44], 4)
    assert np.allclose(range_m[8:24, [0, 8, 55, 63]], 8)
    assert infer(stand_in, tmp_path / 'circles.png', '--out', out, '--fisheye', 'none.yaml') == 1
    assert 'calibration none.yaml is not readable' in capsys.readouterr().err
