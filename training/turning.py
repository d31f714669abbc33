# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Make a DINOv2 encoder turn with the panorama, and keep what its positions told of azimuth.

Example::

    python -m training.turning --encoder dinov2_small.safetensors --data shards/train \\
        --out dinov2_turning.safetensors

With the learned positions averaged over the columns the features turn exactly, but attention no
longer knows how far two tokens of a row are apart. So every head gets an even function of their
azimuth difference, a sum of a_k cos(k difference): by how much its logits fall with the distance
in columns as published, less what remains of that once the positions are averaged. Nothing is
trained; some pictures decide it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
import json
from pathlib import Path
import sys

import cv2
import numpy as np
import torch
from torch import nn, Tensor

from da_ros.errors import DaRosError
from training.checkpoints.checkpoint import (
    load_strictly,
    METADATA_KEY,
    read_safetensors_metadata,
)
from training.data.shards import ShardSet
from training.networks.dinov2 import Dinov2, PATCH_PX, PUBLISHED_VIT_S
from training.networks.pano_base import IMAGENET_MEAN, IMAGENET_STD
from training.networks.vit import Attention
from training.run.forward import encoder_state

NEAR_ROWS = 2           # rows apart, at most, of the tokens whose logits are averaged


@torch.no_grad()
def harmonics_of(state: dict[str, Tensor], images: Tensor, count: int) -> Tensor:
    """
    Return the amplitudes a_k of k = 1 to count, (depth, heads, count).

    :param state: weights of a published encoder
    :param images: (N, 3, rows * 14, cols * 14) normalised; cols >= 2 * count
    """
    profiles = []
    for turning in (False, True):
        encoder = Dinov2(replace(PUBLISHED_VIT_S, turning=turning)).eval()
        load_strictly(encoder, state)
        profiles.append(distance_profile(encoder, images, around=turning))
    lost = profiles[0] - profiles[1]
    cols = images.shape[-1] // PATCH_PX
    around = torch.cat([lost, lost[..., 1:(cols + 1) // 2].flip(-1)], -1)
    wave = torch.outer(torch.arange(1, count + 1), torch.arange(cols)) * (2 * torch.pi / cols)
    return around @ wave.cos().T * (2 / cols)


def distance_profile(encoder: Dinov2, images: Tensor, around: bool) -> Tensor:
    """
    Return the mean logit of two tokens of near rows by their distance in columns.

    :param around: count columns around the turn, and not across the picture
    :return: (depth, heads, cols // 2 + 1), less the mean over each row of tokens, to which the
        softmax is blind
    """
    rows, cols = (side // PATCH_PX for side in images.shape[-2:])
    col = torch.arange(cols)
    apart = (col[:, None] - col).abs()
    if around:
        apart = torch.minimum(apart, cols - apart)
    sums: list[Tensor] = []
    with kept_logits(encoder, sums, rows, cols):
        for image in images:
            encoder(image[None])
    mean = torch.stack(sums).unflatten(0, (len(images), -1)).mean(0)
    return torch.stack([mean[..., apart == d].mean(-1) for d in range(cols // 2 + 1)], -1)


@contextmanager
def kept_logits(encoder: Dinov2, kept: list[Tensor], rows: int, cols: int) -> Iterator[None]:
    """Append, for each block that is run, the (heads, cols, cols) logits between near rows."""
    def keep(module: nn.Module, inputs: tuple, _) -> None:
        query, key, _ = module.qkv(inputs[0]).unflatten(-1, (3, module.heads, -1)).permute(
            2, 0, 3, 1, 4)[..., 1:, :].unbind(0)
        logits = (query @ key.transpose(-1, -2))[0] * query.shape[-1] ** -0.5
        table = logits.unflatten(-1, (rows, cols)).unflatten(1, (rows, cols))
        near = [table[:, row, :, row + step] for step in range(-NEAR_ROWS, NEAR_ROWS + 1)
                for row in range(max(0, -step), rows - max(0, step))]
        centred = torch.stack(near).mean(0)
        kept.append(centred - centred.mean(-1, keepdim=True))
    hooks = [module.register_forward_hook(keep) for module in encoder.modules()
             if isinstance(module, Attention)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def pictures(paths: list[str], count: int, rows: int) -> Tensor:
    """
    Return normalised panoramas of shards, (count, 3, rows * 14, 2 * rows * 14), turned at random.

    :raises DaRosError: if there are fewer
    """
    shards, rng = ShardSet(paths), np.random.default_rng(0)
    if len(shards) < count:
        raise DaRosError(f'--data holds {len(shards)} panoramas; {count} are needed')
    size = (2 * rows * PATCH_PX, rows * PATCH_PX)
    images = [shards[int(index)].image for index in rng.permutation(len(shards))[:count]]
    images = [cv2.resize(np.roll(image, int(rng.integers(image.shape[1])), 1), size,
                         interpolation=cv2.INTER_AREA) for image in images]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return ((batch - torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
            / torch.tensor(IMAGENET_STD).view(3, 1, 1))


def turn(args: argparse.Namespace) -> str:
    """:raises DaRosError: on anything that the user can mend."""
    from safetensors.torch import save_file
    state = encoder_state(args.encoder)
    amplitudes = harmonics_of(state, pictures(args.data, args.count, args.rows), args.harmonics)
    state |= {f'blocks.{index}.attn.harmonics': value.contiguous()
              for index, value in enumerate(amplitudes)}
    about = json.loads(read_safetensors_metadata(args.encoder).get(METADATA_KEY, '{}'))
    about.setdefault('provenance', {})['harmonics'] = (
        f'{args.harmonics}, of {args.count} pictures at {args.rows} rows')
    save_file(state, args.out, metadata={METADATA_KEY: json.dumps(about)})
    return f'{args.out}: {args.harmonics} harmonics, up to {amplitudes.abs().max():.2f}'


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.turning', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--encoder', type=Path, required=True,
                        help='DINOv2 ViT-S, as training.pretrained makes it')
    parser.add_argument('--data', nargs='+', required=True, help='shards')
    parser.add_argument('--out', type=Path, required=True, help='.safetensors')
    parser.add_argument('--count', type=int, default=24, help='pictures that decide')
    parser.add_argument('--rows', type=int, default=18, help='of patches')
    parser.add_argument('--harmonics', type=int, default=16, help='at most half the columns')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    try:
        print(turn(parse_args(argv)))
    except (DaRosError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
