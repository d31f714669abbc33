# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The fusion baseline: geometry of the views, merging, and its place in the evaluation."""

import pytest

pytest.importorskip('onnx', reason='onnx is not installed (extra da_ros[training])')

import json

from coded_bundle import METRES_PER_LEVEL, paint
import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from da_ros.sphere import erp_rays
from training import evaluate
from training.scoring.fusion import (
    FusionError,
    FusionPredictor,
    merge,
    view_rays,
    view_rotation,
    VIEWS_DEG,
)

N, H, W = 48, 96, 192


def room(rays, size_m=(4.0, 6.0, 3.0)):
    """Range along rays inside a box, camera in the middle."""
    return (np.array(size_m) / 2 / np.maximum(np.abs(rays), 1e-9)).min(-1)


@pytest.fixture
def network(tmp_path):
    """A perspective network that reads painted range and returns z-depth."""
    path = tmp_path / 'net.onnx'
    constants = {'gain': np.float32(255 * METRES_PER_LEVEL), 'begin': np.array([2], np.int64),
                 'end': np.array([3], np.int64), 'axis': np.array([1], np.int64),
                 'cosine': view_rays(N)[..., 0].astype(np.float32)}
    nodes = [helper.make_node('Slice', ['image', 'begin', 'end', 'axis'], ['blue']),
             helper.make_node('Mul', ['blue', 'gain'], ['range']),
             helper.make_node('Mul', ['range', 'cosine'], ['depth'])]
    graph = helper.make_graph(
        nodes, 'net', [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, N, N])],
        [helper.make_tensor_value_info('depth', TensorProto.FLOAT, [1, 1, N, N])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    onnx.save(helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9), path)
    return path


def test_views_look_where_they_say_and_cover_the_sphere():
    np.testing.assert_allclose(view_rotation(90, 0) @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(view_rotation(0, 55)[2, 0], np.sin(np.radians(55)))
    for angles in VIEWS_DEG:
        rotation = view_rotation(*angles)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
    views = [room(view_rays(N) @ view_rotation(*angles).T) for angles in VIEWS_DEG]
    assert np.isfinite(merge(views, H, W)).all()


def test_merged_views_give_back_the_room_whatever_scale_each_view_has():
    views = [room(view_rays(N) @ view_rotation(*angles).T) for angles in VIEWS_DEG]
    truth = room(erp_rays(H, W))
    np.testing.assert_allclose(np.median(np.abs(merge(views, H, W) / truth - 1)), 0, atol=0.003)
    rng = np.random.default_rng(0)
    scales = np.exp(rng.normal(0, 0.3, len(views)))
    scales /= np.exp(np.mean(np.log(scales)))
    merged = merge([v * s for v, s in zip(views, scales)], H, W)
    assert np.median(np.abs(merged / truth - 1)) < 0.01


def test_baseline_stands_beside_bundles_in_the_report(tmp_path, network):
    folder = tmp_path / 'pairs'
    folder.mkdir()
    range_m = room(erp_rays(H, W))
    cv2.imwrite(str(folder / 'x.png'), paint(range_m))
    cv2.imwrite(str(folder / 'x_depth_mm.png'), np.rint(range_m * 1000).astype(np.uint16))
    assert evaluate.main(['--data', str(folder), '--out', str(tmp_path / 'out'), '--baseline',
                          'fusion', '--baseline-onnx', str(network)]) == 0
    found = json.loads((tmp_path / 'out' / 'report.json').read_text())['predictors']['fusion net']
    assert found['variants']['unaligned']['groups']['all']['abs_rel'] < 0.02
    assert found['time_ms_p50'] > 0


def test_unusable_networks_are_refused(tmp_path, network):
    with pytest.raises(FusionError, match='no perspective network'):
        FusionPredictor(tmp_path / 'none.onnx')
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(network.read_bytes()[:50])
    with pytest.raises(FusionError, match=r'broken.onnx cannot be opened'):
        FusionPredictor(broken)
