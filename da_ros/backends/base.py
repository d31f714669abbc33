"""What every inference runtime offers the estimator, and the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.bundle import Bundle
from da_ros.errors import DaRosError

Arrays = dict[str, NDArray[Any]]

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


class BackendError(DaRosError):
    """A runtime that is not installed, cannot run the graph or gives wrong numbers."""


class BackendAbsent(BackendError):
    """A runtime whose library or device this machine has not: no fault, the next one is taken."""


class EngineMissing(BackendError):
    """Engines that must be built first; `jobs` says which."""

    def __init__(self, message: str, jobs: Sequence[Any]):
        """Keep the jobs of `da_ros.engines` that are to be run."""
        super().__init__(message)
        self.jobs = list(jobs)

    @property
    def attempt(self) -> tuple[str, str]:
        """Name and variant of the runtime that needs them."""
        return self.jobs[0].backend, self.jobs[0].precision


class Backend:
    """
    One bundle opened in one runtime: the main graph and any separate range-mask heads.

    Subclasses implement `_open`, `_infer` and `cancel`. Not thread-safe, except `cancel`.
    """

    name = ''
    warning = ''                  # what a user must know of this runtime's version
    on_device = False             # computes on an accelerator: must also repeat itself (`gate`)
    jobs: Sequence[Any] = ()      # the engines that it runs; the gate keeps its verdict with them
    plans: Sequence[str] = ()     # sha256 of their plans as loaded

    def __init__(self, bundle: Bundle, variant: str = 'fp32', threads: int = 0):
        """
        Load all graphs.

        :param variant: arithmetic precision, one of `variants_of`
        :param threads: CPU threads; 0 = the runtime's choice
        :raises BackendError: if the runtime is absent or refuses a graph
        """
        self.variant = variant
        self._threads = threads
        graphs = bundle.graphs('fp32' if variant == 'bf16' else variant)
        self._main = self._open(str(graphs.main))
        self._heads = {t: self._open(str(path)) for t, path in graphs.range_masks.items()}

    def run(self, feeds: Mapping[str, NDArray[Any]], range_mask_m: float = 0.0) -> Arrays:
        """
        Run the main graph, and of the separate heads only the selected one.

        :param feeds: the main graph's inputs by name (see `da_ros.bundle`)
        :param range_mask_m: selected threshold [m]; 0 = none
        :return: outputs by name: `range_m` (H, W), and `range_mask_probability` (K, H, W)
            where the heads share the trunk or (1, H, W) of the selected head
        :raises BackendError: if the runtime fails or was cancelled
        """
        outputs = self._infer(self._main, feeds)
        if range_mask_m in self._heads:
            features = {k: v for k, v in outputs.items() if k.startswith('features_')}
            outputs |= self._infer(self._heads[range_mask_m], features)
        return outputs

    def cancel(self) -> None:
        """Make a run in another thread fail soon; the backend is of no use afterwards."""

    def close(self) -> None:
        """Free what the runtime holds; no `run` afterwards. May be repeated."""

    def _open(self, path: str) -> Any:
        raise AssertionError('a backend must implement _open')

    def _infer(self, graph: Any, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        raise AssertionError('a backend must implement _infer')


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


def feeds_for(bundle: Bundle, image: NDArray[np.uint8], camera_height_m: float) -> Arrays:
    """
    Return the main graph's inputs.

    :param image: (H, W, 3) uint8 BGR at network size
    :param camera_height_m: [m], 0 = unknown
    """
    feeds: Arrays = {'image': image}
    if bundle.uses_camera_height:
        feeds['camera_height_m'] = np.array([camera_height_m], np.float32)
    return feeds
