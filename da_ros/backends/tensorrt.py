# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
TensorRT and TensorRT-RTX on an NVIDIA GPU, one code path for TensorRT 10.0 to 11.x (8.6: untried).

The engines come from the cache (`da_ros.engines`). The main engine and the selected range-mask
head share their device buffers by name, so features never leave the GPU; each selection is
recorded once as a CUDA graph [copy in, run, copy out] and replayed from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
import hashlib
from importlib.util import find_spec
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.backends.base import (
    Arrays,
    Backend,
    BackendAbsent,
    BackendError,
    EngineMissing,
    RUNS_AFTER_BUILD,
    RUNS_AFTER_LOAD,
)
from da_ros.backends.cuda import Cuda, identify
from da_ros.bundle import Bundle
from da_ros.engines.cache import EngineCache, Entry
from da_ros.engines.engine import Engine, PlanRefused, Tensor
from da_ros.engines.jobs import EngineJob, jobs_for
from da_ros.engines.library import INSTALL, Library, load_library, MODULES, version_warning
from da_ros.engines.private import CacheError

RESULTS = ('range_m', 'range_mask_probability')
NO_HEAD = 0.0


class TensorRtBackend(Backend):
    """Engines of the full TensorRT."""

    name = 'tensorrt'

    def __init__(self, bundle: Bundle, variant: str = 'fp32', threads: int = 0):
        """
        Load the engines of a bundle from the cache.

        :param variant: precision of the graphs to use
        :param threads: of no meaning here
        :raises BackendAbsent: library not installed, no CUDA device, or one that it cannot use
        :raises EngineMissing: if engines must be built first
        :raises BackendError: if one could not be built before, failed its self-check, or does not
            fit the others
        """
        self.variant = variant
        if not any(map(find_spec, MODULES[self.name])):
            raise BackendAbsent(f'backend {self.name} is not installed; {INSTALL[self.name]}')
        device = identify()                       # before a large library is imported
        library = load_library(self.name)
        library.check_device(device)
        self.warning = version_warning(library.version) if self.name == 'tensorrt' else ''
        self.jobs: list[EngineJob] = jobs_for(bundle, self.name, variant)
        self.graph_refusal = ''                   # why a selection runs without a CUDA graph
        self._cancelled = False
        self._lock = threading.RLock()            # memory is not freed under a run
        self._cache = EngineCache()
        plans = self._plans()
        self._cuda = Cuda()
        try:
            self._engines = self._load(library, plans)
            self._connect(list(bundle.graphs_in(variant).range_masks))
        except BaseException:
            self.close()
            raise

    def run(self, feeds: Mapping[str, NDArray[Any]], range_mask_m: float = 0.0) -> Arrays:
        """
        Run the main engine and the selected head; see `Backend.run`.

        :raises BackendError: wrong input, a fault of the GPU, refused by the library, cancelled
        """
        with self._lock:
            self._check_usable()
            self._cuda.activate()
            for name, staged in self._inputs.items():
                np.copyto(staged, self._checked(name, staged, feeds), casting='no')
            selection = range_mask_m if range_mask_m in self._heads else NO_HEAD
            self._run(selection)
            self._check_usable()
            return {name: array.copy() for name, array in self._results[selection].items()}

    def cancel(self) -> None:
        """Refuse the result of a run in progress, which ends by itself, and later runs."""
        self._cancelled = True

    def close(self) -> None:
        """Free all memory of host and GPU; may be repeated."""
        self._cancelled = True
        with self._lock:
            self._inputs: Arrays = {}
            self._results: dict[float, Arrays] = {}
            self._cuda.close()

    def runs_to_prove(self) -> int:
        """Return 20 runs for engines of which one has not passed since it was built, else 3."""
        proven = all(entry is not None and entry.proven for entry in self._entries())
        return RUNS_AFTER_LOAD if proven else RUNS_AFTER_BUILD

    def keep_verdict(self, passed: bool, text: str, runs: int) -> None:
        """Write the verdict beside the engines."""
        for entry in filter(None, self._entries()):
            with suppress(CacheError):   # read-only now: the next start checks in full
                self._cache.record_check(entry, passed, text, runs)

    def _entries(self) -> list[Entry | None]:
        # Only what this backend has loaded: another process may have built since.
        return [entry if entry and entry.plan_sha256 == plan else None
                for entry, plan in zip(map(self._cache.entry, self.jobs), self._loaded)]

    def _plans(self) -> list[bytes]:
        plans = [self._cache.load(job) for job in self.jobs]
        missing = [job for job, plan in zip(self.jobs, plans) if plan is None]
        if missing:
            raise EngineMissing(self._missing_text(missing), missing)
        found = [plan for plan in plans if plan is not None]
        self._loaded = [hashlib.sha256(plan).hexdigest() for plan in found]
        return found

    def _load(self, library: Library, plans: list[bytes]) -> list[Engine]:
        engines = []
        for job, plan in zip(self.jobs, plans):
            try:
                engine = Engine(library, plan, job.name)
            except PlanRefused as error:
                self._cache.refuse(job, plan, str(error))
                raise EngineMissing(f'{error}; {self._missing_text([job])}', [job]) from error
            self._cuda.on_close(engine.release)
            engines.append(engine)
        return engines

    def _missing_text(self, jobs: list[EngineJob]) -> str:
        names = ', '.join(job.name for job in jobs)
        return f'{self.name} {self.variant}: the engine of {names} must be built'

    def _connect(self, heads: list[float]) -> None:
        """Give equal names equal device memory and stage what crosses to the host."""
        # Features of a large encoder are tens of megabytes, which must not pass through the host.
        main = self._engines[0]
        self._heads = dict(zip(heads, self._engines[1:]))
        self._address: dict[str, int] = {}
        known: dict[str, Tensor] = {}
        for engine in self._engines:
            for tensor in engine.tensors:
                self._check_fits(engine, tensor, known.get(tensor.name), engine is main)
                if tensor.name not in known:
                    known[tensor.name] = tensor
                    self._address[tensor.name] = self._cuda.allocate(tensor.size_bytes)
                engine.bind(tensor.name, self._address[tensor.name])
        staged = {tensor.name: self._cuda.pinned(tensor.shape, tensor.dtype)
                  for tensor in known.values()
                  if tensor.name in RESULTS or (tensor.is_input and tensor in main.tensors)}
        self._inputs = {t.name: staged[t.name] for t in main.tensors if t.is_input}
        of_main = {t.name: staged[t.name] for t in main.tensors if t.name in RESULTS}
        self._results = {NO_HEAD: of_main} | {
            threshold: of_main | {t.name: staged[t.name] for t in head.tensors
                                  if t.name in RESULTS}
            for threshold, head in self._heads.items()}
        self._graphs: dict[float, Any] = {}

    def _check_fits(self, engine: Engine, tensor: Tensor, known: Tensor | None,
                    is_main: bool) -> None:
        if known is None and tensor.is_input and not is_main:
            raise BackendError(f'{self.name}: {engine.name} wants {tensor.name}, which the main '
                               'engine does not give; re-export the bundle')
        if known and (known.shape, known.dtype) != (tensor.shape, tensor.dtype):
            raise BackendError(
                f'{self.name}: {tensor.name} is {known.shape} {known.dtype} in one engine and '
                f'{tensor.shape} {tensor.dtype} in {engine.name}; re-export the bundle')

    def _run(self, selection: float) -> None:
        graph = self._graphs.get(selection)
        if graph is not None:
            self._cuda.launch(graph)
        else:
            self._enqueue(selection)
        self._cuda.synchronize()
        if selection not in self._graphs:         # the library has warmed up: record
            self._graphs[selection] = self._capture(selection)

    def _enqueue(self, selection: float) -> None:
        # Nothing but calls on one stream with fixed addresses may stand here: it is recorded once
        # and replayed, so a decision taken here would be taken for every later frame.
        for name, staged in self._inputs.items():
            self._cuda.upload(self._address[name], staged)
        self._engines[0].enqueue(self._cuda.stream)
        if selection in self._heads:
            self._heads[selection].enqueue(self._cuda.stream)
        for name, staged in self._results[selection].items():
            self._cuda.download(staged, self._address[name])

    def _capture(self, selection: float) -> Any:
        try:
            graph = self._cuda.capture(lambda: self._enqueue(selection))
            if self._computes(graph, selection):
                return graph
            self.graph_refusal = 'the recorded graph leaves the results as they were'
        except BackendError as error:
            self.graph_refusal = str(error)
        self._enqueue(selection)                  # this frame once more
        self._cuda.synchronize()
        return None

    def _computes(self, graph: Any, selection: float) -> bool:
        # A library that lost its work while recording reports success; each replay would then
        # give the results of the last plain run.
        results = self._results[selection]
        for name, staged in results.items():
            staged.fill(np.nan)
            self._cuda.upload(self._address[name], staged)
        self._cuda.launch(graph)
        self._cuda.synchronize()
        return not any(np.isnan(staged).all() for staged in results.values())

    def _checked(self, name: str, staged: NDArray[Any],
                 feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        array = feeds.get(name)
        if array is None or array.shape != staged.shape or array.dtype != staged.dtype:
            found = 'nothing' if array is None else f'{array.shape} {array.dtype}'
            raise BackendError(f'{self.name}: input {name} must be {staged.shape} {staged.dtype}, '
                               f'got {found}')
        return array

    def _check_usable(self) -> None:
        if self._cancelled:
            raise BackendError(f'{self.name} failed: cancelled')

    def __del__(self) -> None:
        """Free the GPU when a backend that was not taken is dropped."""
        with suppress(AttributeError):            # of a constructor that raised early
            self.close()


class TensorRtRtxBackend(TensorRtBackend):
    """Engines of TensorRT-RTX, whose plain wheels hold everything."""

    name = 'tensorrt_rtx'
