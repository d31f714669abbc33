# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Error metrics of panoramas, numpy only.

Every metric is a quotient of sums, so an image is a short vector of sums, a set is the sum of its
vectors, and the division happens once, at the end. A metric without a valid pixel is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import solid_angles

Array = NDArray[np.floating]

SUMS = ('weight', 'abs_rel', 'sq_rel', 'square', 'absolute', 'log10', 'log', 'log_square',
        'inverse_square', 'delta_1', 'delta_2', 'delta_3')
METRICS = ('abs_rel', 'sq_rel', 'rmse_m', 'mae_m', 'log10', 'rmse_log', 'silog', 'i_rmse',
           'delta_1', 'delta_2', 'delta_3')
BANDS_M = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def error_sums(pred: Array, target: Array, weight: Array | None = None) -> Array:
    """
    Return the sums from which `metrics_from_sums` makes every range metric.

    :param pred: predicted range [m], > 0, finite, any shape
    :param target: true range [m], > 0, finite, the same shape
    :param weight: weight per pixel, such as the solid angle; None: 1
    :return: (len(SUMS),) float64; all zero without pixels
    """
    pred, target = (np.asarray(a, dtype=np.float64).ravel() for a in (pred, target))
    weight = np.ones_like(pred) if weight is None else np.asarray(weight, np.float64).ravel()
    return np.array([weight.sum(), *(np.dot(weight, term) for term in _terms(pred, target))])


def _terms(pred: Array, target: Array) -> tuple[Array, ...]:
    """Return the summand of each name of SUMS but the first."""
    error, relative = np.abs(pred - target), pred / target
    log_error = np.log(relative)
    log_size, square = np.abs(log_error), error * error
    return (
        error / target, square / target, square, error, log_size / np.log(10), log_error,
        log_size * log_size, square / (pred * target) ** 2,
        *((np.maximum(relative, 1 / relative) < 1.25 ** power).astype(np.float64)
          for power in (1, 2, 3)))


def metrics_from_sums(sums: Array) -> dict[str, float]:
    """
    Divide the sums once.

    AbsRel, SqRel [m], RMSE [m], MAE [m], mean |log10|, RMSE of the natural log, SILog
    (100 sqrt(mean g^2 - mean(g)^2), g = log error; Eigen et al. with lambda 1), RMSE of the
    inverse range [1/m], shares of pixels with max(p/t, t/p) strictly below 1.25^i.

    :param sums: (len(SUMS),), or any sum of such vectors
    :return: one float per name of METRICS, NaN without pixels
    """
    if sums[0] <= 0:
        return dict.fromkeys(METRICS, float('nan'))
    mean = dict(zip(SUMS, (np.asarray(sums, dtype=np.float64) / sums[0]).tolist()))
    variance = max(mean['log_square'] - mean['log'] ** 2, 0.0)
    return {
        'abs_rel': mean['abs_rel'], 'sq_rel': mean['sq_rel'], 'rmse_m': mean['square'] ** 0.5,
        'mae_m': mean['absolute'], 'log10': mean['log10'],
        'rmse_log': mean['log_square'] ** 0.5, 'silog': 100 * variance ** 0.5,
        'i_rmse': mean['inverse_square'] ** 0.5, 'delta_1': mean['delta_1'],
        'delta_2': mean['delta_2'], 'delta_3': mean['delta_3']}


def mean_metrics(image_sums: Sequence[Array]) -> dict[str, float]:
    """Return the mean over images of the metrics of each; images without a pixel are left out."""
    rows = [metrics_from_sums(sums) for sums in image_sums if sums[0] > 0]
    return {name: float(np.mean([row[name] for row in rows])) if rows else float('nan')
            for name in METRICS}


def band_sums(
        pred: Array, target: Array, weight: Array | None = None,
        edges_m: Sequence[float] = BANDS_M) -> Array:
    """
    Return the sums of each band edges_m[i] < true range <= edges_m[i + 1].

    :return: (len(edges_m), len(SUMS)) float64; the last row holds all that no band owns, so that
        the rows add up to `error_sums`
    """
    bands = len(edges_m) - 1
    band = np.searchsorted(np.asarray(edges_m, np.float64), np.ravel(target), side='left') - 1
    band[(band < 0) | (band >= bands)] = bands
    return grouped_sums(pred, target, weight, band, bands + 1)


def grouped_sums(pred: Array, target: Array, weight: Array | None, group: NDArray[np.integer],
                 groups: int) -> Array:
    """
    Return `error_sums` of each group of pixels.

    :param group: index of each pixel's group, below `groups`
    :return: (groups, len(SUMS)) float64
    """
    pred, target = (np.asarray(a, dtype=np.float64).ravel() for a in (pred, target))
    weight = np.ones_like(pred) if weight is None else np.asarray(weight, np.float64).ravel()
    group = np.ravel(group)
    sums = [np.bincount(group, weight, groups)]
    sums += [np.bincount(group, weight * term, groups) for term in _terms(pred, target)]
    return np.stack(sums, axis=1)


def mask_counts(within_pred: NDArray[np.bool_], target: Array) -> Array:
    """
    Return solid angles [sr] of (true positive, false positive, false negative).

    :param within_pred: (H, W), True = predicted to lie within the threshold
    :param target: (H, W) bool-like float: 1 = truly within, 0 = beyond, NaN = unknown, left out
    """
    weight = solid_angles(*within_pred.shape)
    within, beyond = target == 1, target == 0
    return np.array([
        weight[within_pred & within].sum(), weight[within_pred & beyond].sum(),
        weight[~within_pred & within].sum()])


def within_threshold(range_m: Array, threshold_m: float) -> Array:
    """Return 1 where the true range is <= threshold, 0 beyond (+inf included), NaN if unknown."""
    return np.where(np.isnan(range_m), np.nan, (range_m <= threshold_m).astype(np.float64))


def mask_metrics(counts: Array) -> dict[str, float]:
    """Return precision, recall and intersection over union of summed `mask_counts`."""
    tp, fp, fn = (float(c) for c in counts)
    return {'precision': _ratio(tp, tp + fp), 'recall': _ratio(tp, tp + fn),
            'iou': _ratio(tp, tp + fp + fn)}


def seam_sums(range_m: Array) -> Array:
    """
    Return sums of the log-range step across the seam and between all other columns.

    :param range_m: (H, W); pairs with a value that is not finite and positive are left out
    :return: (4,) = weight and weighted |step| at the seam, the same elsewhere
    """
    usable = np.isfinite(range_m) & (range_m > 0)
    log_range = np.log(np.where(usable, range_m, 1.0).astype(np.float64))
    step = np.abs(log_range - np.roll(log_range, 1, axis=1))
    weight = solid_angles(*range_m.shape) * (usable & np.roll(usable, 1, axis=1))
    weighted = weight * step
    return np.array([weight[:, 0].sum(), weighted[:, 0].sum(),
                     weight[:, 1:].sum(), weighted[:, 1:].sum()])


def seam_metrics(sums: Array) -> dict[str, float]:
    """Return the mean log step at the seam, elsewhere, and their ratio (1 = no visible seam)."""
    seam, elsewhere = _ratio(sums[1], sums[0]), _ratio(sums[3], sums[2])
    return {'seam_step': seam, 'other_step': elsewhere, 'seam_ratio': _ratio(seam, elsewhere)}


def range_edges(range_m: Array, ratio: float = 1.2) -> NDArray[np.bool_]:
    """
    Return where the range jumps by more than a ratio between the two neighbours of a pixel.

    Horizontally across the seam, vertically not over the poles. +inf next to a finite range is an
    edge, NaN is none.

    :param range_m: (H, W)
    :return: (H, W) bool
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        log_range = np.log(np.asarray(range_m, dtype=np.float64))
        across = np.abs(np.roll(log_range, 1, axis=1) - np.roll(log_range, -1, axis=1))
        down = np.zeros_like(log_range)
        down[1:-1] = np.abs(log_range[2:] - log_range[:-2])
        return (across > np.log(ratio)) | (down > np.log(ratio))


def edge_counts(pred: Array, target: Array, tolerance_px: int = 2) -> Array:
    """
    Return (matched predicted, predicted, matched true, true) edge pixels.

    Larger maps are thinned to at least 256 rows first, so that the size of the truth does not
    decide what is sharp. An edge pixel is matched by one of the other map within `tolerance_px`
    rows and columns. Pixels within the tolerance of an unknown truth are left out.
    """
    step = max(1, target.shape[0] // 256)
    pred, target = pred[::step, ::step], target[::step, ::step]
    unknown = _grow(np.isnan(target), tolerance_px)
    edge_pred, edge_true = (range_edges(a) & ~unknown for a in (pred, target))
    return np.array([
        (edge_pred & _grow(edge_true, tolerance_px)).sum(), edge_pred.sum(),
        (edge_true & _grow(edge_pred, tolerance_px)).sum(), edge_true.sum()], dtype=np.float64)


def edge_metrics(counts: Array) -> dict[str, float]:
    """Return precision, recall and F1 of summed `edge_counts`; NaN without true edges."""
    precision, recall = _ratio(counts[0], counts[1]), _ratio(counts[2], counts[3])
    if counts[3] > 0 and counts[1] == 0:
        return {'edge_precision': precision, 'edge_recall': 0.0, 'edge_f1': 0.0}
    both = _ratio(2 * precision * recall, precision + recall) if precision + recall else 0.0
    return {'edge_precision': precision, 'edge_recall': recall, 'edge_f1': both}


def _grow(area: NDArray[np.bool_], by_px: int) -> NDArray[np.bool_]:
    """Return the area grown by a square; it wraps over the seam, not over the poles."""
    wide = area.copy()
    for shift in range(1, by_px + 1):
        wide |= np.roll(area, shift, axis=1) | np.roll(area, -shift, axis=1)
    grown = wide.copy()
    for shift in range(1, by_px + 1):
        grown[shift:] |= wide[:-shift]
        grown[:-shift] |= wide[shift:]
    return grown


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float('nan')
