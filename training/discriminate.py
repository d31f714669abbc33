# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Train the network that ranks pseudo-labels (DAP, section 3.2).

Example:
    python -m training.label --checkpoint runs/stage1 --data shards/train --out labels/train
    python -m training.label --checkpoint runs/stage1 --data shards/val --out labels/val
    python -m training.discriminate --pairs shards/train labels/train \\
        --val shards/val labels/val --out runs/quality --steps 2000

A PatchGAN sees the image with the truth (real) or with the labeler's prediction (fake); a label's
score is the mean over its patches. The better it tells the two apart, the less its score says of
the error: once every label is surely fake, good and bad ones look alike. So the weights are kept
whose score goes best with the error of every second held-back label; the others say how well
it does. A run is short and starts again when killed; only a finished one leaves a checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
import math
from pathlib import Path
import sys

from accelerate.utils import gather_object
import numpy as np
from numpy.typing import NDArray
import torch
from torch import nn, Tensor
from tqdm import tqdm

from da_ros.errors import DaRosError
from da_ros.range_map import resample_nearest
from da_ros.sphere import solid_angles
from training.checkpoints.checkpoint import save_checkpoint
from training.data.shards import ShardError, ShardSet
from training.labelling.labeler import LabelError
from training.networks.discriminator import PatchDiscriminator, PatchDiscriminatorConfig
from training.run.processes import new_accelerator
from training.scoring import metrics
from training.scoring.protocols import aligned_with, compare, get_protocol

NEAR_M, FAR_M = 0.1, 100.0      # beyond both, and empty, the range is cut
LEARNING_RATE, BETAS = 2e-4, (0.5, 0.999)       # Isola et al. 2017
DRAWS_PER_PAIR = 20             # damaged pairs in a row before giving up
FEWEST_HELD_BACK = 3            # every second one ranks the weights, and one alone has no rank


class LabelPairs:
    """
    Truth of synthetic images beside the labels of a labeler, at the label's size.

    What is damaged is left out and noted in `skipped`.
    """

    def __init__(self, truth: str | Path, labels: str | Path) -> None:
        """:raises LabelError: if no label was made from a sample of the truth."""
        self._truth, self._labels = ShardSet([truth]), ShardSet([labels])
        self.skipped = dict.fromkeys((*self._truth.corrupt, *self._labels.corrupt))
        place = {self._truth.name(i): i for i in range(len(self._truth))}
        self._pairs = []
        for index in range(len(self._labels)):
            try:
                name = self._labels.meta(index).get('name')
            except ShardError as error:
                self.skipped[str(error)] = None
                continue
            if name in place:
                self._pairs.append((place[name], index))
        if not self._pairs:
            raise LabelError(f'no label in {labels} was made from a sample of {truth}; label that '
                             'folder with training.label')

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[NDArray, NDArray, NDArray] | None:
        """Return image (h, w, 3) uint8 RGB, true and labelled range (h, w) [m]; or None, noted."""
        try:
            truth, label = (data[i] for data, i in
                            zip((self._truth, self._labels), self._pairs[index]))
        except ShardError as error:
            self.skipped[str(error)] = None
            return None
        target = resample_nearest(truth.range_m, *label.range_m.shape)
        return label.image, target, label.range_m


def normalised_shape(range_m: NDArray[np.float32], unknown: NDArray[np.bool_]) -> NDArray:
    """
    Return log range without its scale: minus the median, (h, w) float32 in about -3..3.

    A real and a predicted room of the same shape but another size look alike. Empty counts as
    100 m, unknown as the median.

    :param unknown: (h, w), where not to look; includes the NaN of this map
    """
    log = np.log(np.clip(np.nan_to_num(range_m, nan=1.0), NEAR_M, FAR_M))
    known = log[~unknown]
    middle = np.median(known) if known.size else 0.0
    return np.where(unknown, 0.0, log - middle).astype(np.float32)


def patch_mean(patches: Tensor) -> Tensor:
    """Return the mean (B,) of patch scores (B, h, w) over the sphere."""
    weight = torch.from_numpy(np.array(solid_angles(*patches.shape[-2:]), np.float32))
    weight = (weight / weight.sum()).to(patches.device)
    return (patches * weight).sum((1, 2))


def real_fake_loss(network: nn.Module, image: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """
    Return 0.5 mean (D(real) - 1)^2 + 0.5 mean D(fake)^2 (LSGAN, Mao et al. 2017, equation 9).

    The paper leaves the loss open; least squares keep the scores of bad fakes apart, where a
    saturated logistic or hinge loss makes them alike.
    """
    patches = network(torch.cat([image, image]), torch.cat([real, fake]))
    good, bad = patches.chunk(2)
    return 0.5 * (patch_mean((good - 1) ** 2).mean() + patch_mean(bad ** 2).mean())


def draw(pairs: LabelPairs, size: int, rng: np.random.Generator) -> list[tuple[NDArray, ...]]:
    """
    Return random pairs; one that is damaged is replaced by the next draw.

    :raises LabelError: if nearly all are damaged
    """
    found: list[tuple[NDArray, ...]] = []
    for _ in range(DRAWS_PER_PAIR * size):
        pair = pairs[int(rng.integers(len(pairs)))]
        found += [pair] if pair is not None else []
        if len(found) == size:
            return found
    raise LabelError(f'{DRAWS_PER_PAIR * size} draws gave {len(found)} sound pairs; the first of '
                     f'{len(pairs.skipped)} damages: {next(iter(pairs.skipped))}')


def make_batch(pairs: LabelPairs, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Return image (B, 3, h, w), real and fake shape (B, 1, h, w), rolled and mirrored alike."""
    rows = []
    for image, target, label in draw(pairs, size, rng):
        unknown = np.isnan(target) | np.isnan(label)    # so that a hole does not tell them apart
        planes = np.concatenate([
            image / np.float32(255), normalised_shape(target, unknown)[..., None],
            normalised_shape(label, unknown)[..., None]], -1)
        planes = np.roll(planes, int(rng.integers(planes.shape[1])), 1)
        rows.append(planes[:, ::-1] if rng.uniform() < 0.5 else planes)
    batch = torch.from_numpy(np.stack(rows).astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    return batch[:, :3], batch[:, 3:4], batch[:, 4:]


@torch.inference_mode()
def quality(network: nn.Module, image: NDArray[np.uint8], range_m: NDArray[np.float32]) -> float:
    """
    Return the score of a range map on its image: 1 = like the truth, 0 = like a prediction.

    :param image: (h, w, 3) RGB
    :param range_m: (h, w) [m]; +inf empty, NaN unknown
    """
    device = next(network.parameters()).device
    picture = torch.from_numpy(image / np.float32(255)).permute(2, 0, 1)[None]
    shape = torch.from_numpy(normalised_shape(range_m, np.isnan(range_m)))[None, None]
    return float(patch_mean(network(picture.float().to(device), shape.to(device)))[0])


def label_error(label: NDArray, target: NDArray, align: str) -> float:
    """Return the AbsRel of a label; NaN without truth."""
    found = compare(label, target, aligned_with(get_protocol('sphere'), align))
    return metrics.metrics_from_sums(
        metrics.error_sums(found.pred, found.target, found.weight))['abs_rel']


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """
    Return Spearman's correlation: that of the ranks, ties share the mean of theirs.

    :return: -1..1; NaN if either side is all alike or has fewer than two values
    """
    ranks = [_ranks(np.asarray(values)) for values in (first, second)]
    if any(len(r) < 2 or np.ptp(r) == 0 for r in ranks):
        return float('nan')
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: NDArray) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _mean(values: NDArray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def validate(network: nn.Module, pairs: LabelPairs, indices: Sequence[int]) -> dict[str, float]:
    """
    Return what the scores of held-back labels mean; the network in evaluation mode.

    :return: `told_apart`, the share of (truth, label) pairs of one image in which the truth has
        the higher score; rank correlation of the label's score with its AbsRel, unaligned and
        median-aligned (a good score has a small error: below 0); mean AbsRel, median-aligned, of
        the better half by score and of the rest; number of labels. NaN where none is usable
    """
    rows = []
    for index in indices:
        pair = pairs[index]
        if pair is None:
            continue
        image, target, label = pair
        unknown = np.isnan(target) | np.isnan(label)
        rows.append((
            quality(network, image, label),
            quality(network, image, np.where(unknown, np.nan, target)),
            label_error(label, target, 'none'), label_error(label, target, 'median')))
    table = np.array(rows).reshape(-1, 4)
    score, real, error, aligned = table[np.isfinite(table).all(1)].T
    best_first = aligned[np.argsort(-score, kind='stable')]
    half = (len(score) + 1) // 2
    return {'told_apart': _mean(real > score),
            'rank_correlation': rank_correlation(score, error),
            'rank_correlation_aligned': rank_correlation(score, aligned),
            'error_better_half': _mean(best_first[:half]),
            'error_rest': _mean(best_first[half:]),
            'labels': len(score)}


class Best:
    """The weights whose scores go best with the error of some held-back labels."""

    def __init__(self, network: nn.Module, pairs: LabelPairs) -> None:
        """:raises LabelError: if the labels are too few to rank."""
        if len(pairs) < FEWEST_HELD_BACK:
            raise LabelError(f'{len(pairs)} held-back labels are too few to choose the weights '
                             f'by; give --val at least {FEWEST_HELD_BACK}')
        self.network, self.pairs = network, pairs
        self.step, self.correlation = 0, math.inf
        self.state: dict[str, Tensor] = {}

    def look(self, step: int) -> None:
        """Keep the network's weights if they are the best so far."""
        found = validate(self.network.eval(), self.pairs, range(0, len(self.pairs), 2))
        self.network.train()
        correlation = found['rank_correlation_aligned']
        if not self.state or correlation < self.correlation:
            self.step, self.correlation = step, correlation
            self.state = {k: v.detach().clone() for k, v in self.network.state_dict().items()}

    def verdict(self) -> dict[str, float]:
        """Return the network to its best weights and say how they do on the other labels."""
        self.network.load_state_dict(self.state)
        return validate(self.network.eval(), self.pairs, range(1, len(self.pairs), 2))


def name_skipped(messages: list[str]) -> None:
    """Count and name on stderr what was damaged."""
    if messages:
        print(f'left out: {len(messages)} labels, truths or shards that are damaged',
              file=sys.stderr)
    for message in messages:
        print(f'  {message}', file=sys.stderr)


def check_counts(args: argparse.Namespace) -> None:
    """:raises LabelError: if there is no step, no image in a step, or no look at --val."""
    for name in ('steps', 'look_every', 'batch'):
        if getattr(args, name) < 1:
            raise LabelError(f'--{name.replace("_", "-")} must be at least 1, got '
                             f'{getattr(args, name)}')


def train(args: argparse.Namespace) -> dict[str, float]:
    """
    Train, store the checkpoint, and return the scores on held-back labels.

    :raises DaRosError: if the labels are damaged or too few, or a count is not positive
    """
    check_counts(args)
    accelerator = new_accelerator()
    rank = accelerator.process_index
    torch.manual_seed(args.seed)
    pairs = LabelPairs(*args.pairs)
    bare = PatchDiscriminator(PatchDiscriminatorConfig())
    best = Best(bare, LabelPairs(*args.val))
    network, optimiser = accelerator.prepare(
        bare, torch.optim.Adam(bare.parameters(), lr=LEARNING_RATE, betas=BETAS))
    bar = tqdm(range(args.steps), unit='step', disable=None if rank == 0 else True)
    for step in bar:
        rng = np.random.default_rng((args.seed, step, rank))
        batch = (part.to(accelerator.device) for part in make_batch(pairs, args.batch, rng))
        loss = real_fake_loss(network, *batch)
        optimiser.zero_grad()
        accelerator.backward(loss)
        optimiser.step()
        last = step + 1 == args.steps
        if rank == 0 and (last or (step + 1) % args.look_every == 0):
            best.look(step + 1)
            bar.set_postfix(loss=f'{loss.item():.3f}', best=best.step)
    scores = {**best.verdict(), 'step': best.step} if rank == 0 else {}
    met = gather_object([*pairs.skipped, *best.pairs.skipped])
    if rank == 0:
        name_skipped(sorted(set(met)))
        provenance = {'steps': args.steps, 'batch': args.batch, 'seed': args.seed,
                      'pairs': len(pairs), 'held_back': scores}
        save_checkpoint(args.out, 'discriminator', asdict(bare.config), bare.state_dict(),
                        provenance)
    accelerator.wait_for_everyone()
    return scores


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.discriminate', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (('--pairs', 'to learn from'), ('--val', 'held back')):
        parser.add_argument(name, nargs=2, type=Path, required=True,
                            metavar=('TRUTH', 'LABELS'), help=f'shards and their labels {text}')
    parser.add_argument('--out', type=Path, required=True, help='folder of the checkpoint')
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--look-every', type=int, default=50, help='steps between looks at --val')
    parser.add_argument('--batch', type=int, default=8, help='images per process and step')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Train and say what the scores mean."""
    scores = train(args)
    if scores:
        print(f'step {scores["step"]}, {scores["labels"]} held-back labels: truth told apart in '
              f'{scores["told_apart"]:.0%}; rank correlation of score and AbsRel '
              f'{scores["rank_correlation"]:.2f}, median-aligned '
              f'{scores["rank_correlation_aligned"]:.2f} (below 0: a good score means little '
              f'error); aligned AbsRel of the better half {scores["error_better_half"]:.3f}, of '
              f'the rest {scores["error_rest"]:.3f}')
        if not scores['rank_correlation_aligned'] < 0:
            print('warning: this score does not go with the error; labels that it selects are no '
                  'better than others')


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
