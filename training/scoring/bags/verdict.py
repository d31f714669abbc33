# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The verdict on a drive: which obstacles were missed, which were none, where and how near."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.obstacles import FALSE_ALARM_RATIO, ROBOT, verdicts
from training.scoring.obstacles import obstacle_metrics, thin_metrics

RINGS_M = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
DIRECTIONS = 18              # of 20 degrees, the first one straight ahead, then to the left
NEAR_M = 3.0                 # the headline: what a robot reaches within seconds
WORDS = ('ahead', 'ahead left', 'left', 'behind left', 'behind', 'behind right', 'right',
         'ahead right')


def missed(table: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which rows of a sector table have an obstacle within 5 m without a hit."""
    found, _, _ = verdicts(table['true_m'], table['pred_m'], ROBOT)
    return table['observed'] & (table['true_m'] <= RINGS_M[-1]) & ~found


def false_alarm(table: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return which rows see something within 5 m at less than 0.8 of what is really there."""
    near = FALSE_ALARM_RATIO * table['true_m']
    return table['observed'] & (table['pred_m'] <= RINGS_M[-1]) & (table['pred_m'] < near)


def nearest_missed(table: NDArray[np.void]) -> tuple[float, str]:
    """Return the distance [m] of the nearest missed obstacle and a sentence; one must exist."""
    rows = table[missed(table)]
    row = rows[np.argmin(rows['true_m'])]
    seen = f'published at {row["pred_m"]:.1f} m' if np.isfinite(row['pred_m']) else \
        'nothing published there'
    return float(row['true_m']), (f'obstacle {row["true_m"]:.1f} m away '
                                  f'({direction_text(row["azimuth"])}), {seen}')


def direction_text(azimuth: float) -> str:
    """Return an azimuth [rad] in words."""
    return WORDS[round(azimuth / (np.pi / 4)) % 8]


def verdict_of(table: NDArray[np.void]) -> dict[str, Any]:
    """
    Return counts by ring and direction, and the rates of the headline.

    :param table: sector tables of all frames, concatenated
    :return: nearest_missed in words; counts (rings, DIRECTIONS) obstacles, missed, false_alarms;
        seen (DIRECTIONS,) = frames whose truth is known there; near = rates within NEAR_M;
        by_distance = a row per ring; empty without a sector
    """
    table = table[table['observed']]
    if not table.size:
        return {}
    where = np.round(table['azimuth'] / (2 * np.pi / DIRECTIONS)).astype(int) % DIRECTIONS
    near = obstacle_metrics(table, NEAR_M)
    obstacle = table['true_m'] <= RINGS_M[-1]
    found = {'obstacles': _rings(table['true_m'], where, obstacle),
             'missed': _rings(table['true_m'], where, missed(table)),
             'false_alarms': _rings(table['pred_m'], where, false_alarm(table)),
             'seen': np.bincount(where, minlength=DIRECTIONS).tolist(),
             'rings_m': list(RINGS_M)}
    nearest = nearest_missed(table)[1] if missed(table).any() else ''
    return found | {'near': near, 'nearest_missed': nearest,
                    'by_distance': _by_distance(table, found)}


def _by_distance(table: NDArray[np.void], found: dict[str, Any]) -> dict[str, dict[str, float]]:
    rows = {}
    for ring, (low, high) in enumerate(pairwise(RINGS_M)):
        thin = thin_metrics(table[(table['thin_m'] > low) & (table['thin_m'] <= high)], high)
        counts = {name: sum(found[name][ring]) for name in ('obstacles', 'missed', 'false_alarms')}
        rows[f'{low:g}-{high:g} m'] = {
            'obstacles': counts['obstacles'],
            'missed': counts['missed'] / counts['obstacles'] if counts['obstacles'] else np.nan,
            'false_alarms': counts['false_alarms'] / len(table),
            'thin': thin['thin_obstacles'], 'thin_missed': thin['thin_miss_rate']}
    return rows


def _rings(distance: NDArray, where: NDArray[np.intp], chosen: NDArray[np.bool_]) -> list:
    ring = np.searchsorted(RINGS_M, distance[chosen], 'left') - 1
    counts = np.zeros((len(RINGS_M) - 1, DIRECTIONS), int)
    np.add.at(counts, (np.clip(ring, 0, len(counts) - 1), where[chosen]), 1)
    return counts.tolist()


def sentences(verdict: dict[str, Any]) -> list[str]:
    """Return the verdict in words, the worst first."""
    if not verdict:
        return []
    near = verdict['near']
    count, rate = near['obstacles'], near['miss_rate']
    lines = [f'Within {NEAR_M:g} m {percent(rate)} of the obstacles were missed '
             f'({round(count * rate)} of {count:.0f}).' if count else
             f'No obstacle within {NEAR_M:g} m in this drive.',
             f'False alarms in {percent(near["false_alarm_rate"])} of the directions seen.']
    if near['thin_obstacles']:
        lines.append(f'Of {near["thin_obstacles"]:.0f} thin ones (legs, poles; counted apart) '
                     f'{percent(near["thin_miss_rate"])} were missed.')
    if verdict['nearest_missed']:
        lines.append(f'The nearest missed: {verdict["nearest_missed"]}.')
    return lines


def percent(share: float) -> str:
    """Return a share in words for people, an empty one where there is none."""
    if not np.isfinite(share):
        return '-'
    return f'{100 * share:.1f} %' if share < 0.095 else f'{100 * share:.0f} %'
