# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""On a real GPU: memory, stream and graphs of the driver, and whole bundles in TensorRT."""

from pathlib import Path
import threading

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

import da_ros
from da_ros import gate
from da_ros.backends.base import BackendAbsent, feeds_for, RUNS_AFTER_BUILD
from da_ros.backends.cuda import Cuda, CudaError, identify
from da_ros.backends.order import open_backend
from da_ros.bundle import load_bundle
from da_ros.engines import jobs_for
from da_ros.engines.cache import EngineCache
from da_ros.engines.library import load_library
from da_ros.engines.worker import build_missing, EngineBuild
from da_ros.files import read_panorama

pytestmark = pytest.mark.gpu
MIB = 1 << 20


@pytest.fixture
def device():
    """Return the GPU; skip with the reason where there is none."""
    try:
        return identify()
    except BackendAbsent as error:
        pytest.skip(str(error))


@pytest.fixture
def gpu(device):
    opened = Cuda()
    yield opened
    opened.close()


class Echo:
    """A pinned array, its place on the device and another array that comes back."""

    def __init__(self, gpu, size=1 << 20):
        self.gpu, self.sent, self.back = gpu, gpu.pinned((size,), 'f4'), gpu.pinned((size,), 'f4')
        self.address = gpu.allocate(self.sent.nbytes)

    def enqueue(self):
        self.gpu.upload(self.address, self.sent)
        self.gpu.download(self.back, self.address)


def test_device_is_described(device):
    assert device.name and float(device.sm) >= 5 and float(device.driver.split()[0]) >= 11


def test_arrays_survive_the_round_trip(gpu):
    echo = Echo(gpu)
    for seed in range(3):
        echo.sent[...] = np.random.default_rng(seed).random(echo.sent.shape, np.float32)
        echo.enqueue()
        gpu.synchronize()
        np.testing.assert_array_equal(echo.back, echo.sent)


def test_replayed_graph_equals_plain_work(gpu):
    echo = Echo(gpu)
    graph = gpu.capture(echo.enqueue)
    for value in (3, 8):
        echo.sent.fill(value)
        gpu.launch(graph)
        gpu.synchronize()
        assert (echo.back == value).all()


def test_stream_works_on_after_a_failed_capture(gpu):
    echo = Echo(gpu)

    def wait():
        echo.enqueue()
        gpu.synchronize()                     # not allowed while recording

    with pytest.raises(CudaError, match='CUDA call cu.* failed: .* .error 9'):
        gpu.capture(wait)
    echo.sent.fill(6)
    echo.enqueue()
    gpu.synchronize()
    assert (echo.back == 6).all()


def test_context_is_made_current_in_another_thread(gpu):
    echo, failed = Echo(gpu), []

    def use():
        try:
            gpu.activate()
            echo.sent.fill(5)
            echo.enqueue()
            gpu.synchronize()
        except CudaError as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failed == [] and (echo.back == 5).all()


def test_too_large_an_allocation_is_named(gpu):
    with pytest.raises(CudaError, match='cuMemAlloc_v2 failed: out of memory'):
        gpu.allocate(1 << 50)
    Echo(gpu).enqueue()
    gpu.synchronize()


def test_memory_is_flat_over_opening_and_closing(device):
    keeper = Cuda()                           # keeps the primary context
    free = []
    for _ in range(30):
        gpu = Cuda()
        gpu.launch(gpu.capture(Echo(gpu, 16 << 20).enqueue))
        gpu.synchronize()
        gpu.close()
        free.append(keeper.memory_info()[0])
    keeper.close()
    assert free[4] - free[-1] <= 2 * MIB


# Below: TensorRT or TensorRT-RTX, whichever this machine has and this card can.

@pytest.fixture(params=['tensorrt', 'tensorrt_rtx'])
def name(request, device, monkeypatch, tmp_path):
    """Return a backend that can work here, with an empty cache."""
    try:
        load_library(request.param).check_device(device)
    except BackendAbsent as error:
        pytest.skip(str(error))
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(tmp_path / 'engines'))
    return request.param


def build(bundle, name, variant):
    for job in jobs_for(bundle, name, variant):
        build_missing(job, EngineCache(), lambda share: None)


@pytest.mark.parametrize('separate', [False, True])
def test_painted_ranges_come_back(name, separate, tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', masks=(10.0, 20.0), separate_heads=separate)
    build(bundle, name, 'fp32')
    backend = open_backend(name, bundle, 'fp32')
    for level in (3, 40, 7, 200):             # plain, then replayed from the graph
        for mask_m in (0.0, 10.0, 20.0):
            outputs = backend.run({'image': painted(
                np.full(bundle.size_hw, 0.4 * level), level / 255)}, mask_m)
            np.testing.assert_allclose(outputs['range_m'], 0.4 * level, rtol=1e-5)
            if not separate or mask_m:
                np.testing.assert_allclose(outputs['range_mask_probability'], level / 255,
                                           rtol=1e-5)
    assert backend.graph_refusal == ''
    backend.close()


def test_default_bundle_is_proven_in_every_precision(name, tmp_path):
    pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')
    from training.bundling.heads import copy_bundle
    from training.bundling.self_check import read_panoramas
    from training.bundling.variants import add_variants
    shipped = load_bundle()
    copy_bundle(shipped, tmp_path)
    samples = Path(da_ros.__file__).parent / 'samples'
    bundle = add_variants(tmp_path, ['fp16', 'int8'],
                          read_panoramas(samples, shipped.size_hw, shipped.resize, 3))
    assert bundle.precisions == ('int8', 'fp16', 'fp32')
    for variant in bundle.precisions:
        build = EngineBuild(jobs_for(bundle, name, variant))
        build.start()
        while build.poll() == 'running':
            threading.Event().wait(0.1)
        assert build.poll() == 'done', build.error
        backend = open_backend(name, bundle, variant)
        report = gate.prove(backend, bundle)
        assert report.runs == RUNS_AFTER_BUILD and backend.graph_refusal == ''
        print(name, variant, report)
        backend.close()


def test_frame_is_repeated_exactly_enough(name):
    bundle = load_bundle()
    build(bundle, name, 'fp32')
    backend = open_backend(name, bundle, 'fp32')
    stored = bundle.self_checks[0]
    image = read_panorama(bundle.folder / stored.image).image
    feeds = feeds_for(bundle, image, stored.camera_height_m)
    first = backend.run(feeds)['range_m']
    for _ in range(50):
        assert np.abs(backend.run(feeds)['range_m'] / first - 1).max() < 1e-3
    backend.close()


def test_memory_is_flat_over_loading(name):
    bundle = load_bundle()
    build(bundle, name, 'fp32')
    keeper, free = Cuda(), []
    stored = bundle.self_checks[0]
    image = read_panorama(bundle.folder / stored.image).image
    feeds = feeds_for(bundle, image, stored.camera_height_m)
    for _ in range(8):
        backend = open_backend(name, bundle, 'fp32')
        backend.run(feeds)
        backend.run(feeds)
        backend.close()
        keeper.activate()
        free.append(keeper.memory_info()[0])
    keeper.close()
    assert free[2] - free[-1] <= 4 * MIB


def test_closing_while_another_thread_runs_is_safe(name):
    bundle = load_bundle()
    build(bundle, name, 'fp32')
    backend = open_backend(name, bundle, 'fp32')
    stored, ended = bundle.self_checks[0], []
    image = read_panorama(bundle.folder / stored.image).image
    feeds = feeds_for(bundle, image, stored.camera_height_m)

    def loop():
        try:
            while True:
                backend.run(feeds)
        except Exception as error:
            ended.append(str(error))

    thread = threading.Thread(target=loop)
    thread.start()
    threading.Event().wait(0.2)
    backend.close()
    thread.join(10)
    assert ended == [f'{name} failed: cancelled']
