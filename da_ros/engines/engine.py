# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One deserialised plan with its execution context and its tensors."""

from __future__ import annotations

from dataclasses import dataclass
import re

import numpy as np

from da_ros.backends.base import BackendError
from da_ros.engines.library import Library

# trt.nptype lacks types and differs between versions.
DTYPES = {'FLOAT': np.float32, 'HALF': np.float16, 'INT8': np.int8, 'UINT8': np.uint8,
          'INT32': np.int32, 'INT64': np.int64, 'BOOL': np.bool_}
NO_MEMORY = re.compile('out ?of ?memory|could not be allocated', re.IGNORECASE)


class PlanRefused(BackendError):
    """A plan that the library does not load."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine, of static shape."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    is_input: bool

    @property
    def size_bytes(self) -> int:
        """Return the size of its memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Engine:
    """
    A plan ready to run on one stream at a time.

    The library's runtime must outlive its engine and that its context; `release` drops them in
    the right order.
    """

    def __init__(self, library: Library, plan: bytes, name: str):
        """
        Load a plan into the GPU whose context is current.

        :param name: for errors
        :raises PlanRefused: if the library does not load it, with the library's own words
        :raises BackendError: if there is no memory for it, the library does not start, or a tensor
            is of no static shape
        """
        self.name = name
        self._library = library
        library.log.lines.clear()
        self._runtime = library.make('Runtime')
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            error = library.failure(f'cannot load the engine of {name}')
            # Another program may hold the memory now; that is no fault of the plan.
            raise error if NO_MEMORY.search(str(error)) else PlanRefused(error)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise library.failure(f'cannot make a context for {name}; is the GPU memory full?')
        self.tensors = [self._tensor(self._engine.get_tensor_name(i))
                        for i in range(self._engine.num_io_tensors)]

    def bind(self, name: str, address: int) -> None:
        """Say where on the device a tensor lies; holds for all later runs."""
        if self._context.set_tensor_address(name, address) is False:
            raise self._library.failure(f'refuses the address of {name} of {self.name}')

    def enqueue(self, stream: int) -> None:
        """
        Enqueue one run.

        :param stream: handle of a stream in the current context
        :raises BackendError: if the library refuses, with its own words
        """
        if not self._context.execute_async_v3(stream):
            raise self._library.failure(f'cannot run {self.name}')

    def release(self) -> None:
        """Free the GPU memory; may be repeated."""
        self._context = None
        self._engine = None
        self._runtime = None

    def _tensor(self, name: str) -> Tensor:
        trt, engine = self._library.module, self._engine
        kind = engine.get_tensor_dtype(name).name
        shape = tuple(int(n) for n in engine.get_tensor_shape(name))
        # A tensor that decides on shapes would have to lie in host memory.
        shapes = engine.is_shape_inference_io(name)
        if kind not in DTYPES or min(shape, default=1) < 0 or shapes:
            raise BackendError(
                f'{self._library.name}: tensor {name} of {self.name} is {kind} {shape}'
                f'{" and decides on shapes" if shapes else ""}; re-export the bundle with static '
                'shapes and plain types')
        return Tensor(name, shape, np.dtype(DTYPES[kind]),
                      engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT)
