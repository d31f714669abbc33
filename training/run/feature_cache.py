# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Features of a frozen encoder, made once per augmented image and kept on the disk.

One entry holds a shard, augmented once: images, ranges, heights and features as memory-mapped
arrays. Its name is the hash of all that it depends on (the shard's content, the number of the
copy, the size, the augmentation, the encoder), so that an entry made of anything else is never
read; such stale ones are removed, the longest unread first, where the bound on the disk asks for
it.
"""

from __future__ import annotations

from argparse import Namespace
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass
import hashlib
import json
import os
from pathlib import Path
import shutil

from accelerate import Accelerator
import numpy as np
import torch
from torch import nn

from da_ros.bundle import sha256_of
from da_ros.errors import DaRosError
from training.data.augment import augment
from training.data.augment import VERSION as AUGMENTATION
from training.data.checks import resized
from training.data.sample import Sample
from training.data.shards import ShardSet
from training.run.batches import Batch, Batches, Sources
from training.run.config import TrainConfig, TrainError
from training.run.processes import precision_on

LAYOUT = 1              # of an entry
ENCODED = 8             # images per pass of the encoder
ABOUT = 'about.json'    # written last: an entry without it is unfinished
ARRAYS = ('image', 'range_m', 'height_m', 'features')


@dataclass
class FeatureSample(Sample):
    """A sample, augmented already, with its features."""

    features: np.ndarray | None = None      # (C, rows, cols) float16


@dataclass(frozen=True)
class Part:
    """The samples of one shard that a source names."""

    source: int                 # which of the sources
    shard: Path
    indices: tuple[int, ...]    # in that source's ShardSet


@dataclass(frozen=True)
class FeatureCache:
    """A folder of entries for one encoder and size."""

    folder: Path
    gib: float                  # bound on the disk [GiB]
    copies: int                 # augmented copies of each image
    images: int                 # that each source gets at least: a small one has more copies
    size_hw: tuple[int, int]
    encoder: str                # hash of its weights and config
    seed: int = 0

    def key(self, part: Part, names: list[str], copy: int) -> str:
        """Return the name of the entry of a copy of some samples."""
        about = [LAYOUT, AUGMENTATION, self.encoder, list(self.size_hw), self.seed, copy,
                 sha256_of(part.shard), names]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]

    def fill(self, sources: Sources, network: nn.Module,
             tell: Callable[[str], None] = print) -> list[list[Path]]:
        """
        Make the entries that are missing; return those of each source.

        :raises TrainError: if a source holds no shards, or all together pass the bound
        """
        entries: list[list[Path]] = [[] for _ in sources.sets]
        missing = []
        for part in parts_of(sources):
            shards = sources.sets[part.source]
            names = [shards.place(index)[1] for index in part.indices]
            for copy in range(self.copies_of(shards)):
                entry = self.folder / self.key(part, names, copy)
                entries[part.source].append(entry)
                if (entry / ABOUT).is_file():
                    os.utime(entry / ABOUT)
                else:
                    missing.append((entry, part, copy))
        network = in_half_precision(network) if missing else network
        needed = {entry for group in entries for entry in group}
        for number, (entry, part, copy) in enumerate(missing):
            tell(f'features: {number} of {len(missing)} shards to be made')
            self.make_room(needed, expected_bytes(network, self.size_hw, len(part.indices)))
            self._make(entry, sources.sets[part.source], part, copy, network)
        return [[entry for entry in group if (entry / ABOUT).is_file()] for group in entries]

    def copies_of(self, samples: ShardSet) -> int:
        """Return how many augmented copies each image of a source gets."""
        return max(self.copies, -(-self.images // len(samples)))

    def make_room(self, needed: set[Path], wanted_bytes: int) -> None:
        """
        Remove unfinished and stale entries until so much more fits under the bound.

        :raises TrainError: if what is needed does not fit
        """
        present = {p: folder_bytes(p) for p in self.folder.glob('*') if p.is_dir()}
        for entry in [p for p in present if not (p / ABOUT).is_file()]:
            shutil.rmtree(entry)
            del present[entry]
        stale = sorted(present.keys() - needed, key=lambda p: (p / ABOUT).stat().st_mtime)
        limit = self.gib * 2 ** 30
        while sum(present.values()) + wanted_bytes > limit:
            if not stale:
                raise TrainError(f'the features of this data pass the {self.gib:g} GiB of '
                                 f'features_gib in {self.folder}; raise it, or lower '
                                 f'feature_copies ({self.copies})')
            shutil.rmtree(stale[0])
            del present[stale.pop(0)]

    def _make(self, entry: Path, shards: ShardSet, part: Part, copy: int,
              network: nn.Module) -> None:
        """Write one entry; corrupt samples are left out."""
        samples = []
        seed = int(hashlib.sha256(entry.name.encode()).hexdigest()[:12], 16)
        rng = np.random.default_rng((self.seed, copy, seed))
        for index in part.indices:
            try:
                sample = resized(shards[index], self.size_hw[0])
            except DaRosError:
                continue                # told by every run that reads the shard itself
            if sample.valid.any():
                samples.append(augment(sample, rng))
        if not samples:
            return                      # an entry that is not there is not read
        entry.mkdir(parents=True, exist_ok=True)
        images = np.stack([s.image for s in samples])
        np.save(entry / 'image.npy', images)
        np.save(entry / 'range_m.npy', np.stack([stored_range(s) for s in samples]))
        np.save(entry / 'height_m.npy', np.array([s.camera_height_m for s in samples], np.float32))
        np.save(entry / 'features.npy', np.concatenate(list(encode(network, images))))
        (entry / ABOUT).write_text(json.dumps({
            'shard': part.shard.name, 'copy': copy, 'encoder': self.encoder[:12],
            'images': len(samples)}))


def kept_features(args: Namespace, config: TrainConfig, sources: Sources, network: nn.Module,
                  size_hw: tuple[int, int], accelerator: Accelerator) -> list[list[Path]] | None:
    """
    Return the entries of the feature cache for each source, made where missing; None without one.

    :raises TrainError: if this run cannot keep features
    """
    if not args.features:
        return None
    if args.teacher or args.heads:
        raise TrainError('--features goes with neither --teacher nor --heads; leave it away')
    cache = FeatureCache(args.features, config.features_gib, config.feature_copies,
                         config.feature_images, size_hw, encoder_hash(network))
    with accelerator.main_process_first():      # the others find all of it made
        return cache.fill(sources, network.eval())


def parts_of(sources: Sources) -> Iterator[Part]:
    """
    Yield the shards of all sources.

    :raises TrainError: if one is no set of shards
    """
    for number, (path, samples) in enumerate(zip(sources.paths, sources.sets)):
        if not isinstance(samples, ShardSet):
            raise TrainError(f'--features needs shards, and {path} is none; make them with '
                             'training.curate')
        by_shard: dict[Path, list[int]] = defaultdict(list)
        for index in range(len(samples)):
            by_shard[samples.place(index)[0]].append(index)
        for shard, indices in by_shard.items():
            yield Part(number, shard, tuple(indices))


def stored_range(sample: Sample) -> np.ndarray:
    """Return the range in float16, NaN where it is unknown."""
    known = sample.valid | np.isposinf(sample.range_m)
    with np.errstate(over='ignore'):
        return np.where(known, sample.range_m, np.nan).astype(np.float16)


def in_half_precision(network: nn.Module) -> nn.Module:
    """
    Return a copy with its encoder in bf16, or the network itself on a CPU that lacks it.

    Autocast would cast all weights again in every pass.
    """
    on_cpu = next(network.parameters()).device.type == 'cpu'
    if precision_on(on_cpu, 'bf16') == 'no':
        return network
    network = deepcopy(network)
    network.encoder.to(torch.bfloat16)
    return network


@torch.inference_mode()
def encode(network: nn.Module, images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the network's features (n, C, rows, cols) float16 of (N, H, W, 3) uint8 images."""
    device = next(network.parameters()).device
    for start in range(0, len(images), ENCODED):
        batch = torch.from_numpy(np.ascontiguousarray(images[start:start + ENCODED]))
        batch = batch.to(device).permute(0, 3, 1, 2).float() / 255
        yield network.features(batch).float().to(torch.float16).cpu().numpy()


def encoder_hash(network: nn.Module) -> str:
    """
    Return a hash of the encoder's config and weights.

    :raises TrainError: if the network has no features to keep
    """
    if not hasattr(network, 'features') or not hasattr(network, 'encoder'):
        raise TrainError(f'{type(network).__name__} has no encoder whose features could be kept; '
                         'leave --features away')
    digest = hashlib.sha256(json.dumps(asdict(network.encoder.config)).encode())
    for name, value in sorted(network.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def expected_bytes(network: nn.Module, size_hw: tuple[int, int], images: int) -> int:
    """Return the size of an entry."""
    height, width = size_hw
    with torch.inference_mode():
        shape = network.features(torch.zeros(1, 3, height, width)).shape
    return images * (5 * height * width + 2 * int(np.prod(shape)) + 4)


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob('*'))


class FeatureBatches(Batches):
    """Batches of kept features; images were augmented when they were kept, all but the turn."""

    def attach(self, entries: list[list[Path]]) -> FeatureBatches:
        """
        Read from these entries, those of each source.

        :raises TrainError: if a source has none
        """
        self._kept = [[{name: np.load(entry / f'{name}.npy', mmap_mode='r') for name in ARRAYS}
                       for entry in group] for group in entries]
        self._starts = [np.cumsum([0, *(len(kept['height_m']) for kept in group)])
                        for group in self._kept]
        if any(starts[-1] == 0 for starts in self._starts):
            raise TrainError('a source of --data has no usable image')
        return self

    def draw(self, rng: np.random.Generator) -> tuple[list[Sample], list[str]]:
        """Return samples with features, each turned by a random number of columns."""
        sizes = np.array([starts[-1] for starts in self._starts], float)
        shares = self.sources.shares(sizes)
        samples: list[Sample] = []
        for _ in range(self.config.batch):
            source = int(rng.choice(len(sizes), p=shares))
            starts = self._starts[source]
            index = int(rng.integers(starts[-1]))
            group = int(np.searchsorted(starts, index, side='right')) - 1
            samples.append(turned(self._kept[source][group], index - int(starts[group]), rng))
        return samples, []

    def collate(self, samples: list[Sample], skipped: list[str],
                rng: np.random.Generator) -> Batch:
        """Return the batch with its features (B, C, rows, cols) float16."""
        batch = super().collate(samples, skipped, rng)
        features = np.stack([s.features for s in samples if isinstance(s, FeatureSample)])
        return batch._replace(features=torch.from_numpy(features))


def turned(kept: dict[str, np.ndarray], index: int, rng: np.random.Generator) -> FeatureSample:
    """Return a kept sample, turned about the vertical by an even number of feature columns."""
    image, range_m = kept['image'][index], kept['range_m'][index].astype(np.float32)
    features = kept['features'][index]
    cols = features.shape[-1]
    turn = 2 * int(rng.integers(cols // 2))
    pixels = turn * image.shape[1] // cols
    range_m = np.roll(range_m, pixels, 1)
    return FeatureSample(
        np.roll(image, pixels, 1), range_m, np.isfinite(range_m), 'kept features',
        float(kept['height_m'][index]), {}, np.roll(features, turn, 2))
