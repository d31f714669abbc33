# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Latency of our own networks over image size and encoder, in OpenVINO, all in one run.

    python -m bench.grids                                   # untrained ones, fp32
    python -m bench.grids --precision bf16 --threads 2 --runs 100
    python -m bench.grids --only --checkpoint mine=runs/mine   # a trained one, whatever its size

Prints one Markdown row per network. The networks take turns, one inference each, so that what else
the machine does strikes all alike; ratios to the first row are of the best times. Accuracy depends
on training: `training.evaluate --benchmark free-space` gives it for the bundle of each checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import tempfile
import time

import numpy as np

HINTS = {'fp32': 'f32', 'bf16': 'bf16'}
LITE = {'encoder': 'efficientnet_lite0', 'stem': 16, 'widths': [24, 40, 112, 224]}
NETWORKS = {
    'pano_tiny': ('pano_tiny', {}),
    'pano_tiny, EfficientNet-Lite0': ('pano_tiny', LITE),
    **{f'pano_base, {rows} x {2 * rows} patches':
       ('pano_base', {'size_hw': [16 * rows, 32 * rows]}) for rows in (14, 18, 24)},
    'pano_base, 18 x 36 patches, 6 blocks': (
        'pano_base', {'size_hw': [288, 576], 'encoder_depth': 6, 'taps': [2, 5]})}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', action='append', default=[], metavar='NAME=FILE')
    parser.add_argument('--only', action='store_true', help='the checkpoints alone')
    parser.add_argument('--precision', choices=list(HINTS), default='fp32')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--runs', type=int, default=30)
    options = parser.parse_args()
    from training.checkpoints.checkpoint import build, load_checkpoint
    from training.networks import build_network
    made = {} if options.only else {
        name: build_network(*network) for name, network in NETWORKS.items()}
    for word in options.checkpoint:
        name, _, path = word.partition('=')
        made[name] = build(load_checkpoint(Path(path)))
    print('| network | px | M parameters | best ms | p50 ms | ratio |\n|---|---|---|---|---|---|')
    compiled = {name: compile_network(network.eval(), options) for name, network in made.items()}
    times = measure(compiled, options.runs)
    first = min(next(iter(times.values())))
    for name, network in made.items():
        height, width = network.config.size_hw
        count = sum(p.numel() for p in network.parameters()) / 1e6
        print(f'| {name} | {height} x {width} | {count:.1f} | {1e3 * min(times[name]):.1f} | '
              f'{1e3 * np.median(times[name]):.1f} | {min(times[name]) / first:.2f} |')


def compile_network(network, options: argparse.Namespace):
    """Return the network, exported, in OpenVINO, and its inputs."""
    import openvino

    from training.bundling.graph import make_graphs, Options, write_graph
    graph = make_graphs(network, Options()).main
    with tempfile.TemporaryDirectory() as folder:
        model = openvino.Core().compile_model(str(write_graph(graph, Path(folder))), 'CPU', {
            'INFERENCE_PRECISION_HINT': HINTS[options.precision], 'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_NUM_THREADS': options.threads})
    return model, {name: value.numpy() for name, value in graph.inputs.items()}


def measure(compiled: dict, runs: int) -> dict[str, list[float]]:
    """Return the times [s] of each network, the first of each left out."""
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(runs + 1):
        for name, (model, inputs) in compiled.items():
            start = time.perf_counter()
            model(inputs)
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


if __name__ == '__main__':
    main()
