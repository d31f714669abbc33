# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A TensorRT that computes with onnxruntime on the memory of the fake CUDA driver.

Its classes have the names of the real ones and nothing that the real ones have not
(`test_tensorrt_api.py`), so what runs here uses only what exists there. A plan is the ONNX behind
a mark. The environment variable STAND_IN_LIES names its faults, separated by spaces:

no_builder, no_parse, no_build, no_runtime, no_load, no_memory, no_context, no_run: the library
refuses; crash: dies while building; shapes: range_m decides on shapes; scale, varying, nan, shape:
wrong numbers; empty_graph: the second run is lost. STAND_IN_STEP_S is how long each of the four
steps of a build takes, or a file that says so; STAND_IN_BUILDS a file that gets a line for each
build.
"""

import ctypes
import enum
import os
from pathlib import Path
import time

import numpy as np
import onnxruntime

from da_ros.backends import cuda

__version__ = '10.13.2.6'
MARK = b'STAND-IN PLAN'
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def lies(name):
    return name in os.environ.get('STAND_IN_LIES', '').split()


def step_s():
    said = os.environ.get('STAND_IN_STEP_S', '0')
    return float(Path(said).read_text() if os.path.isfile(said) else said)


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class BuilderFlag(enum.Enum):
    TF32 = 7


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 'tensor(float)'
    HALF = 'tensor(float16)'
    UINT8 = 'tensor(uint8)'
    INT64 = 'tensor(int64)'


NUMPY = {'FLOAT': np.float32, 'HALF': np.float16, 'UINT8': np.uint8, 'INT64': np.int64}


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    pass


class IHostMemory(bytes):
    @property
    def nbytes(self):
        return len(self)


class ITimingCache:
    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(self._content + b'.')


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text

    def node_operator(self):
        return 'Quantile'

    def node_name(self):
        return 'node_3'


class INetworkDefinition:
    _graph = b''


class IBuilderConfig:
    progress_monitor = None

    def set_memory_pool_limit(self, pool, pool_size):
        assert pool is MemoryPoolType.WORKSPACE and pool_size > 0

    def clear_flag(self, flag):
        assert flag is BuilderFlag.TF32

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache, ignore_mismatch):
        return b'broken' not in cache._content and not ignore_mismatch


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse_from_file(self, model):
        if lies('no_parse'):
            self._errors = ['unsupported operator']
            return False
        with open(model, 'rb') as stream:
            self._network._graph = stream.read()
        return True

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return ParserError(self._errors[index])


def refuse_to_start(kind, logger):
    if lies(kind):
        logger.log(ILogger.ERROR, 'CUDA initialization failure with error: 35')
        raise TypeError('pybind11::init(): factory function returned nullptr')


class Builder:
    def __init__(self, logger):
        refuse_to_start('no_builder', logger)
        self._logger = logger

    def create_network(self, flags):
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self):
        return IBuilderConfig()

    def build_serialized_network(self, network, config):
        if lies('no_build'):
            self._logger.log(ILogger.WARNING, 'a warning')
            self._logger.log(ILogger.ERROR, 'could not find any implementation for node MatMul_7')
            return None
        if lies('crash'):
            os.abort()
        if 'STAND_IN_BUILDS' in os.environ:
            with open(os.environ['STAND_IN_BUILDS'], 'a') as stream:
                stream.write(f'{os.getpid()}\n')
        monitor = config.progress_monitor
        monitor.phase_start('Building', None, 4)
        for step in range(4):
            time.sleep(step_s())
            monitor.step_complete('Building', step)
        monitor.phase_finish('Building')
        return IHostMemory(MARK + network._graph)


class IExecutionContext:
    def __init__(self, engine):
        self._engine, self._address, self._runs, self._enqueued = engine, {}, 0, 0
        self._callback = HOST_FUNCTION(lambda _: self._compute())

    def set_tensor_address(self, name, memory):
        self._address[name] = memory
        return name in self._engine._tensors

    def execute_async_v3(self, stream_handle):
        if lies('no_run'):
            self._engine._logger.log(ILogger.ERROR, 'Error Code 1: Cask (kernel failed)')
            return False
        self._enqueued += 1
        if lies('empty_graph') and self._enqueued == 2:      # the one that is recorded
            return True
        driver = ctypes.CDLL(cuda.LIBRARY)
        return not driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), self._callback, None)

    def _compute(self):
        engine = self._engine
        outputs = engine._session.run(None, {
            i.name: self._memory(i.name).copy() for i in engine._session.get_inputs()})
        for output, array in zip(engine._session.get_outputs(), outputs):
            if output.name == 'range_m':
                array = self._lie(array)
            memory = self._memory(output.name)
            memory.reshape(-1)[:array.size] = array.reshape(-1)
        self._runs += 1

    def _lie(self, range_m):
        if lies('nan'):
            range_m[::2] = np.nan
        if lies('scale'):
            range_m = range_m * 1.01
        if lies('varying'):
            range_m = range_m * (1 + 9e-4 * (-1) ** self._runs)
        return range_m.astype(np.float32)

    def _memory(self, name):
        shape = self._engine.get_tensor_shape(name)
        dtype = np.dtype(NUMPY[self._engine.get_tensor_dtype(name).name])
        size = int(np.prod(shape)) * dtype.itemsize
        raw = (ctypes.c_uint8 * size).from_address(self._address[name])
        return np.frombuffer(raw, dtype).reshape(shape)


class ICudaEngine:
    def __init__(self, graph, logger):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options)
        self._logger = logger
        self._tensors = {tensor.name: (tensor, mode) for tensors, mode in (
            (self._session.get_inputs(), TensorIOMode.INPUT),
            (self._session.get_outputs(), TensorIOMode.OUTPUT)) for tensor in tensors}

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_shape(self, name):
        shape = tuple(self._tensors[name][0].shape)
        return (shape[0], shape[1] + 2) if lies('shape') and name == 'range_m' else shape

    def get_tensor_dtype(self, name):
        return DataType(self._tensors[name][0].type)

    def get_tensor_mode(self, name):
        return self._tensors[name][1]

    def is_shape_inference_io(self, name):
        return lies('shapes') and name == 'range_m'

    def create_execution_context(self):
        return None if lies('no_context') else IExecutionContext(self)


class Runtime:
    def __init__(self, logger):
        refuse_to_start('no_runtime', logger)
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        if lies('no_memory'):
            self._logger.log(ILogger.ERROR, 'Requested amount of GPU memory (64 bytes) could not '
                                            'be allocated.')
            return None
        if lies('no_load') or not serialized_engine.startswith(MARK):
            self._logger.log(ILogger.ERROR, 'Serialization assertion stdVersionRead failed')
            return None
        return ICudaEngine(serialized_engine[len(MARK):], self._logger)
