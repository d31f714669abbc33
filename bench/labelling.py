# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
How labelling spreads over processes.

    python -m bench.labelling                    # 1 and 2 processes, 192 made-up photos
    python -m bench.labelling --processes 1 2 4 --images 960

Labels the same photos with 1, 2, ... processes (default network, random weights, one thread each)
and prints two speed-ups: by the clock, which needs as many idle cores as processes, and by CPU
time (that of one process over the largest of n), which other work hardly changes: it is about
what idle cores would give. Start-up is left out of both.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile

import cv2
import numpy as np

from training.checkpoints.checkpoint import save_checkpoint
from training.networks import build_network

SHARE = re.compile(r'process \d+: \d+ shards, (\d+) images in ([\d.]+) s \(([\d.]+) s of CPU')


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--images', type=int, default=192)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_photos(folder / 'photos', options.images)
        network = build_network('pano_tiny')
        save_checkpoint(folder / 'labeler', 'pano_tiny', asdict(network.config),
                        network.state_dict(), {})
        print('| processes | images/s | speed-up, clock | CPU s, largest | speed-up, CPU time |')
        print('|---|---|---|---|---|')
        first: tuple[float, float] | None = None
        for processes in options.processes:
            wall, cpu = label(folder, processes)
            first = first or (wall, cpu)
            print(f'| {processes} | {options.images / wall:.1f} | {first[0] / wall:.2f} | '
                  f'{cpu:.1f} | {first[1] / cpu:.2f} |', flush=True)


def write_photos(folder: Path, count: int) -> None:
    """Write JPEG panoramas of 512 x 1024 px with some texture."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number:05d}.jpg'), cv2.resize(coarse, (1024, 512)))


def label(folder: Path, processes: int) -> tuple[float, float]:
    """Return seconds by the clock and of CPU time of the slowest process."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone',
               '--nproc-per-node', str(processes), '-m', 'training.label', '--checkpoint',
               str(folder / 'labeler'), '--data', str(folder / 'photos'), '--per-shard', '8',
               '--out', str(folder / f'labels_{processes}')]
    result = subprocess.run(command, capture_output=True, text=True, check=True,
                            env=os.environ | {'OMP_NUM_THREADS': '1'})
    shares = [tuple(float(n) for n in found) for found in SHARE.findall(result.stdout)]
    assert len(shares) == processes, result.stdout
    return max(s[1] for s in shares), max(s[2] for s in shares)


if __name__ == '__main__':
    main()
