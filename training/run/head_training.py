# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Range-mask heads trained on their own: `--heads 10,20,50,100`.

On a frozen trunk the heads share no weight, so that training several at once is the same as
training each alone (tested); every head has its own seed and its own gradient clipping.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from dataclasses import asdict, replace
import math
from pathlib import Path

import torch
from torch import nn

from training.bundling.heads import head_checkpoint
from training.checkpoints.checkpoint import Checkpoint, load_strictly, save_checkpoint
from training.networks import build_network
from training.networks.dap import Dap, freeze_all_but_masks, mask_key
from training.networks.dpt import DptHead
from training.networks.pano_tiny import PanoTiny
from training.run.config import TrainConfig, TrainError
from training.run.forward import Forward
from training.run.objectives import MASK_TERMS, WEIGHTS

NO_CLIPPING = 1e9
SHUFFLED = 4        # output channels of PanoTiny per map: one for each pixel of a 2 x 2 square


def thresholds(text: str) -> tuple[float, ...]:
    """Return rising range masks [m] from a text such as 10,20,50,100."""
    try:
        values = tuple(sorted({float(part) for part in text.split(',')}))
    except ValueError as error:
        raise ArgumentTypeError(f'{text!r} is no list of metres such as 10,20,50,100') from error
    if values[0] <= 0:
        raise ArgumentTypeError(f'range masks must be positive, got {text!r}')
    return values


def network_with_heads(checkpoint: Checkpoint, range_masks_m: tuple[float, ...],
                       seed: int) -> nn.Module:
    """
    Return the network of a checkpoint with these range masks, whatever it had before.

    Masks that it has are kept; DAP gets new heads, PanoTiny the channels of the nearest mask.

    :raises TrainError: if the network cannot have range masks, or is a PanoTiny that had none
    """
    if 'range_masks_m' not in checkpoint.config:
        raise TrainError(f'network {checkpoint.network!r} has no range masks; --heads trains dap '
                         'and pano networks')
    before = tuple(checkpoint.config['range_masks_m'])
    network = build_network(checkpoint.network,
                            checkpoint.config | {'range_masks_m': list(range_masks_m)})
    grow = dap_state if isinstance(network, Dap) else pano_state
    load_strictly(network, grow(network, dict(checkpoint.state), before, seed))
    return network


def dap_state(network: Dap, state: dict, before: tuple[float, ...], seed: int) -> dict:
    """Return the state with a freshly drawn head for each mask that is new."""
    names = set(network.state_dict())
    state = {name: tensor for name, tensor in state.items() if name in names}
    for threshold in set(network.config.range_masks_m) - set(before):
        torch.manual_seed(seed + round(1000 * threshold))
        head = DptHead(network.config.head).state_dict()
        state |= {f'mask_heads.{mask_key(threshold)}.{name}': tensor
                  for name, tensor in head.items()}
    return state


def pano_state(network: PanoTiny, state: dict, before: tuple[float, ...], _: int) -> dict:
    """
    Return the state with the output channels of each mask's nearest one before.

    :raises TrainError: if it had no mask, so that there is none to start from
    """
    if not before:
        raise TrainError('this pano network was trained without range masks, --heads has none to '
                         'start from; name one that has some in --init, or train it again with '
                         'model: {range_masks_m: [...]}')
    nearest = [min(range(len(before)), key=lambda k: abs(math.log(before[k] / threshold)))
               for threshold in network.config.range_masks_m]
    rows = [channel for group in (0, *(1 + k for k in nearest))
            for channel in range(SHUFFLED * group, SHUFFLED * (group + 1))]
    return state | {name: state[name][rows] for name in ('out.weight', 'out.bias')}


def freeze_trunk(network: nn.Module) -> list[list[nn.Parameter]]:
    """
    Freeze all but the range masks; the network stays in evaluation mode.

    :return: lists of parameters whose gradients are clipped together
    """
    network.eval()
    if isinstance(network, Dap):
        freeze_all_but_masks(network, network.config.range_masks_m)
        return [list(head.parameters()) for head in network.mask_heads.values()]
    network.requires_grad_(False)
    for parameter in (network.out.weight, network.out.bias):
        parameter.requires_grad_(True)
        parameter.register_hook(without_range_channels)
    return [[network.out.weight, network.out.bias]]


def without_range_channels(gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient of PanoTiny's output layer with that of the range set to 0."""
    gradient = gradient.clone()
    gradient[:SHUFFLED] = 0
    return gradient


def frozen_config(config: TrainConfig, network: nn.Module) -> TrainConfig:
    """
    Return the config of a run on a frozen trunk, with which each mask learns as if alone.

    Mask losses are means over the masks, so their weight grows with the count. PanoTiny's masks
    share one layer with the range: no decay, which would change the range, and no clipping, which
    would tie the masks together.
    """
    weights = WEIGHTS[config.objective] | config.loss
    count = len(network.config.range_masks_m)
    loss = config.loss | {n: count * weights[n] for n in MASK_TERMS if n in weights}
    if isinstance(network, PanoTiny):
        config = replace(config, clip_norm=NO_CLIPPING)
    return replace(config, weight_decay=0.0, loss=loss)


def save_heads(folder: Path, forward: Forward, name: str, state: dict, provenance: dict) -> None:
    """Write `head_<T>.safetensors` for `training.export --add-head`; PanoTiny has none apart."""
    if not isinstance(forward.network, Dap):
        return
    config = asdict(forward.network.config)
    whole = Checkpoint(name, config, state, provenance)
    for threshold in config['range_masks_m']:
        head = head_checkpoint(whole, threshold)
        save_checkpoint(folder / f'head_{threshold:g}.safetensors', head.network, head.config,
                        head.state, head.provenance)
