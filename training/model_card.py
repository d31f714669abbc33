# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Accuracy tables and a picture for the card of a bundle.

    python -m training.model_card --bundle BUNDLE --data PAIRS --held-out aws_small_warehouse \\
        --report runs/free_space/report.json --report runs/obstacles/report.json \\
        --card BUNDLE/README.md --json accuracy.json --picture predictions.jpg

prints Markdown, and writes it into the section `Accuracy` of the card: first what
`training.evaluate --benchmark free-space` found in real photographs, obstacles by distance with
the probability of a miss, glass and mirrors apart; then pairs; then the reports of rendered sets.
Either of --report and --bundle with --data may be left out.

Pairs: AbsRel per image, weighted by solid angle at network size, as mean (median) over the images
of a row; unaligned, aligned by the median, and told the camera height. Rooms with a layout as
truth count floor and ceiling, where furniture is rare; walls apart. The picture shows rendered
pairs only, so that it may be shipped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import sys

import cv2
import numpy as np

from da_ros.errors import DaRosError
from da_ros.files import write_image
from da_ros.sphere import solid_angles
from training.data.pairs import LABELS, Pair, read_pairs
from training.data.shards import colour_of_range
from training.scoring.alignment import median_scale
from training.scoring.card import of_photographs, tables_of, write_card
from training.scoring.free_space import METRICS

VARIANTS = ('unaligned', 'median-aligned', 'known camera height')
EXPLAINED = ('AbsRel = mean of |pred - truth| / truth, weighted by solid angle, truth up to '
             '100 m. A, B and S are real (a scan; empty rooms whose truth is the layout; a stereo '
             'pair), C is rendered.')
TIERS = {'A': 'A measured', 'S': 'S triangulated from a stereo pair'}
MAX_TRUTH_M = 100.0
FARTHEST_M = 120.0      # 'empty' counts as this range where the truth is a surface
SHOWN = ('aws_small_warehouse_00', 'aws_small_warehouse_01', 'aws_small_house_01',
         'aws_hospital_f1_02', 'gz_street_02', 'aws_racetrack_01')


def parse_args(argv=None) -> argparse.Namespace:
    """Return the arguments of the command; exits with usage where they are wrong."""
    parser = argparse.ArgumentParser(
        prog='python -m training.model_card', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bundle', type=Path)
    parser.add_argument('--data', type=Path, help='folder of pairs')
    parser.add_argument('--report', type=Path, action='append', default=[],
                        help='report.json of training.evaluate; repeat for more sets')
    parser.add_argument('--held-out', default='', help='scene that training never saw')
    parser.add_argument('--json', type=Path, help='write the rows for model.yaml')
    parser.add_argument('--card', type=Path, help='write the tables into this model card')
    parser.add_argument('--note', default='', help='hardware and commit, above the tables')
    parser.add_argument('--picture', type=Path, help='write image, truth and prediction')
    return parser.parse_args(argv)


def abs_rel(pred: np.ndarray, target: np.ndarray, use: np.ndarray) -> tuple[float, float]:
    """Return AbsRel over the pixels of `use`: as it is, and aligned by the median over them."""
    weight = solid_angles(*use.shape)[use]
    pred, target = pred[use].astype(np.float64), target[use].astype(np.float64)
    scale = median_scale(pred, target, weight)
    return tuple(float(np.average(np.abs(p - target) / target, weights=weight))
                 for p in (pred, scale * pred))


def rows_of(pair: Pair, held_out: str) -> dict[str, tuple[int, ...] | None]:
    """Return {row: labels that count, None = all} for a pair."""
    if pair.tier == 'B':
        return {'B rooms, floor + ceiling': (1, 2),
                **{f'B rooms, {LABELS[label]}': (label,) for label in (1, 2, 3)}}
    if pair.tier != 'C':
        return {TIERS.get(pair.tier, f'tier {pair.tier}'): None}
    if pair.scene == held_out:
        return {f'held-out world {held_out}': None}
    return {'C rendered, worlds of the training': None,
            f'C rendered, {pair.environment}': None}


def score(predictor, pairs: list[Pair], held_out: str):
    """
    Return ({row: {variant: [AbsRel per image]}}, {pair name: (sample, prediction)}).

    Predictions stay at network size; image, truth and labels are brought to it.
    """
    table: dict[str, dict[str, list[float]]] = {}
    shown = {}
    for pair in pairs:
        sample = pair.load()
        free, told = (np.minimum(predictor.range_m(sample.image[..., ::-1], height), FARTHEST_M)
                      for height in (0.0, pair.camera_height_m))
        size = free.shape[::-1]
        target = cv2.resize(sample.range_m, size, interpolation=cv2.INTER_NEAREST)
        usable = np.isfinite(target) & (target <= MAX_TRUTH_M)
        label = pair.load_label()
        if label is not None:
            label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
        for row, wanted in rows_of(pair, held_out).items():
            use = usable if wanted is None else usable & np.isin(label, wanted)
            if use.any():
                errors = (*abs_rel(free, target, use), abs_rel(told, target, use)[0])
                for variant, error in zip(VARIANTS, errors):
                    table.setdefault(row, {}).setdefault(variant, []).append(error)
        shown[pair.name] = (sample, target, told)
    return table, shown


def markdown(table) -> str:
    """Return the table with mean (median) per row."""
    lines = ['| AbsRel, mean (median) over images | n | ' + ' | '.join(VARIANTS) + ' |',
             '|---|---|' + '---|' * len(VARIANTS)]
    for row, variants in table.items():
        cells = [f'{np.mean(v):.3f} ({np.median(v):.3f})' for v in variants.values()]
        count = len(next(iter(variants.values())))
        lines.append(f'| {row} | {count} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def rows_for_manifest(table) -> list[dict]:
    """Return the table as a list of rows for model.yaml."""
    return [{'data': row, 'images': len(values), 'variant': variant, 'metric': 'abs_rel',
             'mean': round(float(np.mean(values)), 4),
             'median': round(float(np.median(values)), 4)}
            for row, variants in table.items() for variant, values in variants.items()]


def photograph_rows(report: dict, name: str) -> list[dict]:
    """Return the pooled and mean metrics of labelled photographs as rows for model.yaml."""
    found = []
    for variant, tables in report['predictors'][name]['variants'].items():
        rows = tables['groups']['all']
        found += [{'data': 'labelled photographs', 'images': rows['pooled']['photographs'],
                   'variant': variant, 'metric': metric,
                   **{key: _rounded(rows[key][metric]) for key in ('pooled', 'mean')}}
                  for metric in METRICS]
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def picture(shown, width: int = 480) -> np.ndarray:
    """Return image, truth and prediction (height told) per column, (H, W, 3) uint8 RGB."""
    columns = []
    for name in SHOWN:
        if f'synth_{name}' not in shown:
            continue
        sample, target, told = shown[f'synth_{name}']
        size = (width, width // 2)
        tiles = [cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)]
        tiles += [cv2.resize(colour_of_range(r), size, interpolation=cv2.INTER_NEAREST)
                  for r in (target, told)]
        columns.append(np.concatenate(tiles))
    rows = [np.concatenate(columns[i:i + 3], 1) for i in range(0, len(columns), 3)]
    return np.concatenate(rows)


def main(argv=None) -> int:
    """Run the command; a known error is one line and exit code 1."""
    args = parse_args(argv)
    try:
        if not args.report and (args.bundle is None or args.data is None):
            raise DaRosError('give --bundle and --data, or --report')
        reports = [(file.parent.name, json.loads(file.read_text())) for file in args.report]
        name = args.bundle.name if args.bundle else ''
        photographs = [report for _, report in reports if of_photographs(report)]
        parts, rendered = ([f'### {title}\n\n{tables_of(report, name)}'
                            for title, report in reports if of_photographs(report) == real]
                           for real in (True, False))
        rows = [row for report in photographs
                for row in photograph_rows(report, name or next(iter(report['predictors'])))]
        if args.bundle and args.data:
            from training.scoring.predictors import BundlePredictor

            found = read_pairs(args.data)
            table, shown = score(BundlePredictor(args.bundle, threads=1), found, args.held_out)
            parts.append(f'### pairs\n\n{EXPLAINED}\n\n{markdown(table)}')
            rows += rows_for_manifest(table)
            if args.picture:
                write_image(args.picture, picture(shown)[..., ::-1])
        text = '\n\n'.join([*([args.note] if args.note else []), *parts, *rendered])
        print(text)
        if args.card:
            write_card(args.card, text)
        if args.json:
            args.json.write_text(json.dumps(rows, indent=1))
    except (DaRosError, OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
