# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""onnxruntime on an NVIDIA GPU, where there is no TensorRT."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from da_ros.backends.base import BackendAbsent, BackendError, RUNS_AFTER_LOAD
from da_ros.backends.cuda import identify
from da_ros.backends.onnxruntime import OnnxRuntimeBackend

PROVIDER = 'CUDAExecutionProvider'
# Off: products of fp32 numbers with 10 bits of mantissa would be no fp32 any more.
OPTIONS = {'use_tf32': '0', 'cudnn_conv_algo_search': 'HEURISTIC'}


class OnnxRuntimeCudaBackend(OnnxRuntimeBackend):
    """The precision of the graph, on device 0; refused rather than run on the CPU in silence."""

    name = 'onnxruntime_cuda'

    def _providers(self, onnxruntime: Any) -> list[Any]:
        if PROVIDER not in onnxruntime.get_available_providers():
            raise BackendAbsent(f'backend {self.name}: onnxruntime {onnxruntime.__version__} has '
                                'no CUDA provider; run `pip uninstall onnxruntime` and '
                                "`pip install 'onnxruntime-gpu[cuda,cudnn]'`")
        if find_spec('nvidia') and hasattr(onnxruntime, 'preload_dlls'):
            onnxruntime.preload_dlls()       # CUDA and cuDNN that came as wheels
        return [(PROVIDER, OPTIONS)]

    def runs_to_prove(self) -> int:
        """Return how often the gate must run each panorama."""
        return RUNS_AFTER_LOAD

    def _open(self, path: str) -> Any:
        identify()                           # before a large library is imported
        session = super()._open(path)
        if PROVIDER not in session.get_providers():
            raise BackendError(
                f'backend {self.name}: the CUDA provider did not start and onnxruntime fell back '
                'to the CPU; its reason stands above; mostly CUDA or cuDNN is missing or of '
                "another version: run `pip install 'onnxruntime-gpu[cuda,cudnn]'`")
        return session
