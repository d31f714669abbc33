# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The released checkpoints of DAP and DA2: their tensor names in ours, and strict reading.

Every tensor of a released file is used, an alias of one that is used (checked equal), or on the
list of those that the released network holds but never runs. Anything else is an error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
import pickle

import torch

from training.checkpoints.checkpoint import (
    check_names_and_shapes,
    Checkpoint,
    CheckpointError,
    read_safetensors,
)
from training.networks import build_network
from training.networks.dap import DapConfig, ENCODERS
from training.networks.spherevit import SphereVitConfig

PARALLEL_PREFIX = 'module.'      # torch DataParallel writes it before every name

# (our prefix, released prefix); the first that fits is replaced, the rest of the name is the same
HEAD_NAMES = (
    ('project.', 'projects.'),
    ('scale.', 'resize_layers.'),
    *((f'reassemble.{k}.', f'scratch.layer{k + 1}_rn.') for k in range(4)),
    *((f'fuse.{k}.lateral.', f'scratch.refinenet{k + 1}.resConfUnit1.') for k in range(3)),
    *((f'fuse.{k}.refine.', f'scratch.refinenet{k + 1}.resConfUnit2.') for k in range(4)),
    *((f'fuse.{k}.out.', f'scratch.refinenet{k + 1}.out_conv.') for k in range(4)),
    ('neck.', 'scratch.output_conv1.'),
    ('out.', 'scratch.output_conv2.'),
)
DAP_NAMES = (
    ('encoder.', 'core.pretrained.model.'),
    ('adapter_norm.', 'core.pretrained.norm.'),
    *((f'range_head.{ours}', f'core.depth_head.{theirs}') for ours, theirs in HEAD_NAMES),
    *((f'mask_heads.100.{ours}', f'core.mask_head.{theirs}') for ours, theirs in HEAD_NAMES),
)
DECODER = 'vit_w_esphere._vit_w_esphere.'
PROMPT_NAMES = (
    ('norm_tokens.', 'norm_attnx.'), ('norm_context.', 'norm_attnctx.'), ('query.', 'q.'),
    ('key_value.', 'kv.'), ('out.', 'out.'), ('mlp.0.', 'mlp.norm.'), ('mlp.1.', 'mlp.proj1.'),
    ('mlp.3.', 'mlp.proj2.'),
)
DA2_NAMES = (
    ('encoder.', 'dino.'),
    ('align.', 'vit_w_esphere.dim_aligner.aligners.'),
    *((f'prompt.{k}.{ours}', f'{DECODER}prompt_camera.{k}.layers.0.{theirs}')
      for k in range(4) for ours, theirs in PROMPT_NAMES),
    ('decoder.latent.', f'{DECODER}to_latents.'),
    ('decoder.process.', f'{DECODER}process_features.'),
    *((f'decoder.up.{k}.units.', f'{DECODER}up_sampler.{k}.convs.') for k in range(3)),
    *((f'decoder.up.{k}.mix.', f'{DECODER}up_sampler.{k}.up.0.') for k in range(3)),
    ('decoder.mix.', f'{DECODER}pred_head.2.'),
    ('decoder.neck.', f'{DECODER}to_depth_lr.'),
    ('decoder.out.', f'{DECODER}to_depth_hr.'),
)


@dataclass(frozen=True)
class Release:
    """How the file of one released network is named."""

    title: str
    prefixes: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]                    # released prefixes that the network never runs
    aliases: tuple[tuple[str, str], ...]       # (alias prefix, prefix of the tensor it repeats)
    marker: str                                # a prefix that only this network has


RELEASES = {
    'dap': Release(
        'DAP', DAP_NAMES,
        ('core.pretrained.model.mask_token', 'core.depth_head.scratch.refinenet4.resConfUnit1.',
         'core.mask_head.scratch.refinenet4.resConfUnit1.'),
        (('core.pretrained.blocks.', 'core.pretrained.model.blocks.'),), 'core.'),
    'da2': Release(
        'DA2', DA2_NAMES,
        ('dino.register_tokens', 'dino.mask_token', f'{DECODER}to_confidence_lr.',
         f'{DECODER}to_confidence_hr.'),
        (), 'vit_w_esphere.'),
}


def replace_prefix(name: str, pairs: tuple[tuple[str, str], ...]) -> str | None:
    """Return the name with the first fitting prefix replaced, or None if none fits."""
    for old, new in pairs:
        if name.startswith(old):
            return new + name[len(old):]
    return None


def our_name(released: str, release: Release) -> str | None:
    """Return our name of a released tensor, alias or not; None = never used or unknown."""
    released = released.removeprefix(PARALLEL_PREFIX)
    released = replace_prefix(released, release.aliases) or released
    if released.startswith(release.unused):
        return None
    return replace_prefix(released, tuple((theirs, ours) for ours, theirs in release.prefixes))


def released_name(ours: str, release: Release) -> str | None:
    """Return the released name of one of our tensors; None = it has none."""
    return replace_prefix(ours, release.prefixes)


def translate(state: dict[str, torch.Tensor], release: Release
              ) -> tuple[dict[str, torch.Tensor], list[str], list[str]]:
    """
    Return the state dict under our names, the names that are never used, and the unknown ones.

    :raises CheckpointError: if an alias differs from its tensor
    """
    ours: dict[str, torch.Tensor] = {}
    unused, unknown = [], []
    for released, tensor in state.items():
        name = our_name(released, release)
        if name is None:
            known = released.removeprefix(PARALLEL_PREFIX).startswith(release.unused)
            (unused if known else unknown).append(released)
        elif name in ours and not torch.equal(ours[name], tensor):
            raise CheckpointError(f'{released!r} differs from the tensor that it repeats; the '
                                  'checkpoint is damaged, download it again')
        else:
            ours[name] = tensor
    return ours, unused, unknown


def read_released(path: str | Path, network: str) -> tuple[Checkpoint, list[str]]:
    """
    Read a released checkpoint file.

    :param path: DAP `model.pth`, DA2 `model.safetensors`, with or without `module.` prefixes
    :param network: dap | da2
    :return: the checkpoint under our names, complete; released names that were left unused
    :raises CheckpointError: with every missing, unexpected or misshapen tensor
    """
    path, release = Path(path), RELEASES[network]
    state = read_state(path)
    refuse_other_network(path, state, network)
    ours, unused, unknown = translate(state, release)
    config = CONFIGS[network](ours)
    expected = released_shapes(network, config)
    check_names_and_shapes(
        {released_name(name, release) or name: shape for name, shape in expected.items()},
        {released_name(name, release) or name: tensor.shape for name, tensor in ours.items()}
        | {name: state[name].shape for name in unknown})
    return Checkpoint(network, config, ours, {'source': path.name}), unused


def released_shapes(network: str, config: dict) -> dict[str, torch.Size]:
    """Return the shape of each of our tensors, without memory for them."""
    with torch.device('meta'):
        return {name: tensor.shape
                for name, tensor in build_network(network, config).state_dict().items()}


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """
    Return the state dict of a file; nothing in it is executed.

    :param path: `.safetensors`, or a file of torch.save
    :raises CheckpointError: if the file is absent, damaged or no flat state dict
    """
    if not path.is_file():
        raise CheckpointError(f'no checkpoint file {str(path)!r}')
    if path.suffix == '.safetensors':
        return read_safetensors(path)[0]
    try:
        state = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(
            f'cannot read {str(path)!r} as a torch checkpoint; it is truncated or of another '
            'kind, download it again') from error
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise CheckpointError(f'{str(path)!r} is not a flat state dict of tensors')
    return state


def refuse_other_network(path: Path, state: dict[str, torch.Tensor], network: str) -> None:
    """
    Refuse a file whose names are those of another released network.

    :raises CheckpointError: naming the network that the file holds
    """
    for other, release in RELEASES.items():
        fits = any(name.removeprefix(PARALLEL_PREFIX).startswith(release.marker) for name in state)
        if other != network and fits:
            raise CheckpointError(f'{str(path)!r} holds {release.title}, not '
                                  f'{RELEASES[network].title}; use --network {other}')


def dap_config(state: dict[str, torch.Tensor]) -> dict:
    """
    Return the configuration that the encoder width of a checkpoint implies.

    :raises CheckpointError: if the width is that of no known encoder
    """
    token = state.get('encoder.cls_token', state.get('adapter_norm.weight'))
    if token is None or not token.ndim:      # the differences are then those to the released one
        return asdict(DapConfig())
    for name, vit in ENCODERS.items():
        if token.shape[-1] == vit.dim:
            return asdict(DapConfig(encoder=name))
    widths = ', '.join(f'{vit.dim} ({name})' for name, vit in ENCODERS.items())
    raise CheckpointError(f'encoder width {token.shape[-1]} is none of {widths}')


def da2_config(_: dict[str, torch.Tensor]) -> dict:
    """Return the released configuration."""
    return asdict(SphereVitConfig())


CONFIGS = {'dap': dap_config, 'da2': da2_config}
