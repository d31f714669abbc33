# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Select the best pseudo-labels: the top N indoor and the top N outdoor by their score.

Example:
    python -m training.selection --labels labels/photos labels/frames \\
        --indoor 300000 --outdoor 300000 --out labels/best.txt

Writes a list file, best first, that `training.train --data` reads like a folder of shards. The
same labels give the same list: equal scores are ordered by the name of their image.

Indoor or outdoor is what the label's JSON says (`place`), else a folder called indoor or outdoor
in the name of the image, else the kind of simulated scene. Labels of unknown place are left out,
counted and named.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
import os
from pathlib import Path, PurePosixPath
import sys

from tqdm import tqdm

from da_ros.errors import DaRosError
from training.data.job import write_whole
from training.data.shards import ShardError, ShardSet
from training.labelling.labeler import LabelError

PLACES = ('indoor', 'outdoor')
OUTDOOR_SCENES = {'street', 'yard', 'open', 'outdoor', 'gz_street', 'aws_racetrack'}
INDOOR_SCENES = {'home', 'office', 'corridor', 'shop', 'garage', 'warehouse', 'hall',
                 'aws_small_house', 'aws_hospital_f1', 'aws_small_warehouse'}


@dataclass(frozen=True)
class Candidate:
    """One label that could be selected."""

    score: float
    name: str       # of the image
    place: str      # indoor | outdoor | empty = unknown
    shard: Path
    key: str        # in the shard

    def order(self) -> tuple:
        """Best first; equal ones by name."""
        return -self.score, self.name, self.key


def place_of(meta: dict) -> str:
    """Return indoor, outdoor, or nothing, from the JSON of a label."""
    if meta.get('place') in PLACES:
        return meta['place']
    folders = PurePosixPath(meta['name'].partition(':')[0]).parts[:-1]
    named = [part for part in folders if part in PLACES]
    if named:
        return named[-1]
    scene = meta['source']
    return ('outdoor' if scene in OUTDOOR_SCENES else 'indoor' if scene in INDOOR_SCENES else '')


def candidates(folders: list[Path]) -> tuple[list[Candidate], list[str]]:
    """
    Return every label of some folders, and a message for each that is damaged.

    :raises LabelError: if a label has no score
    """
    labels = ShardSet(folders)
    found, damaged = [], list(labels.corrupt)
    for index in tqdm(range(len(labels)), unit='label', disable=None):
        shard, key = labels.place(index)
        try:
            meta = labels.meta(index)
        except ShardError as error:
            damaged.append(str(error))
            continue
        if 'score' not in meta or 'name' not in meta:
            raise LabelError(f'{shard}:{key} has no score; label with training.label --quality')
        found.append(Candidate(meta['score'], meta['name'], place_of(meta), shard, key))
    return found, damaged


def select(found: list[Candidate], wanted: dict[str, int]) -> list[Candidate]:
    """Return the best of each place, best first; fewer where there are fewer."""
    ranked = sorted(found, key=Candidate.order)
    kept = {place: [c for c in ranked if c.place == place][:n] for place, n in wanted.items()}
    return sorted((c for of_place in kept.values() for c in of_place), key=Candidate.order)


def write_list(path: Path, chosen: list[Candidate]) -> None:
    """
    Write a list file with paths relative to it; whole or not at all.

    :raises LabelError: if it cannot be written
    """
    lines = [f'{Path(os.path.relpath(c.shard, path.parent)).as_posix()}:{c.key}\t{c.score:.6f}\t'
             f'{c.place}\t{c.name}\n' for c in chosen]
    try:
        write_whole(path, ''.join(lines))
    except OSError as error:
        raise LabelError(f'--out {path} cannot be written: {error.strerror or error}; give '
                         'another place') from error


def run(args: argparse.Namespace) -> None:
    """:raises LabelError: if nothing can be selected, or the list cannot be written."""
    if args.out.suffix != '.txt':
        raise LabelError(f'--out {args.out} must end in .txt')
    found, damaged = candidates(args.labels)
    if damaged:
        print(f'left out: {len(damaged)} labels or shards that are damaged', file=sys.stderr)
    for message in damaged:
        print(f'  {message}', file=sys.stderr)
    wanted = {'indoor': args.indoor, 'outdoor': args.outdoor}
    chosen = select(found, wanted)
    if not chosen:
        raise LabelError(f'none of {len(found)} labels is known to be indoor or outdoor, or none '
                         'is wanted; sort the images with `python -m training.curate sort` before '
                         'labelling')
    write_list(args.out, chosen)
    for place, number in wanted.items():
        scores = [c.score for c in chosen if c.place == place]
        have = sum(c.place == place for c in found)
        worst = f', score {scores[0]:.3f} to {scores[-1]:.3f}' if scores else ''
        print(f'{place}: {len(scores)} of {have} (wanted {number}){worst}')
    unknown = Counter(PurePosixPath(c.name).parts[0] for c in found if not c.place)
    for source, number in sorted(unknown.items()):
        print(f'left out: {number} of {source}, whose place is not known', file=sys.stderr)
    print(args.out)


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.selection', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--labels', type=Path, action='extend', nargs='+', required=True,
                        help='folders that training.label wrote')
    parser.add_argument('--indoor', type=int, default=300_000, help='how many (DAP: 300000)')
    parser.add_argument('--outdoor', type=int, default=300_000, help='how many (DAP: 300000)')
    parser.add_argument('--out', type=Path, required=True, help='list file, *.txt')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        run(parse_args(argv))
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
