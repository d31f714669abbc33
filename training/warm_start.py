# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Go on from a bundle: its weights become a checkpoint, of the same network or of a larger one.

A checkpoint can be made larger, too. The encoder of a pano_base may have fewer blocks.

Examples::

    python -m training.warm_start --bundle da_ros/bundles/pano_tiny --data shards/train \\
        --out runs/start.safetensors
    python -m training.warm_start --bundle da_ros/bundles/pano_tiny --data shards/train \\
        --config training/configs/pano_small.yaml --out runs/start_small.safetensors
    python -m training.warm_start --checkpoint runs/body --config larger.yaml --out x.safetensors
    python -m training.warm_start --bundle da_ros/bundles/pano_tiny --data shards/train \\
        --config training/configs/pano_base.yaml --encoder dinov2_turning.safetensors \\
        --out runs/start_base.safetensors
    python -m training.warm_start --bundle da_ros/bundles/pano_base --data shards/train \\
        --out runs/start_base.safetensors

`python -m training.train --init FILE` then trains it, for instance on your own robot's panoramas.
Fp32 bundles of pano networks only. Weights that a bundle stores in 8 bits, those of the encoder
among them, stay as rounded, so that training with kept features sees the features that ship.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
import sys
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from da_ros.bundle import load_bundle
from da_ros.errors import DaRosError
from training.bundling.weights import network_of_bundle
from training.checkpoints.checkpoint import build, load_checkpoint, origin, save_checkpoint
from training.networks import build_network
from training.networks.efficientnet_lite import ConvNorm
from training.networks.pano_base import PanoBase, PanoBaseConfig
from training.networks.pano_tiny import (
    PanoTiny,
    Residual,
    RowBias,
    SphereAttention,
    STRIDE,
    WrapConv,
)
from training.run.batches import Batches, Sources
from training.run.config import read_config, TrainConfig
from training.run.forward import load_encoder

PANO = ('pano_tiny', 'pano_base')
STATISTICS_BATCHES = 16


class WarmStartError(DaRosError):
    """A network that cannot be gone on from, or not as asked for."""


@torch.no_grad()
def measure_norms(network: PanoTiny, batches: Batches) -> list[str]:
    """
    Give every identity batch norm the statistics of its input, and the scale that undoes them.

    The network says what it said before, and now trains like any other.

    :return: messages of the corrupt samples that were met
    """
    skipped: list[str] = []
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    hooks = [module.conv.register_forward_hook(
        lambda _, __, out, name=name: found.setdefault(name, []).append(
            (out.mean((0, 2, 3)), out.square().mean((0, 2, 3)))))
        for name, module in network.named_modules() if isinstance(module, (WrapConv, ConvNorm))]
    for batch in islice((batches[i] for i in range(STATISTICS_BATCHES)), STATISTICS_BATCHES):
        if isinstance(batch, str):
            raise WarmStartError(batch)
        batch = batch.on(torch.device('cpu'))
        skipped += batch.skipped
        network(batch.image, batch.told_height_m)
    for hook in hooks:
        hook.remove()
    for name, values in found.items():
        norm = network.get_submodule(name).norm
        mean, square = (torch.stack(part).mean(0) for part in zip(*values))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean ** 2).clamp(min=1e-6))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(mean)
    return skipped


@torch.no_grad()
def grow(small: PanoTiny, large: PanoTiny) -> None:
    """
    Put a network into a larger one of its family: wider, deeper, at another image size.

    What the small one computes stays apart: its channels come first and do not read the new ones;
    new blocks begin as identities. New channels begin at random, and what reads them at zero. So
    the large network says the same at first if widths[-1] and size_hw stay. Layer norms, whose
    mean is over all channels, and features, which are tied to their size in pixels, do not take
    other ones so well: docs/training.md has figures.

    :raises WarmStartError: if the large network is smaller somewhere, its attention heads are of
        another width, or its range masks are others
    """
    if small.config.range_masks_m != large.config.range_masks_m:
        raise WarmStartError(
            f'range masks must stay {list(small.config.range_masks_m)} m, got '
            f'{list(large.config.range_masks_m)}; a head for 10 m must not begin as one for 5 m')
    (width, heads), (new_width, new_heads) = (
        (network.config.widths[-1], network.config.heads) for network in (small, large))
    if new_width * heads != width * new_heads:
        raise WarmStartError(f'attention heads must keep their {width // heads} channels, got '
                             f'{new_heads} heads of {new_width / new_heads:g}; set heads to '
                             f'{new_width * heads / width:g}')
    begin_as_identities(small, large)
    old, new = small.state_dict(), large.state_dict()
    if absent := old.keys() - new.keys():
        raise WarmStartError(f'{min(absent)} is not in the larger network, which has fewer '
                             'blocks; a network can only grow')
    for name, value in old.items():
        if name.endswith(('.index', 'num_batches_tracked')):
            continue
        module = large.get_submodule(name.rpartition('.')[0])
        if isinstance(module, SphereAttention):
            value = resized_bias(value, small, large)
        elif name == 'prior' or isinstance(module, RowBias):
            value = resized_rows(value, new[name])
        parts = 3 if name.endswith(('qkv.weight', 'qkv.bias')) else 1      # query, key, value
        for target, source in zip(new[name].chunk(parts), value.chunk(parts)):
            place_into(target, source, name)


@torch.no_grad()
def with_fewer_blocks(base: PanoBase, like: PanoBaseConfig) -> PanoBase:
    """
    Return the network with an encoder that ends earlier; what it reads of the others is the same.

    :param like: its encoder_depth and taps are taken
    :raises WarmStartError: if a tap is none of the network's
    """
    if absent := [tap for tap in like.taps if tap not in base.config.taps]:
        raise WarmStartError(f'taps {list(like.taps)}: the network reads its features after the '
                             f'blocks {list(base.config.taps)}, none of them {absent[0]}')
    short = PanoBase(replace(base.config, encoder_depth=like.encoder_depth, taps=like.taps))
    state = base.state_dict()
    read = state['path.project.weight'].unflatten(1, (len(base.config.taps), -1))
    kept = [base.config.taps.index(tap) for tap in like.taps]
    state['path.project.weight'] = read[:, kept].flatten(1, 2)
    short.load_state_dict({name: state[name] for name in short.state_dict()})
    return short


def place_into(target: Tensor, source: Tensor, name: str) -> None:
    """:raises WarmStartError: if the target is smaller."""
    if any(t < s for t, s in zip(target.shape, source.shape)):
        raise WarmStartError(f'{name} of shape {tuple(source.shape)} does not fit into '
                             f'{tuple(target.shape)}; a network can only grow')
    if source.ndim > 1:
        target[:source.shape[0], source.shape[1]:] = 0
    target[tuple(slice(side) for side in source.shape)] = source


def begin_as_identities(small: PanoTiny, large: PanoTiny) -> None:
    """Silence the residual and attention blocks that the small network does not have."""
    known = dict(small.named_modules())
    for name, module in large.named_modules():
        if name in known:
            continue
        if isinstance(module, Residual):
            module.second.norm.weight.zero_()
        if isinstance(module, SphereAttention):
            for layer in (module.out, module.mlp[-1]):
                layer.weight.zero_()
                layer.bias.zero_()


def resized_rows(value: Tensor, like: Tensor) -> Tensor:
    """Return per-row values (1, C, H, 1) or (H,) at the rows of another image."""
    if value.ndim == 1:
        return F.interpolate(value[None, None], size=len(like), mode='linear')[0, 0]
    return F.interpolate(value[..., 0], size=like.shape[2], mode='linear')[..., None]


def resized_bias(value: Tensor, small: PanoTiny, large: PanoTiny) -> Tensor:
    """Return the attention bias of (row, row, azimuth step) on the grid of another image."""
    rows, cols = (side // STRIDE for side in small.config.body_hw)
    new_rows, new_cols = (side // STRIDE for side in large.config.body_hw)
    table = value.reshape(len(value), rows, rows, cols)
    step = torch.arange(new_cols) * (cols / new_cols)
    low = step.floor().long()
    table = torch.lerp(table[..., low], table[..., (low + 1) % cols], step - low)
    table = F.interpolate(table.permute(0, 3, 1, 2), size=(new_rows, new_rows), mode='bilinear')
    return table.permute(0, 2, 3, 1).reshape(len(value), -1)


def start(args: argparse.Namespace) -> Path:
    """:raises DaRosError: on anything that the user can mend."""
    if args.checkpoint:
        checkpoint = load_checkpoint(args.checkpoint)
        if checkpoint.network not in PANO:
            raise WarmStartError(f'--checkpoint {args.checkpoint} is of network '
                                 f'{checkpoint.network!r}; give one of {" or ".join(PANO)}')
        name, network = checkpoint.network, build(checkpoint)
        provenance = {'init': origin(args.checkpoint)}
    else:
        name, network, provenance = unfolded(args.bundle, args.data)
    before = name
    if args.config:
        config = read_config(args.config)
        name = config.network
        if name not in PANO or (before, name) == ('pano_base', 'pano_tiny'):
            raise WarmStartError(f'--config {args.config} is of network {name!r}; give one of '
                                 f'{before if before == "pano_base" else " or ".join(PANO)}')
        large = build_network(name, config.model)
        if isinstance(network, PanoBase) and isinstance(large, PanoBase):
            if large.config.encoder_depth < network.config.encoder_depth:
                network = with_fewer_blocks(network, large.config)
        grow(network, large)
        network = large
    if (before, name) != ('pano_tiny', 'pano_base') and args.encoder:
        raise WarmStartError('--encoder goes with a pano_tiny that becomes a pano_base, and a '
                             'pano_base has its own; leave it away')
    if (before, name) == ('pano_tiny', 'pano_base'):
        if not args.encoder:
            raise WarmStartError('a pano_tiny that becomes a pano_base needs --encoder; '
                                 'training.turning makes the file')
        load_encoder(network, args.encoder)
        provenance |= {'encoder': origin(args.encoder)}
    return save_checkpoint(args.out, name, asdict(network.config), network.state_dict(),
                           provenance)


def unfolded(folder: Path, data: list[str]) -> tuple[str, PanoTiny, dict[str, Any]]:
    """
    Return name and network of a bundle with batch norms that train, and where it came from.

    :raises DaRosError: if the bundle or the data cannot be used
    """
    bundle = load_bundle(folder)
    network, name = network_of_bundle(bundle), bundle.provenance['network']
    batches = Batches(Sources(data), TrainConfig(name, batch=8), network.config.size_hw,
                      refresh_every=10 ** 9)
    skipped = measure_norms(network, batches)
    for message in [*batches.sources.corrupt, *dict.fromkeys(skipped)]:
        print(f'skipped: {message}', file=sys.stderr)
    provenance = {'warm_start': bundle.name,
                  'warm_start_sha256': bundle.files[bundle.own.main.name]}
    encoder = ingredient(bundle.provenance, 'encoder')
    return name, network, provenance | ({'encoder': encoder} if encoder else {})


def ingredient(provenance: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return what a provenance says of an ingredient, at whatever depth it says so first."""
    if isinstance(provenance.get(name), dict):
        return provenance[name]
    deeper = (ingredient(value, name) for value in provenance.values() if isinstance(value, dict))
    return next((found for found in deeper if found), None)


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.warm_start', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--bundle', type=Path, help='fp32, of a pano network; needs --data')
    source.add_argument('--checkpoint', type=Path, help='to be made larger; needs --config')
    parser.add_argument('--data', action='extend', nargs='+', metavar='SOURCE',
                        help='shards; batch norms take their statistics from some images')
    parser.add_argument('--config', type=Path, help='of a larger network; default: the same one')
    parser.add_argument('--encoder', type=Path, help='for a pano_tiny that becomes a pano_base: '
                        'what training.turning made')
    parser.add_argument('--out', type=Path, required=True, help='.safetensors')
    args = parser.parse_args(argv)
    if args.bundle and not args.data:
        parser.error('--bundle needs --data')
    if args.checkpoint and not args.config:
        parser.error('--checkpoint needs --config; without it there is nothing to do')
    return args


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        print(start(parse_args(argv)))
    except (DaRosError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
