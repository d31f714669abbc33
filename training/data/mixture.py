"""
Drawing from several data sets with stated probabilities; bad samples are skipped and told.

What a step draws depends on (seed, step) alone, so that a run can be resumed and spread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol as Interface

import cv2
import numpy as np

from da_ros.errors import DaRosError
from da_ros.range_map import resample_nearest
from training.data.files import DataError
from training.sample import Sample

PROBES, TRIES = 8, 20
ENDLESS = 2 ** 31 - 1


class Samples(Interface):
    """Random access to samples: ShardSet, Panoramas, Curated and others."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, index: int) -> Sample:
        """:raises DaRosError: if the sample is corrupt."""


@dataclass(frozen=True)
class Component:
    """One data set of a mixture."""

    name: str
    samples: Samples
    probability: float


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


class Mixture:
    """Random access to an endless mixture; item `step` depends on (seed, step) alone."""

    def __init__(self, components: Sequence[Component], seed: int = 0, height: int = 0):
        """
        Check the sets and normalise their probabilities.

        :param height: rows of every sample (bilinear/area image, nearest range); 0 = as it is
        :raises DataError: if a probability is negative or all are 0, or a set has no valid pixel
        """
        weights = np.array([c.probability for c in components], float)
        if not len(components) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise DataError(f'probabilities {weights.tolist()} are no mixture; give one positive '
                            'number per data set')
        for component in components:
            check_has_valid(component.name, component.samples)
        self.components, self.skips = list(components), Skips()
        self.probabilities = weights / weights.sum()
        self._seed, self._height = seed, height

    def __len__(self) -> int:
        """Return the number of different steps."""
        return ENDLESS

    def __getitem__(self, step: int) -> Sample:
        """
        Return the sample of a step; one that is corrupt or empty is skipped for another draw.

        :raises DataError: if 20 draws in a row from one set fail
        """
        rng = np.random.default_rng([self._seed, step])
        component = self.components[rng.choice(len(self.components), p=self.probabilities)]
        for _ in range(TRIES):
            index = int(rng.integers(len(component.samples)))
            try:
                sample = usable(component.samples, index, component.name)
                return resized(sample, self._height) if self._height else sample
            except DaRosError as error:
                self.skips.add(component.name, str(error))
        raise DataError(f'data set {component.name}: {TRIES} samples in a row cannot be used; '
                        f'the last: {self.skips.reasons[component.name][-1]}')

    def names(self) -> list[str]:
        """Return one line per set, '<name>: <count> samples, <percent> %'."""
        return [f'{c.name}: {len(c.samples)} samples, {100 * p:.2f} %'
                for c, p in zip(self.components, self.probabilities)]


def resized(sample: Sample, height: int) -> Sample:
    """Return the sample at (height, 2 height): image by area or bilinear, range by nearest."""
    if sample.range_m.shape[0] == height:
        return sample
    how = cv2.INTER_AREA if sample.range_m.shape[0] > height else cv2.INTER_LINEAR
    image = cv2.resize(sample.image, (2 * height, height), interpolation=how)
    range_m = resample_nearest(sample.range_m, height, 2 * height)
    return replace(sample, image=image, range_m=range_m, valid=np.isfinite(range_m))
