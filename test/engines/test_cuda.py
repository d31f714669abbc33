# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory, stream and graphs against a driver that is stricter than a GPU."""

import subprocess
import sys
import threading

from fake_gpu import fake_library
import numpy as np
import pytest

from da_ros.backends import cuda
from da_ros.backends.base import BackendAbsent
from da_ros.backends.cuda import Cuda, CudaError

OUT_OF_MEMORY, LAUNCH_FAILED, CAPTURE_UNSUPPORTED = 2, 719, 900


@pytest.fixture
def gpu(fake_gpu):
    opened = Cuda()
    opened.fake = fake_gpu
    yield opened
    opened.close()


class Echo:
    """A pinned array, its place on the device and another array that comes back."""

    def __init__(self, gpu, shape=(5, 7), dtype=np.float32):
        self.gpu = gpu
        self.sent, self.back = gpu.pinned(shape, dtype), gpu.pinned(shape, dtype)
        self.address = gpu.allocate(self.sent.nbytes)

    def enqueue(self):
        self.gpu.upload(self.address, self.sent)
        self.gpu.download(self.back, self.address)


@pytest.mark.parametrize('dtype', [np.uint8, np.float16, np.float32, np.int64])
def test_array_survives_the_round_trip(gpu, dtype):
    echo = Echo(gpu, (3, 5, 7), dtype)
    echo.sent[...] = np.arange(105).reshape(3, 5, 7)
    echo.enqueue()
    gpu.synchronize()
    np.testing.assert_array_equal(echo.back, echo.sent)
    assert echo.back.dtype == dtype


def test_nothing_has_arrived_before_synchronising(gpu):
    echo = Echo(gpu)
    echo.sent.fill(4)
    echo.enqueue()
    assert (echo.back == 0).all()
    gpu.synchronize()
    assert (echo.back == 4).all()


def test_device_is_named(fake_gpu):
    before = fake_gpu.live('context')
    assert cuda.identify() == cuda.Device('Fake GPU', '8.9', '13.1', 128)
    assert fake_gpu.live('context') == before


def test_context_belongs_to_the_thread(gpu):
    echo, failed = Echo(gpu), []

    def use(activate):
        try:
            if activate:
                gpu.activate()
            echo.enqueue()
            gpu.synchronize()
        except CudaError as error:
            failed.append(str(error))

    for activate in (False, True):
        thread = threading.Thread(target=use, args=(activate,))
        thread.start()
        thread.join()
    assert failed == ['CUDA call cuMemcpyHtoDAsync_v2 failed: invalid device context (error 201)']


def test_opening_and_closing_leaves_nothing(fake_gpu):
    made = fake_gpu.made('device')
    for _ in range(50):
        gpu = Cuda()
        echo = Echo(gpu)
        gpu.launch(gpu.capture(echo.enqueue))
        gpu.synchronize()
        gpu.close()
        gpu.close()
        assert set(fake_gpu.live().values()) == {0}
    assert fake_gpu.made('device') == made + 50


def test_primary_context_stays_for_what_other_libraries_keep_in_it(fake_gpu):
    cuda._primary_context.cache_clear()
    before = fake_gpu.live('context')
    for _ in range(3):
        Cuda().close()
    assert fake_gpu.live('context') == fake_gpu.made('context') == before + 1


def test_closing_works_from_another_thread(fake_gpu):
    gpu = Cuda()
    Echo(gpu)
    thread = threading.Thread(target=gpu.close)
    thread.start()
    thread.join()
    assert set(fake_gpu.live().values()) == {0}


@pytest.mark.parametrize('function', [
    'cuDevicePrimaryCtxRetain', 'cuCtxSetCurrent', 'cuStreamCreate', 'cuEventCreate'])
def test_failed_opening_leaves_nothing(fake_gpu, function):
    cuda._primary_context.cache_clear()
    fake_gpu.fail(function, OUT_OF_MEMORY)
    with pytest.raises(CudaError, match=f'CUDA call {function} failed: out of memory .error 2.'):
        Cuda()
    assert set(fake_gpu.live().values()) == {0}


def test_failed_allocations_leave_what_was_there(gpu):
    Echo(gpu)
    gpu.fake.fail('cuMemAlloc_v2', OUT_OF_MEMORY)
    with pytest.raises(CudaError, match='cuMemAlloc_v2 failed: out of memory'):
        gpu.allocate(1 << 40)
    gpu.fake.fail('cuMemHostAlloc', OUT_OF_MEMORY)
    with pytest.raises(CudaError, match='cuMemHostAlloc failed: out of memory'):
        gpu.pinned((4,), np.float32)
    assert (gpu.fake.live('device'), gpu.fake.live('pinned')) == (1, 2)


def test_fault_of_the_gpu_is_raised_where_it_is_awaited(gpu):
    Echo(gpu).enqueue()
    gpu.fake.fail('cuEventSynchronize', LAUNCH_FAILED)
    with pytest.raises(CudaError, match='unspecified launch failure .error 719.'):
        gpu.synchronize()


def test_error_that_the_driver_does_not_know_has_its_number(gpu):
    gpu.fake.fail('cuEventRecord', 12345)
    with pytest.raises(CudaError, match='cuEventRecord failed: unknown error .error 12345.'):
        gpu.synchronize()


def test_replayed_graph_equals_plain_work(gpu):
    echo = Echo(gpu)
    graph = gpu.capture(echo.enqueue)
    gpu.synchronize()
    assert (echo.back == 0).all()               # recorded, not run
    for value in (3, 8):
        echo.sent.fill(value)
        gpu.launch(graph)
        gpu.synchronize()
        assert (echo.back == value).all()
    assert gpu.fake.live('graph') == 0          # only the executable one is kept


@pytest.mark.parametrize('function', [
    'cuStreamBeginCapture_v2', 'cuStreamEndCapture', 'cuGraphInstantiateWithFlags',
    'cuMemcpyHtoDAsync_v2'])
def test_stream_works_on_after_a_failed_capture(gpu, function):
    echo = Echo(gpu)
    gpu.fake.fail(function, CAPTURE_UNSUPPORTED)
    with pytest.raises(CudaError, match=f'{function} failed: operation not permitted when'):
        gpu.capture(echo.enqueue)
    echo.sent.fill(6)
    echo.enqueue()
    gpu.synchronize()
    assert (echo.back == 6).all()
    assert (gpu.fake.live('graph'), gpu.fake.live('exec')) == (0, 0)


def test_error_of_the_recorded_function_is_passed_on(gpu):
    def refuse():
        raise KeyError('mine')
    with pytest.raises(KeyError, match='mine'):
        gpu.capture(refuse)
    assert gpu.fake.live('graph') == 0
    gpu.launch(gpu.capture(Echo(gpu).enqueue))


def test_closing_releases_in_reverse_order(fake_gpu):
    gpu, seen = Cuda(), []
    gpu.on_close(lambda: seen.append(fake_gpu.live('exec')))
    gpu.capture(Echo(gpu).enqueue)
    gpu.close()
    assert seen == [0]


def test_closing_after_a_fault_does_not_raise(fake_gpu):
    gpu = Cuda()
    gpu.allocate(8)
    fake_gpu.fail('cuEventDestroy_v2', LAUNCH_FAILED)
    gpu.close()
    left = {kind: count for kind, count in fake_gpu.live().items() if count}
    assert left == {'event': 1}               # the one that failed; all others were freed
    gpu._call('cuEventDestroy_v2', gpu._event)


def test_free_memory_shrinks_and_grows(gpu):
    free, total = gpu.memory_info()
    gpu.allocate(1 << 20)
    assert gpu.memory_info() == (free - (1 << 20), total)


def test_machine_without_a_driver_is_told_what_to_use(monkeypatch):
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')
    with pytest.raises(BackendAbsent, match='no CUDA device: libcuda_absent.* use backend openvi'):
        Cuda()
    assert cuda.device_identity() == cuda.NO_DEVICE


def test_library_without_the_functions_is_an_old_driver(monkeypatch):
    monkeypatch.setattr(cuda, 'LIBRARY', 'libc.so.6')
    with pytest.raises(BackendAbsent, match='driver is too old .*cuInit'):
        Cuda()


def test_driver_without_a_device_is_told_what_to_use():
    code = ('import sys; from da_ros.backends import cuda; cuda.LIBRARY = sys.argv[1]\n'
            'try: cuda.Cuda()\nexcept cuda.BackendAbsent as error: print(error)')
    done = subprocess.run([sys.executable, '-c', code, str(fake_library())], text=True,
                          capture_output=True, env={'FAKE_CUDA_DEVICES': '0'}, check=True)
    assert done.stdout == ('no CUDA device: CUDA call cuInit failed: no CUDA-capable device is '
                           'detected (error 100); use backend openvino or onnxruntime\n')
