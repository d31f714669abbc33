# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Checkpoints: our own safetensors files, strict loading, files written whole or not at all.

Our file holds the tensors and one metadata entry `da_ros`, JSON with `network`, `config` and
`provenance`, so that a network can be rebuilt from the file alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
import os
from pathlib import Path

import torch

from da_ros.bundle import sha256_of
from da_ros.errors import DaRosError
from training.networks import build_network

METADATA_KEY = 'da_ros'
NAMES_SHOWN = 3         # of each kind of difference, in the one line of an error


class CheckpointError(DaRosError):
    """
    A checkpoint file that is absent, damaged, or of another network.

    `details` names every tensor that does not fit, one per line; empty for other errors.
    """

    def __init__(self, message: str, details: Sequence[str] = ()):
        super().__init__(message)
        self.details = tuple(details)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network as data: `build(checkpoint)` makes it run."""

    network: str
    config: dict
    state: dict[str, torch.Tensor]
    provenance: dict


def save_checkpoint(path: str | Path, network: str, config: dict,
                    state: Mapping[str, torch.Tensor], provenance: dict) -> Path:
    """
    Write a checkpoint; the file appears complete or not at all.

    :param path: a `.safetensors` file, or a folder that gets `checkpoint.safetensors`
    :param network: name in training.networks
    :param config: fields of the network's config dataclass, JSON types
    :param provenance: where the weights come from: commit, data, metrics, ... JSON types
    :return: the file
    """
    from safetensors.torch import save_file
    path = Path(path)
    if path.suffix != '.safetensors':
        path = path / 'checkpoint.safetensors'
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = json.dumps({'network': network, 'config': config, 'provenance': provenance})
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        save_file(tensors, temporary, metadata={METADATA_KEY: metadata})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_checkpoint(path: str | Path) -> Checkpoint:
    """
    Read one of our own checkpoints.

    :param path: the `.safetensors` file, or the folder that holds `checkpoint.safetensors`
    :raises CheckpointError: if the file is absent, damaged, or not one of ours
    """
    path = Path(path)
    if path.is_dir():
        path = path / 'checkpoint.safetensors'
    state, metadata = read_safetensors(path)
    if METADATA_KEY not in metadata:
        raise CheckpointError(
            f'checkpoint {str(path)!r} does not say which network it is; for a released file name '
            'the network: --network dap or da2')
    try:
        about = json.loads(metadata[METADATA_KEY])
        return Checkpoint(about['network'], about['config'], state, about['provenance'])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'checkpoint {str(path)!r} does not describe its network ({error}); '
                              'save it again with save_checkpoint') from error


def origin(path: Path) -> dict:
    """Return what a checkpoint made from this file says of it: name, hash, its own provenance."""
    file = path / 'checkpoint.safetensors' if path.is_dir() else path
    about = json.loads(read_safetensors_metadata(file).get(METADATA_KEY, '{}'))
    return {'file': path.name, 'sha256': sha256_of(file)} | about.get('provenance', {})


def build(checkpoint: Checkpoint) -> torch.nn.Module:
    """
    Return the network of a checkpoint with its weights, in evaluation mode.

    :raises CheckpointError: if a tensor is missing, unexpected or misshapen
    """
    network = build_network(checkpoint.network, checkpoint.config)
    load_strictly(network, checkpoint.state)
    return network.eval()


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """
    Return tensors and metadata of a safetensors file.

    :raises CheckpointError: if the file is absent or damaged
    """
    from safetensors import safe_open, SafetensorError
    if not path.is_file():
        raise CheckpointError(f'no checkpoint file {str(path)!r}')
    try:
        with safe_open(path, framework='pt') as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f'cannot read {str(path)!r} as safetensors ({error}); copy it again, or name the '
            'network of a released file (--network dap or da2)') from error


def read_safetensors_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file; empty for any other file."""
    from safetensors import safe_open, SafetensorError
    path = path / 'checkpoint.safetensors' if path.is_dir() else path
    try:
        with safe_open(path, framework='pt') as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):
        return {}


def load_strictly(network: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """
    Copy every tensor into the network, or none.

    :raises CheckpointError: with all missing, unexpected and misshapen names
    """
    check_names_and_shapes({name: tensor.shape for name, tensor in network.state_dict().items()},
                           {name: tensor.shape for name, tensor in state.items()})
    network.load_state_dict(state, strict=True)


def check_names_and_shapes(expected: Mapping[str, torch.Size],
                           found: Mapping[str, torch.Size]) -> None:
    """
    Refuse a state dict that is not exactly the expected one.

    :raises CheckpointError: with the counts, the first names, and every name in its `details`
    """
    differences = {
        'missing': {name: f'{tuple(shape)}' for name, shape in expected.items()
                    if name not in found},
        'unexpected': {name: f'{tuple(shape)}' for name, shape in found.items()
                       if name not in expected},
        'misshapen': {name: f'{tuple(found[name])} instead of {tuple(shape)}'
                      for name, shape in expected.items()
                      if name in found and tuple(found[name]) != tuple(shape)}}
    if any(differences.values()):
        counts = [f'{len(names)} {kind}: {shorten([*names])}'
                  for kind, names in differences.items() if names]
        raise CheckpointError(
            f'checkpoint does not fit the network: {"; ".join(counts)}',
            [f'{kind} {name} {shape}' for kind, names in differences.items()
             for name, shape in names.items()])


def shorten(names: Sequence[str]) -> str:
    """Return the names in one line, the first few when there are more."""
    more = f', ... and {len(names) - NAMES_SHOWN} more' if len(names) > NAMES_SHOWN else ''
    return ', '.join(names[:NAMES_SHOWN]) + more
