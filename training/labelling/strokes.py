# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Lines drawn on a photograph become the intervals of a label, and back.

A stroke is a line along the foot of one thing: `kind`, `points` [azimuth, elevation] in degrees,
`what`, and for an overhang `overhang_points`. Strokes of thin things are drawn over the line of
what stands behind them, which becomes their base. What nobody has drawn is `unsure`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Stroke = dict[str, Any]
Points = NDArray[np.floating]
SNAP_DEG = 0.5      # gaps and overlaps up to this are slips of the hand


class StrokeError(ValueError):
    """A stroke that cannot be part of a label."""


def intervals_of(strokes: list[Stroke]) -> list[dict[str, Any]]:
    """
    Return the intervals of a label, from -180 to 180 degrees without a gap.

    :raises StrokeError: if a stroke has no width, or two of them overlap
    """
    lines = [_ordered(stroke) for stroke in strokes]
    solid = sorted((line for line in lines if line['kind'] != 'thin'), key=_start)
    intervals = _without_gaps(solid)
    for thin in sorted((line for line in lines if line['kind'] == 'thin'), key=_start):
        intervals = _cut(intervals, thin)
    return [_plain(interval) for interval in intervals]


def strokes_of(label: dict[str, Any]) -> list[Stroke]:
    """Return the strokes that give the intervals of a label."""
    found = []
    for interval in label['intervals']:
        stroke = {'kind': interval['kind'], 'what': interval.get('what', ''),
                  'points': _over(interval, 'points')}
        behind = {'kind': interval['base_kind'], 'what': '', 'points': _over(
            interval, 'base_points')} if 'base_points' in interval else None
        if 'overhang_points' in interval:
            (behind or stroke)['overhang_points'] = interval['overhang_points']
        found += [behind, stroke] if behind else [stroke]
    return found


def _over(interval: dict[str, Any], name: str) -> list[list[float]]:
    """Return the points of an interval, the first and last at its borders."""
    start, stop = interval['azimuth_deg']
    return _piece(np.array(interval[name], dtype=float), start, stop).tolist()


def _ordered(stroke: Stroke) -> Stroke:
    points = np.array(stroke.get('points') or [], dtype=float)
    if points.ndim != 2 or len(points) < 2 or np.ptp(points[:, 0]) <= 0:
        raise StrokeError(f'a line of kind {stroke.get("kind")!r} needs two points at different '
                          'azimuths: go on with it, or remove it')
    points = points[np.argsort(points[:, 0], kind='stable')]
    for end, border in ((0, -180.0), (-1, 180.0)):
        if abs(points[end, 0] - border) <= SNAP_DEG:
            points[end, 0] = border
    return {**stroke, 'points': points}


def _start(line: Stroke) -> float:
    return float(line['points'][0, 0])


def _without_gaps(lines: list[Stroke]) -> list[Stroke]:
    """Return the lines with their ends brought together, and what is missing as unsure."""
    found: list[Stroke] = []
    end, level = -180.0, -45.0
    for line in lines:
        points = line['points']
        if points[0, 0] < end - SNAP_DEG:
            raise StrokeError(f'two lines overlap between azimuth {points[0, 0]:.1f} and '
                              f'{end:.1f}: end the one where the other begins')
        if points[0, 0] > end + SNAP_DEG:
            found.append(_unsure(end, level if found else points[0, 1], points[0]))
        else:
            points[0, 0] = end
        if points[-1, 0] <= end:
            raise StrokeError(f'a line lies within another one at azimuth {end:.1f}: remove it')
        # A second corner may lie before a border that was moved.
        points[:, 0] = np.maximum(points[:, 0], end)
        found.append(line)
        end, level = float(points[-1, 0]), float(points[-1, 1])
    if end < 180:
        found.append(_unsure(end, level, (180.0, level)))
    return found


def _unsure(start: float, level: float, stop: Points | tuple[float, float]) -> Stroke:
    return {'kind': 'unsure', 'what': 'not labelled',
            'points': np.array([[start, level], [stop[0], stop[1]]])}


def _cut(intervals: list[Stroke], thin: Stroke) -> list[Stroke]:
    """Put a thin thing before what stands behind it."""
    start, stop = float(thin['points'][0, 0]), float(thin['points'][-1, 0])
    found: list[Stroke] = []
    for interval in intervals:
        first, last = (float(interval['points'][end, 0]) for end in (0, -1))
        low, high = max(first, start), min(last, stop)
        if low >= high:
            found.append(interval)
            continue
        if interval['kind'] == 'thin':
            raise StrokeError(f'two thin things overlap at azimuth {low:.1f}: end the one where '
                              'the other begins')
        if first < low:
            found.append(_part(interval, first, low))
        behind = _part(interval, low, high)
        found.append({**behind, **thin, 'points': _piece(thin['points'], low, high),
                      'base_kind': interval['kind'], 'base_points': behind['points']})
        if high < last:
            found.append(_part(interval, high, last))
    return found


def _part(interval: Stroke, start: float, stop: float) -> Stroke:
    return {**interval, **{name: _piece(np.array(interval[name], dtype=float), start, stop)
                           for name in ('points', 'overhang_points') if name in interval}}


def _piece(points: Points, start: float, stop: float) -> Points:
    """Return the part of a line between two azimuths, straight between its corners."""
    inside = points[(points[:, 0] > start) & (points[:, 0] < stop)]
    ends = np.interp((start, stop), points[:, 0], points[:, 1])
    return np.vstack([[start, ends[0]], inside, [stop, ends[1]]])


def _plain(interval: Stroke) -> dict[str, Any]:
    points = interval['points']
    found = {'azimuth_deg': [round(float(points[0, 0]), 2), round(float(points[-1, 0]), 2)],
             'kind': interval['kind']}
    for name in ('points', 'base_points', 'overhang_points'):
        if interval.get(name) is not None and len(interval[name]):
            found[name] = np.round(np.array(interval[name], dtype=float), 2).tolist()
    if 'base_kind' in interval:
        found['base_kind'] = interval['base_kind']
    return {**found, 'what': interval.get('what', '')}
