# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An ablation as a Markdown table: ours with its noise, the paper's figures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from training.scoring.report import markdown_table


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    change: dict                        # fields of TrainConfig; `loss` and `model` are merged
    paper: dict[str, float]             # the paper's figures by column
    sources: int | None = None          # only the first so many of --data
    needs_data: bool = False            # only with --row-data
    max_m: float = 100.0                # truth is truncated here


@dataclass(frozen=True)
class Table:
    """A table of a paper; `ablation_<name>.yaml`."""

    name: str
    title: str
    columns: dict[str, tuple]           # paper's name -> (alignment, metric, factor)
    rows: tuple[Row, ...]


def markdown(table: Table, found: Mapping[str, Sequence[dict]],
             left_out: Sequence[str] = ()) -> str:
    """
    Return title, table, noise and what was left out.

    :param found: results of `ablate.run_row` by row, one per seed
    """
    papers = list(dict.fromkeys(column for row in table.rows for column in row.paper))
    cells = [['', *table.columns, *(f'{c} (the paper)' for c in papers)]]
    for row in table.rows:
        if row.name in found:
            cells.append([row.name,
                          *(cell(values(found[row.name], how), digits(how))
                            for how in table.columns.values()),
                          *(paper_cell(row.paper.get(c)) for c in papers)])
    lines = [f'**{table.title}**', '', markdown_table(cells), '', noise_text(table, found)]
    if papers:
        lines.append('The columns of the paper are other networks, data and sizes: they are there '
                     'for the direction only.')
    lines += [f'\nLeft out, for want of data: {", ".join(left_out)}.'] if left_out else []
    return '\n'.join(lines) + '\n'


def values(results: Sequence[dict], how: tuple) -> list[float]:
    """Return one number per seed; how = (alignment, metric, factor)."""
    align, metric, factor = how
    return [result['scores'][align][metric] * factor for result in results]


def digits(how: tuple) -> int:
    """Return the decimals to show: a percentage needs fewer."""
    return 2 if how[2] >= 100 else 4


def cell(per_seed: Sequence[float], decimals: int) -> str:
    """Return the mean, and half the distance of the extremes where there are several seeds."""
    spread = f' ± {np.ptp(per_seed) / 2:.{decimals}f}' if len(per_seed) > 1 else ''
    return f'{np.mean(per_seed):.{decimals}f}{spread}'


def paper_cell(value: float | None) -> str:
    """Return a figure of the paper as printed there."""
    return '' if value is None else f'{value:g}'


def noise(table: Table, found: Mapping[str, Sequence[dict]], column: str) -> float:
    """Return the mean difference between two seeds of one row; NaN with one seed."""
    differences = [abs(a - b) for results in found.values()
                   for a, b in combinations(values(results, table.columns[column]), 2)]
    return float(np.mean(differences)) if differences else float('nan')


def noise_text(table: Table, found: Mapping[str, Sequence[dict]]) -> str:
    """Return a sentence that says which differences mean nothing."""
    seeds = max((len(results) for results in found.values()), default=0)
    if seeds < 2:
        return 'One seed: the noise is not known, and no difference means anything yet.'
    each = ', '.join(f'{column} {noise(table, found, column):.{digits(how)}f}'
                     for column, how in table.columns.items())
    return (f'{seeds} seeds per row, mean ± half the distance of the extremes. Two seeds of one '
            f'row differ on average by: {each}. Smaller differences between rows mean nothing.')
