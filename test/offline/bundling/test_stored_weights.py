# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Weights stored in 8 bits: a smaller file, the same arithmetic in every runtime."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from pathlib import Path
import re
import shutil
import sys

import numpy as np
import onnx
import torch

from da_ros import gate
from da_ros.backends.base import BackendError
from da_ros.backends.order import open_backend
from da_ros.bundle import load_bundle
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from training import export
from training.bundling import parity
from training.bundling.graph import PanoTinyGraph, run_onnx
from training.bundling.precision import store_int8, STORED_FROM, to_int8
from training.bundling.self_check import drawn_room, rounded, STORED_BITS
from training.bundling.weights import network_of_bundle
from training.checkpoints.checkpoint import save_checkpoint

pytestmark = pytest.mark.usefixtures('one_thread')


def command(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, 'argv', ['training.export', *map(str, arguments)])
    export.main()


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Return the shipped network as a checkpoint."""
    shipped = load_bundle()
    return save_checkpoint(
        tmp_path_factory.mktemp('start') / 'tiny.safetensors', 'pano_tiny',
        shipped.provenance['config'], network_of_bundle(shipped).state_dict(), {})


@pytest.fixture(scope='module')
def exported(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp('exported') / 'stored'
    with pytest.MonkeyPatch.context() as monkeypatch:
        command(monkeypatch, '--checkpoint', checkpoint, '--weights', 'int8', '--out', out)
    return out


@pytest.fixture
def stored(exported, tmp_path):
    """Return a copy that a test may change."""
    return load_bundle(shutil.copytree(exported, tmp_path / 'stored'))


def test_a_bundle_with_stored_weights_is_much_smaller_and_says_nearly_the_same(stored):
    shipped = load_bundle()
    assert stored.precision == 'fp32'
    assert stored.own.main.stat().st_size < 0.4 * shipped.own.main.stat().st_size
    feeds = {'image': drawn_room(shipped.size_hw), 'camera_height_m': np.float32([1.2])}
    wanted, got = (run_onnx(bundle.own.main, feeds)['range_m'] for bundle in (shipped, stored))
    error = np.quantile(np.abs(got / wanted - 1), 0.99)
    assert 1e-4 < error < 0.01
    assert stored.provenance['onnxruntime_against_torch']['range_m'] < 1e-4
    assert ', mask agreement ' in stored.provenance['int8_weights_against_float']


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_every_runtime_computes_the_same_with_stored_weights(backend, stored):
    pytest.importorskip(backend)
    report = gate.check(open_backend(backend, stored, 'fp32'), stored)
    assert report.relative_error_p99 < 1e-4      # dynamic quantisation would make it 2e-3


def test_stored_weights_run_in_bf16_where_the_cpu_has_it(stored):
    pytest.importorskip('openvino')
    try:
        backend = open_backend('openvino', stored, 'bf16')
    except BackendError as error:
        pytest.skip(str(error))
    assert gate.check(backend, stored).relative_error_p99 < gate.LIMITS['bf16'].relative_error_p99


@pytest.mark.parametrize('variant', ['fp32', 'fp16'])
def test_stored_weights_build_in_tensorrt(variant, stored, monkeypatch):
    pytest.importorskip('tensorrt_rtx_bindings', reason='TensorRT-RTX is not installed')
    from da_ros.backends import cuda
    from da_ros.engines import jobs_for
    from da_ros.engines.build import build_plan
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')
    if variant == 'fp16':
        command(monkeypatch, '--bundle', stored.folder, '--also', 'fp16')
    job, = jobs_for(load_bundle(stored.folder), 'tensorrt_rtx', variant)
    assert len(build_plan(job).plan) > 1_000_000


def test_a_half_precision_variant_is_made_of_stored_weights(stored, monkeypatch, capsys):
    command(monkeypatch, '--bundle', stored.folder, '--also', 'fp16')
    assert 'fp16: p99 relative error' in capsys.readouterr().out
    bundle = load_bundle(stored.folder)
    half = bundle.graphs_in('fp16').main
    assert half.stat().st_size < 1.1 * stored.own.main.stat().st_size
    assert RangeEstimator(bundle, 'onnxruntime').report.relative_error_p99 < 1e-4


def test_scales_are_of_output_channels_and_weights_within_half_a_step(tmp_path):
    path = tmp_path / 'model.onnx'
    path.write_bytes(load_bundle().own.main.read_bytes())
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    store_int8(path)
    graph = onnx.load(path).graph
    after = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == 'DequantizeLinear']
    kinds = {user.op_type for node in nodes for user in graph.node if node.output[0] in user.input}
    assert len(nodes) > 15 and kinds == {'Conv', 'MatMul'}
    assert all(before[node.output[0]].size >= STORED_FROM for node in nodes)
    for node in nodes:
        weight, axis = before[node.output[0]], node.attribute[0].i
        scale = after[node.input[1]].reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        error = np.abs(after[node.input[0]] * scale - weight)
        assert (error <= 0.5001 * scale).all() and not after[node.input[2]].any()


def test_one_can_go_on_from_stored_weights(stored):
    image = drawn_room(stored.size_hw)
    wanted = run_onnx(stored.own.main, {'image': image, 'camera_height_m': np.float32([1.2])})
    with torch.inference_mode():
        range_m, _ = PanoTinyGraph(network_of_bundle(stored)).eval()(
            torch.from_numpy(image), torch.tensor([1.2]))
    np.testing.assert_allclose(range_m.numpy(), wanted['range_m'], rtol=1e-4)


def test_a_shipped_bundle_is_not_changed_by_its_name(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command(monkeypatch, '--bundle', 'pano_tiny', '--also', 'fp16')
    assert re.search("'pano_tiny' ships with da_ros and is not changed in place; copy .*pano_tiny",
                     capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_int8_arithmetic_needs_float_weights(tmp_path):
    path = tmp_path / 'model.onnx'
    path.write_bytes(load_bundle().own.main.read_bytes())
    store_int8(path)
    with pytest.raises(DaRosError, match='stores its weights in 8 bits, whose arithmetic needs'):
        to_int8(path, [])


@pytest.mark.parametrize('lie', [
    lambda new: new | {'range_m': 1.05 * new['range_m']},
    pytest.param(lambda new: new | {parity.MASK_OUTPUT: 1 - new[parity.MASK_OUTPUT]},
                 marks=pytest.mark.slow),
    pytest.param(lambda new: new | {
        'range_m': np.where(new['range_m'] > 3, np.nan, new['range_m'])},
        marks=pytest.mark.slow),
], ids=['scale', 'masks', 'nan'])
def test_a_network_that_does_not_bear_it_leaves_nothing(lie, checkpoint, tmp_path, monkeypatch,
                                                        capsys):
    def run_exported(graphs, folder, inputs, run=parity.run_exported):
        said = run(graphs, folder, inputs)
        compressed = (folder / 'model.onnx').stat().st_size < 10_000_000
        return lie(said) if compressed else said
    monkeypatch.setattr(parity, 'run_exported', run_exported)
    with pytest.raises(SystemExit):
        command(monkeypatch, '--checkpoint', checkpoint, '--weights', 'int8', '--out',
                tmp_path / 'stored')
    error = capsys.readouterr().err
    assert 'weights in 8 bits change too much' in error and 'use --weights float' in error
    assert list(tmp_path.iterdir()) == []


def test_the_self_check_is_stored_to_sixteen_bits(stored):
    with np.load(stored.folder / stored.self_checks[0].expected) as arrays:
        mantissa, _ = np.frexp(arrays['range_m'].astype(np.float64))
    assert STORED_BITS == 16 and not (mantissa * 2 ** STORED_BITS % 1).any()
    assert Path(stored.folder / stored.self_checks[0].expected).stat().st_size < 800_000


def test_rounding_keeps_within_its_bound_and_on_the_side_of_one_half():
    values = np.random.default_rng(0).uniform(1e-6, 120, 10_000).astype(np.float32)
    ratio = rounded(values).astype(np.float64) / values
    assert ratio.min() >= 1 and ratio.max() < 1 + 2.0 ** (1 - STORED_BITS)
    near = np.nextafter(np.float32([0.5, 0.5, 0.5]), np.float32([0, 0.5, 1]))
    assert ((rounded(near) > 0.5) == (near > 0.5)).all()
    small = np.float32([0, 1e-9, 0.3, 1])
    fixed = rounded(small, fixed=True)
    assert np.abs(fixed - small).max() < 2 ** -16 and fixed[-1] == 1 and fixed.dtype == np.float32
    assert ((rounded(near, fixed=True) > 0.5) == (near > 0.5)).all()
