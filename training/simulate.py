# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Render shards of panoramas with exact range.

Example:
    python -m training.simulate --assets ASSETS --out shards/train --seed 1 --count 20000
    python -m training.simulate --assets ASSETS --out shards/outdoor --benchmark outdoor
    python -m training.simulate --assets ASSETS --out drives --sequence 80 --count 960 --bags
    python -m training.simulate --assets ASSETS --out shards/put --photographs PANORAMAS
    python -m training.simulate --sheet shards/train/00000.tar sheet.png

The range masks at 10, 20, 50 and 100 m are not stored: they are `range <= threshold` of the range
as stored, in float16.
Finished shards are kept; OUT/job.json says of what, and another job is refused.

--sequence: every shard is one drive at 10 Hz, with people who walk and a camera that shakes; the
JSON of a frame has `stamp_s` and `odom_from_camera` (4 x 4). --bags writes each as a bag, too.

--photographs: things of the assets on the free floor of photographs that are labelled in
training/data/floor_labels, at 320x640; see simulator.inserts.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
import sys
import time
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from da_ros.errors import DaRosError
from da_ros.files import write_image
from training.data.job import check_job, write_job
from training.data.pool import spread
from training.data.shards import contact_sheet, read_shard, ShardError, ShardSet, write_shard

# the content of a shard
DECIDES = ('seed', 'per_shard', 'size', 'only', 'mix', 'near', 'marked', 'high', 'benchmark',
           'sequence')
LOWEST_M = 0.1                  # of a training camera; the benchmarks have their own
_simulator = _inserter = None           # of a worker, which renders many shards


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.simulate', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--assets', type=Path, help='folder with textures, scenes, panoramas')
    parser.add_argument('--out', type=Path, help='folder of the shards')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--count', type=int, default=960, help='images in all shards')
    parser.add_argument('--per-shard', type=int, default=96)
    parser.add_argument('--size', help='height x width [px]; default 256x512, 320x640 with '
                        '--photographs')
    parser.add_argument('--workers', type=int, default=1, help='processes')
    parser.add_argument('--only', default='', help='one world, shown as it is')
    parser.add_argument('--mix', action='extend', nargs='+', metavar='KIND=SHARE',
                        help='scene kinds to draw from')
    parser.add_argument('--near', type=float, help='mean number of near obstacles per camera')
    parser.add_argument('--marked', type=float,
                        help='share of cameras with paint or rugs on the floor around them')
    parser.add_argument('--high', type=float, default=0.0,
                        help='share of cameras 2 to 5 m above the floor')
    parser.add_argument('--benchmark', choices=('outdoor', 'obstacles'),
                        help='render this fixed evaluation set; see simulator.benchmarks')
    parser.add_argument('--sequence', type=int, default=0, metavar='FRAMES',
                        help='render drives of so many frames, one a shard')
    parser.add_argument('--photographs', type=Path, metavar='FOLDER',
                        help='put things into the labelled photographs below FOLDER')
    parser.add_argument('--labels', type=Path, metavar='FOLDER', help='with --photographs: what '
                        'training.label says of them, where the labels made by hand say nothing')
    parser.add_argument('--bags', action='store_true', help='with --sequence: bags OUT/00000 ...')
    parser.add_argument('--device', choices=('cpu', 'cuda', 'auto'), default='cpu',
                        help='ray casting on cpu, cuda, or auto = a GPU where there is one')
    parser.add_argument('--sheet', nargs=2, metavar=('SHARD', 'PNG'),
                        help='write a contact sheet of a shard and stop')
    args = parser.parse_args(argv)
    args.size = args.size or ('320x640' if args.photographs else '256x512')
    return args


def mix_of(args: argparse.Namespace):
    """Return the mixture that the arguments describe."""
    from training.simulator.generate import check_mix, MixConfig

    mix = MixConfig(only=args.only, shares=parse_mix(args.mix) or MixConfig().shares)
    view = replace(mix.view, size_hw=size_of(args), min_height_m=LOWEST_M, high=args.high)
    if args.near is not None:
        view = replace(view, near_things=args.near)
    if args.marked is not None or args.only:
        view = replace(view, marked=args.marked or 0.0)     # a single world stays as it is
    return check_mix(replace(mix, view=view))


def size_of(args: argparse.Namespace) -> tuple[int, int]:
    """Return (height, width) of --size [px]."""
    try:
        height, width = (int(n) for n in args.size.split('x'))
    except ValueError:
        raise ShardError(f'--size {args.size} is not HEIGHTxWIDTH, e.g. 256x512') from None
    if width != 2 * height:
        raise ShardError(f'--size {args.size}: a panorama is twice as wide as high')
    return height, width


def parse_mix(words) -> tuple[tuple[str, float], ...]:
    """Return the (kind, share) pairs of --mix."""
    pairs = []
    for word in words or ():
        kind, _, share = word.partition('=')
        try:
            pairs.append((kind, float(share)))
        except ValueError:
            raise ShardError(f'--mix {word} is not KIND=SHARE, e.g. home=0.5') from None
    return tuple(pairs)


@dataclass(frozen=True)
class Job:
    """One shard to render; its content depends on the assets, the mixture and the seed alone."""

    assets: Path
    path: Path
    count: int
    seed: tuple[int, ...]
    mix: Any                # MixConfig, which imports open3d only when used
    device: str
    drive: bool = False
    photographs: Path | None = None
    labels: Path | None = None


def jobs_of(args: argparse.Namespace) -> list[Job]:
    """Return the shards that the arguments ask for, finished ones included."""
    if args.benchmark:
        from training.simulator.benchmarks import BENCHMARKS, seed_of

        size = size_of(args)
        mixes = [replace(part.mix, view=replace(part.mix.view, size_hw=size))
                 for part in BENCHMARKS[args.benchmark]]
        return [Job(args.assets, args.out / f'{i:05d}.tar', part.count, seed_of(i), mix,
                    args.device)
                for i, (part, mix) in enumerate(zip(BENCHMARKS[args.benchmark], mixes))]
    mix, size = mix_of(args), args.sequence or args.per_shard
    return [Job(args.assets, args.out / f'{i:05d}.tar', min(size, args.count - i * size),
                (args.seed, i), mix, args.device, bool(args.sequence), args.photographs,
                args.labels)
            for i in range(-(-args.count // size))]


def is_finished(job: Job) -> bool:
    """
    Return whether a shard is there, with all the images that are wanted of it.

    :raises ShardError: if it is damaged, so that nobody takes it for whole
    """
    if not job.path.exists():
        return False
    shards = ShardSet([job.path])
    if shards.corrupt:
        raise ShardError(shards.corrupt[0])
    return len(shards) >= job.count


def claim(args: argparse.Namespace) -> None:
    """
    Say in OUT/job.json whose shards these are.

    :raises JobError: if the folder holds the shards of another job
    """
    asked = {'assets': str(args.assets.resolve()), **{name: vars(args)[name] for name in DECIDES},
             **{name: str(vars(args)[name].resolve()) if vars(args)[name] else None
                for name in ('photographs', 'labels')}}
    if any(args.out.glob('*.tar')):
        check_job(args.out, asked)
    write_job(args.out, asked)


def render_shard(job: Job) -> tuple[int, float]:
    """Render one shard; returns the number of images and the time it took [s]."""
    from training.simulator.generate import Simulator

    global _simulator, _inserter
    if _simulator is None:
        cv2.setNumThreads(1)
        _simulator = Simulator(job.assets, job.mix, job.device)
    start = time.perf_counter()
    simulator = _simulator.with_mix(job.mix)
    if job.photographs:
        _inserter = _inserter or simulator.inserts(job.photographs, job.labels)
        samples = _inserter.samples(job.seed, job.count)
    elif job.drive:
        from training.simulator.sequences.drive import DriveConfig
        samples = simulator.sequence(job.seed, DriveConfig(job.count))
    else:
        samples = simulator.samples(job.seed, job.count)
    write_shard(job.path, samples, {'seed': job.seed[0], 'shard': job.seed[1]})
    return job.count, time.perf_counter() - start


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    args = parse_args(argv)
    try:
        if args.sheet:
            return write_sheet(Path(args.sheet[0]), Path(args.sheet[1]))
        if args.assets is None or args.out is None:
            raise ShardError('--assets and --out are needed; see --help')
        for name in ('count', 'per_shard', 'workers'):
            if (value := vars(args)[name]) < 1:
                raise ShardError(f'--{name.replace("_", "-")} must be at least 1, got {value}')
        if args.sequence < 0 or (args.benchmark and args.sequence):
            raise ShardError(f'--sequence {args.sequence} must be 1 or more, without --benchmark')
        if args.photographs:
            check_alone(args)
        elif args.labels:
            raise ShardError('--labels needs --photographs: it says what is seen in them')
        if args.bags and not args.sequence:
            raise ShardError('--bags needs --sequence: only drives have poses')
        return run(args)
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1


def check_alone(args: argparse.Namespace) -> None:
    """Raise ShardError if --photographs is given with what it would not heed."""
    for name in ('only', 'mix', 'near', 'marked', 'high', 'benchmark', 'sequence', 'bags'):
        if vars(args)[name]:
            raise ShardError(f'--photographs stands alone; leave --{name} out, which is of worlds '
                             'that are rendered')
    if args.size != '320x640':
        raise ShardError(f'--size {args.size}: with --photographs it is 320x640, the size of the '
                         'labels')


def run(args: argparse.Namespace) -> int:
    """Render the shards, and write the bags, that are not there yet."""
    wanted = jobs_of(args)
    claim(args)
    jobs = [job for job in wanted if not is_finished(job)]
    if len(jobs) < len(wanted):
        print(f'{len(wanted) - len(jobs)} finished shards are kept')
    if jobs:
        render(args, jobs)
    for path in (job.path for job in wanted if args.bags):
        from training.simulator.sequences.bags import write_bag
        if not (bag := path.with_suffix('')).exists():
            write_bag(path, bag)
            print(bag)
    return 0


def render(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Render shards; say how fast."""
    start, images, busy = time.perf_counter(), 0, 0.0
    with tqdm(total=sum(job.count for job in jobs), unit='image') as bar:
        for count, seconds in spread(render_shard, jobs, args.workers):
            images, busy = images + count, busy + seconds
            bar.update(count)
    wall = time.perf_counter() - start
    print(f'{images} images in {wall:.0f} s: {images / wall:.1f} images/s, '
          f'{images / busy:.1f} images/s per process')


def write_sheet(shard: Path, picture: Path, count: int = 24) -> int:
    samples = [s for s, _ in zip(read_shard(shard), range(count))]
    if not samples:
        raise ShardError(f'{shard} holds no image; give another')
    sheet = np.ascontiguousarray(contact_sheet(samples)[..., ::-1])
    print(write_image(picture, sheet))
    return 0


if __name__ == '__main__':
    sys.exit(main())
