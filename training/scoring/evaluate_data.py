# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `training.evaluate --data` reads: pairs in a folder, or shards of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from training.data.pairs import height_group, read_pairs
from training.data.sample import Sample
from training.data.shards import ShardError, ShardSet


class EvaluationFrame(Interface):
    """One panorama with truth, read when asked for."""

    name: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the table rows that the frame counts for."""

    @property
    def complete(self) -> bool:
        """Whether everything visible is in the truth."""

    def load(self) -> Sample:
        """Read it; raises a DaRosError if it is damaged."""

    def load_label(self) -> NDArray[np.uint8] | None:
        """Return the label map (H, W), or None."""


@dataclass
class IndexedFrame:
    """One item of a data set with `len` and `[]`, such as `ShardSet`."""

    dataset: Sequence[Sample]
    index: int
    groups: tuple[str, ...] = ('all',)
    complete: bool = True

    @property
    def name(self) -> str:
        """Position in the set."""
        return f'{self.index:06d}'

    def load(self) -> Sample:
        """Read the item; its source and camera height become table rows."""
        sample = self.dataset[self.index]
        groups = ['all', sample.meta.get('environment', ''),
                  f'source {sample.source}' if sample.source else '']
        if sample.camera_height_m > 0:
            groups.append(height_group(sample.camera_height_m))
        self.groups = tuple(group for group in groups if group)
        return sample

    def load_label(self) -> None:
        """Return None: such sets have no labels."""
        return


@dataclass
class UnreadableShard:
    """A file that is no shard: loading it fails with the reason, so that it is named."""

    name: str
    groups: tuple[str, ...] = ()
    complete: bool = False

    def load(self) -> Sample:
        """Raise the ShardError of the file."""
        raise ShardError(self.name)

    def load_label(self) -> None:
        """Return None."""
        return


def open_data(path: str | Path) -> list[EvaluationFrame]:
    """
    Return the frames of a folder: shards where it holds `*.tar`, else pairs.

    :raises DaRosError: if it holds neither
    """
    if any(Path(path).glob('*.tar')):
        shards = ShardSet([path])
        return [*(IndexedFrame(shards, index) for index in range(len(shards))),
                *(UnreadableShard(reason) for reason in shards.corrupt)]
    return list(read_pairs(path))
