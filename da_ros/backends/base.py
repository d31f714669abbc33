"""What every inference runtime offers the estimator, and the order in which they are tried."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.bundle import Bundle
from da_ros.errors import DaRosError

Arrays = dict[str, NDArray[Any]]

# name -> (module, class, variants from fastest to safest), in the order of `auto`
BACKENDS = {
    'openvino': ('da_ros.backends.openvino', 'OpenVinoBackend', ('bf16', 'fp32')),
    'onnxruntime': ('da_ros.backends.onnxruntime', 'OnnxRuntimeBackend', ('fp32',)),
}
BACKEND_CHOICES = ('auto', *BACKENDS)


class BackendError(DaRosError):
    """A runtime that is not installed, cannot run the graph or gives wrong numbers."""


class Backend:
    """
    One bundle opened in one runtime: the main graph and any separate range-mask heads.

    Subclasses implement `_open`, `_infer` and `cancel`. Not thread-safe, except `cancel`.
    """

    name = ''

    def __init__(self, bundle: Bundle, variant: str = 'fp32', threads: int = 0):
        """
        Load all graphs.

        :param variant: arithmetic precision, one of the backend's entry in `BACKENDS`
        :param threads: CPU threads; 0 = the runtime's choice
        :raises BackendError: if the runtime is absent or refuses a graph
        """
        self.variant = variant
        self._threads = threads
        self._main = self._open(str(bundle.main_graph))
        self._heads = {t: self._open(str(path)) for t, path in bundle.mask_graphs.items()}

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

    def _open(self, path: str) -> Any:
        raise AssertionError('a backend must implement _open')

    def _infer(self, graph: Any, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        raise AssertionError('a backend must implement _infer')


def open_backend(name: str, bundle: Bundle, variant: str, threads: int = 0) -> Backend:
    """
    Import a runtime and open a bundle in it.

    :raises BackendError: unknown name, runtime not installed, or graph refused
    """
    if name not in BACKENDS:
        raise BackendError(f'backend {name!r} is none of {", ".join(BACKEND_CHOICES)}')
    module, cls, _ = BACKENDS[name]
    return getattr(import_module(module), cls)(bundle, variant, threads)


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
