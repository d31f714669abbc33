# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The mean of the weights of checkpoints of one network, for instance of two ends of one training.

Example:
    python -m training.average --checkpoint runs/a=0.7 runs/b=0.3 --out runs/mean.safetensors

Ends that began from the same weights and did not go far lie in one valley: their mean says about
what the mean of their predictions would. Judge it like any other checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from da_ros.errors import DaRosError
from training.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    origin,
    save_checkpoint,
)

TOLD = ('file', 'sha256', 'commit', 'step', 'samples', 'training_s')


def average(checkpoints: list[Checkpoint], shares: list[float]) -> dict:
    """
    Return the weighted mean of the states; integers (steps counted) are those of the first.

    :raises CheckpointError: if the networks are not of one kind and size
    """
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if (other.network, other.config, other.state.keys()) != (
                first.network, first.config, first.state.keys()):
            raise CheckpointError(f'only checkpoints of one network can be averaged, got '
                                  f'{first.network} and {other.network} of other settings')
    total = sum(shares)
    mean = {}
    for name, value in first.state.items():
        mean[name] = value if not value.is_floating_point() else sum(
            share / total * checkpoint.state[name].double()
            for share, checkpoint in zip(shares, checkpoints)).to(value.dtype)
    return mean


def parts_of(words: list[str]) -> tuple[list[Path], list[float]]:
    """
    Return the paths and shares of PATH=SHARE; without one the share is 1.

    :raises CheckpointError: if a share is no positive number
    """
    paths, shares = [], []
    for word in words:
        path, _, share = word.rpartition('=')
        try:
            shares.append(float(share) if path else 1.0)
        except ValueError:
            raise CheckpointError(f'--checkpoint {word}: {share!r} is no share; give PATH=0.7'
                                  ) from None
        if not 0 < shares[-1] < float('inf'):
            raise CheckpointError(f'--checkpoint {word}: a share is more than 0 and finite')
        paths.append(Path(path or word))
    return paths, shares


def part(path: Path, share: float) -> dict:
    """Return what the mean says of one of its checkpoints."""
    about = origin(path)
    kept = {name: about[name] for name in TOLD if name in about}
    return {'share': round(share, 6), **kept, 'loss': about.get('config', {}).get('loss', {})}


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog='python -m training.average', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', nargs='+', required=True, metavar='PATH=SHARE')
    parser.add_argument('--out', type=Path, required=True, help='.safetensors')
    args = parser.parse_args(argv)
    try:
        paths, shares = parts_of(args.checkpoint)
        checkpoints = [load_checkpoint(path) for path in paths]
        state = average(checkpoints, shares)
        about = [part(path, share / sum(shares)) for path, share in zip(paths, shares)]
        first = checkpoints[0]
        # what the first says of data and encoder holds for the mean, all parts stand beside it
        print(save_checkpoint(args.out, first.network, first.config, state,
                              {**first.provenance, 'mean_of': about}))
    except (DaRosError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
