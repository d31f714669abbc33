# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Evaluation results as JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import html
from itertools import pairwise
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from training.scoring import metrics, obstacles
from training.scoring.protocols import Protocol
from training.scoring.scores import FrameScores, OBSTACLE_RANGES_M, row_metrics, row_others

COLUMNS = ('abs_rel', 'median_abs_rel', 'rmse_m', 'mae_m', 'log10', 'rmse_log', 'silog',
           'delta_1', 'delta_2', 'delta_3', 'scale_ratio', 'coverage', 'edge_f1', 'seam_ratio',
           'obstacles_3m', 'miss_rate_3m', 'false_alarm_rate_3m', 'thin_obstacles_3m',
           'thin_miss_rate_3m', 'frames')
SHORT = ('abs_rel', 'median_abs_rel', 'rmse_m', 'delta_1', 'scale_ratio', 'edge_f1',
         'miss_rate_3m', 'false_alarm_rate_3m', 'thin_miss_rate_3m', 'frames')
BAND_COLUMNS = ('abs_rel', 'rmse_m', 'mae_m', 'delta_1', 'frames')
OBSTACLE_COLUMNS = ('obstacles', 'miss_rate', 'late_rate', 'false_alarm_rate', 'bias_m', 'error_m',
                    'thin_obstacles', 'thin_miss_rate')
MASK_COLUMNS = ('precision', 'recall', 'iou')
STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1850px;padding:0 1em}
table{border-collapse:collapse;margin:.6em 0 1.6em}td,th{padding:.2em .7em;text-align:right;
border-bottom:1px solid #ddd;white-space:nowrap}td:first-child,th:first-child{text-align:left}
figure{margin:1em 0}img{max-width:100%}figcaption{color:#444}code{background:#f2f2f2}"""


def table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str],
          first: str = '') -> list[list[str]]:
    """Return header and rows of text; values that a row lacks are empty."""
    return [[first, *columns], *(
        [name, *(number(row.get(column)) for column in columns)] for name, row in rows.items())]


def number(value: Any) -> str:
    """Return a number in four digits, whole numbers plainly, NaN as `nan`."""
    if value is None:
        return ''
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, (int, float)):
        return str(value)
    if math.isfinite(value) and value == int(value) and abs(value) >= 1:
        return str(int(value))
    return f'{value:.4f}' if abs(value) < 10 else f'{value:.2f}'


def markdown_table(cells: list[list[str]]) -> str:
    """Return a Markdown table; the first row is the header."""
    lines = ['| ' + ' | '.join(row) + ' |' for row in cells]
    lines.insert(1, '|---|' + '---:|' * (len(cells[0]) - 1))
    return '\n'.join(lines)


def text_table(cells: list[list[str]]) -> str:
    """Return an aligned table for a terminal."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return '\n'.join('  '.join(
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths))) for row in cells)


def html_table(cells: list[list[str]]) -> str:
    """Return an HTML table; the first row is the header."""
    def line(row: list[str], tag: str) -> str:
        return '<tr>' + ''.join(f'<{tag}>{html.escape(c)}</{tag}>' for c in row) + '</tr>'
    rows = ''.join(line(row, 'td') for row in cells[1:])
    return f'<table>{line(cells[0], "th")}{rows}</table>'


def sections(result: Mapping[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Return (title, table) of everything in an evaluation result, in reading order."""
    found: list[tuple[str, list[list[str]]]] = []
    for name, predictor in result['predictors'].items():
        for variant, scores in predictor['variants'].items():
            title = f'{name}, {variant}'
            found.append((title, table(scores['groups'], COLUMNS)))
            for key, columns, caption in (
                    ('bands', BAND_COLUMNS, 'per true range'),
                    ('labels', BAND_COLUMNS, 'per label'),
                    ('truncated', BAND_COLUMNS, 'truth truncated (DAP table 6)'),
                    ('obstacles', OBSTACLE_COLUMNS, 'obstacles per 10-degree sector'),
                    ('obstacles_by_range', OBSTACLE_COLUMNS, 'obstacles by true range'),
                    ('obstacles_by_width', OBSTACLE_COLUMNS, 'obstacles within 3 m by width')):
                if scores.get(key):
                    found.append((f'{title}: {caption}', table(scores[key], columns)))
        if predictor.get('masks'):
            found.append((f'{name}: range masks as published',
                          table(predictor['masks'], MASK_COLUMNS)))
    if result.get('comparisons'):
        found.append(('Differences with paired 95 % bootstrap intervals', table(
            result['comparisons'], ('difference', 'low', 'high'))))
    return found


def write_report(folder: Path, result: Mapping[str, Any], title: str,
                 figures: Sequence[tuple[str, str]] = (), notes: Sequence[str] = (),
                 tables: Sequence[tuple[str, list[list[str]]]] | None = None) -> None:
    """
    Write report.json, report.md and report.html.

    :param result: everything goes into the JSON file
    :param tables: (title, table); None = what `sections` makes of the result
    :param figures: (caption, data URI), first one first
    :param notes: sentences above the tables
    """
    (folder / 'report.json').write_text(json.dumps(plain(result), indent=1) + '\n')
    tables = sections(result) if tables is None else tables
    (folder / 'report.md').write_text('\n\n'.join(
        [f'# {title}', *notes,
         *(f'## {caption}\n\n{markdown_table(cells)}' for caption, cells in tables)]) + '\n')
    body = [f'<h1>{html.escape(title)}</h1>', *(f'<p>{html.escape(n)}</p>' for n in notes)]
    body += [f'<h2>{html.escape(caption)}</h2>{html_table(cells)}' for caption, cells in tables]
    if figures:
        body.append('<h2>Pictures, worst first</h2>')
    body += [f'<figure><img src="{uri}"><figcaption>{html.escape(caption)}</figcaption></figure>'
             for caption, uri in figures]
    (folder / 'report.html').write_text(
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<style>{STYLE}</style>{"".join(body)}\n')


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: NaN and infinities become null, keys text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def variant_tables(frames: Sequence[FrameScores], protocol: Protocol) -> dict[str, Any]:
    """Return the tables of one predictor and variant; see `sections`."""
    sectors = np.concatenate([frame.sectors for frame in frames])
    bands = {f'{low:g}-{high:g} m': row_metrics(frames, protocol, lambda f, i=i: f.bands[i])
             for i, (low, high) in enumerate(pairwise(metrics.BANDS_M))}
    labels = sorted({name for frame in frames for name in frame.labels})
    limits = sorted({limit for frame in frames for limit in frame.truncated})
    none = np.zeros(len(metrics.SUMS))
    return {
        'groups': {group: {**row_metrics(of_group(frames, group), protocol),
                           **row_others(of_group(frames, group))} for group in groups_of(frames)},
        'bands': {name: row for name, row in bands.items() if row['frames']},
        'labels': {name: row_metrics(frames, protocol, lambda f, n=name: f.labels.get(n, none))
                   for name in labels},
        'truncated': {f'<= {t:g} m': row_metrics(frames, protocol, lambda f, t=t: f.truncated[t])
                      for t in limits},
        'obstacles': {f'within {r:g} m': obstacles.obstacle_metrics(sectors, r)
                      for r in OBSTACLE_RANGES_M} if sectors.size else {},
        'obstacles_by_range': obstacles.by_range(sectors) if sectors.size else {},
        'obstacles_by_width': obstacles.by_width(sectors, 3.0) if sectors.size else {}}


def print_tables(result: dict[str, Any]) -> None:
    """Print one compact table per predictor and variant, masks and labels included."""
    for name, predictor in result['predictors'].items():
        for variant, scores in predictor['variants'].items():
            print(f'\n{name}, {variant}')
            print(text_table(table(scores['groups'], SHORT)))
            for key in ('labels', 'bands', 'truncated'):
                if scores[key]:
                    print(text_table(table(scores[key], BAND_COLUMNS, key)))
            for key in ('obstacles', 'obstacles_by_range', 'obstacles_by_width'):
                if scores[key]:
                    print(text_table(
                        table(scores[key], OBSTACLE_COLUMNS, key)))
        if predictor['masks']:
            print(text_table(table(predictor['masks'], MASK_COLUMNS, 'mask')))
    if result['comparisons']:
        print(text_table(table(
            result['comparisons'], ('difference', 'low', 'high'), '\npaired bootstrap, 95 %')))


def groups_of(frames: Sequence[FrameScores]) -> list[str]:
    """Return the names of all groups that frames belong to."""
    return sorted({group for frame in frames for group in frame.groups})


def of_group(frames: Sequence[FrameScores], group: str) -> list[FrameScores]:
    """Return the frames of one group."""
    return [frame for frame in frames if group in frame.groups]
