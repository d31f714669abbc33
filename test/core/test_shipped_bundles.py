# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The shipped bundles: equivariant to yaw, no step at the seam, free of held-out data."""

import cv2
import numpy as np
import pytest

from da_ros.backends.onnxruntime import FLOAT_ARITHMETIC
from da_ros.bundle import load_bundle, shipped_bundles

onnxruntime = pytest.importorskip('onnxruntime')
STRIDES = {'pano_base': 32, 'pano_tiny': 32}
LARGEST_BYTES = 32 * 2 ** 20


@pytest.fixture(scope='module', params=STRIDES)
def bundle(request):
    return load_bundle(request.param)


@pytest.fixture(scope='module')
def network(bundle):
    """Return (predict, images, name): the main graph and the self-check panoramas."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry(*FLOAT_ARITHMETIC)
    session = onnxruntime.InferenceSession(str(bundle.own.main), options,
                                           providers=['CPUExecutionProvider'])

    def predict(image, camera_height_m=0.0):
        feed = {'image': np.ascontiguousarray(image)}
        if bundle.uses_camera_height:
            feed['camera_height_m'] = np.array([camera_height_m], np.float32)
        return session.run(['range_m', 'range_mask_probability'], feed)
    images = [cv2.imread(str(bundle.folder / check.image)) for check in bundle.self_checks]
    return predict, images, bundle.name


@pytest.mark.parametrize('turns', [1, 5])
@pytest.mark.parametrize('height', [0.0, 0.5])
def test_turning_the_camera_turns_the_range(network, turns, height):
    predict, images, name = network
    stride = STRIDES[name]
    for image in images:
        range_m, probability = predict(image, height)
        turned = predict(np.roll(image, turns * stride, 1), height)
        np.testing.assert_allclose(turned[0], np.roll(range_m, turns * stride, 1), rtol=1e-3)
        np.testing.assert_allclose(turned[1], np.roll(probability, turns * stride, 2), atol=1e-3)


def test_the_step_across_the_seam_is_no_larger_than_elsewhere(network):
    """
    The seam is one of 16 borders between tokens, all alike by the law above.

    So the borders of one picture stand for one seam at 16 places of the scene, and pictures turned
    by other amounts bring other places of the scene to the borders.
    """
    predict, images, name = network
    stride = STRIDES[name]
    border, everywhere = [], []
    for image in images:
        for turn in range(0, stride, stride // 8):
            log_range = np.log(predict(np.roll(image, turn, 1))[0])
            steps = np.abs(np.roll(log_range, -1, 1) - log_range).mean(0)
            border.append(steps[stride - 1::stride].mean())
            everywhere.append(steps.mean())
    assert np.mean(border) <= 1.05 * np.mean(everywhere)


def test_a_told_height_sets_the_floor_below_the_camera(network):
    predict, images, _ = network
    for image in images:
        for height in (0.3, 0.8, 1.6):
            nadir = np.median(predict(image, height)[0][-8:])
            assert nadir == pytest.approx(height, rel=0.25)


def test_the_provenance_names_data_and_commit(bundle):
    assert {'commit', 'data', 'samples', 'checkpoint_sha256'} <= set(bundle.provenance)
    assert 'warehouse' not in str(bundle.provenance)


def test_all_that_ship_are_tested_here():
    assert set(STRIDES) == set(shipped_bundles())


def test_it_is_small_enough_to_be_shipped(bundle):
    files = [path for path in bundle.folder.rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST_BYTES


def test_the_default_is_pano_tiny():
    assert load_bundle().name == 'pano_tiny'
