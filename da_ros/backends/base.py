# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every inference runtime offers the estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.bundle import Bundle
from da_ros.errors import DaRosError

Arrays = dict[str, NDArray[Any]]

# Accelerators must also repeat themselves: the fault of TensorRT 10.3 on Jetson showed as a scale
# that varied from frame to frame.
RUNS_AFTER_BUILD, RUNS_AFTER_LOAD = 20, 3


class BackendError(DaRosError):
    """A runtime that is not installed, cannot run the graph or gives wrong numbers."""


class BackendAbsent(BackendError):
    """A runtime whose library or device this machine has not: no fault, the next one is taken."""


class VariantAbsent(BackendError):
    """A precision that this machine does not compute in: no fault, the next one is taken."""


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


class FrameError(DaRosError):
    """One frame for which the network gave no usable numbers."""


class Backend:
    """
    One bundle opened in one runtime: the main graph and any separate range-mask heads.

    Subclasses implement `_open`, `_infer` and `cancel`. Not thread-safe, except `cancel`.
    """

    name = ''
    warning = ''                  # what a user must know of this runtime's version

    def __init__(self, bundle: Bundle, variant: str = 'fp32', threads: int = 0):
        """
        Load all graphs.

        :param variant: arithmetic precision, one of `variants_of`
        :param threads: CPU threads; 0 = the runtime's choice
        :raises BackendError: if the runtime is absent or refuses a graph
        """
        self.variant = variant
        self._threads = threads
        graphs = bundle.graphs_in('fp32' if variant == 'bf16' else variant)
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
        # Only the selected head: those of DAP cost 443 GFLOP each.
        outputs = self._infer(self._main, feeds)
        if range_mask_m in self._heads:
            features = {k: v for k, v in outputs.items() if k.startswith('features_')}
            outputs |= self._infer(self._heads[range_mask_m], features)
        return outputs

    def runs_to_prove(self) -> int:
        """Return how often the gate must run each panorama; a CPU repeats itself."""
        return 1

    def keep_verdict(self, passed: bool, text: str, runs: int) -> None:
        """Keep what the gate has found, where that saves a later start from finding it again."""

    def cancel(self) -> None:
        """Make a run in another thread fail soon; the backend is of no use afterwards."""

    def close(self) -> None:
        """Free what the runtime holds; no `run` afterwards. May be repeated."""
        # Not with the last reference: a cycle keeps that until Python happens to collect it.
        self._main, self._heads = None, {}

    def _open(self, path: str) -> Any:
        raise AssertionError('a backend must implement _open')

    def _infer(self, graph: Any, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        raise AssertionError('a backend must implement _infer')


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
