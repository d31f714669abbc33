# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Training speed: data, steps, and how long steps wait for data.

    python -m bench.training --data shards/train          # pano_tiny on this device
    python -m bench.training --config training/configs/pano_small.yaml --data shards/train
    python -m bench.training --workers 14 --steps 200      # on a GPU

Without --data a few drawn panoramas are packed into a shard. Prints one Markdown row per part:
median wall time and mean CPU time of this process per sample, and samples per second of each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
import tempfile
import time

import numpy as np
import torch

from training.bundling.self_check import drawn_room
from training.data.sample import Sample
from training.data.shards import write_shard
from training.networks import build_network
from training.run.batches import Batches, fastest_format, load, one_thread, Sources
from training.run.config import read_config, TrainConfig
from training.run.forward import Forward, image_size
from training.run.objectives import make_objective
from training.run.optimise import clip, parameter_groups, update_ema

WARMING = 100        # batches at most that fill the memory before it is measured
HEADER = '| part | ms wall | ms CPU | samples/s wall | samples/s CPU |\n|---|---|---|---|---|'


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, default=Path('training/configs/pano_tiny.yaml'))
    parser.add_argument('--data', nargs='+', help='shards; default: drawn panoramas')
    parser.add_argument('--batch', type=int, help='other than the config says')
    parser.add_argument('--workers', type=int, default=0, help='data processes')
    parser.add_argument('--cache', type=float, default=0, help='GiB for decoded samples')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch on the CPU')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--precision', nargs='+', default=['no', 'bf16'])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    one_thread()
    config = read_config(args.config)
    config = replace(config, batch=args.batch or config.batch, workers=args.workers)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    name = torch.cuda.get_device_name() if device.type == 'cuda' else f'{args.threads} thread(s)'
    print(f'{args.config.stem}, batch {config.batch}, {name}\n\n{HEADER}')
    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(args.data or [drawn_shard(Path(folder))])
        stepper = Stepper(config, device)
        batches = Batches(sources, config, stepper.size_hw, 10 ** 9)
        numbers = iter(range(10 ** 9))
        row('data: read, decode, augment', lambda: batches[next(numbers)], args.steps, config)
        if args.cache:
            sources.keep(stepper.size_hw[0], args.cache)
            for _ in range(min(WARMING, 4 * len(sources) // config.batch)):
                batches[next(numbers)]
            row('data: kept in memory, augment', lambda: batches[next(numbers)], args.steps,
                config)
        for precision in args.precision:
            batch = batches[0].on(device)
            row(f'step, precision {precision}', lambda p=precision, b=batch: stepper(b, p),
                args.steps, config)
        print_wait(batches, stepper, args, device)


def drawn_shard(folder: Path) -> Path:
    """Write a shard of drawn rooms with made-up ranges at 256 x 512 px."""
    image = drawn_room((256, 512))
    range_m = (1 + image.mean(-1) / 40).astype(np.float32)
    sample = Sample(image, range_m, np.ones(range_m.shape, bool), 'drawn', 1.2)
    write_shard(folder / '00000.tar', [sample] * 16, {})
    return folder


class Stepper:
    """One optimiser step of a run, without its book-keeping."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        network = build_network(config.network, config.model)
        network.to(device, memory_format=fastest_format(device))
        if device.type == 'cuda':
            torch.backends.cudnn.benchmark = True
        self.config, self.device = config, device
        self.size_hw = image_size(network, config.network, config.size_hw)
        self.forward = Forward(network)
        self.ema = build_network(config.network, config.model).to(device)
        self.objective = make_objective(config, self.size_hw, self.forward.range_masks_m,
                                        config.network == 'pano_tiny', False, device)
        self.optimiser = torch.optim.AdamW(parameter_groups(network, config), fused=True)

    def __call__(self, batch, precision: str) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == 'bf16'):
            prediction = self.forward(batch.image, batch.told_height_m)
        prediction = prediction._replace(**{
            key: value.float() for key, value in prediction._asdict().items()
            if value is not None})
        self.objective(prediction, batch)[0].backward()
        clip([list(self.forward.parameters())], 1.0).item()
        self.optimiser.step()
        update_ema(self.ema, self.forward.network, 0.99, 100)


def row(part: str, function: Callable[[], object], steps: int, config: TrainConfig) -> None:
    """Print the time of a function that makes or uses one batch."""
    function()
    walls, before = [], time.process_time()
    for _ in range(steps):
        start = time.perf_counter()
        function()
        walls.append(time.perf_counter() - start)
    used = (time.process_time() - before) / steps / config.batch * 1000
    wall = float(np.median(walls)) / config.batch * 1000
    print(f'| {part} | {wall:.2f} | {used:.2f} | {1000 / wall:.1f} | {1000 / used:.1f} |',
          flush=True)


def print_wait(batches: Batches, stepper: Stepper, args: argparse.Namespace,
               device: torch.device) -> None:
    """Print the share of a training loop that waits for data."""
    loader: Iterator = load(batches, 0, 1, pinned=device.type == 'cuda')
    for _ in range(2):
        stepper(next(loader).on(device), args.precision[-1])
    waited, start = 0.0, time.perf_counter()
    for _ in range(args.steps):
        before = time.perf_counter()
        batch = next(loader)
        waited += time.perf_counter() - before
        stepper(batch.on(device), args.precision[-1])
    wall = time.perf_counter() - start
    print(f'\n{args.steps} steps with {batches.config.workers} data processes, precision '
          f'{args.precision[-1]}: {args.steps * batches.config.batch / wall:.1f} samples/s, '
          f'{waited / wall:.1%} of the time waiting for data')


if __name__ == '__main__':
    main()
