# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Does a range map show what stands on the floor of a real photograph? Hand-labelled, numpy only.

Only the shape of a prediction counts: it is divided by the camera height that its own floor
implies, so lengths are camera heights h. The obstacle is `training.data.obstacles.PHOTOGRAPH`;
the prediction is its nearest point per degree of azimuth. Per 10-degree sector:

* obstacle: the nearest thing within 3 h has a visible foot; it is found, late (too far) or early;
* free: nothing is nearer than 3 h; a false alarm is a predicted point within 3 h and nearer than
  0.8 x whatever is there (behind an obstacle nothing counts: early is early);
* thin, overhang: one of them is nearest within 3 h; found if the prediction at its own azimuths
  (a degree more to both sides for thin ones) is no farther than the tolerance;
* unsure: not judged.

Log error: of the boundary per degree, where it is a plain foot within 10 h (3 h: near) and no
jump of more than 30 % beside it. `docs/free_space.md` is the protocol in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays
from training.data.free_space import BINS, Truth
from training.data.obstacles import (
    FALSE_ALARM_RATIO,
    nearest_per_col,
    ObstacleProtocol,
    PHOTOGRAPH,
    SECTORS,
    verdicts,
)

Array = NDArray[np.floating]
FLOOR_BELOW_DEG = -50.0     # steeper, a level camera sees floor
FLOOR_PIXELS = 50
FARTHEST = 30.0             # h; farther predictions count as this in the log error
LOG_WITHIN = 10.0           # h
JUMP = 0.3                  # of the log distance to the next degree
DISTANCES = (0.0, 1.0, 1.5, 2.0, 3.0)       # h, the edges of the table by distance
SHARES = ('found', 'late', 'early', 'false_alarm', 'thin_found', 'overhang_found')
METRICS = (*SHARES, 'log_error', 'log_error_near', 'bias')
SECTOR_DTYPE = np.dtype([
    ('azimuth_deg', 'f8'), ('kind', 'U8'), ('true', 'f8'), ('pred', 'f8'), ('thin', 'f8'),
    ('thin_pred', 'f8'), ('overhang', 'f8'), ('overhang_pred', 'f8'), ('glass', '?')])


@dataclass(frozen=True)
class PhotographScore:
    """What one prediction of one photograph adds to the tables."""

    name: str
    groups: tuple[str, ...]
    sectors: NDArray[np.void]       # (36,) of SECTOR_DTYPE, azimuth -180 to 180
    log_errors: Array               # log(predicted / true) per degree that counts
    near: NDArray[np.bool_]         # which of them are within 3 h
    boundary: Array                 # (360,) h, what was predicted
    height: float                   # camera height that the prediction implies, in its own unit


def floor_height(range_m: Array) -> float:
    """Return the camera height that a prediction implies: its median depth below -50 degrees."""
    up = erp_rays(*range_m.shape)[:, 0, 2]
    below = -(range_m * up[:, None])[up < np.sin(np.radians(FLOOR_BELOW_DEG))]
    below = below[np.isfinite(below) & (below > 0)]
    return float(np.median(below)) if below.size >= FLOOR_PIXELS else float('nan')


def boundary(range_m: Array, height: float, protocol: ObstacleProtocol = PHOTOGRAPH) -> Array:
    """
    Return the ground distance of the nearest predicted obstacle point per degree, (360,) [h].

    :param range_m: (H, W) along the ray; +inf empty, NaN or <= 0 unknown
    :param height: camera height in the same unit
    """
    usable = np.where(range_m > 0, range_m, np.nan).astype(np.float64)
    col = nearest_per_col(usable / height, 1.0, protocol)
    azimuth_deg = 180 - 360 * (np.arange(col.size) + .5) / col.size
    degree = np.clip((azimuth_deg + 180).astype(int), 0, BINS - 1)
    nearest = np.full(BINS, np.inf)
    np.minimum.at(nearest, degree, col)
    for empty in np.setdiff1d(np.arange(BINS), degree):     # a narrow map: as its neighbour
        nearest[empty] = nearest[empty - 1]
    return nearest


def score_photograph(name: str, groups: Sequence[str], truth: Truth, range_m: Array,
                     protocol: ObstacleProtocol = PHOTOGRAPH) -> PhotographScore:
    """
    Score one range map, the size of which is free.

    :param range_m: (H, W) along the ray, any unit; +inf empty, NaN or <= 0 unknown
    """
    height = floor_height(range_m)
    # Without a floor there is no unit and nothing is found; it must not look free of obstacles
    # by accident either, and does not: every one of them counts as late.
    pred = boundary(range_m, height, protocol) if height > 0 else np.full(BINS, np.inf)
    rows = np.concatenate([_sector(truth, pred, sector, protocol) for sector in range(SECTORS)])
    errors, near = _log_errors(truth, pred, protocol)
    return PhotographScore(name, tuple(groups), rows, errors, near, pred, height)


def _sector(truth: Truth, pred: Array, index: int, protocol: ObstacleProtocol
            ) -> NDArray[np.void]:
    per = BINS // SECTORS
    degrees = np.arange(per * index, per * (index + 1))
    clear, unsure, thin, overhang, glass = (
        kind[degrees].min()
        for kind in (truth.clear, truth.unsure, truth.thin, truth.overhang, truth.glass))
    row = np.zeros(1, SECTOR_DTYPE)
    row['azimuth_deg'], row['kind'] = -180 + per * (index + .5), 'unsure'
    row['true'], row['pred'] = min(clear, unsure, thin, overhang), pred[degrees].min()
    row['glass'] = glass <= clear and np.isfinite(glass)
    for kind, nearest, beside in (('thin', thin, 1), ('overhang', overhang, 0)):
        here = nearest <= protocol.within and nearest < min(clear, unsure)
        row[kind] = nearest if here else np.inf
        row[f'{kind}_pred'] = _at_own_azimuths(
            getattr(truth, kind), pred, degrees, beside, protocol) if here else np.inf
    if clear <= protocol.within and clear <= min(unsure, thin, overhang) + 1e-9:
        row['kind'], row['true'] = 'obstacle', clear
    elif row['true'] > protocol.within:
        row['kind'] = 'free'
    elif unsure > min(clear, thin, overhang):
        row['kind'] = ''                # a thin or overhanging thing stands before everything
    return row


def _at_own_azimuths(true: Array, pred: Array, degrees: NDArray[np.intp], beside: int,
                     protocol: ObstacleProtocol) -> float:
    """Return the nearest prediction where a thing is, so that its neighbours do not count."""
    own = degrees[true[degrees] <= protocol.within]
    return float(min(pred[np.clip(own + step, 0, BINS - 1)].min()
                     for step in range(-beside, beside + 1)))


def _log_errors(truth: Truth, pred: Array, protocol: ObstacleProtocol
                ) -> tuple[Array, NDArray[np.bool_]]:
    """Return log(pred / true) of the degrees that count, and which are within R."""
    true = truth.plain
    with np.errstate(invalid='ignore', divide='ignore'):
        counts = np.isfinite(true) & (true <= LOG_WITHIN) & (
            np.minimum.reduce([truth.unsure, truth.thin, truth.overhang]) > true)
        # At a jump half a degree of azimuth decides, not the distance.
        log = np.log(np.where(np.isfinite(true), true, np.nan))
        for step in (1, -1):
            counts &= ~(np.abs(log - np.roll(log, step)) > JUMP)
    errors = np.log(np.minimum(pred[counts], FARTHEST) / true[counts])
    return errors, true[counts] <= protocol.within


def figures(scores: Sequence[PhotographScore], protocol: ObstacleProtocol = PHOTOGRAPH
            ) -> dict[str, float]:
    """
    Return METRICS and the counts below them, pooled over photographs; NaN where nothing counts.

    :return: found, late, early (of `obstacles`), false_alarm (of `free`), thin_found (of `thin`),
        overhang_found (of `overhang`), medians of abs(log error), the same within R, and of the
        signed log error (`bias`: positive = predicted too far)
    """
    counts = np.sum([share_counts(score, protocol) for score in scores], axis=0)
    rows = np.concatenate([score.sectors for score in scores])
    return {
        **_shares(counts), **_log_metrics(scores),
        **{name: int(counts[SHARES.index(share), 1]) for name, share in (
            ('obstacles', 'found'), ('free', 'false_alarm'), ('thin', 'thin_found'),
            ('overhang', 'overhang_found'))},
        'unsure': int((rows['kind'] == 'unsure').sum()),
        'degrees': sum(score.log_errors.size for score in scores), 'photographs': len(scores)}


def share_counts(score: PhotographScore, protocol: ObstacleProtocol = PHOTOGRAPH
                 ) -> NDArray[np.int_]:
    """Return how many sectors of a photograph count for each of SHARES, and of how many."""
    rows = score.sectors
    obstacle, free = rows[rows['kind'] == 'obstacle'], rows[rows['kind'] == 'free']
    alarm = (free['pred'] < protocol.within) & (free['pred'] < FALSE_ALARM_RATIO * free['true'])
    parts = [*verdicts(obstacle['true'], obstacle['pred'], protocol), alarm,
             *(_not_late(rows, kind, protocol) for kind in ('thin', 'overhang'))]
    return np.array([(part.sum(), part.size) for part in parts])


def _shares(counts: NDArray[np.int_]) -> dict[str, float]:
    return {name: float(some / of) if of else float('nan')
            for name, (some, of) in zip(SHARES, counts)}


def _log_metrics(scores: Sequence[PhotographScore]) -> dict[str, float]:
    errors = np.concatenate([score.log_errors for score in scores])
    near = np.concatenate([score.near for score in scores])
    return {'log_error': _median(np.abs(errors)), 'log_error_near': _median(np.abs(errors[near])),
            'bias': _median(errors)}


def _not_late(rows: NDArray[np.void], kind: str, protocol: ObstacleProtocol
              ) -> NDArray[np.bool_]:
    """Return which thin or overhanging things are found: something nearer may stand before."""
    rows = rows[np.isfinite(rows[kind])]
    return ~verdicts(rows[kind], rows[f'{kind}_pred'], protocol)[1]


def by_distance(scores: Sequence[PhotographScore], edges: Sequence[float] = DISTANCES,
                protocol: ObstacleProtocol = PHOTOGRAPH) -> dict[str, dict[str, float]]:
    """
    Return how many obstacles there are per true distance [h], and the share missed and late.

    The last rows are obstacles of glass and mirrors at any distance within R, and all others.
    """
    rows = np.concatenate([score.sectors for score in scores])
    rows = rows[rows['kind'] == 'obstacle']
    parts = {f'{low:g}-{high:g} h': rows[(rows['true'] > low) & (rows['true'] <= high)]
             for low, high in pairwise(edges)}
    parts |= {'glass and mirrors': rows[rows['glass']], 'all others': rows[~rows['glass']]}
    table = {}
    for name, part in parts.items():
        found, late, _ = verdicts(part['true'], part['pred'], protocol)
        table[name] = {'obstacles': part.size, 'missed': _mean(~found),
                       'late': _mean(late)}
    return table


def summary(scores: Sequence[PhotographScore], draws: int = 1000, seed: int = 0
            ) -> dict[str, dict[str, float]]:
    """
    Return `pooled` and `mean` over photographs, each with `_low` and `_high`.

    These are 95 % intervals of photographs drawn with repetition: what another set of as many
    photographs of the same kind might have said. NaN with fewer than two.
    """
    drawn = _draws(len(scores), draws, seed)
    each = [figures([score]) for score in scores]
    pooled = figures(scores)
    result = {'pooled': pooled, 'mean': {**pooled, **_mean_of(each)}}
    for name, rows in (('pooled', _pooled(scores, drawn)),
                       ('mean', [_mean_of([each[i] for i in picked]) for picked in drawn])):
        low, high = _intervals(rows)
        result |= {f'{name}_low': low, f'{name}_high': high}
    return result


def differences(first: Sequence[PhotographScore], second: Sequence[PhotographScore],
                draws: int = 1000, seed: int = 0) -> dict[str, dict[str, float]]:
    """Return second - first of the pooled metrics with paired 95 % intervals over photographs."""
    drawn = [np.arange(len(first)), *_draws(len(first), draws, seed)]
    rows = [{name: b[name] - a[name] for name in METRICS}
            for a, b in zip(_pooled(first, drawn), _pooled(second, drawn))]
    low, high = _intervals(rows[1:])
    return {name: {'difference': rows[0][name], 'low': low[name], 'high': high[name]}
            for name in METRICS}


def _draws(count: int, draws: int, seed: int) -> list[NDArray[np.int_]]:
    """Return which photographs each draw takes; none of a single one, which says nothing."""
    if count < 2:
        return []
    return list(np.random.default_rng(seed).integers(count, size=(draws, count)))


def _pooled(scores: Sequence[PhotographScore], drawn: Sequence[NDArray[np.int_]]
            ) -> list[dict[str, float]]:
    counts = np.stack([share_counts(score) for score in scores])
    return [{**_shares(counts[picked].sum(axis=0)), **_log_metrics([scores[i] for i in picked])}
            for picked in drawn]


def _intervals(drawn: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    limits = []
    for percent in (2.5, 97.5):
        limits.append({name: _percentile([row[name] for row in drawn], percent)
                       for name in METRICS})
    return limits[0], limits[1]


def _percentile(values: Sequence[float], percent: float) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.percentile(known, percent)) if known else float('nan')


def _mean_of(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean over photographs that have the thing at all."""
    means = {}
    for name in METRICS:
        known = [value for value in (row[name] for row in each) if value == value]
        means[name] = sum(known) / len(known) if known else float('nan')
    return means


def _mean(values: Array | NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if values.size else float('nan')


def _median(values: Array) -> float:
    return float(np.median(values)) if values.size else float('nan')
