# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Score bundles on panoramas with known range.

    python -m training.evaluate --bundle bundles/pano_tiny --data pairs --out runs/evaluation
    python -m training.evaluate --bundle new --bundle old --data pairs --protocol da2 --out out
    python -m training.evaluate --bundle pano_tiny --benchmark free-space --out out

Writes report.json, report.md, report.html and frames.jsonl (one line per frame, as it is scored),
and prints one line per table row. Several bundles are compared on the same frames. The benchmark
is hand-labelled photographs that come along (docs/free_space.md); --data names others of its kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
import heapq
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.errors import DaRosError
from training.data.free_space import FOLDER, read_photographs
from training.data.obstacles import floor_below
from training.data.pairs import LABELS, PairsError
from training.scoring import metrics, report
from training.scoring.alignment import METHODS
from training.scoring.evaluate_data import EvaluationFrame, open_data
from training.scoring.free_space_report import evaluate_photographs
from training.scoring.free_space_report import print_tables as print_free_space
from training.scoring.pictures import data_uri, frame_strip, TITLES
from training.scoring.predictors import BundlePredictor, Predictor, resize_range
from training.scoring.protocols import get_protocol, Protocol, PROTOCOLS
from training.scoring.scores import (
    bootstrap_differences,
    FrameScores,
    score_frame,
)

UNALIGNED, KNOWN_HEIGHT, MEDIAN = 'unaligned', 'known camera height', 'median-aligned'
COMPARED = ('abs_rel', 'rmse_m', 'delta_1')


class Evaluation:
    """Frames in, tables out; holds sums and the pictures of the worst frames, no panoramas."""

    def __init__(self, predictors: Sequence[Predictor], protocol: Protocol, pictures: int = 12):
        """
        Prepare empty tables.

        :param pictures: how many of the worst frames are kept as pictures
        """
        self.predictors, self.protocol, self.pictures = predictors, protocol, pictures
        self.frames: dict[tuple[str, str], list[FrameScores]] = {}
        self.masks: dict[tuple[str, str, float], NDArray[np.float64]] = {}
        self._worst: list[tuple[float, str, str]] = []

    def add(self, pair: EvaluationFrame) -> list[dict[str, Any]]:
        """Score one pair with every predictor; returns one plain row per predictor and variant."""
        sample = pair.load()
        bgr = np.ascontiguousarray(sample.image[..., ::-1])
        target = np.asarray(sample.range_m)
        labels = self._labels(pair)
        height_m = sample.camera_height_m
        floor_m = floor_below(target, height_m) if height_m > 0 else 0.0
        rows = []
        for predictor in self.predictors:
            variants = self._predict(predictor, bgr, height_m, target.shape)
            for variant, (pred, protocol) in variants.items():
                scores = score_frame(
                    pair.name, pair.groups, pred, target, protocol, image=bgr, labels=labels,
                    camera_height_m=floor_m, complete=pair.complete)
                self.frames.setdefault((predictor.name, variant), []).append(scores)
                rows.append({'frame': pair.name, 'predictor': predictor.name,
                             'variant': variant, 'scale': scores.scale, **scores.metrics})
                if predictor is self.predictors[0] and variant == next(iter(variants)):
                    self._keep_picture(scores, bgr, pred * scores.scale, target, floor_m)
            if pair.complete:
                self._add_masks(predictor, bgr, target, pair.groups)
        return rows

    def _predict(self, predictor: Predictor, bgr: NDArray[np.uint8], height_m: float,
                 shape: tuple[int, int]) -> dict[str, tuple[NDArray, Protocol]]:
        blind = resize_range(predictor.range_m(bgr, 0.0), *shape)
        if self.protocol.align != 'none':
            name = MEDIAN if self.protocol.align == 'median' else self.protocol.align
            return {name: (blind, self.protocol)}
        found = {UNALIGNED: (blind, self.protocol)}
        if predictor.uses_camera_height and height_m > 0:
            told = resize_range(predictor.range_m(bgr, height_m), *shape)
            found[KNOWN_HEIGHT] = (told, self.protocol)
        if self.protocol.name == 'sphere':
            found[MEDIAN] = (blind, replace(self.protocol, align='median'))
        return found

    def _add_masks(self, predictor: Predictor, bgr: NDArray[np.uint8], target: NDArray,
                   groups: Sequence[str]) -> None:
        """Add to 'all' and to the outdoor rows; indoors nothing lies beyond a threshold."""
        for mask_m in predictor.range_masks_m:
            within = predictor.within(bgr, mask_m).astype(np.float32)
            size = resize_range(within, *target.shape) > 0.5
            counts = metrics.mask_counts(size, metrics.within_threshold(target, mask_m))
            for group in groups:
                if group == 'all' or 'outdoor' in group:
                    key = (predictor.name, group, mask_m)
                    self.masks[key] = self.masks.get(key, np.zeros(3)) + counts

    def _labels(self, pair: EvaluationFrame) -> dict[str, NDArray[np.bool_]]:
        label = pair.load_label()
        return {} if label is None else {name: label == i for i, name in LABELS.items()}

    def _keep_picture(self, scores: FrameScores, bgr: NDArray[np.uint8], pred: NDArray,
                      target: NDArray, height_m: float) -> None:
        badness = scores.metrics['abs_rel']
        badness = np.inf if np.isnan(badness) else badness
        if self.pictures and (
                len(self._worst) < self.pictures or badness > self._worst[0][0]):
            uri = data_uri(frame_strip(bgr, pred, target, height_m))
            heapq.heappush(self._worst, (badness, scores.frame, uri))
            del self._worst[:len(self._worst) - self.pictures]
            heapq.heapify(self._worst)

    def figures(self) -> list[tuple[str, str]]:
        """Return (caption, data URI), worst first."""
        first = self.predictors[0].name
        return [(f'{name}: AbsRel {badness:.3f} ({first}; {", ".join(TITLES)})', uri)
                for badness, name, uri in sorted(self._worst, reverse=True)]

    def result(self) -> dict[str, Any]:
        """Return all tables; see `report.sections`."""
        predictors: dict[str, Any] = {
            p.name: {'variants': {}, 'masks': {}, 'backend': getattr(p, 'backend', ''),
                     'time_ms_p50': _median(getattr(p, 'times_ms', []))}
            for p in self.predictors}
        for (name, variant), frames in self.frames.items():
            predictors[name]['variants'][variant] = report.variant_tables(frames, self.protocol)
        for (name, group, mask_m), counts in sorted(self.masks.items()):
            row = f'{mask_m:g} m' + ('' if group == 'all' else f', {group}')
            predictors[name]['masks'][row] = metrics.mask_metrics(counts)
        return {'protocol': self.protocol.name, 'predictors': predictors,
                'comparisons': self._comparisons()}

    def _comparisons(self) -> dict[str, dict[str, float]]:
        rows = {}
        first = self.predictors[0].name
        for other in self.predictors[1:]:
            for (name, variant), frames in self.frames.items():
                mine = self.frames.get((other.name, variant))
                if name != first or mine is None:
                    continue
                for group in report.groups_of(frames):
                    a, b = (report.of_group(f, group) for f in (frames, mine))
                    a, b = _same_frames(a, b)
                    for metric, row in bootstrap_differences(
                            a, b, self.protocol, COMPARED).items():
                        rows[f'{other.name} - {first}, {variant}, {group}: {metric}'] = dict(
                            zip(('difference', 'low', 'high'), row))
        return rows


def evaluate(predictors: Sequence[Predictor], pairs: Sequence[EvaluationFrame], protocol: Protocol,
             out: Path, pictures: int = 12) -> dict[str, Any]:
    """
    Score pairs, write the report into a folder and return its content.

    A pair that cannot be read is skipped, counted and named.

    :raises PairsError: if no pair could be scored
    """
    evaluation = Evaluation(predictors, protocol, pictures)
    failed = []
    out.mkdir(parents=True, exist_ok=True)
    with (out / 'frames.jsonl').open('w', buffering=1) as lines:
        for pair in tqdm(pairs, unit='frame', disable=None):
            try:
                rows = evaluation.add(pair)
            except DaRosError as error:
                failed.append(str(error))
                continue
            for row in rows:
                lines.write(json.dumps(report.plain(row)) + '\n')
    if not evaluation.frames:
        raise PairsError(f'no pair could be scored; the first reason: {failed[0]}')
    result = {**evaluation.result(), 'failed': failed}
    notes = [f'Protocol {protocol.name}: {_describe(protocol)} {len(pairs) - len(failed)} frames.']
    notes += [f'{name}: {p["backend"]}, {p["time_ms_p50"]:.1f} ms per frame (median).'
              for name, p in result['predictors'].items()]
    notes += [f'Skipped: {text}' for text in failed]
    report.write_report(out, result, 'Evaluation', evaluation.figures(), notes)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = _arguments(argv)
    try:
        if args.benchmark:
            return _photographs(args)
        protocol = get_protocol(args.protocol)
        protocol = replace(protocol, align=args.align) if args.align else protocol
        pairs = open_data(args.data)
        if args.only:
            pairs = [pair for pair in pairs if any(word in pair.groups for word in args.only)]
        if not pairs:
            raise PairsError(f'no pair belongs to {", ".join(args.only)}')
        predictors: list[Predictor] = [
            BundlePredictor(bundle, args.backend, args.threads) for bundle in args.bundle]
        if args.baseline:
            from training.scoring.fusion import FusionPredictor
            predictors.append(FusionPredictor(args.baseline_onnx))
        _check_names(predictors)
        result = evaluate(predictors, pairs, protocol, Path(args.out), args.pictures)
    except (DaRosError, OSError, ValueError) as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return 1
    report.print_tables(result)
    return _ended(result['failed'], args.out)


def _photographs(args: argparse.Namespace) -> int:
    photographs = read_photographs(args.data or FOLDER)
    predictors = [BundlePredictor(name, args.backend, args.threads) for name in args.bundle]
    _check_names(predictors)
    result = evaluate_photographs(predictors, photographs, Path(args.out))
    print_free_space(result)
    return _ended(result['failed'], args.out)


def _ended(failed: Sequence[str], out: str) -> int:
    for text in failed:
        print(f'skipped: {text}', file=sys.stderr)
    print(f'\nreport: {Path(out) / "report.html"}')
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m training.evaluate', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--bundle', action='append', default=[], metavar='FOLDER',
                        help='bundle to score, or the name of one that ships; repeat to compare')
    parser.add_argument('--benchmark', choices=['free-space'],
                        help='score on labelled photographs')
    parser.add_argument('--data', metavar='FOLDER',
                        help='NAME.jpg beside NAME_depth_mm.png (pairs.json optional), or shards')
    parser.add_argument('--protocol', default='sphere', help=', '.join(PROTOCOLS))
    parser.add_argument('--align', choices=METHODS, help="instead of the protocol's alignment")
    parser.add_argument('--out', required=True, metavar='FOLDER', help='folder for the report')
    parser.add_argument('--only', action='append', default=[], metavar='GROUP',
                        help="frames of this row only, such as 'tier C' or 'scene gz_street'")
    parser.add_argument('--backend', default='auto', help='inference runtime, as in the node')
    parser.add_argument('--threads', type=int, default=0, help='threads of the runtime')
    parser.add_argument('--pictures', type=int, default=12, help='worst frames to show')
    parser.add_argument('--baseline', choices=['fusion'],
                        help='also score a perspective network on overlapping views')
    parser.add_argument('--baseline-onnx', metavar='FILE', default='',
                        help='its graph: image (1, 3, h, w) RGB in 0..1 -> z-depth (1, h, w) [m]')
    args = parser.parse_args(argv)
    if not args.bundle and not args.baseline:
        parser.error('give at least one --bundle')
    if not args.data and not args.benchmark:
        parser.error('give --data, or --benchmark free-space')
    if args.benchmark and not args.bundle:
        parser.error('--benchmark free-space needs a --bundle')
    if args.baseline and not args.baseline_onnx:
        parser.error('--baseline fusion needs --baseline-onnx FILE')
    return args


def _check_names(predictors: Sequence[Predictor]) -> None:
    """Give bundles whose folders have the same name different names."""
    seen: dict[str, int] = {}
    for predictor in predictors:
        seen[predictor.name] = seen.get(predictor.name, 0) + 1
        if seen[predictor.name] > 1:
            predictor.name = f'{predictor.name} ({seen[predictor.name]})'


def _same_frames(a: Sequence[FrameScores], b: Sequence[FrameScores]
                 ) -> tuple[list[FrameScores], list[FrameScores]]:
    mine = {frame.frame: frame for frame in b}
    common = [frame for frame in a if frame.frame in mine]
    return common, [mine[frame.frame] for frame in common]


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if len(values) else float('nan')


def _describe(protocol: Protocol) -> str:
    return (f'truth in {protocol.min_m:g} to {protocol.max_m:g} m, '
            f'{"solid-angle weighted" if protocol.solid_angle else "every pixel alike"}, '
            f'{"mean over frames" if protocol.per_image else "sums over the set"}.')


if __name__ == '__main__':
    sys.exit(main())
