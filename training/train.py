# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Train a network on shards; stops and resumes anywhere.

Examples::

    torchrun --standalone --nproc-per-node 2 -m training.train \\
        --config training/configs/pano_tiny.yaml --data shards/train \\
        --val mixed=shards/val --out runs/pano_tiny --minutes 120
    accelerate launch --num_processes 8 --multi_gpu -m training.train ... --steps 100000
    python -m training.train --config training/configs/dap.yaml --init model.pth \\
        --heads 10,20,50,100 --data shards/train --out runs/heads --steps 5000

One process needs no launcher; several on a CPU are started by torchrun (`accelerate launch --cpu`
starts one and leaves more to MPI). Batches depend on seed and number alone, so a run
killed and started again with the same command goes on with the same losses. The schedule follows
the time: it ends at --deadline (UTC), or after --minutes of training, or after --steps; time
spent stopped between two steps does not count as training.
"""

from __future__ import annotations

import argparse
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
import sys
import time

from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast, gather_object, parse_flag_from_env, reduce
import torch

from da_ros.errors import DaRosError
from training.checkpoints.checkpoint import origin
from training.data.commit import current_commit
from training.networks import build_network
from training.run import head_training
from training.run.batches import (
    Batches,
    fastest_format,
    good_batch,
    load,
    one_thread,
    Sources,
)
from training.run.config import read_config, TrainConfig, TrainError
from training.run.feature_cache import FeatureBatches, kept_features
from training.run.folder import on_cpu, RunFolder, Snapshot
from training.run.forward import (
    Forward,
    image_size,
    load_encoder,
    load_initial,
    load_teacher,
    teach,
)
from training.run.objectives import make_objective, MASK_TERMS
from training.run.optimise import (
    clip,
    freeze,
    parameter_groups,
    rate_factor,
    restore_statistics,
    Schedule,
    training_time,
    update_ema,
)
from training.run.processes import new_accelerator, precision_on
from training.run.resume import check_same_run, description, restore
from training.run.statistics import reestimate_statistics
from training.run.validation import evaluate, validation_sets

PANO = ('pano_tiny', 'pano_base')       # networks that estimate the camera height
BAD_STEPS = 25              # in a row; fp16 lowers its scale about 16 times at the start
MEMORY_MESSAGES = ('out of memory', "can't allocate memory", 'not enough memory',
                   'Cannot allocate memory', 'Unable to allocate', 'ALLOC_FAILED')


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.train', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, required=True)
    parser.add_argument('--data', nargs='+', required=True, metavar='SOURCE[=WEIGHT]',
                        action='extend', help='shard folders, shards, list files, or NAME:FOLDER '
                        'of a panoramic set that needs no options (others: training.curate '
                        'panorama); weights = probabilities')
    parser.add_argument('--val', nargs='*', default=[], metavar='NAME=FOLDER', action='extend')
    parser.add_argument('--out', type=Path, required=True, help='run folder')
    parser.add_argument('--minutes', type=float, help='training time')
    parser.add_argument('--deadline', help='UTC time of day HH:MM at which the schedule ends')
    parser.add_argument('--steps', type=int, help='optimiser steps')
    parser.add_argument('--init', type=Path, help='checkpoint to start from, ours or released')
    parser.add_argument('--init-encoder', type=Path,
                        help='published DINOv2 / DINOv3 weights, or what training.pretrained made')
    parser.add_argument('--features', type=Path, metavar='FOLDER',
                        help='freeze the encoder and keep its features here (feature_copies, '
                        'features_gib of the config): a step then runs the rest only')
    parser.add_argument('--only-features', action='store_true',
                        help='with --features: make those that are missing and end')
    parser.add_argument('--teacher', type=Path, help='checkpoint whose range is a second target')
    parser.add_argument('--heads', type=head_training.thresholds, metavar='METRES,...',
                        help='train these range-mask heads of --init, each on its own')
    parser.add_argument('--joint', action='store_true', help='with --heads: train all along')
    return parser.parse_args(argv)


def make_accelerator(config: TrainConfig) -> Accelerator:
    """
    Return the accelerator, which knows device and processes.

    :raises TrainError: if the device cannot train in the wanted precision
    """
    cpu = not torch.accelerator.is_available() or parse_flag_from_env('ACCELERATE_USE_CPU')
    if config.mixed_precision == 'fp16' and cpu:
        raise TrainError('mixed_precision fp16 needs a GPU; use bf16 or no')
    precision = precision_on(cpu, config.mixed_precision)
    accelerator = new_accelerator(cpu, mixed_precision=precision,
                                  gradient_accumulation_steps=config.accumulate)
    if precision != config.mixed_precision:
        accelerator.print('this CPU does not compute in bf16: fp32 instead')
    one_thread()
    if accelerator.device.type == 'cpu' and accelerator.num_processes > 1:
        torch.set_num_threads(1)            # threads on busy cores wait for each other
    if accelerator.device.type == 'cuda':
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision('high')
    return accelerator


def make_network(config: TrainConfig, args: argparse.Namespace) -> torch.nn.Module:
    """
    Return the network with its first weights.

    :raises DaRosError: if the config or a checkpoint does not fit
    """
    if args.joint and not args.heads:
        raise TrainError('--joint goes with --heads: it trains the network along with them')
    torch.manual_seed(config.seed)
    if args.heads:
        if not args.init:
            raise TrainError('--heads needs --init: the checkpoint whose features they read')
        if args.init_encoder:
            raise TrainError('--heads reads the features of --init; leave --init-encoder away')
        from training.checkpoints.reading import read_checkpoint
        checkpoint = read_checkpoint(args.init, config.network)
        return head_training.network_with_heads(checkpoint, args.heads, config.seed)
    network = build_network(config.network, config.model)
    if args.init_encoder:
        load_encoder(network, args.init_encoder)
    if args.init:
        load_initial(network, config.network, args.init)
    return network


@contextmanager
def explained_failures(folder: RunFolder, config: TrainConfig, where: str) -> Iterator[None]:
    """Turn the failures of memory and data processes into one line that says what is left."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        text = str(error)
        if 'DataLoader worker' in text:
            raise TrainError(f'a data process died, mostly for want of memory; lower workers '
                             f'({config.workers}); {folder.last_good()}') from error
        if isinstance(error, RuntimeError) and not any(m in text for m in MEMORY_MESSAGES):
            raise
        raise TrainError(f'out of memory on {where} with batch {config.batch}; lower batch and '
                         f'raise accumulate ({config.accumulate}) by as much; '
                         f'{folder.last_good()}') from error


def train(args: argparse.Namespace) -> None:
    """
    Run what the command line says.

    :raises DaRosError: on anything that the user can mend; the last good checkpoint stays
    """
    config, schedule = read_config(args.config), Schedule(args)
    accelerator = make_accelerator(config)
    folder = RunFolder(args.out, silent=not accelerator.is_main_process)
    try:
        with explained_failures(folder, config, str(accelerator.device)):
            run(args, config, schedule, accelerator, folder)
    finally:
        folder.close()


def run(args: argparse.Namespace, config: TrainConfig, schedule: Schedule,
        accelerator: Accelerator, folder: RunFolder) -> None:
    """Train from where the folder stands to the end of the schedule."""
    # --- data
    device, world, rank = (accelerator.device, accelerator.num_processes,
                           accelerator.process_index)
    about, commit = description(args, config), current_commit()    # it may change meanwhile
    if state := folder.resume():
        check_same_run(state.get('run'), about, args.out)
        commit = state.get('commit', commit)
        if schedule.go_on(state.get('schedule', {})):
            accelerator.print(f'the --deadline {args.deadline} of this run has passed: it ends '
                              'here; to train on give another, or --minutes')
    sources = Sources(args.data)
    validation = validation_sets(args.val)

    # --- network, objective, optimiser, and where an earlier run stopped
    network = make_network(config, args)
    began = origin(args.init) if args.init else {}
    frozen = bool(args.heads) and not args.joint
    if frozen:
        config = head_training.frozen_config(config, network)
    clipped = head_training.freeze_trunk(network) if frozen else [list(network.parameters())]
    size_hw = image_size(network, config.network, config.size_hw)
    network.to(device, memory_format=fastest_format(device))
    entries = kept_features(args, config, sources, network, size_hw, accelerator)
    if args.only_features:
        return
    freeze(network, config, encoder=entries is not None)
    forward = Forward(network)
    ema = deepcopy(forward).eval().requires_grad_(False)
    teacher, teacher_hw = load_teacher(args.teacher) if args.teacher else (None, size_hw)
    if teacher:
        teacher.to(device)
    objective = make_objective(config, size_hw, forward.range_masks_m,
                               config.network in PANO, teacher is not None, device,
                               only=MASK_TERMS if frozen else ())
    optimiser = torch.optim.AdamW(parameter_groups(network, config), fused=True)
    model, optimiser = accelerator.prepare(forward, optimiser)
    per_step = config.accumulate * world
    step, samples, elapsed, skipped = 0, 0, 0.0, Counter()
    if state:
        restore(state, network, ema.network, optimiser, accelerator.scaler, config)
        step, elapsed = state['step'], state['elapsed']
        samples = state.get('samples', step * per_step * config.batch)
        if accelerator.is_main_process:         # the counts are of all processes
            skipped.update(state['skipped'])
    del state
    sources.keep(max(size_hw, teacher_hw)[0], config.cache_gib)
    about_batches = (sources, config, max(size_hw, teacher_hw), config.refresh_steps * per_step)
    batches = (Batches(*about_batches) if entries is None
               else FeatureBatches(*about_batches).attach(entries))
    loader = load(batches, step * per_step + rank, world, pinned=device.type == 'cuda')

    def snapshot() -> Snapshot:
        sources.refresh()           # data processes find new shards, but only for themselves
        scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
        provenance = {
            'commit': commit, 'config': config.as_dict(), 'step': step,
            'samples': samples, 'training_s': round(elapsed),
            'processes': world, 'data': sources.names(), 'images': len(sources),
            'init': began, 'teacher': str(args.teacher.name) if args.teacher else ''}
        resume = {'model': network.state_dict(), 'ema': ema.network.state_dict(),
                  'optimiser': optimiser.state_dict(), 'scaler': scaler, 'step': step,
                  'samples': samples, 'elapsed': elapsed, 'skipped': dict(skipped), 'run': about,
                  'commit': commit, 'schedule': schedule.state()}
        return Snapshot(config.network, asdict(network.config), on_cpu(resume), provenance)

    def report() -> None:
        for name, shards in validation.items():
            found = evaluate(ema, shards, config.evaluate_images, size_hw, device)
            skipped.update(found.skipped)
            folder.log(step, {'val': name, **found.scores})
            print(f'step {step} {name}: {found.scores}', flush=True)
            if found.picture is not None:
                folder.picture(name, step, found.picture)

    # --- steps
    if not frozen:
        model.train()
    saved = evaluated = logged = time.monotonic()
    sums: dict[str, torch.Tensor] = {}
    counted, bad, waited, recent = 0, 0, 0.0, deque(maxlen=9)
    while True:
        start = time.monotonic()
        # the main process decides for all when the run ends, is told of and is saved
        progress, telling, saving = broadcast(torch.tensor(
            [schedule.progress(step, elapsed), start - logged >= config.log_seconds,
             start - saved > config.save_minutes * 60 and not bad],
            device=device, dtype=torch.float64)).tolist()
        if progress >= 1:
            break
        skipped = gathered(skipped, accelerator) if saving else skipped
        # what is saved has proven itself: the next gradient with these weights was finite
        pending = snapshot() if saving and accelerator.is_main_process else None
        optimiser.zero_grad(set_to_none=True)
        for part in range(config.accumulate):
            before = time.monotonic()
            batch = good_batch(next(loader))
            waited += time.monotonic() - before
            skipped.update(batch.skipped)
            images, batch = batch.images, batch.on(device)
            teaching = None
            if teacher:
                with torch.no_grad(), accelerator.autocast():
                    teaching = teach(teacher, batch, teacher_hw, size_hw)
                batch = batch.resized(size_hw)
            last = part == config.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(model):
                said = model(batch.image, batch.told_height_m, batch.features)
                loss, parts = objective(said, batch, teaching)
                # a loss that is not finite may have a finite gradient (|x| at NaN has 0)
                accelerator.backward(loss * (1 + 0 * loss.detach()))
            for name, value in {'loss': loss.detach(), **parts}.items():
                sums[name] = sums.get(name, 0) + value
            counted += 1
        for group in optimiser.param_groups:
            group['lr'] = group['rate'] * rate_factor(config, step, progress)
        accelerator.unscale_gradients()
        finite = bool(torch.isfinite(clip(clipped, config.clip_norm)))
        bad = 0 if finite else bad + 1
        if finite or accelerator.scaler:           # the scaler skips and learns from it
            optimiser.step()
        if finite:
            if pending:
                folder.save(pending)
                saved = time.monotonic()
            update_ema(ema.network, network, config.ema, step)
        else:
            restore_statistics(network, ema.network)
            print(f'step {step}: gradient is not finite, step skipped', file=sys.stderr)
        if bad == BAD_STEPS:
            raise TrainError(
                f'{BAD_STEPS} gradients in a row are not finite, up to step {step}, learning rate '
                f'{optimiser.param_groups[0]["lr"]:.2g}; lower learning_rate ('
                f'{config.learning_rate:g}) or look at the data; {folder.last_good()}')
        step += 1
        samples += per_step * config.batch
        recent.append(time.monotonic() - start)
        elapsed += training_time(recent)

        # --- telling
        now = time.monotonic()
        if telling:
            mean = reduce(torch.stack(list(sums.values())) / counted, 'mean').tolist()
            entry = {'elapsed_s': round(elapsed), 'images': images,
                     'rate': round(counted * world * config.batch / (now - logged), 2),
                     'wait_share': round(waited / (now - logged), 4),
                     'learning_rate': optimiser.param_groups[0]['lr'], **dict(zip(sums, mean))}
            folder.log(step, entry)
            accelerator.print(
                f'{progress:6.1%} step {step} {entry["rate"]} samples/s, data wait '
                f'{entry["wait_share"]:.1%}, {images} images  '
                f'{ {name: round(value, 4) for name, value in zip(sums, mean)} }', flush=True)
            logged, counted, waited, sums = now, 0, 0.0, {}
        if accelerator.is_main_process and now - evaluated > config.evaluate_minutes * 60:
            report()
            evaluated = time.monotonic()
            logged += evaluated - now           # rates are of training alone

    # --- end
    skipped = gathered(skipped, accelerator)
    if accelerator.is_main_process:
        again = replace(batches, stream=1)
        if entries is not None:
            again.attach(entries)
        if not reestimate_statistics(ema, again, size_hw, device, plain=frozen):
            raise TrainError(f'the network of step {step} says what is not finite; lower '
                             f'learning_rate ({config.learning_rate:g}); {folder.last_good()}')
        final = snapshot()
        folder.save(final)
        if args.heads:
            head_training.save_heads(folder.path, forward, config.network, final.resume['ema'],
                                     final.provenance)
        report()
        skipped.update(m for data in (sources, *validation.values()) for m in data.corrupt)
        folder.name_skipped(step, skipped)
    accelerator.wait_for_everyone()


def gathered(skipped: Counter, accelerator: Accelerator) -> Counter:
    """Return in the main process what all have skipped, in the others, which gave it, nothing."""
    met = gather_object([dict(skipped)])
    return sum(map(Counter, met), Counter()) if accelerator.is_main_process else Counter()


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        train(parse_args(argv))
    except DaRosError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    finally:
        if PartialState._shared_state:
            PartialState().destroy_process_group()
    return 0


if __name__ == '__main__':
    sys.exit(main())
