# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scale (and shift) that bring a prediction closest to the truth, numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
METHODS = ('none', 'median', 'scale_shift')


def weighted_median(values: Array, weight: Array | None = None) -> float:
    """
    Return the value below which half of the weight lies; NaN without values.

    :param values: any shape, finite
    :param weight: the same shape, >= 0; None: numpy's median
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if not values.size:
        return float('nan')
    if weight is None:
        return float(np.median(values))
    weight = np.asarray(weight, dtype=np.float64).ravel()
    half = 0.5 * weight.sum()
    lowest, span = values.min(), np.ptp(values)
    if not (span > 0 and np.isfinite(span)):
        return _sorted_median(values, weight, half)
    bins = ((values - lowest) * (4095 / span)).astype(np.int32)    # sort one bin, not all
    below = np.cumsum(np.bincount(bins, weight, 4096))
    middle = int(np.searchsorted(below, half))
    inside = bins == min(middle, 4095)
    before = below[middle - 1] if middle else 0.0
    return _sorted_median(values[inside], weight[inside], half - before)


def _sorted_median(values: Array, weight: Array, half: float) -> float:
    order = np.argsort(values)
    index = np.searchsorted(np.cumsum(weight[order]), half)
    return float(values[order[min(index, len(order) - 1)]])


def median_scale(pred: Array, target: Array, weight: Array | None = None) -> float:
    """Return median(target) / median(pred) (DA² equation 10); NaN without values."""
    return weighted_median(target, weight) / weighted_median(pred, weight)


def scale_and_shift(
        pred: Array, target: Array, weight: Array | None = None) -> tuple[float, float]:
    """
    Return the least-squares (scale, shift) of `scale * pred + shift ~ target` (DA² equation 12).

    :return: NaN, NaN with fewer than two values
    """
    pred, target = (np.asarray(a, dtype=np.float64).ravel() for a in (pred, target))
    if pred.size < 2:
        return float('nan'), float('nan')
    root = np.ones_like(pred) if weight is None else np.sqrt(np.asarray(weight).ravel())
    columns = np.stack([pred * root, root], axis=1)
    scale, shift = np.linalg.lstsq(columns, target * root, rcond=None)[0]
    return float(scale), float(shift)


def alignment(
        method: str, pred: Array, target: Array,
        weight: Array | None = None) -> tuple[float, float]:
    """
    Return (scale, shift) of a method.

    :param method: `none`, `median` or `scale_shift`
    :param pred: valid predictions, any shape
    :param target: the truth at the same pixels
    :param weight: solid angles at the same pixels; None: every pixel counts alike
    :raises ValueError: if the method is unknown
    """
    if method == 'none':
        return 1.0, 0.0
    if method == 'median':
        return median_scale(pred, target, weight), 0.0
    if method == 'scale_shift':
        return scale_and_shift(pred, target, weight)
    raise ValueError(f'no alignment {method!r}; there are: {", ".join(METHODS)}')
