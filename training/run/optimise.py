# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Schedule, learning rates, parameter groups, averaged weights."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
import math
from statistics import median_low
import time

import torch
from torch import nn, Tensor

from training.run.config import TrainConfig, TrainError
from training.run.forward import encoder_prefixes

DAY_S = 86400
STOPPED_S = 20.0        # a step as long, and as 5 usual ones, means that the process stood


class Schedule:
    """Fraction of the run that is done: by steps, by training time, or by a deadline."""

    def __init__(self, args: Namespace) -> None:
        """:raises TrainError: unless exactly one kind of end is given, and lies ahead."""
        if sum(a is not None for a in (args.minutes, args.deadline, args.steps)) != 1:
            raise TrainError('give exactly one of --minutes, --deadline, --steps')
        for name in ('minutes', 'steps'):
            if (value := getattr(args, name)) is not None and not value > 0:
                raise TrainError(f'--{name} must be above 0, got {value}')
        self.steps, self.seconds, self.end = args.steps, None, None
        self.deadline = args.deadline
        if args.minutes is not None:
            self.seconds = args.minutes * 60
        if args.deadline is not None:
            self.end = next_time_of_day(args.deadline)

    def state(self) -> dict:
        """Return what a run that goes on must know of the end that it was started with."""
        return {'deadline': self.deadline, 'end': self.end}

    def go_on(self, state: dict) -> bool:
        """
        Keep to the day of the deadline of a run that was started with the same time of day.

        :return: whether that has passed
        """
        if self.deadline is None or state.get('deadline') != self.deadline:
            return False
        self.end = state['end']
        return self.end <= time.time()

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return 0 at the start and >= 1 when the run is over."""
        if self.steps is not None:
            return step / self.steps
        if self.seconds is not None:
            return elapsed_s / self.seconds
        left = self.end - time.time()
        return 1.0 if left <= 0 else elapsed_s / (elapsed_s + left)


def training_time(recent_s: Sequence[float]) -> float:
    """
    Return what the last step adds to the training time [s]: a stop of the process does not count.

    :param recent_s: how long the last steps took by the clock [s], oldest first; some
    """
    return min(recent_s[-1], max(STOPPED_S, 5 * median_low(recent_s)))


def next_time_of_day(text: str) -> float:
    """
    Return the next time [s since 1970] at which a clock in UTC shows HH:MM.

    :raises TrainError: if it is no time of day
    """
    try:
        at = datetime.strptime(text, '%H:%M')
    except ValueError as error:
        raise TrainError(f'--deadline {text!r} is not HH:MM, a time of day') from error
    end = time.time() // DAY_S * DAY_S + at.hour * 3600 + at.minute * 60
    return end if end >= time.time() else end + DAY_S


def rate_factor(config: TrainConfig, step: int, progress: float) -> float:
    """Return the warmed-up cosine: 0..1 of the configured learning rates."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    return warm * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict]:
    """
    Return AdamW groups: encoder and rest, with and without weight decay; none is empty.

    Decayed are matrices and kernels of more than one output; `rate` is the full learning rate.
    Groups and their order follow from the network alone: all settings may change on the way.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    prefixes = encoder_prefixes(network, config.network)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            kind = (name.startswith(prefixes),
                    parameter.ndim > 1 and len(parameter) > 1)
            groups.setdefault(kind, []).append(parameter)
    rate, slow = config.learning_rate, config.encoder_learning_rate
    rates = {False: rate, True: rate if slow is None else slow}
    return [{'params': parameters, 'rate': rates[encodes], 'lr': rates[encodes],
             'weight_decay': config.weight_decay if decays else 0.0, 'betas': config.betas}
            for (encodes, decays), parameters in groups.items()]


def freeze(network: nn.Module, config: TrainConfig, encoder: bool) -> None:
    """
    Stop the gradient of what the config freezes, and of the encoder if its features are kept.

    :raises TrainError: if a prefix of `frozen` names no parameter
    """
    prefixes = (*config.frozen, *(('encoder.',) if encoder else ()))
    for prefix in prefixes:
        chosen = [p for name, p in network.named_parameters() if name.startswith(prefix)]
        if not chosen:
            raise TrainError(f'frozen: no parameter begins with {prefix!r}')
        for parameter in chosen:
            parameter.requires_grad_(False)


def clip(clipped: list[list[nn.Parameter]], limit: float) -> Tensor:
    """Clip the gradient norm of each list on its own; return the largest norm before."""
    norms = [nn.utils.clip_grad_norm_(parameters, limit) for parameters in clipped]
    return torch.stack(norms).max()


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights and statistics towards the network's."""
    # Early on the average would be mostly of the random first weights.
    decay = min(decay, (1 + step) / (10 + step))
    own, new = ema.state_dict(), network.state_dict()
    still = {name for name, value in network.named_parameters() if not value.requires_grad}
    own = {name: value for name, value in own.items() if name not in still}
    floating = [name for name, value in own.items() if value.dtype.is_floating_point]
    torch._foreach_lerp_([own[name] for name in floating], [new[name] for name in floating],
                         1 - decay)
    for name in own.keys() - set(floating):
        own[name].copy_(new[name])


@torch.no_grad()
def restore_statistics(network: nn.Module, ema: nn.Module) -> None:
    """Take the batch-norm statistics from the average where a bad step has spoilt them."""
    good = dict(ema.named_buffers())
    for name, value in network.named_buffers():
        if value.dtype.is_floating_point and not torch.isfinite(value).all():
            value.copy_(good[name])


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
