"""
Train a network on shards; stops and resumes anywhere.

Example:
    torchrun --standalone --nproc-per-node 2 -m training.train \\
        --config training/configs/pano_tiny.yaml --data shards/train \\
        --val mixed=shards/val --out runs/pano_tiny --minutes 120

One process runs without torchrun. The draw of samples depends on (seed, step, process) alone, so a
run killed and started again with the same command continues with the same samples. The schedule
follows the time: it ends at --deadline (UTC), or after --minutes of training, or after --steps;
time spent stopped between two steps does not count as training.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
import json
import math
import os
from pathlib import Path
import subprocess
import sys
import time

import cv2
import numpy as np
import torch
import torch.distributed as dist
import yaml

from da_ros.errors import DaRosError
from da_ros.sphere import solid_angles
from training import losses
from training.augment import augment
from training.checkpoint import save_checkpoint
from training.data.shards import colour_of_range, ShardError, ShardSet
from training.networks import build_network

LONGEST_STEP_S = 20.0       # a longer gap means that the process was stopped
DAY_S = 86400
POLE_WEIGHT = 0.15


class TrainError(DaRosError):
    """A configuration or a run folder that cannot be trained."""


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, required=True)
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='shard folders')
    parser.add_argument('--val', nargs='*', default=[], metavar='NAME=FOLDER', action='extend')
    parser.add_argument('--out', type=Path, required=True, help='run folder')
    parser.add_argument('--minutes', type=float, help='training time')
    parser.add_argument('--deadline', help='UTC time of day HH:MM at which the schedule ends')
    parser.add_argument('--steps', type=int, help='optimiser steps')
    return parser.parse_args(argv)


class Schedule:
    """Fraction of the run that is done: by steps, by training time, or by a deadline."""

    def __init__(self, args: argparse.Namespace) -> None:
        if sum(a is not None for a in (args.minutes, args.deadline, args.steps)) != 1:
            raise TrainError('give exactly one of --minutes, --deadline, --steps')
        self.steps, self.seconds, self.end = args.steps, None, None
        if args.minutes is not None:
            self.seconds = args.minutes * 60
        if args.deadline is not None:
            hours, minutes = (int(part) for part in args.deadline.split(':'))
            midnight = time.time() // DAY_S * DAY_S
            self.end = midnight + hours * 3600 + minutes * 60
            if self.end < time.time():
                self.end += DAY_S

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return 0 at the start and >= 1 when the run is over."""
        if self.steps is not None:
            return step / self.steps
        if self.seconds is not None:
            return elapsed_s / self.seconds
        left = self.end - time.time()
        return 1.0 if left <= 0 else elapsed_s / (elapsed_s + left)


def learning_rate(config: dict, step: int, progress: float) -> float:
    """Return the warmed-up cosine rate."""
    warm = min(1.0, (step + 1) / config['warmup_steps'])
    return config['learning_rate'] * warm * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def make_batch(data: ShardSet, config: dict, rng: np.random.Generator):
    """
    Return (image (B, 3, H, W) float, range_m (B, H, W), told height (B,), true height (B,)).

    A corrupt sample is replaced by another draw and named on stderr.
    """
    samples = []
    while len(samples) < config['batch']:
        try:
            samples.append(augment(data[int(rng.integers(len(data)))], rng))
        except ShardError as error:
            print(f'skipped: {error}', file=sys.stderr)
    image = np.stack([s.image for s in samples]).transpose(0, 3, 1, 2)
    range_m = np.stack([s.range_m for s in samples])
    height = np.array([s.camera_height_m for s in samples], np.float32)
    told = height * np.exp(rng.normal(0, config['height_jitter'], len(height)))
    told = told * (rng.uniform(size=len(height)) < config['height_known'])
    return (torch.from_numpy(np.ascontiguousarray(image)).float() / 255,
            torch.from_numpy(np.ascontiguousarray(range_m, np.float32)),
            torch.from_numpy(told.astype(np.float32)), torch.from_numpy(height))


def loss_weights(height: int, width: int) -> torch.Tensor:
    """
    Return (H, W) solid angles, raised at the poles to a share of the equator's.

    Without the floor the rows at the poles get almost no gradient, and Adam, which scales every
    parameter alike, lets their own parameters (row prior, row bias) wander.
    """
    weight = solid_angles(height, width).astype(np.float32)
    return torch.from_numpy(np.maximum(weight, POLE_WEIGHT * weight.max()))


def compute_loss(model, batch, config: dict, solid_angle: torch.Tensor):
    """Return the weighted sum and the parts as {name: float}."""
    image, range_m, told, height = batch
    with torch.autocast('cpu', torch.bfloat16, enabled=config['bf16']):
        log_range, logits, guess = model.predict(image, told)
    log_range, logits, guess = log_range.float(), logits.float(), guess.float()
    usable = torch.isfinite(range_m) & (range_m <= config['max_target_m']) & (range_m > 0.02)
    target = torch.log(torch.where(usable, range_m, 1.0))
    weight = solid_angle * usable
    unknown = ((told == 0) & (height > 0)).float()
    parts = {
        'log_l1': losses.log_l1(log_range, target, weight),
        'scale_free': losses.scale_free_l1(log_range, target, weight),
        'gradient': losses.multi_scale_gradient(log_range, target, weight),
        'mask': losses.range_mask_bce(logits, range_m, model.config.range_masks_m, solid_angle),
        'empty': losses.empty_hinge(log_range, range_m, config['max_target_m'], solid_angle),
        'height': (unknown * (guess - torch.log(height.clamp(min=0.02))).abs()).mean()}
    total = sum(config['loss'][name] * value for name, value in parts.items())
    return total, {name: float(value.detach()) for name, value in parts.items()}


def average_gradients(model, world: int) -> None:
    """Average the gradients over the processes in one message."""
    if world == 1:
        return
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world
    for grad, part in zip(grads, flat.split([g.numel() for g in grads])):
        grad.copy_(part.view_as(grad))


def update_ema(ema, model, decay: float, step: int) -> None:
    """Move the averaged weights and statistics towards the model's."""
    decay = min(decay, (1 + step) / (10 + step))
    own, new = ema.state_dict(), model.state_dict()
    for name, value in own.items():
        if value.dtype.is_floating_point:
            value.lerp_(new[name], 1 - decay)
        else:
            value.copy_(new[name])


@torch.no_grad()
def evaluate(model, data: ShardSet, count: int) -> tuple[dict, np.ndarray]:
    """
    Return AbsRel (mean over images) unaligned, aligned by the median, and told the height.

    :return: scores, and a picture (image, target, prediction per column) of six samples
    """
    model.eval()
    rows, tiles = [], []
    picked = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    for place, index in enumerate(picked):
        sample = data[int(index)]
        image = torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1)))[None]
        image = image.float() / 255
        heights = torch.tensor([0.0, sample.camera_height_m])
        log_range, _ = model(image.expand(2, -1, -1, -1), heights)
        free, told = log_range.exp().numpy()
        use = sample.valid & (sample.range_m < 100)
        weight = solid_angles(*use.shape)[use]
        target = sample.range_m[use]
        scale = np.median(target) / np.median(free[use])
        rows.append([np.average(np.abs(p[use] - target) / target, weights=weight)
                     for p in (free, free * scale, told)])
        if place % max(1, len(picked) // 6) == 0 and len(tiles) < 6:
            tiles.append(np.concatenate([sample.image, colour_of_range(sample.range_m),
                                         colour_of_range(told)]))
    model.train()
    mean = np.mean(rows, 0)
    scores = dict(zip(('unaligned', 'aligned', 'told_height'), (round(float(v), 4) for v in mean)))
    return scores, np.concatenate(tiles, 1)


@torch.no_grad()
def reestimate_statistics(model, data: ShardSet, config: dict, batches: int) -> None:
    """Replace the batch-norm statistics by their plain mean over training images."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    rng = np.random.default_rng((config['seed'], 7))
    for _ in range(batches):
        image, _, told, _ = make_batch(data, config, rng)
        model(image, told)
    model.eval()
    for norm in norms:
        norm.momentum = 0.1


def save_atomically(path: Path, state: dict) -> None:
    part = path.with_suffix('.tmp')
    torch.save(state, part)
    part.replace(path)


def current_commit() -> str:
    """Return the git commit of the working copy, or 'unknown'."""
    result = subprocess.run(['git', 'rev-parse', 'HEAD'], capture_output=True, text=True,
                            cwd=Path(__file__).parent, check=False)
    return result.stdout.strip() or 'unknown'


def read_config(path: Path) -> dict:
    """:raises TrainError: if the file is absent or no mapping."""
    if not path.is_file():
        raise TrainError(f'config {path} does not exist; see training/configs')
    config = yaml.safe_load(path.read_text())
    if not isinstance(config, dict) or 'network' not in config:
        raise TrainError(f"config {path} has no 'network'; see training/configs/pano_tiny.yaml")
    return config


def train(args: argparse.Namespace) -> None:
    # --- setting
    config, schedule = read_config(args.config), Schedule(args)
    world, rank = int(os.environ.get('WORLD_SIZE', 1)), int(os.environ.get('RANK', 0))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group('gloo', timeout=timedelta(hours=2))
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
    torch.manual_seed(config['seed'])
    data = ShardSet(args.data)
    validation = {name: ShardSet([folder]) for name, folder in (v.split('=', 1) for v in args.val)}
    args.out.mkdir(parents=True, exist_ok=True)

    # --- network, optimiser, and where an earlier run stopped
    model = build_network(config['network'], config['model'])
    ema = deepcopy(model).eval()
    decayed = [p for p in model.parameters() if p.ndim > 1 and p.shape[0] > 1]
    plain = [p for p in model.parameters() if not (p.ndim > 1 and p.shape[0] > 1)]
    optimiser = torch.optim.AdamW(
        [{'params': decayed, 'weight_decay': config['weight_decay']},
         {'params': plain, 'weight_decay': 0.0}], lr=config['learning_rate'], betas=(0.9, 0.98))
    step, elapsed = 0, 0.0
    resume = args.out / 'resume.pt'
    if resume.exists():
        state = torch.load(resume, weights_only=True)
        model.load_state_dict(state['model'])
        ema.load_state_dict(state['ema'])
        optimiser.load_state_dict(state['optimiser'])
        step, elapsed = state['step'], state['elapsed']
    size = tuple(model.config.size_hw)
    solid_angle = loss_weights(*size)

    def save() -> None:
        provenance = {'commit': current_commit(), 'config': config, 'step': step,
                      'samples': step * world * config['batch'], 'training_s': round(elapsed),
                      'processes': world, 'data': data.names(), 'images': len(data)}
        save_checkpoint(args.out / 'checkpoint.safetensors', config['network'],
                        asdict(model.config), ema.state_dict(), provenance)
        save_atomically(resume, {'model': model.state_dict(), 'ema': ema.state_dict(),
                                 'optimiser': optimiser.state_dict(), 'step': step,
                                 'elapsed': elapsed})

    def log(entry: dict) -> None:
        with (args.out / 'log.jsonl').open('a') as file:
            file.write(json.dumps({'step': step, 'elapsed_s': round(elapsed), **entry}) + '\n')

    def report() -> None:
        for name, shards in validation.items():
            scores, picture = evaluate(ema, shards, config['evaluate_images'])
            log({'val': name, **scores})
            print(f'step {step} {name}: {scores}', flush=True)
            cv2.imwrite(str(args.out / f'{name}_{step:06d}.jpg'), picture[..., ::-1])

    # --- steps
    model.train()
    saved = evaluated = logged = time.monotonic()
    parts_sum: dict[str, float] = {}
    counted = 0
    while True:
        start = time.monotonic()
        progress = torch.tensor([schedule.progress(step, elapsed)], dtype=torch.float64)
        if world > 1:
            dist.broadcast(progress, 0)
        if progress.item() >= 1:
            break
        if step % config['refresh_steps'] == 0:
            data.refresh()
        rng = np.random.default_rng((config['seed'], step, rank))
        loss, parts = compute_loss(model, make_batch(data, config, rng), config, solid_angle)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(model, world)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config['clip_norm'])
        for group in optimiser.param_groups:
            group['lr'] = learning_rate(config, step, progress.item())
        if torch.isfinite(norm):
            optimiser.step()
            update_ema(ema, model, config['ema'], step)
        else:
            print(f'step {step}: gradient is not finite, step skipped', file=sys.stderr)
        step += 1
        elapsed += min(time.monotonic() - start, LONGEST_STEP_S)

        # --- telling and keeping
        for name, value in {'loss': loss.item(), **parts}.items():
            parts_sum[name] = parts_sum.get(name, 0.0) + value
        counted += 1
        now = time.monotonic()
        if rank == 0 and (now - logged > 30 or schedule.steps):
            means = {k: round(v / counted, 5) for k, v in parts_sum.items()}
            rate = counted * world * config['batch'] / (now - logged)
            log({'rate': round(rate, 2), 'images': len(data), **means})
            print(f'{progress.item():6.1%} step {step} {rate:.1f} samples/s '
                  f'{len(data)} images  {means}', flush=True)
            logged, counted, parts_sum = now, 0, {}
        if rank == 0 and now - saved > config['save_minutes'] * 60:
            save()
            saved = now
        if rank == 0 and now - evaluated > config['evaluate_minutes'] * 60:
            report()
            evaluated = logged = time.monotonic()

    # --- end
    if rank == 0:
        reestimate_statistics(ema, data, config, batches=max(2, 512 // config['batch']))
        save()
        report()
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def main(argv=None) -> int:
    try:
        train(parse_args(argv))
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
