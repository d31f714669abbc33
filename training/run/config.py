# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a training run is: every setting, its default and unit; read strictly from YAML."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

from da_ros.errors import DaRosError

MIXED_PRECISION = ('no', 'bf16', 'fp16')
MASK_LOSSES = ('bce', 'square')
PIXEL_WEIGHTS = ('floored', 'solid_angle', 'none')


class TrainError(DaRosError):
    """A configuration, a run folder or a run that cannot be trained."""


@dataclass(frozen=True)
class TrainConfig:
    """One run; a YAML file names the fields that differ from these defaults."""

    network: str                          # a name in training.networks
    model: dict = field(default_factory=dict)       # fields of the network's config
    size_hw: tuple[int, int] | None = None          # px; None = that of the network's config
    objective: str = 'pano'               # preset of loss weights: pano | dap | da2
    loss: dict = field(default_factory=dict)        # weights by name that differ from the preset
    pixel_weight: str | None = None       # floored | solid_angle | none; None = the objective's
    near_weight: float = 1.0              # factor of obstacles within 3 m, see near_obstacles
    mask_loss: str = 'square'             # of mask_dice: square | bce, each with 0.5 Dice
    silog_lambda: float = 0.5             # Eigen et al. 2014; 0 = the error of log range itself
    edge_threshold: float = 0.05          # Sobel magnitude of log range per px that is an edge
    min_target_m: float = 0.02            # nearer surfaces are left out of the range losses
    max_target_m: float = 150.0           # and farther ones

    seed: int = 1
    batch: int = 8                        # images per process and forward pass
    accumulate: int = 1                   # forward passes per optimiser step
    mixed_precision: str = 'no'           # no | bf16 (fp32 on a CPU that lacks it) | fp16
    learning_rate: float = 2e-3
    encoder_learning_rate: float | None = None      # None = the same
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema: float = 0.998

    height_known: float = 0.5             # share of samples that are told their camera height
    height_jitter: float = 0.03           # relative error of the told height (one sigma)
    scale_jitter: float = 0.0             # of those told: log of a factor (one sigma) of height
                                          # and range alike, which no picture contradicts

    feature_copies: int = 2               # with --features: augmented copies of each image
    feature_images: int = 0               # and at least so many of each source, by more copies
    features_gib: float = 30.0            # with --features: bound on the disk they take
    frozen: tuple[str, ...] = ()          # parameters that begin so are not trained

    workers: int = 0                      # data processes; 0 = in the training process
    cache_gib: float = 0.0                # GiB of memory per process for decoded samples
    refresh_steps: int = 100              # optimiser steps between looks for new shards
    log_seconds: float = 30.0             # between lines of log.jsonl; 0 = every step
    save_minutes: float = 3.0
    evaluate_minutes: float = 9.0
    evaluate_images: int = 96

    def __post_init__(self) -> None:
        """:raises TrainError: naming the field and what it may be."""
        check_choice('mixed_precision', self.mixed_precision, MIXED_PRECISION)
        check_choice('pixel_weight', self.pixel_weight, (None, *PIXEL_WEIGHTS))
        check_choice('mask_loss', self.mask_loss, MASK_LOSSES)
        for name in ('batch', 'accumulate', 'warmup_steps', 'refresh_steps'):
            if getattr(self, name) < 1:
                raise TrainError(f'{name} must be at least 1, got {getattr(self, name)}')

    def as_dict(self) -> dict:
        """Return the fields as JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in asdict(self).items()}


def check_choice(name: str, value: str | None, choices: tuple) -> None:
    """:raises TrainError: if the value is none of the choices."""
    if value not in choices:
        raise TrainError(f'{name} {value!r} does not exist; there are: '
                         f'{", ".join(str(c) for c in choices if c is not None)}')


def read_config(path: Path) -> TrainConfig:
    """
    Read a run's YAML file.

    :raises TrainError: if the file is absent, no mapping, or names an unknown field
    """
    if not path.is_file():
        raise TrainError(f'config {path} does not exist; see training/configs')
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise TrainError(f'config {path} is no YAML: {" ".join(str(error).split())}') from error
    if not isinstance(values, dict) or 'network' not in values:
        raise TrainError(f"config {path} has no 'network'; see training/configs/pano_tiny.yaml")
    return config_from_dict(values, f'config {path}')


def config_from_dict(values: dict, where: str = 'config') -> TrainConfig:
    """
    Return the config of YAML or JSON values: lists become tuples.

    :raises TrainError: if a field does not exist or a number is written as text
    """
    types = {f.name: f.type for f in fields(TrainConfig)}
    if unknown := sorted(set(values) - set(types)):
        raise TrainError(f'{where} has an unknown field {unknown[0]!r}; it may have: '
                         f'{", ".join(types)}')
    for name, value in values.items():
        if isinstance(value, str) and 'str' not in types[name]:
            raise TrainError(f'{where}: {name} must be {types[name]}, got the text {value!r}')
    return TrainConfig(**{name: tuple(value) if isinstance(value, list) else value
                          for name, value in values.items()})
