# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Any checkpoint by its path: one of ours, or a released one of a named network."""

from __future__ import annotations

from pathlib import Path
import sys

from da_ros.bundle import sha256_of
from training.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    METADATA_KEY,
    read_safetensors_metadata,
)
from training.checkpoints.released import read_released, RELEASES


def read_checkpoint(path: Path, network: str | None) -> Checkpoint:
    """
    Return a checkpoint of ours, or a released one where the network is named.

    :raises CheckpointError: if the file is unreadable or does not fit
    """
    if network in RELEASES and not is_ours(path):
        checkpoint, unused = read_released(path, network)
        if unused:
            print(f'warning: {len(unused)} tensors that the released network never uses are '
                  f'ignored: {", ".join(unused)}', file=sys.stderr)
    else:
        checkpoint = load_checkpoint(path)
        if network not in (None, checkpoint.network):
            raise CheckpointError(f'{str(path)!r} holds network {checkpoint.network!r}, not '
                              f'{network!r}; leave --network away')
    hashed = path / 'checkpoint.safetensors' if path.is_dir() else path
    provenance = dict(checkpoint.provenance) | {
        'checkpoint': hashed.name, 'checkpoint_sha256': sha256_of(hashed)}
    return Checkpoint(checkpoint.network, checkpoint.config, checkpoint.state, provenance)


def is_ours(path: Path) -> bool:
    """Return whether a file is a checkpoint that names its network itself."""
    return METADATA_KEY in read_safetensors_metadata(path)
