# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Damage to shards."""

from pathlib import Path
import tarfile


def damage_image(shard: Path, number: int) -> None:
    """Overwrite the first bytes of an image in a shard with zeros."""
    with tarfile.open(shard) as tar:
        info = tar.getmember(f'{shard.stem}_{number:04d}.jpg')
    data = bytearray(shard.read_bytes())
    data[info.offset_data:info.offset_data + 64] = bytes(64)
    shard.write_bytes(data)


def header_of(shard, number):
    """Return the offset of a member's header."""
    with tarfile.open(shard) as tar:
        return tar.getmembers()[number].offset


def flip(data, start):
    """Return the bytes with one bit changed shortly behind a place."""
    data[start + 3] ^= 1
    return data
