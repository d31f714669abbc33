# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which inference runtimes there are, in which order `auto` tries them, and how one is opened."""

from __future__ import annotations

from importlib import import_module

from da_ros.backends.base import Backend, BackendError
from da_ros.bundle import Bundle

# name -> (module, class, variants from fastest to safest), in the order of `auto`
BACKENDS = {
    'tensorrt': ('da_ros.backends.tensorrt', 'TensorRtBackend', ('int8', 'fp16', 'fp32')),
    'tensorrt_rtx': ('da_ros.backends.tensorrt', 'TensorRtRtxBackend', ('int8', 'fp16', 'fp32')),
    'onnxruntime_cuda': ('da_ros.backends.onnxruntime_cuda', 'OnnxRuntimeCudaBackend',
                         ('fp16', 'fp32')),       # onnxruntime leaves int8 on GPUs to TensorRT
    'openvino': ('da_ros.backends.openvino', 'OpenVinoBackend', ('bf16', 'fp32')),
    'onnxruntime': ('da_ros.backends.onnxruntime', 'OnnxRuntimeBackend', ('fp32',)),
}
# These compute in the precision of the graph, so their variants are those that the bundle has.
# The others compute an fp32 graph in any of their variants.
READ_PRECISION_FROM_GRAPH = ('tensorrt', 'tensorrt_rtx', 'onnxruntime_cuda')
BACKEND_CHOICES = ('auto', *BACKENDS)


def open_backend(name: str, bundle: Bundle, variant: str, threads: int = 0) -> Backend:
    """
    Import a runtime and open a bundle in it.

    :raises BackendError: unknown name, runtime not installed, or graph refused
    """
    check_name(name)
    module, cls, _ = BACKENDS[name]
    return getattr(import_module(module), cls)(bundle, variant, threads)


def variants_of(name: str, bundle: Bundle) -> tuple[str, ...]:
    """
    Return in which precisions a runtime is tried with a bundle, in this order.

    :raises BackendError: unknown name
    """
    check_name(name)
    # An int8 graph in an fp32 runtime is still int8, so that a bundle of one precision is tried in
    # that one alone, with its limits: elsewhere the gate would hold it to those of fp32.
    variants = BACKENDS[name][2]
    if name in READ_PRECISION_FROM_GRAPH:
        variants = tuple(variant for variant in variants if variant in bundle.precisions)
    elif bundle.precision != 'fp32':
        variants = ()
    return variants or (bundle.precision,)


def check_name(name: str) -> None:
    """Raise BackendError for a name that is not in `BACKENDS`."""
    if name not in BACKENDS:
        raise BackendError(f'backend {name!r} is none of {", ".join(BACKEND_CHOICES)}')
