# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Memory, one stream and graphs of an NVIDIA GPU, through the C interface of the CUDA driver.

`libcuda.so.1` is part of every NVIDIA driver, on a desktop as on a Jetson, and its exported names
keep their binary interface, so ctypes on it needs no package at all: neither cuda-bindings, whose
release must fit the driver and the Python version, nor torch, cupy or pycuda, which are large and
on a Jetson have to be compiled. Some thirty functions are all that an engine needs. A name with
`_v2` is the one that `cuda.h` maps the plain name to; the plain one is an older interface.

One staging buffer per tensor is enough: a run fills it, waits for the GPU and copies the results
out, so no second frame is in flight that a double buffer could serve.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from da_ros.backends.base import BackendAbsent, BackendError

LIBRARY = 'libcuda.so.1'
REMEDY = 'use backend openvino or onnxruntime'
KERNEL_MODULE_VERSION = Path('/sys/module/nvidia/version')

# Values of cuda.h
SM_MAJOR, SM_MINOR = 75, 76          # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
MULTIPROCESSORS = 16                 # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
STREAM_NON_BLOCKING = 1
EVENT_BLOCKING_WITHOUT_TIMING = 1 | 2
CAPTURE_THREAD_LOCAL = 1             # other threads may go on using CUDA during a capture

_ADDRESS = ctypes.POINTER(c_uint64)
_HANDLE = ctypes.POINTER(c_void_p)
_NUMBER = ctypes.POINTER(c_int)
_SIZE = ctypes.POINTER(c_size_t)
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    'cuInit': (c_uint,),
    'cuDriverGetVersion': (_NUMBER,),
    'cuGetErrorString': (c_int, ctypes.POINTER(c_char_p)),
    'cuDeviceGet': (_NUMBER, c_int),
    'cuDeviceGetName': (c_char_p, c_int, c_int),
    'cuDeviceGetAttribute': (_NUMBER, c_int, c_int),
    'cuDevicePrimaryCtxRetain': (_HANDLE, c_int),
    'cuCtxSetCurrent': (c_void_p,),
    'cuMemGetInfo_v2': (_SIZE, _SIZE),
    'cuMemAlloc_v2': (_ADDRESS, c_size_t),
    'cuMemFree_v2': (c_uint64,),
    'cuMemHostAlloc': (_HANDLE, c_size_t, c_uint),
    'cuMemFreeHost': (c_void_p,),
    'cuStreamCreate': (_HANDLE, c_uint),
    'cuStreamDestroy_v2': (c_void_p,),
    'cuMemcpyHtoDAsync_v2': (c_uint64, c_void_p, c_size_t, c_void_p),
    'cuMemcpyDtoHAsync_v2': (c_void_p, c_uint64, c_size_t, c_void_p),
    'cuEventCreate': (_HANDLE, c_uint),
    'cuEventDestroy_v2': (c_void_p,),
    'cuEventRecord': (c_void_p, c_void_p),
    'cuEventSynchronize': (c_void_p,),
    'cuStreamBeginCapture_v2': (c_void_p, c_int),
    'cuStreamEndCapture': (c_void_p, _HANDLE),
    'cuGraphInstantiateWithFlags': (_HANDLE, c_void_p, c_uint64),
    'cuGraphLaunch': (c_void_p, c_void_p),
    'cuGraphDestroy': (c_void_p,),
    'cuGraphExecDestroy': (c_void_p,),
}


class CudaError(BackendError):
    """A call of the driver that failed."""


@dataclass(frozen=True)
class Device:
    """What an engine depends on."""

    name: str       # 'NVIDIA GeForce RTX 4090'
    sm: str         # compute capability, '8.9'
    driver: str     # CUDA version of the driver and, where it is told, the driver's own
    multiprocessors: int   # all Jetson Orin are called 'Orin'; power modes switch some off


NO_DEVICE = Device('none', 'none', 'none', 0)


class _Driver:
    """The library with checked calls."""

    def __init__(self, path: str):
        try:
            self._library = ctypes.CDLL(path)
            for name, types in PROTOTYPES.items():
                getattr(self._library, name).argtypes = types
        except OSError as error:
            raise BackendAbsent(f'no CUDA device: {error}; {REMEDY}') from error
        except AttributeError as error:
            raise BackendAbsent(f'no usable CUDA device: the driver is too old ({error}); update '
                                f'it, or {REMEDY}') from error

    def __call__(self, function: str, *arguments: Any) -> None:
        """
        Call a function of the driver.

        :raises CudaError: naming the function and the driver's own words
        """
        code = getattr(self._library, function)(*arguments)
        if code:
            text = c_char_p()
            self._library.cuGetErrorString(code, byref(text))
            said = text.value.decode() if text.value else 'unknown error'
            raise CudaError(f'CUDA call {function} failed: {said} (error {code})')


@lru_cache(maxsize=4)
def _driver(path: str) -> _Driver:
    return _Driver(path)


@lru_cache(maxsize=4)
def _primary_context(path: str, ordinal: int) -> c_void_p:
    # The context that all CUDA libraries of a process share. It is never released: the driver
    # would destroy it between two engines, and with it the kernels and handles that TensorRT and
    # onnxruntime keep there for the next one ("context is destroyed").
    call, device, context = _driver(path), c_int(), c_void_p()
    call('cuDeviceGet', byref(device), ordinal)
    call('cuDevicePrimaryCtxRetain', byref(context), device)
    return context


def identify(ordinal: int = 0) -> Device:
    """
    Return what GPU this machine has; costs milliseconds and makes no context.

    :raises BackendAbsent: if there is no driver or no GPU
    """
    call = _driver(LIBRARY)
    try:
        call('cuInit', 0)
        device, version, name = c_int(), c_int(), ctypes.create_string_buffer(256)
        call('cuDeviceGet', byref(device), ordinal)
        call('cuDeviceGetName', name, len(name), device)
        call('cuDriverGetVersion', byref(version))
        major, minor, count = c_int(), c_int(), c_int()
        for value, attribute in ((major, SM_MAJOR), (minor, SM_MINOR), (count, MULTIPROCESSORS)):
            call('cuDeviceGetAttribute', byref(value), attribute, device)
    except CudaError as error:
        raise BackendAbsent(f'no CUDA device: {error}; {REMEDY}') from error
    driver = f'{version.value // 1000}.{version.value % 1000 // 10}'
    with suppress(OSError):
        driver += f' ({KERNEL_MODULE_VERSION.read_text().strip()})'
    return Device(name.value.decode(), f'{major.value}.{minor.value}', driver, count.value)


def device_identity() -> Device:
    """Return what GPU this machine has, `NO_DEVICE` where it has none."""
    try:
        return identify()
    except BackendAbsent:
        return NO_DEVICE


class Cuda:
    """
    One stream of one GPU, and all memory and graphs that were made for it.

    Call `activate` in every thread that uses it; not for two threads at once. Everything is freed
    by `close`, in reverse order, and is of no use afterwards: arrays of `pinned` must not outlive
    it. Only the primary context stays, for the life of the process.
    """

    def __init__(self, ordinal: int = 0):
        """
        Enter the primary context, which TensorRT uses as well, and make a stream in it.

        :param ordinal: number of the GPU; CUDA_VISIBLE_DEVICES says which those are
        :raises BackendAbsent: if there is no driver or no GPU
        :raises CudaError: if the context or the stream cannot be made
        """
        self.device = identify(ordinal)
        self._call = _driver(LIBRARY)
        self._owned = ExitStack()
        self._context = _primary_context(LIBRARY, ordinal)
        try:
            self.activate()
            self._stream = self._make('cuStreamCreate', 'cuStreamDestroy_v2', STREAM_NON_BLOCKING)
            # A thread sleeps on such an event; cuStreamSynchronize would spin on a core.
            self._event = self._make('cuEventCreate', 'cuEventDestroy_v2',
                                     EVENT_BLOCKING_WITHOUT_TIMING)
        except CudaError:
            self.close()
            raise

    @property
    def stream(self) -> int:
        """Return the stream's handle for other libraries."""
        return self._stream.value or 0

    def activate(self) -> None:
        """Make the context current in the calling thread; costs less than a microsecond."""
        self._call('cuCtxSetCurrent', self._context)

    def allocate(self, size_bytes: int) -> int:
        """Return the address of new device memory; its content is undefined."""
        address = c_uint64()
        self._call('cuMemAlloc_v2', byref(address), max(size_bytes, 1))
        self._owned.callback(self._call, 'cuMemFree_v2', address)
        return address.value

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return a zeroed array in page-locked host memory, from which copies are asynchronous."""
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._make('cuMemHostAlloc', 'cuMemFreeHost', max(size_bytes, 1), 0)
        # From pageable memory an asynchronous copy goes through a hidden buffer and may wait.
        raw = (ctypes.c_uint8 * size_bytes).from_address(memory.value or 0)
        array = np.frombuffer(memoryview(raw), dtype).reshape(shape)
        array.fill(0)
        return array

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Enqueue a copy of a pinned array to the device."""
        self._call('cuMemcpyHtoDAsync_v2', address, array.ctypes.data, array.nbytes, self._stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Enqueue a copy from the device into a pinned array, valid after `synchronize`."""
        self._call('cuMemcpyDtoHAsync_v2', array.ctypes.data, address, array.nbytes, self._stream)

    def synchronize(self) -> None:
        """
        Sleep until all enqueued work is done.

        :raises CudaError: if any of it failed
        """
        self._call('cuEventRecord', self._event, self._stream)
        self._call('cuEventSynchronize', self._event)

    def capture(self, enqueue: Callable[[], None]) -> c_void_p:
        """
        Record what a function enqueues, without running it.

        :return: a graph for `launch`; the addresses are fixed in it
        :raises BackendError: if some of it cannot be recorded; the stream is as before
        """
        # A stream stays in capture until it is ended, also after an error: without the ending in
        # `except`, every later call on it fails, and plain running could not go on.
        graph = c_void_p()
        self._call('cuStreamBeginCapture_v2', self._stream, CAPTURE_THREAD_LOCAL)
        try:
            enqueue()
        except BaseException:
            with suppress(CudaError):
                self._call('cuStreamEndCapture', self._stream, byref(graph))
            self._destroy_graph(graph)
            raise
        self._call('cuStreamEndCapture', self._stream, byref(graph))
        try:
            return self._make('cuGraphInstantiateWithFlags', 'cuGraphExecDestroy', graph, 0)
        finally:
            self._destroy_graph(graph)

    def launch(self, graph: c_void_p) -> None:
        """Enqueue everything that was recorded."""
        self._call('cuGraphLaunch', graph, self._stream)

    def on_close(self, release: Callable[[], object]) -> None:
        """Have `close` call a function after it has freed what is made later than this."""
        self._owned.callback(release)

    def memory_info(self) -> tuple[int, int]:
        """Return free and total device memory [bytes]."""
        free, total = c_size_t(), c_size_t()
        self._call('cuMemGetInfo_v2', byref(free), byref(total))
        return free.value, total.value

    def close(self) -> None:
        """
        Free everything; may be repeated.

        Never raises: after a fault of the GPU each call fails, and the driver frees all anyway.
        """
        with suppress(CudaError):
            if self._context:
                self.activate()
        with suppress(CudaError):
            self._owned.close()
        self._context = c_void_p()

    def _make(self, create: str, destroy: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        self._call(create, byref(handle), *arguments)
        self._owned.callback(self._call, destroy, handle)
        return handle

    def _destroy_graph(self, graph: c_void_p) -> None:
        if graph:
            self._call('cuGraphDestroy', graph)
