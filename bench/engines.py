# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What TensorRT engines cost: building, memory of many builds, and, where there is a GPU, starting
from the cache, frames, and the node's work around them.

    python -m bench.engines --backend tensorrt_rtx
    python -m bench.engines --backend tensorrt --bundle bundles/dap_vitl --precision fp16

Without a GPU only the first two tables are made, and only TensorRT-RTX can build.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import os
from pathlib import Path
import resource
import tempfile
import time

import numpy as np
import psutil

from bench.timing import seconds_of
from da_ros.backends.base import BackendAbsent, feeds_for
from da_ros.backends.cuda import Cuda, identify
from da_ros.backends.order import open_backend
from da_ros.bundle import Bundle, load_bundle
from da_ros.engines import jobs_for
from da_ros.engines.build import build_plan
from da_ros.engines.cache import EngineCache, ENVIRONMENT
from da_ros.engines.worker import build_missing
from da_ros.estimator import RangeEstimator

MIB = 1 << 20
FRAMES = 300
LOADS = 20
BLOCK_BYTES = 32 * MIB


def main() -> None:
    """Print one Markdown table per question."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--backend', default='tensorrt_rtx', choices=['tensorrt', 'tensorrt_rtx'])
    parser.add_argument('--bundle', help='folder or name; the default bundle if left away')
    parser.add_argument('--precision', nargs='+', help='those of the bundle if left away')
    parser.add_argument('--builds', type=int, default=6, help='repeated builds of the first graph')
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    precisions = arguments.precision or list(bundle.precisions)
    measure_builds(bundle, arguments.backend, precisions)
    measure_build_memory(bundle, arguments.backend, precisions[-1], arguments.builds)
    try:
        device = identify()
    except BackendAbsent as error:
        print(f'\nnot run ({error}): copies, cached start, frames, overhead')
        return
    print(f'\n{device.name}, compute capability {device.sm}, driver {device.driver}')
    measure_copies()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ENVIRONMENT] = str(Path(folder) / 'engines')
        for precision in precisions:
            measure_engine(bundle, arguments.backend, precision)


def measure_builds(bundle: Bundle, backend: str, precisions: list[str]) -> None:
    """Print what building each graph takes; the first includes loading the library."""
    print('| graph | precision | plan MB | s by the clock | s of CPU | peak MB so far |')
    print('|---|---|---|---|---|---|')
    for precision in precisions:
        for job in jobs_for(bundle, backend, precision):
            clock, cpu = time.perf_counter(), time.process_time()
            plan = build_plan(job).plan
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f'| {job.name} | {precision} | {len(plan) / 1e6:.1f} '
                  f'| {time.perf_counter() - clock:.1f} | {time.process_time() - cpu:.1f} '
                  f'| {peak:.0f} |')


def measure_build_memory(bundle: Bundle, backend: str, precision: str, count: int) -> None:
    """Print the resident memory after each of several builds in one process."""
    job = jobs_for(bundle, backend, precision)[0]
    seen = []
    for _ in range(count):
        build_plan(job)
        seen.append(psutil.Process().memory_info().rss / MIB)
    print(f'\nRSS after each of {count} builds of {job.name} {precision} in one process: '
          f'{", ".join(f"{rss:.0f}" for rss in seen)} MB')


def measure_copies() -> None:
    """Print how fast pinned memory is copied and what an empty round trip costs."""
    gpu = Cuda()
    host, address = gpu.pinned((BLOCK_BYTES,), np.uint8), gpu.allocate(BLOCK_BYTES)
    small = gpu.pinned((4,), np.uint8)

    def timed(work: Callable[[], None]) -> float:
        def once() -> None:
            work()
            gpu.synchronize()
        return float(np.median(seconds_of(once, 50)))

    up, down = timed(lambda: gpu.upload(address, host)), timed(lambda: gpu.download(host, address))
    empty = timed(lambda: gpu.upload(address, small))
    graph = gpu.capture(lambda: gpu.upload(address, small))
    replayed = timed(lambda: gpu.launch(graph))
    print(f'\npinned copies of {BLOCK_BYTES // MIB} MiB: {BLOCK_BYTES / up / 1e9:.1f} GB/s up, '
          f'{BLOCK_BYTES / down / 1e9:.1f} GB/s down; 4 bytes and waiting: {empty * 1e6:.0f} us, '
          f'as a graph {replayed * 1e6:.0f} us')
    gpu.close()


def measure_engine(bundle: Bundle, backend: str, precision: str) -> None:
    """Print start, frames, overhead and memory of one engine set."""
    for job in jobs_for(bundle, backend, precision):
        build_missing(job, EngineCache(), lambda share: None)
    print(f'\n{bundle.name} {precision}, {backend}')
    first = seconds_of(lambda: started(bundle, backend, precision), 1)[0]
    cached = seconds_of(lambda: started(bundle, backend, precision), 3, warm_up=0)
    print(f'load and first self-check (20 runs): {first:.2f} s; cached start (load and 3 runs): '
          f'{np.median(cached):.2f} s')
    measure_frames(bundle, backend, precision)
    measure_load_memory(bundle, backend, precision)


def started(bundle: Bundle, backend: str, precision: str) -> None:
    """Open and prove the engines as the node does, then close them."""
    from da_ros import gate
    opened = open_backend(backend, bundle, precision)
    gate.prove(opened, bundle)
    opened.close()


def measure_frames(bundle: Bundle, backend: str, precision: str) -> None:
    """Print engine and whole-frame latency, with and without a CUDA graph."""
    estimator = RangeEstimator(bundle, backend)
    while estimator.backend != f'{backend} {precision}':
        estimator.fall_back()
    engine = estimator.chain.backend
    camera = np.random.default_rng(0).integers(0, 256, (960, 1920, 3), dtype=np.uint8)
    mask_m = bundle.select_mask(-1)
    feeds = feeds_for(bundle, estimator.network_image(camera), 0.0)
    engine.run(feeds, mask_m)
    selection = mask_m if mask_m in engine._heads else 0.0
    graph = engine._graphs[selection]
    frame = seconds_of(lambda: estimator.predict(camera), FRAMES)
    replayed = seconds_of(lambda: engine._run(selection), FRAMES)
    engine._graphs[selection] = None
    plain = seconds_of(lambda: engine._run(selection), FRAMES)
    engine._graphs[selection] = graph
    print('| what | p50 ms | p99 ms |\n|---|---|---|')
    for name, seconds in (('engine with copies, CUDA graph', replayed),
                          ('engine with copies, plain', plain),
                          ('frame: bgr8 960 x 1920 to range map', frame)):
        p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1e3
        print(f'| {name} | {p50:.2f} | {p99:.2f} |')
    around = (np.median(frame) - np.median(replayed)) * 1e3
    print(f'\nwork around the engine: {around:.2f} ms p50 (messages: `python -m bench.stages`)'
          + (f'; no CUDA graph: {engine.graph_refusal}' if engine.graph_refusal else ''))
    estimator.close()


def measure_load_memory(bundle: Bundle, backend: str, precision: str) -> None:
    """Print memory of host and GPU over repeated loading."""
    keeper, host, device = Cuda(), [], []
    for _ in range(LOADS):
        opened = open_backend(backend, bundle, precision)
        opened.close()
        keeper.activate()
        free, total = keeper.memory_info()
        host.append(psutil.Process().memory_info().rss / MIB)
        device.append((total - free) / MIB)
    keeper.close()
    print(f'{LOADS} times loaded and closed: RSS {host[1]:.0f} MB after the second, '
          f'{host[-1]:.0f} MB after the last; on the GPU {device[1]:.0f} and {device[-1]:.0f} MB')


if __name__ == '__main__':
    main()
