# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Images per second of the simulator on one core, and where the time goes.

    python -m bench.simulator --assets ASSETS
    python -m bench.simulator --assets ASSETS --device cuda

CPU time of one process counts, so that neighbours on a shared machine count less; on a GPU device
the wall clock does.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
import sys
import time

import cv2

from da_ros.errors import DaRosError

STAGES = ('build', 'cast', 'shade and the rest')


class Stopwatch:
    """Adds up the time spent in wrapped functions, a nested one counted in the outer only."""

    def __init__(self, clock) -> None:
        """:param clock: function that returns seconds"""
        self.clock, self.total, self._inside = clock, defaultdict(float), False

    def wrap(self, owner, name: str, stage: str) -> None:
        """Replace a method or function of a class or module by one that is timed."""
        inner = getattr(owner, name)

        def timed(*args, **kwargs):
            if self._inside:
                return inner(*args, **kwargs)
            self._inside, start = True, self.clock()
            try:
                return inner(*args, **kwargs)
            finally:
                self._inside = False
                self.total[stage] += self.clock() - start
        setattr(owner, name, timed)


def measure(simulator, size_hw, count: int, clock, watch: Stopwatch) -> dict[str, float]:
    """Return images per second, and the share of each stage, of `count` images."""
    from dataclasses import replace

    mix = replace(simulator.mix, view=replace(simulator.mix.view, size_hw=size_hw))
    timed = simulator.with_mix(mix)
    watch.total.clear()
    start = clock()
    done = sum(1 for _ in timed.samples((31, size_hw[0]), count))
    total = clock() - start
    shares = {stage: watch.total[stage] / total for stage in STAGES[:2]}
    return {'images_per_s': done / total, **shares, STAGES[2]: 1 - sum(shares.values())}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--assets', type=Path, required=True)
    parser.add_argument('--count', type=int, default=48, help='images per size')
    parser.add_argument('--device', default='cpu', help='cpu, cuda or auto')
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        from training.simulator import generate, scene, views

        clock = time.process_time if args.device == 'cpu' else time.perf_counter
        watch = Stopwatch(clock)
        simulator = generate.Simulator(args.assets, device=args.device)
        list(simulator.samples((31, 0), args.count))    # loads objects and worlds
        watch.wrap(generate.Simulator, '_scene', 'build')
        watch.wrap(views, 'scatter_near', 'build')
        watch.wrap(views, 'scatter_marks', 'build')
        watch.wrap(scene.Scene, 'cast', 'cast')
        watch.wrap(scene.Scene, 'occluded', 'cast')
        print(f'| {args.device} | images/s | {" | ".join(STAGES)} |\n|---|---|---|---|---|')
        for size_hw in ((256, 512), (512, 1024)):
            row = measure(simulator, size_hw, args.count, clock, watch)
            print(f'| {size_hw[0]} x {size_hw[1]} | {row["images_per_s"]:.1f} | '
                  + ' | '.join(f'{100 * row[s]:.0f} %' for s in STAGES) + ' |', flush=True)
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
