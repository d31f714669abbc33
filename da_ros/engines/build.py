# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From ONNX to a plan, with one code path for TensorRT 8.6 to 11.x and TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from da_ros.backends.base import BackendError
from da_ros.backends.cuda import NO_DEVICE
from da_ros.engines.jobs import BUILDER_OPTIONS, EngineJob
from da_ros.engines.library import Library, load_library
from da_ros.errors import reason_of

Report = Callable[[float], None]

# 8.6 does not take the precision of each layer from the graph.
FLAGS_OF_OLD_VERSIONS: dict[str, tuple[str, ...]] = {
    'fp32': (), 'fp16': ('FP16',), 'int8': ('FP16', 'INT8')}


@dataclass(frozen=True)
class Built:
    """A serialised engine, and the measured timings that shorten the next build."""

    plan: bytes
    timing: bytes = b''


def build_plan(job: EngineJob, report: Report = lambda share: None, timing: bytes = b'') -> Built:
    """
    Compile a graph for the GPU of this machine; TensorRT-RTX can do so without one.

    :param report: called with the share that is done, 0..1, never falling
    :param timing: what an earlier build on the same device and version returned
    :raises BackendError: library absent, graph refused, no device, out of memory; with the
        library's own words
    """
    library = load_library(job.backend)
    library.log.lines.clear()
    builder = library.make('Builder')
    network = builder.create_network(_network_flags(library))
    if network is None:
        raise library.failure('cannot make a network')
    _parse(library, network, job)
    config = _make_config(library, builder, job, report)
    cache = _use_timing(library, config, timing)
    # Fails by returning None, and the bindings of some versions turn that into an exception.
    try:
        plan = builder.build_serialized_network(network, config)
    except (TypeError, RuntimeError, MemoryError) as error:
        raise library.failure(f'cannot build {job.name} ({reason_of(error)})') from error
    if plan is None:
        raise library.failure(f'cannot build {job.name}')
    report(1.0)
    return Built(bytes(plan), bytes(cache.serialize()) if cache is not None else b'')


def _network_flags(library: Library) -> int:
    flags = library.module.NetworkDefinitionCreationFlag
    if hasattr(flags, 'STRONGLY_TYPED'):
        return 1 << int(flags.STRONGLY_TYPED)
    return 1 << int(flags.EXPLICIT_BATCH)           # 8.6


def _parse(library: Library, network: Any, job: EngineJob) -> None:
    parser = library.module.OnnxParser(network, library.log)
    if not parser.parse_from_file(str(job.graph)):
        said = '; '.join(_parse_error(parser.get_error(i)) for i in range(parser.num_errors))
        library.log.lines.clear()
        raise BackendError(f'{library.name} {library.version} cannot parse {job.name}: '
                           f'{said or "it gave no reason"}; re-export the bundle')


def _parse_error(error: Any) -> str:
    if hasattr(error, 'node_operator') and error.node_operator():       # from 10.0 on
        return f'{error.node_operator()} {error.node_name()}: {error.desc()}'
    return error.desc()


def _make_config(library: Library, builder: Any, job: EngineJob, report: Report) -> Any:
    trt = library.module
    # What a version lacks is asked for by name, not number: the two libraries count differently.
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE,
                                 BUILDER_OPTIONS['workspace_mib'] << 20)
    if not BUILDER_OPTIONS['tf32']:
        config.clear_flag(trt.BuilderFlag.TF32)
    if BUILDER_OPTIONS['fixed_memory'] and hasattr(trt.BuilderFlag, 'REQUIRE_USER_ALLOCATION'):
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)     # RTX
    if not hasattr(trt.NetworkDefinitionCreationFlag, 'STRONGLY_TYPED'):
        for flag in FLAGS_OF_OLD_VERSIONS[job.precision]:
            config.set_flag(getattr(trt.BuilderFlag, flag))
    if hasattr(config, 'set_compute_capability') and job.ingredients['gpu'] != NO_DEVICE.name:
        config.num_compute_capabilities = 1         # RTX: for this card alone, not for all
        config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)
    if hasattr(trt, 'IProgressMonitor'):
        config.progress_monitor = _make_monitor(trt, report)
    return config


def _use_timing(library: Library, config: Any, timing: bytes) -> Any:
    if library.name == 'tensorrt_rtx':              # it measures nothing while building
        return None
    # One of another device or version is refused (False) or unreadable (None); building anew is
    # then only slower.
    cache = config.create_timing_cache(timing)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b'')
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache


class Phases:
    """Nested phases of a build as one share that never falls."""

    def __init__(self, report: Report):
        """Call `report` when the share has grown by a thousandth."""
        self._report = report
        self._phases: dict[str, list] = {}          # name -> [parent, steps, done]
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Enter a phase of a known number of steps."""
        self._phases[name] = [parent, max(steps, 1), 0]

    def step(self, name: str, number: int) -> None:
        """Leave step `number` of a phase."""
        if name in self._phases:
            self._phases[name][2] = number + 1
            share = self._share_of(name)
            if share >= self._share + 1e-3:
                self._share = share
                self._report(min(share, 1.0))

    def finish(self, name: str) -> None:
        """Leave a phase."""
        self._phases.pop(name, None)

    def _share_of(self, name: str) -> float:
        share = 0.0
        current: str | None = name
        while current in self._phases:
            parent, steps, done = self._phases[current]
            share = (min(done, steps) + (share if done < steps else 0)) / steps
            current = parent
        return share


def _make_monitor(trt: Any, report: Report) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Pass the library's phases on; the names of the methods are the library's."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases = Phases(report)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Enter a phase."""
            self._phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Leave a step; True = go on."""
            self._phases.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            """Leave a phase."""
            self._phases.finish(phase_name)

    return Monitor()
