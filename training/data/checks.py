# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every user of a data set asks of its samples; bad ones are skipped, counted and told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Protocol as Interface

import cv2
import numpy as np

from da_ros.errors import DaRosError
from da_ros.range_map import resample_nearest
from training.data.files import DataError
from training.data.sample import Sample

PROBES = 8


class Samples(Interface):
    """Random access to samples: ShardSet, Panoramas, Curated and others."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int) -> Sample:
        """:raises DaRosError: if the sample is corrupt."""


class Skips:
    """Samples that could not be used, by data set, told at the end of a run."""

    def __init__(self) -> None:
        """Start without any."""
        self.reasons: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, reason: str) -> None:
        """Count one; the same reason twice counts once."""
        if reason not in self.reasons[name]:
            self.reasons[name].append(reason)

    def report(self) -> list[str]:
        """Return a line per data set and one per sample."""
        return [line for name, reasons in sorted(self.reasons.items()) if reasons
                for line in (f'{name}: {len(reasons)} skipped', *(f'  {r}' for r in reasons))]


def usable(samples: Samples, index: int, label: str = '') -> Sample:
    """
    Return a sample that has a valid pixel.

    :raises DaRosError: if it is corrupt or has none
    """
    sample = samples[index]
    if not sample.valid.any():
        raise DataError(f'{label or sample.source} sample {index} has no valid pixel')
    return sample


def check_has_valid(name: str, samples: Samples) -> None:
    """
    Look at a few samples over the whole set.

    :raises DataError: with the set's name, if none of them has a valid pixel
    """
    if not len(samples):
        raise DataError(f'data set {name} has no sample')
    reason = None
    for index in np.unique(np.linspace(0, len(samples) - 1, PROBES).astype(int)):
        try:
            usable(samples, int(index), name)
            return
        except DaRosError as error:
            reason = reason or error
    raise DataError(f'data set {name} has no valid pixel in {min(PROBES, len(samples))} samples '
                    f'over the whole set; the first: {reason}')


def resized(sample: Sample, height: int) -> Sample:
    """Return the sample at (height, 2 height): image by area or bilinear, range by nearest."""
    if sample.range_m.shape[0] == height:
        return sample
    how = cv2.INTER_AREA if sample.range_m.shape[0] > height else cv2.INTER_LINEAR
    image = cv2.resize(sample.image, (2 * height, height), interpolation=how)
    range_m = resample_nearest(sample.range_m, height, 2 * height)
    return replace(sample, image=image, range_m=range_m, valid=np.isfinite(range_m))
