# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of a bag evaluation: verdict first, then the frames to look at, then all tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import html
from pathlib import Path
from typing import Any

from training.scoring import report
from training.scoring.bags.plots import ring_legend, ring_plot
from training.scoring.bags.tables import WorstFrame
from training.scoring.bags.verdict import percent, sentences

NO_OBSTACLE, NO_TRUTH = 'no obstacle there in this drive', 'no truth there'
# What stands in a column, told below each table that has it.
EXPLAINED = {
    'abs_rel': 'mean of |prediction - truth| / truth', 'rmse_m': 'root of the mean square error '
    '[m]', 'mae_m': 'mean absolute error [m]', 'median_abs_rel': 'abs_rel of the median pixel of '
    'a frame', 'log10': 'mean |log10 of prediction / truth|', 'rmse_log': 'rmse of the natural '
    'logarithms', 'silog': 'the same without the scale of the whole',
    'delta_1': 'share of the pixels within a factor of 1.25', 'delta_2': 'of 1.25 squared',
    'delta_3': 'of 1.25 cubed',
    'scale_ratio': 'median truth / median prediction: 1 = metres are right',
    'coverage': 'share of the truth at which the prediction is not unknown',
    'edge_f1': 'do range edges lie where the true ones do (dense truth only)',
    'seam_ratio': 'step across the left-right border over steps elsewhere: 1 = no seam',
    'obstacles': 'directions of 10 degrees with a true obstacle', 'miss_rate': 'of those, without '
    'a prediction within 0.3 m or 20 %', 'false_alarm_rate': 'of all directions seen, with '
    'something predicted that is not there',
    'bias_m': 'mean of predicted minus true distance [m]; above 0 = too far, the dangerous side',
    'error_m': 'mean of its absolute value [m]', 'thin_obstacles': 'directions with something '
    'upright and at most 0.1 m wide', 'thin_miss_rate': 'of those, missed',
    'late_rate': 'of the obstacles, those predicted too far or not at all: the danger',
    'precision': 'of what is published as near, truly near', 'recall': 'of what is near, '
    'published as near', 'iou': 'both over either', 'frames': 'frames with truth in this row'}
STYLE = """
:root{color-scheme:light;background:#fff}body{font:15px/1.45 system-ui,sans-serif;
margin:0 auto;max-width:1360px;padding:0 18px 3em;color:#1d1f24}
h1{font-size:1.35em;margin:.7em 0 .1em}h2{font-size:1.15em;margin:1.8em 0 .4em}
p{margin:.4em 0}.made{color:#5a5f6b;font-size:13px}code{background:#f1f2f5;
padding:1px 4px;border-radius:3px;overflow-wrap:anywhere}
.problem{background:#fde8ea;border-left:5px solid #a3123a;padding:.5em .8em;margin:.6em 0}
.headline{font-size:1.3em;line-height:1.35;margin:.35em 0;font-weight:600}.more{font-size:1.05em}
.verdict{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr) minmax(0,1.15fr);
gap:8px 18px;align-items:start}.verdict>*{min-width:0}.verdict td,.verdict th{padding:.25em .45em;
white-space:normal;vertical-align:bottom}.verdict td:first-child{white-space:nowrap}
.rings{margin:0}.rings svg{width:100%;max-width:410px;display:block}
.rings figcaption{font-weight:600}.ring{font-size:12px;fill:#111;paint-order:stroke;stroke:#fff;
stroke-width:3px}.side{font-size:13px;fill:#5a5f6b}.legend{font-size:13px;color:#444}
.legend span{display:inline-block;margin-right:14px}.legend i{display:inline-block;width:13px;
height:13px;border-radius:2px;margin-right:5px;vertical-align:-2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:10px;
margin:.6em 0}.tile{background:#f5f6f8;border-radius:6px;padding:.45em .8em}
.tile b{font-size:1.2em;display:block}.tile span{font-size:13px;color:#5a5f6b}
h3{font-size:1.02em;margin:1.1em 0 .3em}.pictures{display:grid;gap:4px 12px;
grid-template-columns:minmax(0,1fr) minmax(0,1fr) minmax(0,1.06fr)}.pictures figure{margin:0}
.pictures figure:nth-child(5){grid-column:3;grid-row:1/span 2}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));gap:14px}
.plots figure{margin:0}img{width:100%;height:auto;display:block}
figcaption{font-size:13px;color:#444;margin:.15em 0 .35em}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:14px;margin:.3em 0}
td,th{padding:.2em .65em;text-align:right;border-bottom:1px solid #e1e3e8;white-space:nowrap}
td:first-child,th:first-child{text-align:left}th{font-weight:600}
.columns{font-size:12.5px;color:#5a5f6b;max-width:110ch}
@media(max-width:900px){.verdict{grid-template-columns:1fr 1fr}.verdict>div:last-child{
grid-column:1/-1}.pictures{grid-template-columns:1fr 1fr}
.pictures figure:nth-child(5){grid-column:1/-1;grid-row:auto}}
@media(max-width:560px){body{padding:0 10px 2em}.verdict,.pictures{grid-template-columns:1fr}
.pictures figure:nth-child(5){grid-column:auto;grid-row:auto}.headline{font-size:1.15em}
td,th{padding:.2em .35em;font-size:12.5px}.tiles{grid-template-columns:1fr 1fr}}
"""


def write_page(file: Path, title: str, result: Mapping[str, Any], worst: Sequence[WorstFrame],
               plots: Sequence[tuple[str, str]], start_s: float) -> None:
    """
    Write the page; it needs nothing but itself.

    :param result: what goes into report.json
    :param start_s: stamp of the first image [s]
    """
    body = [f'<h1>{html.escape(title)}</h1>', *_problems(result['problems']),
            *_verdict(result), _tiles(result['tiles'])]
    if worst:
        body.append('<h2>The frame to look at in each part of the drive, worst first</h2>')
        body += [_frame(frame, start_s) for frame in worst]
    if plots:
        figures = ''.join(f'<figure><figcaption>{html.escape(caption)}</figcaption><img '
                          f'src="{uri}" alt=""></figure>' for caption, uri in plots)
        body.append(f'<h2>Over time</h2><div class="plots">{figures}</div>')
    body += ['<h2>What was measured, and how</h2>',
             *(f'<p>{html.escape(note)}</p>' for note in result['notes']), _made(result['made'])]
    for caption, cells in report.sections(result):
        body.append(f'<h2>{html.escape(caption)}</h2>{_table(cells)}{_columns(cells[0])}')
    file.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{html.escape(title)}</title>'
        f'<style>{STYLE}</style>{"".join(body)}</html>\n', encoding='utf-8')


def _problems(problems: Sequence[str]) -> list[str]:
    return [f'<p class="problem"><b>Problem:</b> {html.escape(text)}</p>' for text in problems]


def _verdict(result: Mapping[str, Any]) -> list[str]:
    verdict = result['verdict']
    if not verdict:
        why = ('see the problem above' if result['problems'] else 'nothing in this bag tells the '
               'truth' if not result['truth_topic'] else 'the height of the camera is not known; '
               'give --camera-height, or --mounting-height')
        return [f'<p class="headline">No verdict on obstacles: {html.escape(why)}.</p>']
    first, *more = sentences(dict(verdict))
    seen = [verdict['seen']] * len(verdict['false_alarms'])
    rings = (ring_plot('Missed, of the obstacles there', verdict['missed'], verdict['obstacles'],
                       NO_OBSTACLE)
             + ring_plot('False alarms, of the frames', verdict['false_alarms'], seen, NO_TRUTH))
    rows = [['distance', 'obstacles', 'missed', 'false alarms', 'thin', 'thin missed']]
    rows += [[name, f'{row["obstacles"]}', percent(row['missed']), percent(row['false_alarms']),
              f'{row["thin"]:.0f}', percent(row['thin_missed'])]
             for name, row in verdict['by_distance'].items()]
    return [
        f'<p class="headline">{html.escape(first)}</p>',
        f'<p class="more">{html.escape(" ".join(more))}</p>',
        f'<div class="verdict">{rings}<div>{_table(rows)}<p class="columns">Horizontal distance '
        'from the camera. Obstacle: the nearest true point 0.05 to 1.5 m above the floor in a '
        'direction of 10 degrees. Missed: nothing predicted within 0.3 m or 20 % of it. False '
        'alarm: something predicted at less than 0.8 of what is there, counted at the predicted '
        'distance, of all directions seen. Thin: upright, at most 0.1 m wide.</p></div></div>',
        ring_legend(f'{NO_OBSTACLE} / {NO_TRUTH}')]


def _tiles(tiles: Sequence[tuple[str, str]]) -> str:
    return '<div class="tiles">' + ''.join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(text)}</span></div>'
        for value, text in tiles) + '</div>'


def _frame(frame: WorstFrame, start_s: float) -> str:
    pictures = ''.join(f'<figure><figcaption>{html.escape(title)}</figcaption><img src="{uri}" '
                       f'alt="{html.escape(title)}"></figure>' for title, uri in frame.pictures)
    return (f'<h3>{frame.stamp_s - start_s:.1f} s into the drive (frame {frame.number}): '
            f'{html.escape(frame.text)}</h3><div class="pictures">{pictures}</div>')


def _made(made: Mapping[str, str]) -> str:
    return '<p class="made">' + '<br>'.join(
        f'{html.escape(name)}: <code>{html.escape(text)}</code>' for name, text in made.items()
        ) + '</p>'


def _table(cells: list[list[str]]) -> str:
    return f'<div class="scroll">{report.html_table(cells)}</div>'


def _columns(names: Sequence[str]) -> str:
    known = []
    for name in names:
        base = name.rpartition('_')[0] if name.endswith('_3m') else name
        if base in EXPLAINED:
            within = ' (within 3 m)' if base != name else ''
            known.append(f'<b>{html.escape(name)}</b>: {html.escape(EXPLAINED[base] + within)}')
    return f'<p class="columns">{"; ".join(known)}.</p>' if known else ''
