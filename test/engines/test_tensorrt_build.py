# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every graph that we ship or export parses and builds in the real TensorRT-RTX, without a GPU."""

from importlib.util import find_spec
from pathlib import Path
import re
import sys
import time

import pytest

pytest.importorskip('tensorrt_rtx_bindings', reason='TensorRT-RTX is not installed (Linux only)')

from da_ros.backends import cuda
from da_ros.backends.base import BackendAbsent, BackendError
from da_ros.backends.order import open_backend
from da_ros.bundle import load_bundle
import da_ros.engines
from da_ros.engines import EngineJob, jobs_for
from da_ros.engines.build import build_plan, Phases
from da_ros.engines.engine import Engine, PlanRefused
from da_ros.engines.library import load_library

BUNDLES = sorted(path.parent for path in
                 (Path(da_ros.__file__).parent / 'bundles').glob('*/model.yaml'))
NAME = 'tensorrt_rtx'
SECONDS_FOR_A_SHIPPED_BUNDLE = 30


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    """Build for no card in particular, also where there is one."""
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')


def built(bundle, variant):
    plans = [build_plan(job).plan for job in jobs_for(bundle, NAME, variant)]
    assert all(len(plan) > 1000 for plan in plans)
    return plans


@pytest.mark.parametrize('folder', BUNDLES, ids=lambda path: path.name)
def test_every_shipped_bundle_builds_in_time(folder):
    bundle = load_bundle(folder)
    for variant in bundle.precisions:
        begun = time.process_time()
        built(bundle, variant)
        assert time.process_time() - begun < SECONDS_FOR_A_SHIPPED_BUNDLE


def test_separate_heads_build(tmp_path):
    from conftest import write_stand_in_bundle
    assert len(built(write_stand_in_bundle(tmp_path / 'heads', separate_heads=True), 'fp32')) == 5


@pytest.mark.parametrize('folder', BUNDLES, ids=lambda path: path.name)
def test_no_input_decides_on_shapes(folder):
    """Such a tensor would have to lie in host memory."""
    library = load_library(NAME)
    builder = library.make('Builder')
    for job in jobs_for(load_bundle(folder), NAME, 'fp32'):
        network = builder.create_network(1)
        parser = library.module.OnnxParser(network, library.log)
        assert parser.parse_from_file(str(job.graph))
        inputs = [network.get_input(i) for i in range(network.num_inputs)]
        assert inputs and not any(tensor.is_shape_tensor for tensor in inputs)
        assert all(min(tensor.shape) > 0 for tensor in inputs)


def test_progress_rises_to_one(stand_in):
    shares = []
    build_plan(jobs_for(stand_in, NAME, 'fp32')[0], shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 3


def test_nested_phases_are_one_share():
    shares = []
    phases = Phases(shares.append)
    phases.start('whole', None, 2)
    phases.step('whole', 0)
    phases.start('part', 'whole', 4)
    for number in range(4):
        phases.step('part', number)
    phases.finish('part')
    phases.step('whole', 1)
    phases.step('unknown', 3)
    assert shares == [0.5, 0.625, 0.75, 0.875, 1.0]


def test_graph_that_cannot_be_parsed_is_named(tmp_path):
    from conftest import write_stand_in_bundle
    bundle = write_stand_in_bundle(tmp_path / 'bad')
    bundle.own.main.write_bytes(b'not onnx')
    with pytest.raises(BackendError, match=r'tensorrt_rtx 1\.[\d.]+ cannot parse stand_in/model'
                                           '.onnx: .+; re-export the bundle'):
        built(bundle, 'fp32')


def test_operator_that_is_not_known_is_named_with_the_librarys_words(tmp_path, stand_in):
    from onnx import helper, save, TensorProto
    value = helper.make_tensor_value_info('image', TensorProto.FLOAT, [4])
    out = helper.make_tensor_value_info('range_m', TensorProto.FLOAT, [4])
    node = helper.make_node('Foo', ['image'], ['range_m'], domain='own')
    graph = helper.make_graph([node], 'g', [value], [out])
    save(helper.make_model(graph, ir_version=9, opset_imports=[
        helper.make_opsetid('', 18), helper.make_opsetid('own', 1)]), stand_in.own.main)
    with pytest.raises(BackendError, match='cannot parse stand_in/model.onnx: .*Foo'):
        built(stand_in, 'fp32')


def test_plan_without_a_driver_is_refused_with_the_librarys_words(stand_in):
    if cuda_driver_is_here():
        pytest.skip('there is a CUDA driver')
    plan, = built(stand_in, 'fp32')
    with pytest.raises(PlanRefused, match='tensorrt_rtx .* cannot load the engine of tiny: .*CUD'):
        Engine(load_library(NAME), plan, 'tiny')


def cuda_driver_is_here():
    import ctypes
    try:
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    return True


def test_machine_without_a_device_is_refused_at_once(stand_in):
    begun = time.process_time()
    with pytest.raises(BackendAbsent, match='no CUDA device: .*use backend openvino or onnx'):
        open_backend(NAME, stand_in, 'fp32')
    assert time.process_time() - begun < 1


@pytest.mark.parametrize('sm, runs', [('8.6', True), ('8.9', True), ('12.0', True),
                                      ('8.7', False), ('9.0', False)])
def test_real_library_says_which_cards_it_knows(sm, runs):
    device = cuda.Device('card', sm, '13.0', 64)
    if runs:
        load_library(NAME).check_device(device)
    else:
        with pytest.raises(BackendAbsent, match=f'does not run on card .compute capability {sm}'):
            load_library(NAME).check_device(device)


def test_library_that_is_not_installed_is_named_with_its_command(stand_in, monkeypatch):
    if any(map(sys.modules.get, ('tensorrt', 'tensorrt_bindings'))):
        pytest.skip('the full TensorRT is installed')
    with pytest.raises(BackendAbsent, match='backend tensorrt is not installed; run `pip inst'):
        open_backend('tensorrt', stand_in, 'fp32')
    with pytest.raises(BackendAbsent, match=re.escape('apt install python3-libnvinfer')):
        load_library('tensorrt')


@pytest.mark.parametrize('file, content, reason', [
    ('tensorrt.py', 'raise OSError("libnvinfer.so.10: cannot open")', 'libnvinfer.so.10: cannot'),
    ('tensorrt.py', 'import libnvinfer_absent', "No module named 'libnvinfer_absent'"),
    ('tensorrt/notes.txt', '', 'tensorrt is something else')])
def test_library_that_does_not_load_is_quoted(file, content, reason, tmp_path, monkeypatch):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'tensorrt', raising=False)
    if find_spec('tensorrt_bindings'):
        pytest.skip('the full TensorRT is installed')
    with pytest.raises(BackendAbsent, match=f'tensorrt does not load .*{reason}.*; run `pip inst'):
        load_library('tensorrt')
    sys.modules.pop('tensorrt', None)


# Below: small exports of each network, so that no construct that TensorRT refuses gets in.

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder in which exports are kept for all precisions."""
    pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')
    return tmp_path_factory.mktemp('exports')


@pytest.mark.parametrize('network, precision', [
    ('dap', 'fp32'), ('da2', 'fp32'), ('pano_tiny', 'fp32'), ('pano_tiny', 'fp16'),
    ('pano_base', 'fp32'),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ('dap', 'fp16'), ('dap', 'int8'), ('da2', 'fp16'), ('da2', 'int8'),
        ('pano_tiny', 'int8'), ('pano_base', 'fp16'), ('pano_base', 'int8')))])
def test_small_export_builds(network, precision, folder):
    from small_exports import small_export
    graphs = small_export(network, precision, folder)
    assert bool(graphs.range_masks) == (network == 'dap')
    for path in (graphs.main, *graphs.range_masks.values()):
        job = EngineJob(path, path.name, {'backend': NAME, 'precision': precision, 'gpu': 'none'})
        assert len(build_plan(job).plan) > 1000
