"""da_ros_infer: files in, files out, one line when something is wrong."""

import cv2
import numpy as np
import pytest

from da_ros.commands.infer import main
from da_ros.files import FileError, write_image


@pytest.fixture
def panorama(tmp_path):
    path = tmp_path / 'room.png'
    cv2.imwrite(str(path), np.full((64, 128, 3), (10, 255, 0), np.uint8))
    return path


def infer(stand_in, *arguments) -> int:
    return main([*map(str, arguments), '--model', str(stand_in.folder),
                 '--backend', 'onnxruntime'])


def test_a_folder_becomes_range_preview_depth_and_cloud(stand_in, panorama, tmp_path):
    out = tmp_path / 'out'
    assert infer(stand_in, panorama.parent, '--out', out, '--ply') == 0
    assert np.allclose(np.load(out / 'room_range.npy'), 4)
    assert (cv2.imread(str(out / 'room_depth_mm.png'), cv2.IMREAD_UNCHANGED) == 4000).all()
    assert cv2.imread(str(out / 'room_preview.png')).shape == (32, 64, 3)
    from plyfile import PlyData
    vertex = PlyData.read(str(out / 'room.ply'))['vertex']
    assert len(vertex) == 32 * 64 and set(vertex['blue']) == {10} and set(vertex['green']) == {255}
    assert np.allclose(np.hypot(np.hypot(vertex['x'], vertex['y']), vertex['z']), 4, rtol=1e-5)


@pytest.mark.parametrize('arguments, message', [
    (['nowhere.jpg'], 'nowhere.jpg does not exist; give an image'),
    (['{}', '--range-mask', '33'], "range_mask_m 33 is not in bundle 'stand_in'"),
    (['{}', '--camera-height', '-1'], 'camera_height_m -1 is outside 0 to 50')])
def test_errors_are_one_line_and_exit_code_1(stand_in, panorama, capsys, arguments, message):
    filled = [text.replace('{}', str(panorama)) for text in arguments]
    assert infer(stand_in, *filled) == 1
    errors = capsys.readouterr().err
    assert message in errors and errors.count('\n') == 1


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
