# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The TensorRT Python modules: found, imported late, with a logger that remembers."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from importlib import import_module
import re
from typing import Any

from da_ros.backends.base import BackendAbsent, BackendError
from da_ros.backends.cuda import Device
from da_ros.errors import reason_of

MODULES = {
    'tensorrt': ('tensorrt', 'tensorrt_bindings'),
    'tensorrt_rtx': ('tensorrt_rtx', 'tensorrt_rtx_bindings'),
}
INSTALL = {
    'tensorrt': 'run `pip install tensorrt` (Jetson: `apt install python3-libnvinfer`, and make '
                'the virtual environment with --system-site-packages)',
    'tensorrt_rtx': 'run `pip install tensorrt_rtx_cu13_libs tensorrt_rtx_cu13_bindings`',
}
KEPT_LINES = 20


class Library:
    """One imported TensorRT module with its version and its log."""

    def __init__(self, name: str, module: Any):
        """Wrap a module; one logger for the life of the process, as the library demands."""
        self.name = name
        self.module = module
        self.version: str = module.__version__
        self.log = _make_logger(module)

    def check_device(self, device: Device) -> None:
        """
        Refuse a card for which the library has no kernels; only TensorRT-RTX says which it knows.

        :raises BackendAbsent: naming the card and the remedy
        """
        known = getattr(self.module, 'ComputeCapability', None)
        if known is not None and not hasattr(known, f'SM{device.sm.replace(".", "")}'):
            raise BackendAbsent(f'{self.name} {self.version} does not run on {device.name} '
                                f'(compute capability {device.sm}); use backend tensorrt or '
                                'onnxruntime_cuda')

    def make(self, kind: str) -> Any:
        """
        Return a new `Builder` or `Runtime`.

        :raises BackendError: if the library cannot use the GPU, with the library's own words
        """
        try:
            made = getattr(self.module, kind)(self.log)
        except (TypeError, RuntimeError):    # a null pointer is a TypeError in pybind11
            made = None
        if made is None:
            raise self.failure(f'cannot make a {kind}; it may need a newer driver, or more free '
                               'GPU memory')
        return made

    def failure(self, what: str) -> BackendError:
        """Return the error of a call that failed, with what the library logged about it."""
        lines = list(dict.fromkeys(self.log.lines))
        self.log.lines.clear()
        said = '; '.join(lines) or 'it gave no reason'
        return BackendError(f'{self.name} {self.version} {what}: {said}')


@lru_cache(maxsize=4)
def load_library(backend: str) -> Library:
    """
    Import the module of a backend.

    :param backend: tensorrt | tensorrt_rtx
    :raises BackendAbsent: if it is absent or does not load, naming the install command
    """
    reasons = []
    for name in MODULES[backend]:
        try:
            module = import_module(name)
        except (ImportError, OSError) as error:
            if getattr(error, 'name', None) != name:      # there, but does not load
                reasons.append(reason_of(error))
            continue
        if hasattr(module, 'Runtime'):
            return Library(backend, module)
        reasons.append(f'the module {name} is something else')
    if reasons:
        raise BackendAbsent(f'backend {backend} does not load ({"; ".join(reasons)}); '
                           f'{INSTALL[backend]}')
    raise BackendAbsent(f'backend {backend} is not installed; {INSTALL[backend]}')


def version_warning(version: str) -> str:
    """
    Return what a user of a TensorRT version must know, or ''.

    Open reports against NVIDIA/TensorRT (4558, 4419, 4723, 4742) show wrong numbers of vision
    transformers in 10.0 to 10.4, even in fp32.

    :param version: as the module tells, e.g. 10.3.0
    """
    numbers = tuple(int(n) for n in re.findall(r'\d+', version)[:2])
    if (10, 0) <= numbers < (10, 5):
        return (f'TensorRT {version} is known to give wrong ranges with transformers (10.0 to '
                '10.4); use 10.5 or later, and trust no engine that has not passed its check')
    return ''


def _make_logger(module: Any) -> Any:
    class Log(module.ILogger):
        """Keep warnings and errors, print nothing."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=KEPT_LINES)

        def log(self, severity: Any, message: str) -> None:
            """Take one line from the library; called from its threads as well."""
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.lines.append(message.strip())

    return Log()
