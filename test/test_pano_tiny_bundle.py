"""The shipped default bundle: equivariant to yaw, no step at the seam, free of held-out data."""

import cv2
import numpy as np
import pytest

from da_ros.bundle import load_bundle

onnxruntime = pytest.importorskip('onnxruntime')
STRIDE = 32


@pytest.fixture(scope='module')
def network():
    """Return (predict, images): the main graph and the self-check panoramas of the bundle."""
    bundle = load_bundle()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(bundle.main_graph), options,
                                           providers=['CPUExecutionProvider'])

    def predict(image, camera_height_m=0.0):
        feed = {'image': np.ascontiguousarray(image)}
        if bundle.uses_camera_height:
            feed['camera_height_m'] = np.array([camera_height_m], np.float32)
        return session.run(['range_m', 'range_mask_probability'], feed)
    images = [cv2.imread(str(bundle.folder / check.image)) for check in bundle.self_checks]
    return predict, images


@pytest.mark.parametrize('turns', [1, 5])
@pytest.mark.parametrize('height', [0.0, 0.5])
def test_turning_the_camera_turns_the_range(network, turns, height):
    predict, images = network
    for image in images:
        range_m, probability = predict(image, height)
        turned = predict(np.roll(image, turns * STRIDE, 1), height)
        np.testing.assert_allclose(turned[0], np.roll(range_m, turns * STRIDE, 1), rtol=1e-3)
        np.testing.assert_allclose(turned[1], np.roll(probability, turns * STRIDE, 2), atol=1e-3)


def test_the_step_across_the_seam_is_no_larger_than_elsewhere(network):
    """
    The seam is one of 16 borders between tokens, all alike by the law above.

    So the borders of one picture stand for one seam at 16 places of the scene, and pictures turned
    by other amounts bring other places of the scene to the borders.
    """
    predict, images = network
    border, everywhere = [], []
    for image in images:
        for turn in range(0, STRIDE, 2):
            log_range = np.log(predict(np.roll(image, turn, 1))[0])
            steps = np.abs(np.roll(log_range, -1, 1) - log_range).mean(0)
            border.append(steps[STRIDE - 1::STRIDE].mean())
            everywhere.append(steps.mean())
    assert np.mean(border) <= 1.05 * np.mean(everywhere)


def test_a_told_height_sets_the_floor_below_the_camera(network):
    predict, images = network
    for image in images:
        for height in (0.3, 0.8, 1.6):
            nadir = np.median(predict(image, height)[0][-8:])
            assert nadir == pytest.approx(height, rel=0.25)


def test_the_provenance_names_data_and_commit(network):
    bundle = load_bundle()
    assert {'commit', 'data', 'samples', 'checkpoint_sha256'} <= set(bundle.provenance)
    assert 'warehouse' not in str(bundle.provenance['data'])
