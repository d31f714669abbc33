# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: about twice as fast as onnxruntime where the CPU has bf16."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.backends.base import Arrays, Backend, BackendAbsent, BackendError, VariantAbsent
from da_ros.errors import reason_of

HINTS = {'fp32': 'f32', 'fp16': 'f32', 'int8': 'f32', 'bf16': 'bf16'}     # by variant


class OpenVinoBackend(Backend):
    """Latency hint, one stream; variant `bf16` only where the CPU computes in it."""

    name = 'openvino'
    _cancelled = False

    def _open(self, path: str) -> Any:
        try:
            core = _core()
        except ImportError as error:
            raise BackendAbsent('backend openvino is not installed; '
                                'run `pip install openvino`') from error
        if self.variant == 'bf16':
            able = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
            if 'BF16' not in able:
                raise VariantAbsent('openvino: this CPU has no bf16 arithmetic')
        settings: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY', 'NUM_STREAMS': 1,
            'INFERENCE_PRECISION_HINT': HINTS[self.variant],
            # Else activations that meet weights stored in 8 bits are rounded to 8 bits as well.
            'DYNAMIC_QUANTIZATION_GROUP_SIZE': 0,
            # Weights that are mapped change, or end the process, with the file under them.
            'ENABLE_MMAP': False}
        if self._threads:
            settings['INFERENCE_NUM_THREADS'] = self._threads
        try:
            return core.compile_model(path, 'CPU', settings).create_infer_request()
        except Exception as error:
            raise BackendError(f'openvino refuses {path}: {reason_of(error, -1)}; '
                               'use backend onnxruntime') from error

    def _infer(self, graph: Any, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        try:
            if self._cancelled:
                raise RuntimeError('cancelled')
            graph.infer(dict(feeds), share_inputs=True)
        except Exception as error:
            raise BackendError(f'openvino failed: {reason_of(error, -1)}') from error
        # The request owns its output memory and writes into it again on the next frame.
        return {_output_name(output.get_names()): np.array(graph.get_tensor(output).data)
                for output in graph.model_outputs}

    def cancel(self) -> None:
        """Cancel the requests in progress and refuse later ones."""
        self._cancelled = True
        for request in (self._main, *self._heads.values()):
            if request is not None:         # closed
                request.cancel()


@lru_cache(maxsize=1)
def _core() -> Any:
    # Each Core replaces the thread's alternate signal stack and frees its own one when it goes.
    # Of two whose lives overlap, or one that goes in another thread, a freed stack stays behind,
    # and the next signal (Ctrl-C, the end of a child) is a segmentation fault. So one, for good.
    # Without its telemetry package, OpenVINO does not report each import over the internet, from a
    # process that it forks off this one.
    sys.modules.setdefault('openvino_telemetry', None)      # type: ignore[arg-type]
    import openvino
    return openvino.Core()


def _output_name(names: set[str]) -> str:
    # OpenVINO folds Identity nodes, and the tensor then bears the inner name as well.
    ours = (name for name in sorted(names)
            if name in ('range_m', 'range_mask_probability') or name.startswith('features_'))
    return next(ours, min(names, default=''))
