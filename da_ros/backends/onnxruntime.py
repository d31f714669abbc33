# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""onnxruntime on the CPU: the base runtime, and the reference of every other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from da_ros.backends.base import Arrays, Backend, BackendAbsent, BackendError
from da_ros.errors import reason_of

# Weights stored in 8 bits become float once, at loading. Otherwise they do so in every run, and
# matrix products round their activations to 8 bits as well (1.8e-3 in the range of pano_tiny).
FLOAT_ARITHMETIC = ('session.disable_quant_qdq', '1')


class OnnxRuntimeBackend(Backend):
    """fp32 graphs as they are, int8 graphs as quantised."""

    name = 'onnxruntime'

    def _open(self, path: str) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendAbsent('backend onnxruntime is not installed; '
                                'run `pip install onnxruntime`') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        # Spinning threads take 20 % more CPU from the rest of the robot for no speed.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        if self.variant != 'int8':
            options.add_session_config_entry(*FLOAT_ARITHMETIC)
        self._run_options = onnxruntime.RunOptions()
        providers = self._providers(onnxruntime)
        try:
            return onnxruntime.InferenceSession(path, options, providers)
        except Exception as error:
            raise BackendError(f'{self.name} refuses {path}: {reason_of(error)}; '
                               're-export the bundle') from error

    def _providers(self, onnxruntime: Any) -> list[Any]:
        return ['CPUExecutionProvider']

    def _infer(self, graph: Any, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        names = [output.name for output in graph.get_outputs()]
        try:
            return dict(zip(names, graph.run(names, dict(feeds), self._run_options)))
        except Exception as error:
            raise BackendError(f'{self.name} failed: {reason_of(error)}') from error

    def cancel(self) -> None:
        """Terminate a run in progress between two of its operators."""
        self._run_options.terminate = True
