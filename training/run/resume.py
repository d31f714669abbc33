# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Going on with a run: what must be as it was, and the state that comes back."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection
from pathlib import Path

from torch import nn

from training.run.config import TrainConfig, TrainError
from training.run.optimise import parameter_groups

# How it is learnt may change on the way, as our own messages advise; what is learnt may not.
FREE = ('batch', 'accumulate', 'mixed_precision', 'learning_rate', 'encoder_learning_rate',
        'weight_decay', 'betas', 'warmup_steps', 'clip_norm', 'ema', 'workers', 'cache_gib',
        'refresh_steps', 'log_seconds', 'save_minutes', 'evaluate_minutes', 'evaluate_images')


def description(args: Namespace, config: TrainConfig) -> dict:
    """Return what a run is, by config and command line, as JSON types."""
    def word(path: Path | None) -> str | None:
        return None if path is None else str(path)
    return {'config': config.as_dict(),
            'words': {'--data': [str(Path(source)) for source in args.data],
                      '--init': word(args.init), '--init-encoder': word(args.init_encoder),
                      '--teacher': word(args.teacher), '--joint': args.joint,
                      '--heads': None if args.heads is None else list(args.heads)}}


def check_same_run(before: dict | None, now: dict, out: Path) -> None:
    """
    Refuse to go on with another run.

    :param before: description of the run whose state is there; None = of a version without it
    :param now: description of the run that is to go on
    :raises TrainError: naming every difference
    """
    if before is None:
        return
    known = before['config'].keys() | before['words'].keys()
    old, new = fixed(before, known), fixed(now, known)
    changes = [f'{name} {old.get(name)!r} -> {new.get(name)!r}'
               for name in sorted(old | new) if old.get(name) != new.get(name)]
    if changes:
        raise TrainError(f'{out} holds another run: {", ".join(changes)}; choose another --out, '
                         'or go on with the command and config of before')


def fixed(run: dict, known: Collection[str]) -> dict:
    """
    Return what must stay as it was, each entry of `model` and `loss` by itself.

    :param known: fields to look at; a version may have more than the one that stored the run
    """
    found = {}
    for name, value in (run['config'] | run['words']).items():
        if name in known and name not in FREE:
            found |= ({f'{name}.{key}': entry for key, entry in value.items()}
                      if isinstance(value, dict) else {name: value})
    return found


def restore(state: dict, network: nn.Module, ema: nn.Module, optimiser, scaler,
            config: TrainConfig) -> None:
    """
    Bring the state of a run back; rates, betas and weight decay are those of the config.

    :param scaler: of the gradients in fp16, or None
    :raises TrainError: if it is of another network, or of a version that grouped otherwise
    """
    try:
        network.load_state_dict(state['model'])
        ema.load_state_dict(state['ema'])
        optimiser.load_state_dict(state['optimiser'])
        if scaler and state['scaler']:
            scaler.load_state_dict(state['scaler'])
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainError('resume.pt is of another network or an older version '
                         f'({" ".join(str(error).split())[:200]}); choose another --out, where '
                         '--init CHECKPOINT starts from the weights of this one') from error
    for group, now in zip(optimiser.param_groups, parameter_groups(network, config)):
        group.update({name: now[name] for name in ('rate', 'weight_decay', 'betas')})
