# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The TensorRT backends end to end on a stand-in library that computes, and can lie."""

from enum import Enum
import threading

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

from da_ros import gate
from da_ros.backends.base import (
    BackendAbsent,
    BackendError,
    EngineMissing,
    RUNS_AFTER_BUILD,
    RUNS_AFTER_LOAD,
)
from da_ros.backends.order import open_backend
from da_ros.engines import jobs_for
from da_ros.engines.cache import EngineCache
from da_ros.engines.library import version_warning
from da_ros.engines.worker import build_missing

NAMES = ('tensorrt', 'tensorrt_rtx')
CAPTURE_UNSUPPORTED, LAUNCH_FAILED, OUT_OF_MEMORY = 900, 719, 2
pytestmark = pytest.mark.usefixtures('stand_in_tensorrt')


@pytest.fixture
def heads(tmp_path):
    """Return a bundle with separate mask heads for 10 and 20 m."""
    return write_stand_in_bundle(tmp_path / 'heads', masks=(10.0, 20.0), separate_heads=True)


def build(bundle, name='tensorrt'):
    for job in jobs_for(bundle, name, 'fp32'):
        build_missing(job, EngineCache(), lambda share: None)


def opened(bundle, name='tensorrt'):
    build(bundle, name)
    return open_backend(name, bundle, 'fp32')


def image_of(bundle, level):
    return painted(np.full(bundle.size_hw, 0.4 * level), level / 255)


@pytest.mark.parametrize('name', NAMES)
def test_engine_answers_as_onnxruntime(name, stand_in):
    backend, reference = opened(stand_in, name), open_backend('onnxruntime', stand_in, 'fp32')
    for level in (3, 40, 7):                  # plain, then replayed from the graph
        feeds = {'image': image_of(stand_in, level)}
        if stand_in.uses_camera_height:
            feeds['camera_height_m'] = np.array([0.5], np.float32)
        got, wanted = backend.run(feeds), reference.run(feeds)
        assert set(got) == set(wanted)
        for output, array in wanted.items():
            np.testing.assert_array_equal(got[output], array)
    backend.close()


@pytest.mark.parametrize('name', NAMES)
def test_engine_passes_the_gate_and_is_proven(name, stand_in):
    backend = opened(stand_in, name)
    report = gate.prove(backend, stand_in)
    assert report.runs == RUNS_AFTER_BUILD
    assert all(EngineCache().entry(job).proven for job in backend.jobs)
    assert gate.prove(backend, stand_in).runs == RUNS_AFTER_LOAD
    backend.close()


def test_only_the_selected_head_runs_and_features_stay_on_the_device(heads, fake_gpu):
    backend = opened(heads)
    counts = [0, 0]
    for index, head in enumerate(backend._heads.values()):
        def enqueue(stream, plain=head.enqueue, index=index):
            counts[index] += 1
            plain(stream)
        head.enqueue = enqueue
    feeds = {'image': image_of(heads, 30)}
    assert set(backend.run(feeds)) == {'range_m'} and counts == [0, 0]
    near = backend.run(feeds, 10.0)
    assert counts == [2, 0]                   # once plain, once into the graph
    assert near['range_mask_probability'].shape == (1, *heads.size_hw)
    np.testing.assert_allclose(near['range_mask_probability'], 30 / 255, rtol=1e-5)
    backend.run(feeds, 10.0)
    assert counts == [2, 0]                   # replayed
    backend.run(feeds, 20.0)
    assert counts == [2, 2] and len(backend._graphs) == 3
    # image, range, features, one mask for both heads; only the features have no place on the host
    assert (fake_gpu.live('device'), fake_gpu.live('pinned')) == (4, 3)
    backend.close()


def test_results_stay_when_the_next_frame_comes(stand_in):
    backend = opened(stand_in)
    feeds = {name: array for name, array in _feeds(stand_in, 5).items()}
    first = backend.run(feeds)['range_m']
    backend.run(_feeds(stand_in, 50))
    np.testing.assert_allclose(first, first[0, 0])
    assert first[0, 0] == pytest.approx(2.0)
    backend.close()


def _feeds(bundle, level):
    feeds = {'image': image_of(bundle, level)}
    if bundle.uses_camera_height:
        feeds['camera_height_m'] = np.zeros(1, np.float32)
    return feeds


def test_another_thread_may_run_it(stand_in):
    backend, results = opened(stand_in), []
    thread = threading.Thread(target=lambda: results.append(backend.run(_feeds(stand_in, 5))))
    thread.start()
    thread.join()
    np.testing.assert_allclose(results[0]['range_m'], 2.0)
    backend.close()


def test_refused_capture_falls_back_to_plain_runs(stand_in, fake_gpu):
    backend = opened(stand_in)
    fake_gpu.fail('cuStreamEndCapture', CAPTURE_UNSUPPORTED)
    for level in (3, 40, 7):
        range_m = backend.run(_feeds(stand_in, level))['range_m']
        np.testing.assert_allclose(range_m, 0.4 * level, rtol=1e-6)
    assert 'not permitted when stream is capturing' in backend.graph_refusal
    assert fake_gpu.live('exec') == 0
    backend.close()


@pytest.mark.parametrize('separate', [False, True])
def test_graph_that_recorded_nothing_is_not_replayed(separate, stand_in, heads, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'empty_graph')
    bundle = heads if separate else stand_in
    backend = opened(bundle)
    for level in (3, 40, 7):
        outputs = backend.run(_feeds(bundle, level), 10.0)
        np.testing.assert_allclose(outputs['range_m'], 0.4 * level, rtol=1e-6)
        np.testing.assert_allclose(outputs['range_mask_probability'], level / 255, rtol=1e-5)
    assert backend.graph_refusal == 'the recorded graph leaves the results as they were'
    backend.close()


def test_library_that_refuses_to_run_is_quoted(stand_in, monkeypatch):
    backend = opened(stand_in)
    monkeypatch.setenv('STAND_IN_LIES', 'no_run')
    with pytest.raises(BackendError, match=r'tensorrt 10.13.2.6 cannot run .*model.onnx: Error '
                                           r'Code 1: Cask \(kernel failed\)'):
        backend.run(_feeds(stand_in, 3))
    backend.close()


def test_fault_of_the_gpu_is_named(stand_in, fake_gpu):
    backend = opened(stand_in)
    fake_gpu.fail('cuEventSynchronize', LAUNCH_FAILED)
    with pytest.raises(BackendError, match='unspecified launch failure'):
        backend.run(_feeds(stand_in, 3))
    backend.close()


@pytest.mark.parametrize('lie, figure', [
    ('scale', 'scale 1.01'), ('nan', 'scale nan'), ('varying', '20 runs within 0.0018'),
    ('shape', r'range_m of shape \(32, 64\), but has shape \(32, 66\)')])
def test_engine_that_lies_is_refused_for_good(lie, figure, stand_in, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', lie)
    backend = opened(stand_in)
    with pytest.raises(gate.GateError, match=figure):
        gate.prove(backend, stand_in)
    backend.close()
    monkeypatch.delenv('STAND_IN_LIES')
    with pytest.raises(BackendError, match=f'has failed its self-check .*{figure}.*'
                                           'run `da_ros_engine clear`'):
        open_backend('tensorrt', stand_in, 'fp32')


def test_missing_engines_are_named_all_at_once(heads):
    with pytest.raises(EngineMissing, match='model.onnx, stand_in/mask_10.onnx, stand_in/mask_20.'
                                            'onnx must be built') as caught:
        open_backend('tensorrt', heads, 'fp32')
    assert [job.graph.name for job in caught.value.jobs] == [
        'model.onnx', 'mask_10.onnx', 'mask_20.onnx']


def test_plan_that_does_not_load_is_built_again_once(stand_in, monkeypatch):
    build(stand_in)
    monkeypatch.setenv('STAND_IN_LIES', 'no_load')
    with pytest.raises(EngineMissing, match='stdVersionRead failed; .* must be built'):
        open_backend('tensorrt', stand_in, 'fp32')
    build(stand_in)
    with pytest.raises(EngineMissing):
        open_backend('tensorrt', stand_in, 'fp32')
    with pytest.raises(BackendError, match='its plan does not load .*stdVersionRead.*'
                                           'run `da_ros_engine clear`'):
        open_backend('tensorrt', stand_in, 'fp32')


def test_plan_that_had_run_before_is_built_again_each_time_that_it_does_not_load(
        stand_in, monkeypatch):
    for _ in range(3):
        backend = opened(stand_in)
        gate.prove(backend, stand_in)
        backend.close()
        with monkeypatch.context() as lying:
            lying.setenv('STAND_IN_LIES', 'no_load')
            with pytest.raises(EngineMissing, match='must be built'):
                open_backend('tensorrt', stand_in, 'fp32')


@pytest.mark.parametrize('lie, reason', [
    ('no_memory', r'cannot load the engine of .*: Requested amount of GPU memory'),
    ('no_runtime', 'tensorrt 10.13.2.6 cannot make a Runtime; it may need a newer driver, or '
                   'more free GPU memory: CUDA initialization failure with error: 35'),
    ('shapes', r'tensor range_m .* is FLOAT \(32, 64\) and decides on shapes; re-export')])
def test_what_keeps_a_good_plan_from_loading_is_told_and_the_plan_kept(
        lie, reason, stand_in, monkeypatch, fake_gpu):
    opened(stand_in).close()
    monkeypatch.setenv('STAND_IN_LIES', lie)
    for _ in range(3):
        with pytest.raises(BackendError, match=reason) as caught:
            open_backend('tensorrt', stand_in, 'fp32')
        assert not isinstance(caught.value, EngineMissing)
    assert set(fake_gpu.live().values()) == {0}
    monkeypatch.delenv('STAND_IN_LIES')
    open_backend('tensorrt', stand_in, 'fp32').close()


@pytest.mark.parametrize('lie, reason', [
    ('no_builder', 'cannot make a Builder; it may need a newer driver.*error: 35'),
    ('no_parse', 'cannot parse .*model.onnx: Quantile node_3: unsupported operator; re-export'),
    ('no_build', 'cannot build .*model.onnx: could not find any implementation for node')])
def test_failed_build_is_remembered(lie, reason, stand_in, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', lie)
    with pytest.raises(BackendError, match=reason):
        build(stand_in)
    monkeypatch.delenv('STAND_IN_LIES')
    with pytest.raises(BackendError, match=f'no engine for .*{reason}.*`da_ros_engine clear`'):
        open_backend('tensorrt', stand_in, 'fp32')
    EngineCache().clear()
    opened(stand_in).close()


def test_failed_loading_leaves_nothing_on_the_gpu(heads, monkeypatch, fake_gpu):
    build(heads)
    monkeypatch.setenv('STAND_IN_LIES', 'no_context')
    with pytest.raises(BackendError, match='cannot make a context .*is the GPU memory full'):
        open_backend('tensorrt', heads, 'fp32')
    monkeypatch.delenv('STAND_IN_LIES')
    for after in range(4):
        fake_gpu.fail('cuMemAlloc_v2', OUT_OF_MEMORY, after)
        with pytest.raises(BackendError, match='out of memory'):
            open_backend('tensorrt', heads, 'fp32')
        assert set(fake_gpu.live().values()) == {0}


def test_loading_and_closing_leaves_nothing(heads, fake_gpu):
    build(heads)
    for _ in range(10):
        backend = open_backend('tensorrt', heads, 'fp32')
        backend.run({'image': image_of(heads, 4)}, 20.0)
        backend.close()
        backend.close()
        assert set(fake_gpu.live().values()) == {0}
    backend = open_backend('tensorrt', heads, 'fp32')
    del backend                               # one that nobody took
    assert set(fake_gpu.live().values()) == {0}


def test_closed_or_cancelled_backend_does_not_run(stand_in):
    for end in ('cancel', 'close'):
        backend = opened(stand_in)
        getattr(backend, end)()
        with pytest.raises(BackendError, match='tensorrt failed: cancelled'):
            backend.run(_feeds(stand_in, 3))
        backend.close()


@pytest.mark.parametrize('array, found', [
    (None, 'got nothing'), (np.zeros((32, 64, 4), np.uint8), r'got \(32, 64, 4\) uint8'),
    (np.zeros((32, 64, 3), np.float32), r'got \(32, 64, 3\) float32')])
def test_wrong_input_is_named(array, found, stand_in):
    backend = opened(stand_in)
    feeds = _feeds(stand_in, 3)
    feeds.pop('image')
    if array is not None:
        feeds['image'] = array
    with pytest.raises(BackendError, match=rf'image must be \(32, 64, 3\) uint8, {found}'):
        backend.run(feeds)
    backend.close()


def test_head_of_another_network_is_refused(heads, tmp_path):
    other = write_stand_in_bundle(tmp_path / 'other', masks=(10.0,), separate_heads=True,
                                  size_hw=(16, 32))
    heads.own.range_masks[10.0] = other.own.range_masks[10.0]
    build(heads)
    with pytest.raises(BackendError, match=r'features_0 is \(32, 64\) float32 in one engine and '
                                           r'\(16, 32\) float32 in'):
        open_backend('tensorrt', heads, 'fp32')


def test_no_device_is_said_before_the_library_is_imported(stand_in, monkeypatch):
    import sys

    from da_ros.backends import cuda
    sys.modules.pop('tensorrt')
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')
    with pytest.raises(BackendAbsent, match='no CUDA device: libcuda_absent'):
        open_backend('tensorrt', stand_in, 'fp32')
    assert 'tensorrt' not in sys.modules


def test_card_that_rtx_does_not_know_is_refused_without_a_build(stand_in, monkeypatch):
    import tensorrt_rtx
    monkeypatch.setattr(tensorrt_rtx, 'ComputeCapability', Enum('ComputeCapability', 'SM75 SM120'))
    with pytest.raises(BackendAbsent, match=r'tensorrt_rtx 1.7.1.116 does not run on Fake GPU '
                                            r'\(compute capability 8.9\); use backend tensorrt'):
        open_backend('tensorrt_rtx', stand_in, 'fp32')


@pytest.mark.parametrize('version, warns', [
    ('10.0.1', True), ('10.3.0', True), ('10.4.0.26', True), ('10.5.0', False), ('8.6.2', False),
    ('10.13.3.9', False), ('11.4.0.106', False)])
def test_versions_with_wrong_numbers_are_warned_of(version, warns):
    assert bool(version_warning(version)) == warns
    assert version in version_warning(version) or not warns
