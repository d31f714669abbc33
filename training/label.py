# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Label panoramas with a trained network: images or shards in, shards of pseudo-labels out.

Examples:
    python -m training.label --checkpoint runs/stage1 --data photos --out labels/photos
    accelerate launch --multi_gpu --num_processes 8 -m training.label \\
        --checkpoint runs/stage1 --quality runs/quality \\
        --data photos more_photos --out labels/photos
    python -m training.label --checkpoint model.pth --network dap --data photos --out labels/dap
    torchrun --standalone --nproc-per-node 2 -m training.label ...      # the same on two CPU cores

Each shard is made whole by one process and depends on its images and the networks alone: not on
the number of processes, their order, or how often the run was stopped. Finished shards are kept;
--data may name further folders later, but none less: one --out holds the labels of one command.
On the CPU every process computes with one thread (more threads round differently): start as many
processes as there are cores.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import json
from pathlib import Path
import sys
import time

from accelerate import PartialState
import cv2
import numpy as np
import torch
from tqdm import tqdm

from da_ros.body_mask import BodyMask, read_picture
from da_ros.bundle import sha256_of
from da_ros.cameras.models import ErpCamera
from da_ros.errors import DaRosError
from da_ros.sphere import erp_rays
from training.checkpoints.checkpoint import build
from training.checkpoints.reading import read_checkpoint
from training.data.sample import Sample
from training.data.shards import write_shard
from training.data.unlabelled import find_portions, Panorama, Portion
from training.discriminate import quality
from training.labelling.labeler import Labeler, LabelError
from training.run.processes import process_state

SCORE_DIGITS = 6
OPTIONS = ('camera_height', 'disagreement')         # that decide what a label says
NAMES_SHOWN = 20


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.label', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', type=Path, required=True, help='the labeler')
    parser.add_argument('--network', choices=['dap'],
                        help='which network a released file holds; ours know theirs')
    parser.add_argument('--quality', type=Path, help='checkpoint of training.discriminate: every '
                        'label gets its score')
    parser.add_argument('--data', type=Path, action='extend', nargs='+', required=True,
                        help='folders of images or of shards')
    parser.add_argument('--body-mask', type=Path, metavar='PNG', help='a panorama, white where '
                        'the robot that took the images sees itself (da_ros_body_mask): no label')
    parser.add_argument('--out', type=Path, required=True, help='folder of the shards')
    parser.add_argument('--per-shard', type=int, default=96, help='images per shard')
    parser.add_argument('--camera-height', type=float, default=0.0, metavar='METRES',
                        help='of images that do not say theirs; 0 = unknown')
    parser.add_argument('--disagreement', type=float, default=0.0, metavar='LOG',
                        help='label the mirror image and other exposures, too, and leave pixels '
                        'unknown where log ranges scatter by more (one sigma, e.g. 0.1)')
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Networks:
    """The labeler, the judge of its labels, and the hashes that say which they are."""

    labeler: Labeler
    judge: torch.nn.Module | None
    hashes: dict[str, str | float]  # sha256 of labeler, quality, body_mask; OPTIONS not 0
    robot: np.ndarray | None = None     # bool (h, w) at the labeler's size: what is the robot
    height_m: float = 0.0       # of images that do not say theirs
    disagreement: float = 0.0   # see Labeler.agreed


def load_networks(args: argparse.Namespace, device: torch.device) -> Networks:
    """:raises DaRosError: if a checkpoint cannot be used."""
    files = {'labeler': args.checkpoint} | ({'quality': args.quality} if args.quality else {})
    checkpoints = {name: read_checkpoint(path, args.network if name == 'labeler' else None)
                   for name, path in files.items()}
    hashes = {name: sha256_of(path / 'checkpoint.safetensors' if path.is_dir() else path)
              for name, path in files.items()}
    hashes |= {name: vars(args)[name] for name in OPTIONS if vars(args)[name]}
    judge = None
    if args.quality:
        if checkpoints['quality'].network != 'discriminator':
            raise LabelError(f'--quality {args.quality} is a {checkpoints["quality"].network!r}; '
                             'give what training.discriminate wrote')
        judge = build(checkpoints['quality']).to(device)
    labeler = Labeler(checkpoints['labeler'], device)
    if not labeler.metric:
        raise LabelError(f'--checkpoint {args.checkpoint} gives ranges without a unit; label with '
                         'a metric network (pano_tiny, dap)')
    robot = None
    if args.body_mask:
        mask, camera = BodyMask(read_picture(args.body_mask, ErpCamera())), ErpCamera()
        robot = mask.covers(erp_rays(*labeler.size_hw), camera)
        hashes['body_mask'] = sha256_of(args.body_mask)
    return Networks(labeler, judge, hashes, robot, args.camera_height, args.disagreement)


def label_panorama(panorama: Panorama, networks: Networks) -> Sample:
    """
    Return the labelled sample; its JSON says from which image and, with a judge, how good.

    :raises LabelError: if the image is no panorama
    """
    height_m = panorama.camera_height_m or networks.height_m
    label = networks.labeler.label(panorama.image, height_m, networks.disagreement)
    if networks.robot is not None:
        label.range_m[networks.robot] = np.nan
    meta = {'name': panorama.name, 'labeler': networks.hashes['labeler'][:16]}
    if networks.judge is not None:
        score = quality(networks.judge, label.image, label.range_m)
        meta['score'] = round(score, SCORE_DIGITS)
    return Sample(label.image, label.range_m, np.isfinite(label.range_m), panorama.source,
                  height_m, meta)


def label_portion(portion: Portion, networks: Networks, out: Path, bar: tqdm) -> int:
    """
    Write the shard of a portion, and before it what was skipped: NAME.json.

    :return: number of labels
    :raises ShardError: if the shard cannot be written; nothing is left of it
    """
    skipped = []

    def samples():
        """Yield the labels, and write beside them what was left out."""
        labelled = 0
        for panorama in portion.panoramas():
            bar.update()
            try:
                if isinstance(panorama, str):
                    raise LabelError(panorama)
                yield label_panorama(panorama, networks)
                labelled += 1
            except LabelError as error:
                name = '' if isinstance(panorama, str) else f'{panorama.name}: '
                skipped.append(f'{name}{error}')
        record_path(portion, out).write_text(json.dumps(
            {**networks.hashes, 'inputs': portion.digest(), 'images': labelled,
             'skipped': skipped}, indent=1) + '\n')

    return write_shard(shard_path(portion, out), samples(), {})


def record_path(portion: Portion, out: Path) -> Path:
    """Return the file that says how a shard was made."""
    return out / f'{portion.name}.json'


def shard_path(portion: Portion, out: Path) -> Path:
    """Return the shard of a portion."""
    return out / f'{portion.name}.tar'


def check_finished(shard: Path, portion: Portion | None, hashes: dict[str, str]) -> None:
    """
    Refuse a finished shard if it is not one that would be made now.

    :param portion: what it is to hold; None = nothing in --data is of its name
    :raises LabelError: if it was made by another network or from other images
    """
    try:
        record = json.loads(shard.with_suffix('.json').read_text())
    except (OSError, ValueError) as error:
        raise LabelError(f'{shard} has no readable {shard.stem}.json; delete it or choose another '
                         '--out') from error
    wanted = {**hashes, 'inputs': portion.digest() if portion else record.get('inputs')}
    for name in ('labeler', 'quality', 'body_mask', 'inputs', *OPTIONS):
        if record.get(name) != wanted.get(name):
            raise LabelError(f'{shard} was made with other {name} ({record.get(name)}, not '
                             f'{wanted.get(name)}); delete it, to have it labelled again, or '
                             'choose another --out')
    if portion is None:
        raise LabelError(f'{shard} holds labels of images that --data does not name; add their '
                         'folder to --data, delete it, or choose another --out')


@contextmanager
def repeatable_arithmetic() -> Iterator[None]:
    """Make every run round alike; what the process set before comes back at the end."""
    cudnn = torch.backends.cudnn
    before = torch.get_num_threads(), cv2.getNumThreads(), cudnn.benchmark, cudnn.deterministic
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        cudnn.benchmark, cudnn.deterministic = before[2:]


def run(args: argparse.Namespace) -> int:
    """Label this process's share, wait for the others, report."""
    state = process_state()
    with repeatable_arithmetic():
        return label_share(args, state)


def label_share(args: argparse.Namespace, state: PartialState) -> int:
    """Do the work of `run`; the caller sees to the arithmetic."""
    networks = load_networks(args, state.device)
    portions = find_portions(args.data, args.per_shard)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabelError(f'--out {args.out} cannot be made: {error.strerror or error}; choose '
                         'another') from error
    wanted = {shard_path(portion, args.out): portion for portion in portions}
    finished = sorted(args.out.glob('*.tar'))
    todo = [portion for shard, portion in wanted.items() if not shard.exists()]
    for shard in finished[state.process_index::state.num_processes]:
        check_finished(shard, wanted.get(shard), networks.hashes)
    state.wait_for_everyone()       # everybody has looked before anybody writes
    mine = todo[state.process_index::state.num_processes]
    if state.is_main_process and finished:
        print(f'{len(finished)} finished shards are kept')
    start, cpu = time.perf_counter(), time.process_time()
    with tqdm(unit='image', disable=None if state.is_main_process else True) as bar:
        done = sum(label_portion(portion, networks, args.out, bar) for portion in mine)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    if mine:
        print(f'process {state.process_index}: {len(mine)} shards, {done} images in {wall:.1f} s '
              f'({cpu:.1f} s of CPU time)', flush=True)
    state.wait_for_everyone()
    return report(portions, args.out) if state.is_main_process else 0


def report(portions: list[Portion], out: Path) -> int:
    """
    Print how many images are labelled and which were skipped, also by earlier runs.

    :raises LabelError: if no image of a folder could be labelled
    """
    records = {p: json.loads(record_path(p, out).read_text()) for p in portions}
    skipped = [text for record in records.values() for text in record['skipped']]
    images = Counter()
    for portion, record in records.items():
        images[portion.folder] += record['images']
    print(f'{images.total()} labels in {len(portions)} shards under {out}; {len(skipped)} skipped')
    for text in skipped[:NAMES_SHOWN]:
        print(f'skipped: {text}', file=sys.stderr)
    if len(skipped) > NAMES_SHOWN:
        print(f'... and {len(skipped) - NAMES_SHOWN} more, named in {out}/*.json', file=sys.stderr)
    for folder, number in images.items():
        if not number:
            raise LabelError(f'no image under {folder} could be labelled; delete its shards under '
                             f'{out}, and mend it or leave it out of --data')
    return 0


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        return run(parse_args(argv))
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
