"""
Accuracy rows and a picture for the card of a bundle.

    python -m training.model_card --bundle BUNDLE --data PAIRS --held-out aws_small_warehouse \\
        --json accuracy.json --picture predictions.jpg

Prints a Markdown table: AbsRel per image, weighted by solid angle at network size, as mean
(median) over the images of a row; unaligned, aligned by the median, and told the camera height.
Rooms with a layout as truth count floor and ceiling, where furniture is rare; walls apart.
The picture shows rendered pairs only, so that it may be shipped.

    python -m training.model_card --report runs/obstacles/report.json

prints what `training.evaluate` found per scene kind and camera height, not told -> told the
height: AbsRel, sectors within 3 m that are missed or falsely alarmed, missed thin obstacles; then
the masks.
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
from training.alignment import median_scale
from training.data.pairs import LABELS, Pair, read_pairs
from training.data.shards import colour_of_range

VARIANTS = ('unaligned', 'median-aligned', 'known camera height')
REPORTED = {'abs_rel': 'AbsRel', 'miss_rate_3m': 'missed', 'false_alarm_rate_3m': 'false alarms',
            'thin_miss_rate_3m': 'thin missed'}
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
        return {f'{pair.tier} measured': None}
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


def report_tables(report: dict) -> str:
    """
    Return the Markdown tables of one evaluation report.

    :param report: content of report.json, of one predictor
    """
    predictor = next(iter(report['predictors'].values()))
    variants = predictor['variants']
    free, told = (variants.get(name, {}).get('groups', {}) for name in (
        VARIANTS[0], VARIANTS[2]))
    lines = ['| not told -> told the camera height | n | ' + ' | '.join(REPORTED.values()) + ' |',
             '|---|---|' + '---|' * len(REPORTED)]
    for group, row in free.items():
        cells = [' -> '.join(_cell(key, found.get(group, {}).get(key)) for found in (free, told))
                 for key in REPORTED]
        lines.append(f'| {group} | {row["frames"]:.0f} | ' + ' | '.join(cells) + ' |')
    masks = [f'{name} {row["iou"]:.3f}' for name, row in predictor['masks'].items()
             if row['iou'] is not None]
    return '\n'.join([*lines, '', 'Range mask IoU: ' + '; '.join(masks)])


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return '-'
    return f'{value:.3f}' if key == 'abs_rel' else f'{100 * value:.0f} %'


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
        for file in args.report:
            print(f'{file.parent.name}\n\n{report_tables(json.loads(file.read_text()))}\n')
        if args.report:
            return 0
        if args.bundle is None or args.data is None:
            raise DaRosError('give --bundle and --data, or --report')
        from training.predictors import BundlePredictor

        pairs = read_pairs(args.data)
        table, shown = score(BundlePredictor(args.bundle, threads=1), pairs, args.held_out)
    except (DaRosError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(markdown(table))
    if args.json:
        args.json.write_text(json.dumps(rows_for_manifest(table), indent=1))
    if args.picture:
        write_image(args.picture, picture(shown)[..., ::-1])
    return 0


if __name__ == '__main__':
    sys.exit(main())
