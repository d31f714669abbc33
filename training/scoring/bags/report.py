"""Tables, plots and the page of a bag evaluation."""

from __future__ import annotations

import base64
import heapq
import io
from pathlib import Path
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.bag import BagReader
from da_ros.sphere import erp_rays
from training import metrics, report
from training.bag_checks import drop_outs, percentiles, suggest_offset
from training.evaluate import print_tables, variant_tables
from training.pictures import data_uri, frame_strip, TITLES
from training.protocols import get_protocol
from training.scores import FrameScores

Array = NDArray[np.floating]
PUBLISHED, ALIGNED = 'as published', 'median-aligned'
SECTORS = 12                                       # of 30 degrees, for the error by azimuth
HEIGHT_EDGES_M = (-np.inf, 0.05, 0.3, 1.0, 1.5, 2.0, np.inf)       # above the floor
RELATIVE_EDGES_M = (-np.inf, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, np.inf)   # relative to the camera
PICTURES = 8


class BagTables:
    """Sums over the frames of a bag, and the pictures of the worst."""

    def __init__(self, camera_height_m: float):
        """Start empty; `camera_height_m` 0 = unknown: heights are relative to the camera."""
        self.camera_height_m = camera_height_m
        self.published: list[FrameScores] = []
        self.aligned: list[FrameScores] = []
        self.rows: list[dict[str, Any]] = []
        self.stamps_ns: list[int] = []
        self.edges_m = HEIGHT_EDGES_M if camera_height_m > 0 else RELATIVE_EDGES_M
        self.by_azimuth = np.zeros((SECTORS, len(metrics.SUMS)))
        self.by_height = np.zeros((len(self.edges_m) - 1, len(metrics.SUMS)))
        self.masks: dict[float, Array] = {}            # limit [m] -> counts
        self._worst: list[tuple[float, str, str]] = []

    def add_row(self, row: dict[str, Any]) -> None:
        """Keep the plain numbers of a frame."""
        self.rows.append({k: v for k, v in row.items() if k != 'error'})

    def add_mask(self, within: NDArray[np.bool_], target: Array, limit_m: float) -> None:
        """Take in what is published as not empty, against the truth within the limit."""
        counts = metrics.mask_counts(within, metrics.within_threshold(target, limit_m))
        self.masks[limit_m] = self.masks.get(limit_m, np.zeros(3)) + counts

    def add(self, published: FrameScores, aligned: FrameScores, pred: Array, target: Array,
            image: NDArray[np.uint8]) -> None:
        """Take in the scores of a frame."""
        self.published.append(published)
        self.aligned.append(aligned)
        pixels = np.flatnonzero(np.isfinite(target.ravel()) & np.isfinite(pred.ravel())
                                & (target.ravel() > 0) & (pred.ravel() > 0))
        if pixels.size:
            self._add_directions(pred.ravel()[pixels], target.ravel()[pixels], pixels,
                                 target.shape)
        badness = published.metrics['abs_rel']
        if np.isfinite(badness) and (
                len(self._worst) < PICTURES or badness > self._worst[0][0]):
            strip = frame_strip(cv2.resize(image, target.shape[::-1]), pred, target,
                                self.camera_height_m)
            heapq.heappush(self._worst, (badness, published.frame, data_uri(strip)))
            if len(self._worst) > PICTURES:
                heapq.heappop(self._worst)

    def _add_directions(self, pred: Array, target: Array, pixels: NDArray[np.intp],
                        shape: tuple[int, ...]) -> None:
        height, width = shape
        row, col = np.divmod(pixels, width)
        up = erp_rays(height, width)[:, 0, 2][row]
        weight = np.sqrt(1 - up ** 2)
        self.by_azimuth += metrics.grouped_sums(
            pred, target, weight, col * SECTORS // width, SECTORS)
        level = np.searchsorted(self.edges_m, target * up + self.camera_height_m, 'right') - 1
        self.by_height += metrics.grouped_sums(
            pred, target, weight, level, len(self.edges_m) - 1)

    def column(self, name: str) -> Array:
        """Return one number per frame, NaN where it is missing."""
        return np.array([row.get(name, np.nan) for row in self.rows], np.float64)

    def directions(self) -> dict[str, dict[str, float]]:
        """Return the metrics by azimuth sector and by height of the true point."""
        step = 360 // SECTORS
        rows = {f'azimuth {180 - i * step} to {180 - (i + 1) * step} deg': sums
                for i, sums in enumerate(self.by_azimuth)}
        what = 'above the floor' if self.camera_height_m > 0 else 'from the camera'
        rows |= {f'{_span(low, high)} m {what}': sums for low, high, sums in zip(
            self.edges_m, self.edges_m[1:], self.by_height)}
        return {name: {**metrics.metrics_from_sums(sums)} for name, sums in rows.items()}

    def figures(self) -> list[tuple[str, str]]:
        """Return (caption, data URI) of the worst frames."""
        return [(f'frame {name}: AbsRel {badness:.3f} ({", ".join(TITLES)})', uri)
                for badness, name, uri in sorted(self._worst, reverse=True)]


def write_bag_report(out: Path, evaluation: Any, bag: BagReader, image_topic: str,
                     truth_topic: str, ended: str) -> int:
    """
    Write the report, print its tables and what is wrong.

    :param evaluation: a `evaluate_bag.BagEvaluation` after its run
    :param ended: why the run ended early, or ''
    :return: exit code: 1 if the bag was damaged or its truth never fits a frame
    """
    tables, protocol = evaluation.tables, get_protocol('sphere')
    scored = any(frame.sums[0] > 0 for frame in tables.published)
    offsets, errors, offset, sentence = _offset(evaluation)
    if truth_topic and not scored:
        sentence = 'no time-offset scan: no frame has truth'
    notes, problems = _notes(evaluation, bag, image_topic, truth_topic, ended, scored)
    if truth_topic:
        total = evaluation.offset_ns / 1e9 + offset
        notes.append(sentence[:1].upper() + sentence[1:] + (f'; set stamp_offset_s: {total:+.3f}'
                                 if np.isfinite(offset) and offset else '') + '.')
    variants = {}
    if scored:
        variants = {PUBLISHED: variant_tables(tables.published, protocol),
                    ALIGNED: variant_tables(tables.aligned, protocol)}
        variants[PUBLISHED]['labels'] = tables.directions()
    elif tables.published:
        variants = {PUBLISHED: variant_tables(tables.published, protocol)}
    result = {
        'bag': str(bag.path), 'image_topic': image_topic, 'truth_topic': truth_topic,
        'protocol': 'sphere', 'comparisons': {},
        'predictors': {evaluation.estimator.bundle.name: {
            'backend': evaluation.estimator.backend, 'variants': variants,
            'masks': {f'{limit:g} m': metrics.mask_metrics(counts)
                      for limit, counts in tables.masks.items()} if scored else {}}},
        'suggested_stamp_offset_s': evaluation.offset_ns / 1e9 + offset,
        'offset_scan': {'offset_s': offsets.tolist(), 'error': errors.tolist()},
        'latency_ms': percentiles(tables.column('infer_ms')),
        'flicker': percentiles(tables.column('flicker')),
        'stream': drop_outs(tables.stamps_ns), 'notes': notes, 'ended': ended}
    figures = _plots(tables, offsets, errors, offset) + tables.figures()
    report.write_report(out, result, f'Evaluation of {bag.path.name}', figures, notes)
    print_tables(result)
    print('\n'.join(['', *notes, f'report: {out / "report.html"}']))
    for problem in problems:
        print(f'da_ros_evaluate_bag: {problem}', file=sys.stderr)
    return 1 if problems else 0


def _offset(evaluation: Any) -> tuple[Array, Array, float, str]:
    if evaluation.truth is None or not evaluation.scan.samples:
        return np.zeros(0), np.zeros(0), float('nan'), ''
    offsets, errors = evaluation.scan.run(evaluation.truth)
    return offsets, errors, *suggest_offset(offsets, errors)


def _notes(evaluation: Any, bag: BagReader, image_topic: str, truth_topic: str, ended: str,
           scored: bool) -> tuple[list[str], list[str]]:
    """Return the sentences above the tables, and those that are errors."""
    tables = evaluation.tables
    stream = drop_outs(tables.stamps_ns)
    late, infer = tables.column('late_ms'), percentiles(tables.column('infer_ms'))
    blink = percentiles(tables.column('flicker'))
    used, refused = len(tables.rows), len(tables.stamps_ns) - len(tables.rows)
    notes = [
        f'{image_topic}: {len(tables.stamps_ns)} frames taken, {stream["rate_hz"]:.1f} Hz, '
        f'{stream["missing"]:.0f} missing in holes, longest gap {stream["longest_gap_s"]:.2f} s, '
        f'{stream["backward"]:.0f} stamps that do not rise, {refused} refused.',
        f'Inference on {evaluation.estimator.backend}: p50 {infer["p50"]:.1f} ms, p99 '
        f'{infer["p99"]:.1f} ms. Recorded {np.median(late) if late.size else np.nan:.0f} ms '
        '(median) after its stamp.']
    notes.append(f'Flicker of static points under known motion: p50 {100 * blink["p50"]:.2f} %, '
                 f'p99 {100 * blink["p99"]:.2f} %.' if np.isfinite(blink['p50']) else
                 'No flicker measured: the bag tells no motion of the camera (no changing TF).')
    problems = [f'ended early: {ended}'] if ended else []
    if not truth_topic:
        notes.append('No truth in this bag: consistency and latency only.')
    elif not scored:
        truth = evaluation.truth
        problems.append(
            f'no frame has truth: images span {_seconds(tables.stamps_ns)}, {truth_topic} spans '
            f'{_seconds([truth.first_ns, truth.last_ns])}; check the clocks, --tolerance, '
            'and the transforms' if truth.last_ns else f'{truth_topic} gave no usable message')
    else:
        known = int(np.sum(tables.column('truth_share') > 0))
        notes.append(f'Truth from {truth_topic} for {known} of {used} frames, at '
                     f'{100 * np.nanmean(tables.column("truth_share")):.1f} % of the pixels; '
                     f'scale (truth / prediction) {np.nanmedian(tables.column("scale_ratio")):.3f}'
                     f' (median).')
    if evaluation.tables.camera_height_m == 0 and truth_topic:
        notes.append('No obstacle metrics: give --mounting-height, or --camera-height.')
    return notes + [f'PROBLEM: {p}' for p in problems], problems


def _plots(tables: BagTables, offsets: Array, errors: Array,
           offset: float) -> list[tuple[str, str]]:
    """Return plots over time, by azimuth and over the time offset, as (caption, data URI)."""
    try:
        import matplotlib
        matplotlib.use('Agg')
        from matplotlib import pyplot
    except ImportError:
        print('no plots in the report; for them run `pip install matplotlib`', file=sys.stderr)
        return []
    if not tables.rows:
        return []
    stamp = tables.column('stamp_s')
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 6.5), constrained_layout=True)
    for axis, names, label in ((axes[0, 0], ('abs_rel', 'abs_rel_aligned'), 'AbsRel'),
                               (axes[0, 1], ('scale_ratio',), 'scale: truth / prediction'),
                               (axes[1, 0], ('flicker',), 'flicker')):
        for name in names:
            axis.plot(stamp - stamp[0], tables.column(name), '.-', lw=0.8, ms=3, label=name)
        axis.set_xlabel('time [s]')
        axis.set_ylabel(label)
        axis.legend()
    if errors.size and np.isfinite(errors).any():
        axes[1, 1].plot(offsets, errors, '.-')
        axes[1, 1].set_xlabel('further stamp offset [s]')
        axes[1, 1].set_ylabel('error after removing scale')
        if np.isfinite(offset):
            axes[1, 1].axvline(offset, color='tab:red', lw=1)
    else:
        axes[1, 1].plot(stamp - stamp[0], tables.column('infer_ms'), '.-', lw=0.8, ms=3)
        axes[1, 1].set_xlabel('time [s]')
        axes[1, 1].set_ylabel('inference [ms]')
    stream = io.BytesIO()
    figure.savefig(stream, format='png', dpi=80)
    pyplot.close(figure)
    uri = 'data:image/png;base64,' + base64.b64encode(stream.getvalue()).decode()
    return [('over time; lower right: time-offset scan, or latency without truth', uri)]


def _span(low: float, high: float) -> str:
    if np.isinf(low):
        return f'below {high:g}'
    return f'above {low:g}' if np.isinf(high) else f'{low:g} to {high:g}'


def _seconds(stamps_ns: list[int]) -> str:
    if not stamps_ns:
        return 'nothing'
    return f'{min(stamps_ns) / 1e9:.3f} to {max(stamps_ns) / 1e9:.3f} s'
