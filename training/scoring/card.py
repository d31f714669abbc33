# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tables of a model card: photographs first, then pairs, then renderings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from da_ros.errors import DaRosError
from training.scoring.free_space_report import NOT_TOLD, TOLD

HEADING = '## Accuracy'
PHOTOGRAPHS = {'found': 'found', 'late': 'late', 'false_alarm': 'false alarms',
               'thin_found': 'thin found', 'overhang_found': 'overhanging found',
               'log_error': 'log error', 'log_error_near': 'within 3 h'}
REPORTED = {'abs_rel': 'AbsRel', 'miss_rate_3m': 'missed', 'false_alarm_rate_3m': 'false alarms',
            'thin_miss_rate_3m': 'thin missed'}
EXPLAINED = {
    True: 'Hand-labelled photographs (docs/free_space.md): obstacles within 3 camera heights h '
          'per 10-degree sector, as share [95 % interval over photographs]; late = predicted too '
          'far or not at all.',
    False: 'Obstacles per 10-degree sector, 0.05 to 1.5 m above the floor, within 3 m unless a '
           'distance is given. Glass and mirrors have no range in renderings: only photographs '
           'judge them.'}
FREE, KNOWN = 'unaligned', 'known camera height'     # variants of rendered sets and pairs
COUNTED = {'missed': ('miss_rate', 'obstacles'), 'too far': ('late_rate', 'obstacles'),
           'thin missed': ('thin_miss_rate', 'thin_obstacles')}


class CardError(DaRosError):
    """A card without a place for the tables, or a report without the bundle."""


def of_photographs(report: Mapping[str, Any]) -> bool:
    """Return whether a report is that of labelled photographs."""
    return report.get('protocol') == 'photograph'


def tables_of(report: Mapping[str, Any], name: str = '') -> str:
    """
    Return the Markdown tables of one report.json of `training.evaluate`.

    :param name: predictor; '' = the first
    :raises CardError: if the report has no such predictor
    """
    predictors = report.get('predictors') or {}
    name = name or next(iter(predictors), '')
    if name not in predictors:
        raise CardError(f'the report holds {", ".join(predictors) or "nothing"}, not {name!r}; '
                        'evaluate that bundle')
    real = of_photographs(report)
    tables = photograph_tables(predictors[name]['variants']) if real else rendered_tables(
        predictors[name])
    return f'{EXPLAINED[real]}\n\n{tables}'


def photograph_tables(variants: Mapping[str, Any]) -> str:
    """Return what is found in labelled photographs, and by distance how much is missed."""
    lines = table_head('photographs', ['n', *PHOTOGRAPHS.values()])
    for variant in (TOLD, NOT_TOLD):
        groups = variants.get(variant, {}).get('groups', {})
        for group, rows in groups.items():
            for key, way in (('pooled', 'pooled'), ('mean', 'mean over photographs')):
                cells = [_interval(*(rows[f'{key}{end}'].get(name)
                                     for end in ('', '_low', '_high'))) for name in PHOTOGRAPHS]
                lines.append(_row(f'{group}, {variant}, {way}',
                                  [str(rows[key]['photographs']), *cells]))
    told, free = (variants.get(variant, {}).get('by_distance', {}) for variant in (TOLD, NOT_TOLD))
    head = ['obstacles', 'missed, told', 'too far, told', 'missed, not told']
    lines += ['', *table_head('probability of a miss by true distance', head)]
    for name, row in (told or free).items():
        cells = [str(row['obstacles']), *(_percent(told.get(name, {}).get(key))
                                          for key in ('missed', 'late')),
                 _percent(free.get(name, {}).get('missed'))]
        lines.append(_row(name, cells))
    return '\n'.join(lines)


def rendered_tables(predictor: Mapping[str, Any]) -> str:
    """Return errors and obstacles per group, misses by distance and by width, and the masks."""
    variants = predictor['variants']
    free, told = (variants.get(name, {}) for name in (FREE, KNOWN))
    groups = [variant.get('groups', {}) for variant in (free, told)]
    lines = table_head('not told -> told the camera height', ['n', *REPORTED.values()])
    for group, row in groups[0].items():
        cells = [' -> '.join(_value(key, found.get(group, {}).get(key)) for found in groups)
                 for key in REPORTED]
        lines.append(_row(group, [f'{row["frames"]:.0f}', *cells]))
    for key, title in (('obstacles_by_range', 'probability of a miss by true distance, told'),
                       ('obstacles_by_width', 'within 3 m, by width, told')):
        lines += _misses((told or free).get(key) or {}, title)
    masks = [f'{name} {row["iou"]:.3f}' for name, row in predictor['masks'].items()
             if row['iou'] is not None]
    return '\n'.join([*lines, '', 'Range mask IoU: ' + '; '.join(masks)])


def _misses(rows: Mapping[str, Mapping[str, float | None]], title: str) -> list[str]:
    if not rows:
        return []
    lines = ['', *table_head(title, ['obstacles', *COUNTED])]
    for name, row in rows.items():
        lines.append(_row(name, [f'{row["obstacles"]:.0f}', *(
            _percent(row.get(key)) if row.get(of) else '-' for key, of in COUNTED.values())]))
    return lines


def table_head(first: str, names: Any) -> list[str]:
    """Return the two lines that open a Markdown table."""
    names = list(names)
    return [_row(first, names), '|---|' + '---|' * len(names)]


def write_card(file: Path, text: str) -> None:
    """
    Put the tables into the section `Accuracy` of a card, up to its next heading; all else stays.

    :raises CardError: if there is no such section
    """
    before, heading, rest = file.read_text(encoding='utf-8').partition(f'\n{HEADING}\n')
    if not heading:
        raise CardError(f'{file} has no place for the tables: add the heading {HEADING!r}')
    _, following, after = rest.partition('\n## ')
    file.write_text(f'{before}{heading}\n{text}\n{following}{after}', encoding='utf-8')


def _row(first: str, cells: list[str]) -> str:
    return '| ' + ' | '.join([first, *cells]) + ' |'


def _value(key: str, value: float | None) -> str:
    return _percent(value) if key != 'abs_rel' else '-' if value is None else f'{value:.3f}'


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{100 * value:.0f} %'


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return '-'
    return f'{value:.2f}' if low is None else f'{value:.2f} [{low:.2f}, {high:.2f}]'
