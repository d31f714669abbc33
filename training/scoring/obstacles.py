# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The obstacle metrics where ranges are metric: does a robot see what stands in its way?

The numbers are those of `training.data.obstacles.ROBOT`; labelled photographs are judged by the
same functions with PHOTOGRAPH (`training.scoring.free_space`).

The horizon is cut into 10-degree azimuth sectors. The truth of a sector is the horizontal
distance of its nearest true point 0.05 to 1.5 m above the floor, within R; the prediction is the
same of the predicted range at the pixels whose truth is known.

* obstacle: the sector has a true point within R;
* hit: an obstacle whose predicted distance is within max(0.3 m, 20 %) of the true one;
* miss: an obstacle without a hit;
* false alarm: the predicted distance is below 0.8 x the true one, or within R where there is none;
* thin obstacle: the nearest true point of a sector on something upright and at most 0.1 m wide (a
  chair or table leg, a pole) that stands clear of what is behind it on both sides; its prediction
  is the nearest predicted distance at the pixels of thin things in the sector, so that a seat or
  a wall behind the leg does not count for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays
from training.data.obstacles import (
    Array,
    FALSE_ALARM_RATIO,
    nearest_per_col,
    ObstacleProtocol,
    ROBOT,
    SECTORS,
    thin_pixels,
    tolerance,
    verdicts,
)

RANGE_BINS_M = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
WIDTH_BINS_M = (0.0, 0.1, 0.3, 1.0, np.inf)


SECTOR_DTYPE = np.dtype([
    ('azimuth', 'f8'), ('observed', '?'), ('true_m', 'f8'), ('pred_m', 'f8'), ('width_m', 'f8'),
    ('thin_m', 'f8'), ('thin_pred_m', 'f8')])
def sector_table(
        pred: Array, target: Array, camera_height_m: float,
        protocol: ObstacleProtocol = ROBOT) -> NDArray[np.void]:
    """
    Return one row per azimuth sector of one panorama, from the left image border to the right.

    :param pred: predicted range [m], (H, W); +inf, -inf and NaN are no points
    :param target: true range [m], (H, W); +inf empty, NaN unknown
    :param camera_height_m: camera above the floor [m], > 0
    :return: (sectors,) of SECTOR_DTYPE: centre azimuth [rad], any truth known, nearest true and
        predicted distance [m] (+inf: none), width of the true obstacle [m] (NaN: none), nearest
        true and predicted distance at the pixels of thin things
    """
    width_px = target.shape[1]
    true_col = nearest_per_col(target, camera_height_m, protocol)
    known = ~np.isnan(target)
    # Where the truth is unknown nothing may be predicted wrongly: glass would be a false alarm.
    pred_col = nearest_per_col(np.where(known, pred, np.nan), camera_height_m, protocol)
    known_col = known.any(axis=0)
    thin = thin_pixels(target, camera_height_m, protocol)
    flat = np.sqrt(1 - erp_rays(*target.shape)[:, 0, 2] ** 2)[:, None]
    thin_true, thin_pred = (np.where(thin & np.isfinite(r), r * flat, np.inf).min(axis=0)
                            for r in (target, pred))
    table = np.zeros(SECTORS, SECTOR_DTYPE)
    for row, cols in zip(table, np.array_split(np.arange(width_px), SECTORS)):
        row['azimuth'] = np.pi * (1 - (cols[0] + cols[-1] + 1) / width_px)
        row['observed'] = known_col[cols].any()
        row['true_m'], row['pred_m'] = true_col[cols].min(), pred_col[cols].min()
        row['thin_m'], row['thin_pred_m'] = thin_true[cols].min(), thin_pred[cols].min()
        row['width_m'] = _obstacle_width(true_col, cols[np.argmin(true_col[cols])], protocol)
    return table


def _obstacle_width(true_col: Array, col: int, protocol: ObstacleProtocol) -> float:
    """Return the arc length [m] of the run of columns about as near as this one."""
    near = true_col[col]
    if not np.isfinite(near):
        return float('nan')
    alike = np.abs(true_col - near) <= tolerance(near, protocol)
    if alike.all():
        return float(2 * np.pi * near)
    around = np.roll(alike, -int(col))
    cols = int(np.argmin(around)) + int(np.argmin(around[::-1]))
    return float(near * cols * 2 * np.pi / true_col.size)


def obstacle_metrics(
        table: NDArray[np.void], within_m: float,
        protocol: ObstacleProtocol = ROBOT) -> dict[str, float]:
    """
    Return the rates over the rows of one or more sector tables; NaN where nothing counts.

    :param table: rows of SECTOR_DTYPE, concatenated over images
    :param within_m: R [m], horizontal
    :return: obstacles (count), miss_rate, late_rate (those missed that are predicted too far or
        not at all), false_alarm_rate (of all observed sectors), bias_m and error_m (mean signed
        and absolute error of the obstacles that are predicted at all), thin_obstacles (count)
        and thin_miss_rate
    """
    table = table[table['observed']]
    true, pred = table['true_m'], table['pred_m']
    obstacle = true <= within_m
    hit, late, _ = verdicts(true, pred, protocol)
    alarm = np.where(obstacle, pred < FALSE_ALARM_RATIO * true, pred <= within_m)
    seen = obstacle & np.isfinite(pred)
    error = pred[seen] - true[seen]
    return {
        'obstacles': float(obstacle.sum()),
        'miss_rate': _mean(~hit[obstacle]), 'late_rate': _mean(late[obstacle]),
        'false_alarm_rate': _mean(alarm),
        'bias_m': _mean(error), 'error_m': _mean(np.abs(error)), **thin_metrics(table, within_m)}


def thin_metrics(
        table: NDArray[np.void], within_m: float,
        protocol: ObstacleProtocol = ROBOT) -> dict[str, float]:
    """Return thin_obstacles (count) and thin_miss_rate of the rows of sector tables within R."""
    table = table[table['thin_m'] <= within_m]
    hit, _, _ = verdicts(table['thin_m'], table['thin_pred_m'], protocol)
    return {'thin_obstacles': float(len(table)), 'thin_miss_rate': _mean(~hit)}


def by_range(
        table: NDArray[np.void], edges_m: Sequence[float] = RANGE_BINS_M
        ) -> dict[str, dict[str, float]]:
    """
    Return `obstacle_metrics` of the sectors whose truth lies in each bin (low, high] [m].

    Thin obstacles are those whose own distance lies in the bin.
    """
    def within(name: str, low: float, high: float) -> NDArray[np.void]:
        return table[(table[name] > low) & (table[name] <= high)]
    return {_bin_name(low, high): {
        **obstacle_metrics(within('true_m', low, high), high),
        **thin_metrics(within('thin_m', low, high), high)} for low, high in pairwise(edges_m)}


def by_width(
        table: NDArray[np.void], within_m: float, edges_m: Sequence[float] = WIDTH_BINS_M
        ) -> dict[str, dict[str, float]]:
    """Return `obstacle_metrics` of the obstacles within R of each bin (low, high] of width."""
    near = table[table['true_m'] <= within_m]
    return {_bin_name(low, high): obstacle_metrics(
        near[(near['width_m'] > low) & (near['width_m'] <= high)], within_m)
        for low, high in pairwise(edges_m)}


def _bin_name(low: float, high: float) -> str:
    return f'{low:g}-{high:g} m' if np.isfinite(high) else f'> {low:g} m'


def _mean(values: Array) -> float:
    return float(np.mean(values)) if values.size else float('nan')
