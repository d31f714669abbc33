# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The node with a runtime that fails in the middle, as its library or device would: FAULT says how.

The library's own objects are wrapped, so that all of da_ros is what it is on a robot.
"""

import os
import signal
import time

import numpy as np

from da_ros.backends.onnxruntime import OnnxRuntimeBackend
from da_ros.backends.openvino import OpenVinoBackend
from da_ros.ros import frame_worker
from da_ros.ros.node import main

GOOD_RUNS = 4            # of each runtime opened; the first is the self-check


def fail(how: str) -> None:
    """Fail as a library does."""
    if how == 'raises':
        raise RuntimeError('the device was lost')
    if how == 'memory':
        raise MemoryError('std::bad_alloc')
    if how == 'panics':
        raise SystemExit('a library gave up')
    if how == 'hangs':
        time.sleep(3600)
    if how == 'dies':
        os.kill(os.getpid(), signal.SIGSEGV)


class Faulty:
    """A library's request or session that is good for some runs."""

    def __init__(self, real, how: str):
        self._real, self._how, self._runs = real, how, 0

    def __getattr__(self, name: str):
        return getattr(self._real, name)

    def infer(self, *arguments, **more):
        self._runs += 1
        if self._runs > GOOD_RUNS:
            fail(self._how)
        return self._real.infer(*arguments, **more)

    def get_tensor(self, output):
        tensor = self._real.get_tensor(output)
        if self._how == 'nan' and self._runs > GOOD_RUNS:
            tensor.data[:] = np.nan
        return tensor

    def run(self, *arguments):
        self._runs += 1
        if self._runs > GOOD_RUNS:
            fail(self._how)
        return self._real.run(*arguments)


def wrap(backend: type, how: str) -> None:
    """Wrap what a backend opens."""
    real = backend._open
    backend._open = lambda self, path: Faulty(real(self, path), how)


if __name__ == '__main__':
    kind, _, library = os.environ['FAULT'].partition(' ')
    wrap(OnnxRuntimeBackend if library == 'onnxruntime' else OpenVinoBackend, kind)
    frame_worker.HUNG_S = 1.0
    main()
