# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writing a public data set as shards of panoramas: views are placed and completed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
import hashlib
import json
import os
from pathlib import Path

import cv2
from tqdm import tqdm

from da_ros.errors import DaRosError
from training.curation.curated import Curated
from training.curation.outpaint import CurationError, Outpainter, PyramidFill
from training.data.catalogue import CATALOGUE, open_set
from training.data.checks import check_has_valid, resized, Skips, usable
from training.data.files import Pair, Panoramas
from training.data.job import check_job, write_job, write_whole
from training.data.pool import spread
from training.data.sample import Sample
from training.data.shards import write_shard


@dataclass(frozen=True)
class PanoramaJob:
    """What `training.curate panorama` does; its shards depend on this and the data set."""

    name: str                       # of the data set
    root: Path
    out: Path
    options: dict = field(default_factory=dict)     # of the reader
    fill: str = 'pyramid'           # or flux
    flux: dict = field(default_factory=dict)        # arguments of FluxFill
    height: int = 512
    seed: int = 0
    count: int = 0                  # panoramas; 0 = each view once
    per_shard: int = 96


def samples_of(job: PanoramaJob):
    """
    Return the panoramas of a job; random access.

    :raises DaRosError: if the data set cannot be opened, or has no valid pixel
    """
    opened = open_set(job.name, job.root, **job.options)
    if CATALOGUE[job.name].panoramic:
        samples = Resized(opened, job.height)
    else:
        samples = Curated(opened, outpainter(job), job.height, job.seed)
    return samples


def outpainter(job: PanoramaJob) -> Outpainter:
    """:raises CurationError: if there is no such fill, or its weights are missing."""
    if job.fill == 'pyramid':
        return PyramidFill()
    if job.fill != 'flux':
        raise CurationError(f'no fill {job.fill!r}; there are pyramid and flux')
    from training.curation.flux import FluxFill
    return FluxFill.load(place=CATALOGUE[job.name].place, **job.flux)


class Resized:
    """Panoramas at one size; item i is panorama i mod n."""

    def __init__(self, panoramas: Panoramas, height: int):
        """:param height: rows."""
        self._panoramas, self._height = panoramas, height
        self.pairs = panoramas.pairs

    def __len__(self) -> int:
        """Return the number of panoramas."""
        return len(self._panoramas)

    def __getitem__(self, index: int) -> Sample:
        """:raises DaRosError: if a file is missing or corrupt."""
        return resized(self._panoramas[index % len(self)], self._height)


_samples = None


def write_one(task: tuple[PanoramaJob, int, int]) -> int:
    """
    Write one shard, and before it what was skipped: NNNNN.json.

    :return: number of views that were looked at
    """
    global _samples
    job, shard, total = task
    if _samples is None or _samples[0] != job:
        cv2.setNumThreads(1)
        _samples = job, samples_of(job)
    indices = range(shard * job.per_shard, min((shard + 1) * job.per_shard, total))
    path = job.out / f'{shard:05d}.tar'
    write_shard(path, _usable(_samples[1], indices, path.with_suffix('.json')),
                {'seed': job.seed, 'shard': shard, 'set': job.name})
    return len(indices)


def _usable(samples, indices, record: Path) -> Iterator[Sample]:
    skipped = []
    for index in indices:
        try:
            yield usable(samples, index)
        except DaRosError as error:
            skipped.append(str(error))
    write_whole(record, json.dumps({'skipped': skipped}, indent=1) + '\n')


def write_panoramas(job: PanoramaJob, workers: int = 1) -> Skips:
    """
    Write the shards of a job that are not there yet.

    :return: what was skipped, by name, also by earlier runs
    :raises DaRosError: if the data set cannot be opened, has no valid pixel, or the disk is full
    """
    samples = samples_of(job)
    check_has_valid(job.name, samples)
    total = job.count or len(samples)
    _claim(job, samples.pairs)
    shards = range(-(-total // job.per_shard))
    tasks = [(job, shard, total) for shard in shards
             if not (job.out / f'{shard:05d}.tar').exists()]
    done = total - sum(min(job.per_shard, total - s * job.per_shard) for _, s, _ in tasks)
    with tqdm(total=total, initial=done, unit='panorama') as bar:
        for count in _run(tasks, workers):
            bar.update(count)
    skips = Skips()
    for record in (job.out / f'{shard:05d}.json' for shard in shards):
        for reason in json.loads(record.read_text())['skipped'] if record.exists() else ():
            skips.add(job.name, reason)
    return skips


def _claim(job: PanoramaJob, pairs: list[Pair]) -> None:
    """
    Say in OUT/job.json whose shards these are.

    A sample is known by its place in the data set, so one that has grown is another job.

    :raises JobError: if the folder holds the shards of another job
    """
    asked = {key: str(value) for key, value in asdict(job).items() if key != 'out'}
    asked |= {'samples': str(len(pairs)), 'sample_names': _names_hash(job.root, pairs)}
    if any(job.out.glob('*.tar')):
        check_job(job.out, asked)
    write_job(job.out, asked)


def _names_hash(root: Path, pairs: list[Pair]) -> str:
    lines = [f'{os.path.relpath(pair.image, root)} {os.path.relpath(pair.depth, root)}'
             for pair in pairs]
    return hashlib.sha256('\n'.join(lines).encode(errors='surrogateescape')).hexdigest()[:16]


def _run(tasks, workers: int):
    if workers <= 1:
        yield from map(write_one, tasks)
        return
    yield from spread(write_one, tasks, workers)
