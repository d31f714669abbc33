# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Plots of a bag evaluation as SVG: rings around the robot, figures over time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
import html
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.scoring.bags.tables import BagTables
from training.scoring.bags.verdict import DIRECTIONS, RINGS_M

Array = NDArray[np.floating]
# From light to dark, so that a grey print and any eye order them alike.
STEPS = ((0.05, '#d9ead3'), (0.2, '#fdd870'), (0.5, '#f08a4b'), (1.01, '#a3123a'))
NOTHING = '#e9e9ec'
MIDDLE, HOLE, RING = 200, 26, 29                 # px of the drawing
WIDE, HIGH, LEFT, BELOW = 640, 280, 64, 42       # of a plot over time, and its margins
LINES = ('#1f5aa6', '#d9730d')
NAMES = {'nearest_true_m': 'truth', 'nearest_pred_m': 'prediction', 'abs_rel': 'as published',
         'abs_rel_aligned': 'scale removed'}


def ring_plot(title: str, part: Sequence[Sequence[int]], whole: Sequence[Sequence[int]],
              none: str) -> str:
    """
    Return an SVG of shares around the robot: ahead is up, rings are distances.

    :param part: counts (rings, DIRECTIONS)
    :param whole: of how many
    :param none: what a grey cell means
    """
    cells = []
    for ring, (parts, wholes) in enumerate(zip(part, whole)):
        for direction, (some, of) in enumerate(zip(parts, wholes)):
            share = some / of if of else None
            colour = NOTHING if share is None else next(c for top, c in STEPS if share < top)
            text = f'{some} of {of}' if of else none
            cells.append(f'<path d="{_cell(ring, direction)}" fill="{colour}" stroke="#fff" '
                         f'stroke-width="1.2"><title>{html.escape(text)}</title></path>')
    labels = ''.join(
        f'<text x="{MIDDLE + 4}" y="{MIDDLE + HOLE + (ring + 1) * RING - 3}" class="ring">'
        f'{high:g}{" m" if ring == len(RINGS_M) - 2 else ""}</text>'
        for ring, (_, high) in enumerate(pairwise(RINGS_M)))
    around = ''.join(
        f'<text x="{x}" y="{y}" class="side" text-anchor="{anchor}">{word}</text>'
        for word, x, y, anchor in (('ahead', MIDDLE, 20, 'middle'), ('left', -10, 204, 'start'),
                                   ('right', 412, 204, 'end'), ('behind', MIDDLE, 390, 'middle')))
    robot = (f'<path d="M{MIDDLE} {MIDDLE - 13} l9 20 l-9 -5 l-9 5 z" fill="#333">'
             '<title>the robot</title></path>')
    return (f'<figure class="rings"><figcaption>{html.escape(title)}</figcaption>'
            f'<svg viewBox="-12 4 426 394" role="img" aria-label="{html.escape(title)}">'
            f'{"".join(cells)}{robot}{labels}{around}</svg></figure>')


def ring_legend(none: str) -> str:
    """Return what the colours of the rings mean."""
    low, items = 0.0, []
    for high, colour in STEPS:
        items.append((colour, f'{100 * low:.0f} to {100 * min(high, 1):.0f} %'))
        low = high
    items.append((NOTHING, none))
    return '<p class="legend">' + ''.join(
        f'<span><i style="background:{colour}"></i>{html.escape(text)}</span>'
        for colour, text in items) + '</p>'


def _cell(ring: int, direction: int) -> str:
    inner, outer = HOLE + ring * RING, HOLE + (ring + 1) * RING
    step = 2 * np.pi / DIRECTIONS
    start, end = (direction - 0.5) * step, (direction + 0.5) * step
    points = [(r, a) for r, a in ((inner, start), (outer, start), (outer, end), (inner, end))]
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (
        (MIDDLE - r * np.sin(a), MIDDLE - r * np.cos(a)) for r, a in points)
    return (f'M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}A{outer} {outer} 0 0 0 {x2:.1f} {y2:.1f}'
            f'L{x3:.1f} {y3:.1f}A{inner} {inner} 0 0 1 {x0:.1f} {y0:.1f}Z')


def time_plots(tables: BagTables, offsets: Array, errors: Array,
               offset: float) -> list[tuple[str, str]]:
    """Return plots over time and over the time offset, as (caption, data URI)."""
    if not tables.rows:
        return []
    stamp = tables.column('stamp_s')
    seconds = stamp - stamp[0]
    found = []
    for names, label, caption in (
            (('nearest_true_m', 'nearest_pred_m'), 'nearest obstacle [m]',
             'Nearest obstacle of any direction: where the prediction lies above the truth, '
             'something is nearer than the robot believes'),
            (('abs_rel', 'abs_rel_aligned'), 'AbsRel',
             'Mean relative error, as published and after removing the scale of each frame'),
            (('scale_ratio',), 'truth / prediction', 'Scale over time; 1 is right'),
            (('flicker',), 'flicker', 'Flicker: how far static points jump between two frames'),
            (('infer_ms',), 'inference [ms]', 'Time of the network per frame')):
        columns = {name: tables.column(name) for name in names}
        if any(np.isfinite(values).any() for values in columns.values()):
            found.append((caption, _figure(
                seconds, columns, 'time [s]', label)))
    if errors.size and np.isfinite(errors).any():
        found.append(('Error after removing scale if the stamps were moved by so much: lowest '
                      'where the camera really looked', _figure(
                          offsets, {'error': errors}, 'further stamp offset [s]', 'error',
                          offset)))
    return found


def _figure(x: Array, columns: dict[str, Array], x_label: str, y_label: str,
            mark: float = np.nan) -> str:
    """Return lines over x as the data URI of an SVG: sharp at any size, and drawn in no time."""
    known = [values[np.isfinite(values)] for values in columns.values()]
    low, high = min(v.min(initial=np.inf) for v in known), max(v.max(initial=-np.inf)
                                                               for v in known)
    low, high = low - 0.05 * (high - low) - 1e-9, high + 0.05 * (high - low) + 1e-9
    left, right = float(x.min()), float(x.max()) + 1e-9

    def at(value: Array, level: Array) -> tuple[Array, Array]:
        return (LEFT + (value - left) / (right - left) * (WIDE - LEFT - 12),
                HIGH - BELOW - (level - low) / (high - low) * (HIGH - BELOW - 8))

    parts = []
    for tick in _ticks(low, high):
        _, y = at(x[0], tick)
        parts += [f'<path d="M{LEFT} {y:.1f}H{WIDE - 12}" stroke="#e4e4e4"/>',
                  f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>']
    for tick in _ticks(left, right):
        along, _ = at(tick, low)
        parts.append(f'<text x="{along:.1f}" y="{HIGH - BELOW + 17}" text-anchor="middle">'
                     f'{tick:g}</text>')
    if np.isfinite(mark):
        parts.append(f'<path d="M{at(mark, low)[0]:.1f} 8V{HIGH - BELOW}" stroke="#a3123a"/>')
    for number, ((name, values), colour) in enumerate(zip(columns.items(), LINES)):
        parts.append(f'<path d="{_line(*at(x, values))}" fill="none" stroke="{colour}" '
                     'stroke-width="1.6" stroke-linejoin="round"/>')
        if len(columns) > 1:
            parts.append(f'<text x="{WIDE - 16}" y="{22 + 18 * number}" text-anchor="end" '
                         f'fill="{colour}">{NAMES[name]}</text>')
    parts += [f'<path d="M{LEFT} 8V{HIGH - BELOW}H{WIDE - 12}" fill="none" stroke="#555"/>',
              f'<text x="{(WIDE + LEFT) / 2}" y="{HIGH - 6}" text-anchor="middle">'
              f'{html.escape(x_label)}</text>',
              f'<text transform="translate(14 {(HIGH - BELOW) / 2}) rotate(-90)" '
              f'text-anchor="middle">{html.escape(y_label)}</text>']
    drawn = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {HIGH}" '
             f'font-family="sans-serif" font-size="14" fill="#333">{"".join(parts)}</svg>')
    return 'data:image/svg+xml;base64,' + base64.b64encode(drawn.encode()).decode()


def _line(along: Array, up: Array) -> str:
    """Return the path through the finite points; a hole in the data stays one."""
    text, pen = [], 'M'
    for x, y in zip(along, up):
        if not np.isfinite(y):
            pen = 'M'
            continue
        # The short stroke shows a point that stands alone between two holes.
        text.append(f'{pen}{x:.1f} {y:.1f}' + ('h.5' if pen == 'M' else ''))
        pen = 'L'
    return ''.join(text)


def _ticks(low: float, high: float) -> Array:
    """Return some five round numbers within a span."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return np.round(np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step, 10)
