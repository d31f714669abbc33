# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Panoramas without range, in the portions that labelling works through.

A source is a folder of images, with its subfolders, hidden ones left out, or a folder of shards
whose range is not looked at. A portion becomes one shard of labels; which images it holds depends
on the source alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.bundle import sha256_of
from da_ros.errors import DaRosError
from training.data.files import DataError, IMAGE_SUFFIXES, read_picture
from training.data.leaks import LeakError, refuse_evaluation_picture
from training.data.shards import ShardError, ShardSet


class SourceError(DaRosError):
    """A folder without panoramas, or with two kinds of them."""


@dataclass(frozen=True, eq=False)
class Panorama:
    """An image and what is known of it besides its range."""

    name: str                       # file below the source, or FOLDER/SHARD:KEY
    image: NDArray[np.uint8]        # (h, w, 3) RGB
    source: str                     # name of the folder or of the scene kind
    camera_height_m: float = 0.0    # 0 = unknown


@dataclass(frozen=True)
class Portion:
    """Some panoramas of one source."""

    name: str                       # of the shard to be
    source: Path
    files: tuple[Path, ...] = ()    # images; empty = `source` is a shard

    @property
    def folder(self) -> Path:
        """Return the folder of the source."""
        return self.source if self.files else self.source.parent

    def digest(self) -> str:
        """
        Return a hash of names and contents, by which a finished portion is recognised.

        Every file is read once, at 0.6 GB/s on one core (Zen 4): little beside labelling it.
        """
        lines = [f'{path.relative_to(self.folder).as_posix()} {_content(path)}'
                 for path in self.files or [self.source]]
        return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]

    def panoramas(self) -> Iterator[Panorama | str]:
        """Yield its panoramas in order; a text, with the name first, for one that is useless."""
        yield from self._of_files() if self.files else self._of_shard()

    def _of_files(self) -> Iterator[Panorama | str]:
        for path in self.files:
            try:
                image = read_picture(path)
                refuse_evaluation_picture(image, str(path))
            except (DataError, LeakError) as error:
                yield str(error)
                continue
            name = f'{self.source.name}/{path.relative_to(self.source).as_posix()}'
            yield Panorama(name, image, self.source.name)

    def _of_shard(self) -> Iterator[Panorama | str]:
        try:
            shards = ShardSet([self.source])
        except ShardError as error:
            yield str(error)
            return
        for index in range(len(shards)):
            try:
                sample = shards[index]
            except ShardError as error:
                yield str(error)
                continue
            yield Panorama(shards.name(index), np.ascontiguousarray(sample.image), sample.source,
                           sample.camera_height_m)
        yield from shards.corrupt         # the rest of a shard that is damaged further on


def _content(path: Path) -> str:
    """Return the hash of a file; one that cannot be read is left to the labels to name."""
    try:
        return sha256_of(path)
    except OSError:
        return 'unreadable'


def find_portions(folders: list[Path], per_shard: int = 96) -> list[Portion]:
    """
    Return the portions of some sources, in an order that depends on file names alone.

    :param per_shard: images per portion of a folder of images; a shard stays one portion
    :raises SourceError: if a folder holds nothing, or both shards and images, or two are named
        alike
    """
    portions = []
    for folder in folders:
        shards = sorted(folder.glob('*.tar'))
        files = sorted(f for f in folder.rglob('*') if f.suffix.lower() in IMAGE_SUFFIXES
                       and not any(part.startswith('.') for part in f.relative_to(folder).parts))
        if not shards and not files:
            raise SourceError(f'no panorama under {folder}; give a folder of *.tar shards or of '
                              f'images ({", ".join(IMAGE_SUFFIXES)})')
        if shards and files:
            raise SourceError(f'{folder} holds {len(shards)} *.tar shards and {len(files)} images '
                              f'({shards[0].name}, {files[0].relative_to(folder)}, ...); only one '
                              'kind is read: move the other to a folder of its own')
        portions += [Portion(f'{folder.name}_{path.stem}', path) for path in shards]
        portions += [Portion(f'{folder.name}_{number:05d}', folder,
                             tuple(files[start:start + per_shard]))
                     for number, start in enumerate(range(0, len(files), per_shard))]
    names = [portion.name for portion in portions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f'two folders are named alike and both would write {twice[0]}.tar; '
                          'label them into different --out')
    return portions
