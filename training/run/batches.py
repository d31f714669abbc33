# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Batches: drawn, decoded and augmented in data processes, the same ones whoever draws them.

Batch number i of a run depends on (seed, i) alone: not on the number of data processes, nor on
the number of training processes. Optimiser step s of P processes that accumulate A batches uses
the numbers s A P to (s + 1) A P - 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from da_ros.errors import DaRosError
from training.data.augment import augment
from training.data.catalogue import CATALOGUE, open_set
from training.data.checks import check_has_valid, resized, Samples, usable
from training.data.sample import Sample
from training.data.shards import ShardSet
from training.run.config import TrainConfig, TrainError
from training.run.decoded import Decoded

DRAWS_PER_SAMPLE = 20        # corrupt samples in a row before giving up
PREFETCH = 4                 # batches per data process
# panoramic sets that cannot be opened by their name and folder alone
OPTIONS_NEEDED = {'dap2m': '--option list_file=FILE metres_per_unit=NUMBER',
                  'panosuncg': '--option list_file=FILE'}


class Batch(NamedTuple):
    """Images with their range; `on` brings them to a device."""

    image: Tensor                # (B, H, W, 3) uint8 RGB; on a device (B, 3, H, W) float, 0..1
    range_m: Tensor              # (B, H, W) float32, NaN = unknown, +inf = empty
    told_height_m: Tensor        # (B,) what the network is told; 0 = nothing
    height_m: Tensor             # (B,) camera height, 0 = unknown
    skipped: list[str]           # corrupt samples that were met, one message each
    images: int                  # in the data set at the time
    features: Tensor | None = None      # (B, C, rows, cols) of a frozen encoder, where kept

    def on(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        image, range_m, told, height = (t.to(device, non_blocking=True) for t in self[:4])
        image = (image.permute(0, 3, 1, 2).float() / 255).contiguous(
            memory_format=fastest_format(device))
        features = None if self.features is None else self.features.to(device).float()
        return self._replace(image=image, range_m=range_m, told_height_m=told, height_m=height,
                             features=features)

    def resized(self, size_hw: tuple[int, int]) -> Batch:
        """Return the batch, on its device, at another size: area means, nearest ranges."""
        if tuple(self.range_m.shape[-2:]) == tuple(size_hw):
            return self
        image = F.interpolate(self.image, size=size_hw, mode='area')
        range_m = F.interpolate(self.range_m[:, None], size=size_hw, mode='nearest-exact')
        return self._replace(image=image, range_m=range_m[:, 0])


def fastest_format(device: torch.device) -> torch.memory_format:
    """Return channels last for GPUs and CPUs with matrix tiles (AMX); other CPUs lose by it."""
    tiles = getattr(torch.cpu, '_is_amx_tile_supported', lambda: False)
    return (torch.channels_last if device.type == 'cuda' or tiles()
            else torch.contiguous_format)


class Sources:
    """Data sets to draw from, each with its probability."""

    def __init__(self, words: list[str | Path]) -> None:
        """
        Open the sources.

        :param words: `PATH` of shards or `NAME:PATH` of a data set in the catalogue, each with
            `=WEIGHT` or none; without weights every image is alike
        :raises DaRosError: if one holds no sample or no valid pixel, or only some have a weight
        """
        self.paths, weights = zip(*(split_weight(str(word)) for word in words))
        if None in weights and any(weights):
            raise TrainError('--data: give a weight to every source (PATH=WEIGHT) or to none')
        self._weights = None if None in weights else np.array(weights) / sum(weights)
        self.sets = [open_source(path) for path in self.paths]
        for path, samples in zip(self.paths, self.sets):
            check_has_valid(path, samples)
        self._samples: list[Samples] = self.sets

    def keep(self, height: int, gib: float) -> None:
        """Keep decoded samples of this many rows in so much memory [GiB], shared over the sets."""
        if gib > 0:
            self._samples = [Decoded(samples, height, gib * len(samples) / len(self))
                             for samples in self.sets]

    def __len__(self) -> int:
        return sum(len(samples) for samples in self.sets)

    def shares(self, sizes: np.ndarray) -> np.ndarray:
        """Return the probability of each set: as its weight, or as its size without weights."""
        return sizes / sizes.sum() if self._weights is None else self._weights

    def draw(self, rng: np.random.Generator) -> Sample:
        """:raises DaRosError: if the sample is corrupt or has no valid pixel."""
        sizes = np.array([len(samples) for samples in self.sets], float)
        place = int(rng.choice(len(self.sets), p=self.shares(sizes)))
        return usable(self._samples[place], int(rng.integers(len(self.sets[place]))),
                      self.paths[place])

    def refresh(self) -> None:
        """Look for shards finished since."""
        for samples in self.sets:
            if isinstance(samples, ShardSet):
                samples.refresh()

    def names(self) -> list[str]:
        """Return what stands in the checkpoint about the data."""
        return [line for path, samples in zip(self.paths, self.sets) for line in (
            samples.names() if isinstance(samples, ShardSet) else
            [f'{path.partition(":")[0]}: {len(samples)} samples'])]

    @property
    def corrupt(self) -> list[str]:
        """One message per shard that is damaged."""
        return [message for samples in self.sets for message in getattr(samples, 'corrupt', ())]


def open_source(path: str) -> Samples:
    """
    Return the samples of `PATH` (shards) or `NAME:PATH` (a panoramic data set).

    :raises DaRosError: if there are none, they are perspective pictures, or the set needs options
    """
    name, colon, folder = path.partition(':')
    if not colon or name not in CATALOGUE:
        return ShardSet([path])
    if not CATALOGUE[name].panoramic:
        raise TrainError(f'{name} holds perspective pictures; make panoramas of them with '
                         'training.curate and give the shards')
    if name in OPTIONS_NEEDED:
        raise TrainError(f'{name} needs options; make shards with `python -m training.curate '
                         f'panorama --set {name}={folder} {OPTIONS_NEEDED[name]} --out shards/'
                         f'{name}` and give those')
    return open_set(name, folder)


def split_weight(word: str) -> tuple[str, float | None]:
    """Return path and weight of `PATH=WEIGHT`; None without one."""
    path, _, weight = word.rpartition('=')
    try:
        return (path, float(weight)) if path and float(weight) > 0 else (word, None)
    except ValueError:
        return word, None


@dataclass
class Batches(Dataset):
    """Batch by number; a corrupt sample is replaced by the next draw and named in the batch."""

    sources: Sources
    config: TrainConfig
    size_hw: tuple[int, int]
    refresh_every: int               # batches between looks for new shards
    stream: int = 0                  # another one gives other batches of the same run
    _refreshed: int = 0

    def __getitem__(self, number: int) -> Batch | str:
        """Return the batch, or the message of an error that ends the run."""
        if number // self.refresh_every != self._refreshed:
            self.sources.refresh()
            self._refreshed = number // self.refresh_every
        # The number alone decides what is drawn: a resumed run, or one on more processes, sees
        # the same batches in the same order.
        rng = np.random.default_rng((self.config.seed, self.stream, number))
        try:
            return self.collate(*self.draw(rng), rng)
        except DaRosError as error:
            return str(error)

    def draw(self, rng: np.random.Generator) -> tuple[list[Sample], list[str]]:
        """Return augmented samples of the right size, and what was skipped."""
        samples: list[Sample] = []
        skipped: list[str] = []
        while len(samples) < self.config.batch:
            try:
                sample = self.sources.draw(rng)
            except DaRosError as error:
                skipped.append(str(error))
                if len(skipped) > DRAWS_PER_SAMPLE * self.config.batch:
                    raise TrainError(f'{len(skipped)} draws in one batch are corrupt; the last: '
                                     f'{error}') from error
                continue
            samples.append(augment(resized(sample, self.size_hw[0]), rng))
        return samples, skipped

    def collate(self, samples: list[Sample], skipped: list[str],
                rng: np.random.Generator) -> Batch:
        """Return the batch of these samples, some of which are told their camera height."""
        height = np.array([s.camera_height_m for s in samples], np.float32)
        told = height * np.exp(rng.normal(0, self.config.height_jitter, len(height)))
        told = told * (rng.uniform(size=len(height)) < self.config.height_known)
        range_m = np.stack([np.where(s.valid | np.isposinf(s.range_m), s.range_m, np.nan)
                            for s in samples])
        if self.config.scale_jitter:
            factor = np.exp(rng.normal(0, self.config.scale_jitter, len(height)) * (told > 0))
            told, height = told * factor, (height * factor).astype(np.float32)
            range_m = range_m * factor[:, None, None]
        return Batch(torch.from_numpy(np.stack([s.image for s in samples])),
                     torch.from_numpy(range_m.astype(np.float32)),
                     torch.from_numpy(told.astype(np.float32)), torch.from_numpy(height),
                     skipped, len(self.sources))


@dataclass(frozen=True)
class Numbers:
    """The batch numbers of one process, without end."""

    first: int
    step: int

    def __iter__(self) -> Iterator[int]:
        number = self.first
        while True:
            yield number
            number += self.step


def load(batches: Batches, first: int, step: int, pinned: bool) -> Iterator[Batch | str]:
    """
    Yield batches number first, first + step, ... made ahead by data processes.

    :param pinned: put them into page-locked memory, for a GPU
    """
    workers = batches.config.workers
    return iter(DataLoader(
        batches, batch_size=None, sampler=Numbers(first, step), num_workers=workers,
        pin_memory=pinned, prefetch_factor=PREFETCH if workers else None,
        worker_init_fn=one_thread,
        multiprocessing_context='fork' if workers else None))      # shares what Decoded keeps


def one_thread(_: int = 0) -> None:
    """Let OpenCV use one thread: every process has its own core."""
    cv2.setNumThreads(1)


def good_batch(batch: Batch | str) -> Batch:
    """:raises TrainError: if the data ended the run."""
    if isinstance(batch, str):
        raise TrainError(batch)
    return batch
