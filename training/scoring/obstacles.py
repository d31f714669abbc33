"""
The one definition of the obstacle metrics: does a robot see what stands in its way?

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
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays

Array = NDArray[np.floating]

RANGE_BINS_M = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
WIDTH_BINS_M = (0.0, 0.1, 0.3, 1.0, np.inf)


@dataclass(frozen=True)
class ObstacleConfig:
    """The constants of the definition."""

    sectors: int = 36           # 10 degrees each
    min_height_m: float = 0.05  # m above the floor
    max_height_m: float = 1.5   # m above the floor
    hit_m: float = 0.3          # m
    hit_ratio: float = 0.2      # of the true distance
    false_alarm_ratio: float = 0.8
    thin_m: float = 0.1         # m, the widest thin thing


DEFINITION = ObstacleConfig()
SECTOR_DTYPE = np.dtype([
    ('azimuth', 'f8'), ('observed', '?'), ('true_m', 'f8'), ('pred_m', 'f8'), ('width_m', 'f8'),
    ('thin_m', 'f8'), ('thin_pred_m', 'f8')])
MAX_CAMERA_M = 2.5      # above, the question is not what stands on the floor around a robot
THIN_WITHIN_M = 5.0     # farther, a thing of 0.1 m is hardly a pixel wide
THIN_STEEPEST = np.sin(np.radians(45))      # steeper, a row of pixels does not cross things level


def nearest_per_col(
        range_m: Array, camera_height_m: float, config: ObstacleConfig = DEFINITION) -> Array:
    """
    Return the horizontal distance of the nearest obstacle point of each column.

    :param range_m: (H, W), level camera; values that are not finite are no points
    :param camera_height_m: camera above the floor [m], > 0
    :return: (W,) m, +inf without a point
    :raises ValueError: if the camera height is not known
    """
    return _horizontal(range_m, camera_height_m, config).min(axis=0)


def _horizontal(range_m: Array, camera_height_m: float, config: ObstacleConfig) -> Array:
    """Return the horizontal distance (H, W) [m] of obstacle points, +inf elsewhere."""
    if not camera_height_m > 0:
        raise ValueError(f'obstacles need a camera height above 0 m, got {camera_height_m}')
    up = erp_rays(*range_m.shape)[:, 0, 2][:, None]
    usable = np.isfinite(range_m)
    known = np.where(usable, range_m, 0.0)
    height = known * up + camera_height_m
    point = usable & (height >= config.min_height_m) & (height <= config.max_height_m)
    return np.where(point, known * np.sqrt(1 - up ** 2), np.inf)


def thin_pixels(
        target: Array, camera_height_m: float, config: ObstacleConfig = DEFINITION
        ) -> NDArray[np.bool_]:
    """
    Return (H, W) where the truth shows an obstacle point on a thin upright thing.

    Along its row, the range grows by more than the tolerance of a hit on both sides within the
    run of pixels that spans `thin_m` at its distance; a single pixel always may be thin. Rows
    steeper than 45 degrees are left out: there they run around what is below or above.

    :param target: true range [m], (H, W); NaN unknown (no background), +inf empty
    """
    near = _horizontal(target, camera_height_m, config)
    level = np.abs(erp_rays(*target.shape)[:, :1, 2]) <= THIN_STEEPEST
    rows, cols = np.nonzero((near <= THIN_WITHIN_M) & level)
    width = target.shape[1]
    limit = target[rows, cols] + _tolerance(target[rows, cols], config)
    most = np.maximum(1, config.thin_m / (near[rows, cols] * 2 * np.pi / width)).astype(int)
    reach = []
    for side in (-1, 1):
        run = np.full(len(rows), width)
        for step in range(1, int(most.max(initial=0)) + 1):
            beyond = target[rows, (cols + side * step) % width] > limit
            run = np.where(beyond, np.minimum(run, step), run)
        reach.append(run)
    thin = np.zeros(target.shape, bool)
    thin[rows, cols] = reach[0] + reach[1] - 1 <= most
    return thin


def floor_below(target: Array, camera_height_m: float) -> float:
    """
    Return the height of the camera above the true floor under it [m].

    Scenes are not always level with their origin, and 3 cm decide what is floor. Median of the
    true points within 35 degrees of straight down; the stated height where they are unknown or
    differ from it by more than 30 % (a table, the robot's body).
    """
    up = erp_rays(*target.shape)[:, 0, 2]
    cap = up < -np.cos(np.radians(35))
    depth = -(target[cap] * up[cap][:, None])
    depth = depth[np.isfinite(depth)]
    measured = float(np.median(depth)) if depth.size else camera_height_m
    agrees = abs(measured - camera_height_m) <= 0.3 * camera_height_m
    return measured if agrees else camera_height_m


def sector_table(
        pred: Array, target: Array, camera_height_m: float,
        config: ObstacleConfig = DEFINITION) -> NDArray[np.void]:
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
    true_col = nearest_per_col(target, camera_height_m, config)
    known = ~np.isnan(target)
    pred_col = nearest_per_col(np.where(known, pred, np.nan), camera_height_m, config)
    known_col = known.any(axis=0)
    thin = thin_pixels(target, camera_height_m, config)
    flat = np.sqrt(1 - erp_rays(*target.shape)[:, 0, 2] ** 2)[:, None]
    thin_true, thin_pred = (np.where(thin & np.isfinite(r), r * flat, np.inf).min(axis=0)
                            for r in (target, pred))
    table = np.zeros(config.sectors, SECTOR_DTYPE)
    for row, cols in zip(table, np.array_split(np.arange(width_px), config.sectors)):
        row['azimuth'] = np.pi * (1 - (cols[0] + cols[-1] + 1) / width_px)
        row['observed'] = known_col[cols].any()
        row['true_m'], row['pred_m'] = true_col[cols].min(), pred_col[cols].min()
        row['thin_m'], row['thin_pred_m'] = thin_true[cols].min(), thin_pred[cols].min()
        row['width_m'] = _obstacle_width(true_col, cols[np.argmin(true_col[cols])], config)
    return table


def _obstacle_width(true_col: Array, col: int, config: ObstacleConfig) -> float:
    """Return the arc length [m] of the run of columns about as near as this one."""
    near = true_col[col]
    if not np.isfinite(near):
        return float('nan')
    alike = np.abs(true_col - near) <= _tolerance(near, config)
    if alike.all():
        return float(2 * np.pi * near)
    around = np.roll(alike, -int(col))
    cols = int(np.argmin(around)) + int(np.argmin(around[::-1]))
    return float(near * cols * 2 * np.pi / true_col.size)


def _tolerance(true_m: Array, config: ObstacleConfig) -> Array:
    return np.maximum(config.hit_m, config.hit_ratio * true_m)


def obstacle_metrics(
        table: NDArray[np.void], within_m: float,
        config: ObstacleConfig = DEFINITION) -> dict[str, float]:
    """
    Return the rates over the rows of one or more sector tables; NaN where nothing counts.

    :param table: rows of SECTOR_DTYPE, concatenated over images
    :param within_m: R [m], horizontal
    :return: obstacles (count), miss_rate, false_alarm_rate (of all observed sectors), bias_m and
        error_m (mean signed and absolute error of the obstacles that are predicted at all),
        thin_obstacles (count) and thin_miss_rate
    """
    table = table[table['observed']]
    true, pred = table['true_m'], table['pred_m']
    obstacle = true <= within_m
    with np.errstate(invalid='ignore'):
        hit = np.abs(pred - true) <= _tolerance(true, config)
    alarm = np.where(obstacle, pred < config.false_alarm_ratio * true, pred <= within_m)
    seen = obstacle & np.isfinite(pred)
    error = pred[seen] - true[seen]
    return {
        'obstacles': float(obstacle.sum()),
        'miss_rate': _mean(~hit[obstacle]), 'false_alarm_rate': _mean(alarm),
        'bias_m': _mean(error), 'error_m': _mean(np.abs(error)), **thin_metrics(table, within_m)}


def thin_metrics(
        table: NDArray[np.void], within_m: float,
        config: ObstacleConfig = DEFINITION) -> dict[str, float]:
    """Return thin_obstacles (count) and thin_miss_rate of the rows of sector tables within R."""
    table = table[table['thin_m'] <= within_m]
    with np.errstate(invalid='ignore'):
        hit = np.abs(table['thin_pred_m'] - table['thin_m']) <= _tolerance(table['thin_m'], config)
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
