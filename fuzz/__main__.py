# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Give hostile input to all that reads: a crash, a second, or 100 MB of growth is a find.

    python -m fuzz [--target NAME ...] [--seconds 5 | --count 100000] [--seed 0] [--guided]

A find is written to `fuzz_finds/` and named with its traceback; it belongs into a test.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys
import time
import traceback

import numpy as np
import psutil

from fuzz.targets import one, TARGETS

SLOW_S, GROWTH = 1.0, 100e6
FINDS = Path('fuzz_finds')


def keep(name: str, data: bytes, why: str) -> None:
    """Write an input that is a find."""
    FINDS.mkdir(exist_ok=True)
    path = FINDS / f'{name}_{abs(hash(data)) % 10**8:08d}'
    path.write_bytes(data)
    print(f'FOUND {name}: {why}\n  {path}', flush=True)


def fuzz(name: str, seconds: float, count: int, seed: int) -> tuple[int, int]:
    """Return how many inputs were given to a target, and how many were finds."""
    rng, done, finds = np.random.default_rng(seed), 0, 0
    one(name, b'')                             # what is made once is no growth
    memory = psutil.Process()
    before, end = memory.memory_info().rss, time.monotonic() + seconds
    while done < count if count else time.monotonic() < end:
        data, done = rng.bytes(int(rng.integers(1, TARGETS[name][2]))), done + 1
        began = time.thread_time()
        try:
            one(name, data)
            why = ''
        except (Exception, SystemExit):
            why = traceback.format_exc()
        if time.thread_time() - began > SLOW_S:
            why = f'{time.thread_time() - began:.1f} s'
        if done % 100 == 0 and memory.memory_info().rss - before > GROWTH:
            why, before = 'memory grows by 100 MB', memory.memory_info().rss
        if why:
            finds += 1
            keep(name, data, why)
            if finds == 5:
                break
    return done, finds


def guided(name: str, count: int) -> None:
    """Let atheris look for new paths in one target; it ends the process."""
    try:
        import atheris
    except ImportError:
        raise SystemExit('atheris is not installed, which has no wheel for Python 3.10; '
                         'pip install atheris==3.0.0') from None
    with atheris.instrument_imports(include=['da_ros']):
        for module in [name for name in sys.modules if name.startswith(('da_ros', 'fuzz.t'))]:
            del sys.modules[module]
        from fuzz.targets import one as instrumented
    atheris.Setup([sys.argv[0], f'-runs={count}', '-max_len=400', '-timeout=30',
                   '-rss_limit_mb=4096'], lambda data: instrumented(name, data))
    atheris.Fuzz()


def main() -> int:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[1])
    parser.add_argument('--target', nargs='*', choices=[*TARGETS], default=[*TARGETS])
    parser.add_argument('--seconds', type=float, default=5.0, help='of each target')
    parser.add_argument('--count', type=int, default=0, help='inputs of each, instead of seconds')
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--guided', action='store_true', help='by atheris; one target')
    given = parser.parse_args()
    if given.guided:
        guided(given.target[0], given.count or 10_000)
    seed = int(time.time()) if given.seed is None else given.seed
    total = 0
    for name in given.target:
        done, finds = fuzz(name, given.seconds, given.count, seed)
        total += finds
        print(f'{name}: {done} inputs, {finds} finds (seed {seed})', flush=True)
    return 1 if total else 0


if __name__ == '__main__':
    sys.exit(main())
