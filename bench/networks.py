# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Size, memory and latency of the released architectures with random weights, against torch.

    python -m bench.networks                           # DAP ViT-S, ViT-B, ViT-L and DA2
    python -m bench.networks --models vits --runs 5 --int8
    python -m bench.networks --seam ../panoramas --checkpoint model.pth --network dap
                                                       # what wrap padding changes at the seam

Prints one Markdown row per model and runtime: best latency of range and one range mask, its ratio
to torch in the same run, peak memory of its process. Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
from pathlib import Path
import resource
import tempfile
import time

import numpy as np

from training.export import size_argument

SIZES = {'vits': (512, 1024), 'vitb': (512, 1024), 'vitl': (512, 1024), 'da2': (546, 1092)}
RUNTIMES = ('torch', 'onnxruntime fp32', 'openvino fp32', 'openvino bf16')
INT8 = ('onnxruntime int8', 'openvino int8')


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', default=list(SIZES), choices=list(SIZES))
    parser.add_argument('--runtimes', nargs='+', default=list(RUNTIMES), choices=RUNTIMES + INT8)
    parser.add_argument('--int8', action='store_true', help='also int8, quantised on one image')
    parser.add_argument('--runs', type=int, default=3, help='0 = only write the graphs')
    parser.add_argument('--threads', type=int, default=0, help='0 = the choice of each runtime')
    parser.add_argument('--graphs', type=Path, help='folder that keeps the graphs for next time')
    parser.add_argument('--seam', type=Path, help='folder of panoramas; measure wrap padding')
    parser.add_argument('--checkpoint', type=Path, help='weights for --seam')
    parser.add_argument('--network', choices=['dap', 'da2'], default='dap')
    parser.add_argument('--size', type=size_argument, default=(256, 512))
    options = parser.parse_args()
    if options.seam:
        print_seams(options)
        return
    print('| model | M parameters | runtime | best ms | ratio to torch | peak MB |')
    print('|---|---|---|---|---|---|')
    runtimes = [*options.runtimes, *(INT8 if options.int8 else ())]
    with tempfile.TemporaryDirectory() as temporary:
        for model in options.models:
            folder = (options.graphs or Path(temporary)) / model
            if not (folder / 'model.onnx').exists():
                folder.mkdir(parents=True)
                peak = apart(write, model, folder)
                print(f'| {model} | {used_parameters(model):.1f} | export | | | {peak:.0f} |',
                      flush=True)
            print_latencies(model, folder, runtimes, options)


def print_latencies(model: str, folder: Path, runtimes: list[str],
                    options: argparse.Namespace) -> None:
    """Print one row per runtime."""
    torch_ms = float('nan')
    for runtime in runtimes:
        if runtime in INT8 and not (folder / 'int8').exists():
            apart(quantise, model, folder)
        if not options.runs:
            continue
        best_ms, peak_mb = apart(measure, model, folder, runtime, options.runs, options.threads)
        torch_ms = best_ms if runtime == 'torch' else torch_ms
        print(f'| {model} | {used_parameters(model):.1f} | {runtime} | {best_ms:.0f} | '
              f'{best_ms / torch_ms:.2f} | {peak_mb:.0f} |', flush=True)


def apart(function: Callable, *arguments):
    """Run a function in a new process, so that its peak memory is its own."""
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def peak_mb() -> float:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def network_of(model: str) -> tuple[str, dict]:
    """Return name and config for `build_network`."""
    return ('da2', {}) if model == 'da2' else ('dap', {'encoder': model})


def make(model: str):
    """Return the graphs of a network with random weights."""
    import torch

    from training.bundling.graph import make_graphs, Options
    from training.networks import build_network
    torch.manual_seed(0)
    return make_graphs(build_network(*network_of(model)).eval(), Options())


def used_parameters(model: str) -> float:
    """Return the millions of parameters that the network runs."""
    import torch

    from training.networks import build_network
    with torch.device('meta'):
        network = build_network(*network_of(model))
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def write(model: str, folder: Path) -> float:
    """Export; return the peak memory [MB]."""
    from training.bundling.graph import write_graph
    graphs = make(model)
    for graph in (graphs.main, *graphs.masks.values()):
        write_graph(graph, folder)
    return peak_mb()


def quantise(model: str, folder: Path) -> None:
    """Write int8 graphs, calibrated on one image: good for latency, not for accuracy."""
    import shutil

    from training.bundling.graph import run_onnx
    from training.bundling.precision import to_int8
    from training.bundling.self_check import drawn_room
    (folder / 'int8').mkdir()
    feeds = {'image': drawn_room(SIZES[model])}
    features = run_onnx(folder / 'model.onnx', feeds)
    features.pop('range_m')
    for path in folder.glob('*.onnx'):
        shutil.copy(path, folder / 'int8')
        to_int8(folder / 'int8' / path.name, [feeds if path.name == 'model.onnx' else features])


def measure(model: str, folder: Path, runtime: str, runs: int,
            threads: int) -> tuple[float, float]:
    """Return the best latency [ms] after one warm-up, and the peak memory [MB]."""
    from training.bundling.self_check import drawn_room
    image = drawn_room(SIZES[model])
    if runtime == 'torch':
        step = torch_step(model, image, threads)
    else:
        step = backend_step(folder / 'int8' if runtime in INT8 else folder, runtime, image,
                            threads)
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) * 1e3, peak_mb()


def torch_step(model: str, image: np.ndarray, threads: int) -> Callable:
    """Return a run of the same graphs in torch."""
    import torch

    from training.bundling.graph import run_torch
    from training.bundling.parity import run_chain
    if threads:
        torch.set_num_threads(threads)
    graphs = make(model)
    return lambda: run_chain(graphs, {'image': image}, run_torch)


def backend_step(folder: Path, runtime: str, image: np.ndarray, threads: int) -> Callable:
    """Return a run in one of the robot's runtimes; int8 graphs hint fp32 for the rest."""
    from da_ros.backends.order import open_backend
    name, variant = runtime.split()
    head = folder / 'mask_100.onnx'
    masks = {100.0: head} if head.exists() else {}
    backend = open_backend(name, bundle_of(folder, masks, image),
                           'fp32' if variant == 'int8' else variant, threads)
    return lambda: backend.run({'image': image}, max(masks, default=0.0))


def bundle_of(folder: Path, masks: dict[float, Path], image: np.ndarray):
    """Return a bundle around graphs without a manifest."""
    from da_ros.bundle import Bundle, Graphs
    return Bundle(
        folder=folder, name='bench', kind='metric', precision='fp32', licence='',
        size_hw=image.shape[:2], resize='area', uses_camera_height=False, metres_per_unit=1.0,
        max_range_m=100.0, output_quantile=None, range_masks_m=tuple(masks),
        graphs={'fp32': Graphs(folder / 'model.onnx', masks)}, self_checks=(), files={})


def print_seams(options: argparse.Namespace) -> None:
    """Print the seam step of a checkpoint with and without wrap padding."""
    print('| panorama | seam / other step: as released | wrap padding | '
          'median change elsewhere | in the 16 columns beside the seam |')
    print('|---|---|---|---|---|')
    rows = []
    for name, released, wrapped in predictions(options):
        rows.append([*(seam_ratio(range_m) for range_m in (released, wrapped)),
                     *changes(released, wrapped)])
        print(f'| {name} | ' + ' | '.join(f'{value:.3g}' for value in rows[-1]) + ' |', flush=True)
    print('| **mean** | ' + ' | '.join(f'{value:.3g}' for value in np.mean(rows, axis=0)) + ' |')


def predictions(options: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name and range of two exported bundles: as released and with wrap padding."""
    import cv2

    from da_ros.estimator import RangeEstimator
    from training.bundling.graph import Options
    from training.bundling.self_check import IMAGE_SUFFIXES
    from training.checkpoints.reading import read_checkpoint
    from training.export import export, Request
    from training.scoring.predictors import RAW
    checkpoint = read_checkpoint(options.checkpoint, options.network)
    with tempfile.TemporaryDirectory() as folder:
        estimators = [RangeEstimator(export(Request(
            checkpoint, Path(folder) / f'wrap_{wrap}',
            Options(options.size, sphere='image', wrap_padding=wrap))), 'onnxruntime', rule=RAW)
            for wrap in (False, True)]
        for path in sorted(p for p in options.seam.glob('*') if p.suffix in IMAGE_SUFFIXES):
            image = cv2.imread(str(path))
            yield path.stem, *(estimator.predict(image).range_m for estimator in estimators)


def seam_ratio(range_m: np.ndarray) -> float:
    """Return the mean log step at the seam over that elsewhere; 1 = no visible seam."""
    from training.scoring.metrics import seam_metrics, seam_sums
    return seam_metrics(seam_sums(range_m))['seam_ratio']


def changes(released: np.ndarray, wrapped: np.ndarray) -> tuple[float, float]:
    """Return the median relative change away from the seam and beside it."""
    change = np.abs(wrapped / released - 1)
    beside = np.r_[0:16, -16:0]
    return float(np.median(np.delete(change, beside, axis=1))), float(
        np.median(change[:, beside]))


if __name__ == '__main__':
    main()
