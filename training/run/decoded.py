# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Samples decoded once and kept in memory that all data processes share."""

from __future__ import annotations

import mmap

import numpy as np

from training.data.checks import resized, Samples
from training.data.sample import Sample

GIB = 2 ** 30


class Decoded:
    """
    A data set at one size, the first time from its files, afterwards from memory.

    The memory is shared between processes by fork. Ranges are kept in float16, as in shards. What
    does not fit is decoded every time.
    """

    def __init__(self, samples: Samples, height: int, gib: float) -> None:
        """
        Reserve the memory; it fills as samples are asked for.

        :param height: rows of every sample
        :param gib: memory for this set [GiB]
        """
        self.samples, self.height = samples, height
        pixels = 2 * height * height
        record = np.dtype([('image', np.uint8, (height, 2 * height, 3)),
                           ('range_m', np.float16, (height, 2 * height)),
                           ('camera_height_m', np.float32), ('known', np.bool_)])
        assert record.itemsize == 5 * pixels + 5
        self.kept = min(len(samples), int(gib * GIB // record.itemsize))
        memory = mmap.mmap(-1, max(1, self.kept * record.itemsize))
        self._records = np.frombuffer(memory, record, self.kept)

    def __len__(self) -> int:
        """Return how many samples the set has by now."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """:raises DaRosError: if the sample is corrupt."""
        if index >= self.kept:
            return resized(self.samples[index], self.height)
        record = self._records[index]
        if not record['known']:
            sample = resized(self.samples[index], self.height)
            with np.errstate(over='ignore'):
                record['range_m'] = np.where(
                    sample.valid | np.isposinf(sample.range_m), sample.range_m, np.nan)
            record['image'], record['camera_height_m'] = sample.image, sample.camera_height_m
            record['known'] = True      # last: another process may be looking
        range_m = record['range_m'].astype(np.float32)
        return Sample(record['image'].copy(), range_m, np.isfinite(range_m), 'kept in memory',
                      float(record['camera_height_m']))
