# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The report of a bag evaluation: what was found, in words, tables, JSON and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.bags.bag import BagReader
from training.scoring import metrics, report
from training.scoring.bags.checks import drop_outs, percentiles, suggest_offset
from training.scoring.bags.choice import ITSELF_M
from training.scoring.bags.evaluation import BagEvaluation
from training.scoring.bags.page import write_page
from training.scoring.bags.plots import time_plots
from training.scoring.bags.verdict import sentences, verdict_of

Array = NDArray[np.floating]
PUBLISHED, ALIGNED = 'as published', 'median-aligned'


def write_bag_report(out: Path, evaluation: BagEvaluation, bag: BagReader, image_topic: str,
                     truth_topic: str, ended: str, made: dict[str, str],
                     remarks: Sequence[str] = ()) -> int:
    """
    Write the report, print its tables and what is wrong.

    :param evaluation: after its run
    :param ended: why the run ended early, or ''
    :param made: how the report came about: command line, versions, bundle, date
    :param remarks: further sentences for the notes
    :return: exit code: 1 if something is wrong that the user must know
    """
    tables = evaluation.tables
    scored = any(frame.sums[0] > 0 for frame in tables.published)
    offsets, errors, offset, advice = _offset(evaluation)
    problems = _problems(evaluation, truth_topic, ended, scored)
    notes = [*_notes(evaluation, bag, image_topic, truth_topic, scored), *remarks]
    if truth_topic:
        notes.append(_stamp_advice(evaluation, offset, advice) if scored else
                     'No time-offset scan: no frame has truth.')
    itself = scored and np.nanmedian(tables.column('fit_m')) < ITSELF_M
    sectors = tables.sectors() if scored and not itself else np.zeros(0)
    result: dict[str, Any] = {
        'bag': str(bag.path), 'image_topic': image_topic, 'truth_topic': truth_topic,
        'made': made, 'problems': problems,
        'verdict': verdict_of(sectors) if sectors.size else {}, 'tiles': _tiles(evaluation),
        'protocol': 'sphere', 'comparisons': {},
        'predictors': {evaluation.estimator.bundle.name: {
            'backend': evaluation.estimator.backend, 'variants': _variants(evaluation, scored),
            'masks': {f'{limit:g} m': metrics.mask_metrics(counts)
                      for limit, counts in tables.masks.items()} if scored else {}}},
        'suggested_stamp_offset_s': evaluation.offset_ns / 1e9 + offset,
        'offset_scan': {'offset_s': offsets.tolist(), 'error': errors.tolist()},
        'latency_ms': percentiles(tables.column('infer_ms')),
        'flicker': percentiles(tables.column('flicker')),
        'stream': drop_outs(evaluation.stamps_ns), 'refused': dict(evaluation.refused),
        'left_alone': bag.left_alone, 'notes': notes, 'ended': ended}
    title = f'Evaluation of {bag.path.name}'
    worst = sorted(tables.worst.values(), key=lambda frame: -frame.badness)
    write_page(out / 'report.html', title, result, worst,
               time_plots(tables, offsets, errors, offset),
               evaluation.stamps_ns[0] / 1e9 if evaluation.stamps_ns else 0.0)
    _write_text(out, title, result)
    report.print_tables(result)
    print('\n'.join(['', *notes, *sentences(result['verdict']),
                     *(f'PROBLEM: {problem}' for problem in problems),
                     f'report: {out / "report.html"}']))
    for problem in problems:
        print(f'da_ros_evaluate_bag: {problem}', file=sys.stderr)
    return 1 if problems else 0


def _write_text(out: Path, title: str, result: dict[str, Any]) -> None:
    (out / 'report.json').write_text(json.dumps(report.plain(result), indent=1) + '\n')
    parts = [f'# {title}', *(f'PROBLEM: {problem}' for problem in result['problems']),
             *sentences(result['verdict']), *result['notes'],
             '\n'.join(f'* {name}: `{text}`' for name, text in result['made'].items()),
             *(f'## {caption}\n\n{report.markdown_table(cells)}'
               for caption, cells in report.sections(result))]
    (out / 'report.md').write_text('\n\n'.join(parts) + '\n')


def _variants(evaluation: BagEvaluation, scored: bool) -> dict[str, Any]:
    tables, protocol = evaluation.tables, evaluation.protocol
    if not tables.published:
        return {}
    variants = {PUBLISHED: report.variant_tables(tables.published, protocol)}
    if scored:
        variants[ALIGNED] = report.variant_tables(tables.aligned, protocol)
        variants[PUBLISHED]['labels'] = tables.directions()
    return variants


def _offset(evaluation: BagEvaluation) -> tuple[Array, Array, float, str]:
    if evaluation.truth is None or not evaluation.scan.samples:
        return np.zeros(0), np.zeros(0), float('nan'), ''
    offsets, errors = evaluation.scan.run(evaluation.truth)
    return offsets, errors, *suggest_offset(offsets, errors)


def _stamp_advice(evaluation: BagEvaluation, offset: float, advice: str) -> str:
    """Return what to set; what was given already is part of it."""
    given = evaluation.offset_ns / 1e9
    if given and offset == 0:
        return (f'With the stamp offset of {given:+.3f} s that was given, stamps fit the truth: '
                f'keep stamp_offset_s: {given:+.3f}.')
    told = f'With the stamp offset of {given:+.3f} s that was given, {advice}' if given else \
        advice[:1].upper() + advice[1:]
    if np.isfinite(offset) and offset:
        told += f'; set stamp_offset_s: {given + offset:+.3f}'
    return told + '.'


def _tiles(evaluation: BagEvaluation) -> list[tuple[str, str]]:
    """Return (value, what it is) of what comes after the obstacles."""
    tables = evaluation.tables
    scale = tables.column('scale_ratio')
    blink, infer = percentiles(tables.column('flicker')), percentiles(tables.column('infer_ms'))
    stream = drop_outs(evaluation.stamps_ns)
    known = scale[np.isfinite(scale)]
    low, middle, high = np.percentile(known, (5, 50, 95)) if known.size else (np.nan,) * 3
    return [
        (f'{middle:.2f}' if known.size else 'not known', 'scale: truth / prediction, median'
         + (f'; 90 % of the frames {low:.2f} to {high:.2f}' if known.size else '')),
        (f'{100 * blink["p50"]:.1f} %' if np.isfinite(blink['p50']) else 'not known',
         'flicker of static points' + (f', p99 {100 * blink["p99"]:.1f} %'
                                       if np.isfinite(blink['p50']) else ': no motion in TF')),
        (f'{infer["p50"]:.0f} ms', f'inference, p99 {infer["p99"]:.0f} ms, on '
         f'{evaluation.estimator.backend}'),
        ('not known', 'rate of the camera: no stamp rises') if np.isnan(stream['rate_hz']) else
        (f'{stream["rate_hz"]:.1f} Hz', f'camera; {stream["missing"]:.0f} images missing in '
         f'holes, longest gap {stream["longest_gap_s"]:.2f} s')]


def _problems(evaluation: BagEvaluation, truth_topic: str, ended: str, scored: bool) -> list[str]:
    """Return what makes the figures wrong or missing, the cause before its consequences."""
    tables, truth = evaluation.tables, evaluation.truth
    problems = [f'ended early: {ended}'] if ended else []
    refused = sum(evaluation.refused.values())
    if refused and not tables.rows:
        return [*problems, f'all {refused} images were refused: {_reasons(evaluation.refused)}']
    if not truth_topic or truth is None:
        return problems
    fit = tables.column('fit_m')
    if scored and np.nanmedian(fit) < ITSELF_M:
        problems.append(f'the prediction fits {truth_topic} to {1000 * np.nanmedian(fit):.1f} mm: '
                        'that is no sensor but a recorded output of the network; name another '
                        'topic by --truth')
    if scored:
        return problems
    if truth.last_ns and truth.measured == truth.too_near:
        return [*problems, f'no message of {truth_topic} holds a measurement: all are NaN, '
                f"outside the sensor's own range, or nearer than {truth.min_range_m:g} m "
                '(--truth-min-range)']
    if truth.last_ns and round(evaluation.nearest_truth_s * 1e9) <= truth.tolerance_ns:
        return [*problems, f'no frame has truth, though {truth_topic} is near in time: check the '
                'transforms, and whether the sensor sees what the camera sees']
    if truth.last_ns:
        spans = _seconds(evaluation.stamps_ns), _seconds([truth.first_ns, truth.last_ns])
        return [*problems, f'no frame has truth: images span {spans[0]}, {truth_topic} spans '
                f'{spans[1]}, the nearest two are {evaluation.nearest_truth_s:.3f} s apart; check '
                'the clocks, --tolerance, and the transforms']
    return [*problems, f'{truth_topic} gave no usable message'
            + (f': {_reasons(evaluation.unusable)}' if evaluation.unusable else '')]


def _notes(evaluation: BagEvaluation, bag: BagReader, image_topic: str, truth_topic: str,
           scored: bool) -> list[str]:
    """Return what was measured, in sentences."""
    tables, refused = evaluation.tables, sum(evaluation.refused.values())
    stream = drop_outs(evaluation.stamps_ns)
    late, infer = tables.column('late_ms'), percentiles(tables.column('infer_ms'))
    blink = percentiles(tables.column('flicker'))
    notes = [
        f'{image_topic}: {evaluation.images} images, {len(tables.rows) + refused} used, '
        + ('rate not known, ' if np.isnan(stream['rate_hz']) else
           f'{stream["rate_hz"]:.1f} Hz, {stream["missing"]:.0f} missing in holes, longest gap '
           f'{stream["longest_gap_s"]:.2f} s, ')
        + f'{stream["backward"]:.0f} stamps that do not rise, '
        f'{refused} refused' + (f': {_reasons(evaluation.refused)}' if refused else '') + '.',
        f'Inference on {evaluation.estimator.backend}: p50 {infer["p50"]:.1f} ms, p99 '
        f'{infer["p99"]:.1f} ms. Recorded {np.median(late) if late.size else np.nan:.0f} ms '
        '(median) after its stamp.']
    notes.append(f'Flicker of static points under known motion: p50 {100 * blink["p50"]:.2f} %, '
                 f'p99 {100 * blink["p99"]:.2f} %.' if np.isfinite(blink['p50']) else
                 'No flicker measured: '
                 + ('the frames used are a second or more apart, or a pose is missing.'
                    if evaluation.moves else
                    'the bag tells no motion of the camera (no changing TF).'))
    notes += [f'{image_topic}: {text}.' for text in sorted(evaluation.warnings)]
    notes += _truth_notes(evaluation, truth_topic, scored)
    if tables.camera_height_m == 0 and truth_topic:
        notes.append('No obstacle metrics: give --mounting-height, or --camera-height.')
    if evaluation.tree.left_out:
        notes.append('Transforms without a rotation, with NaN or of a frame in itself were left '
                     'out: ' + _counted(evaluation.tree.left_out) + '.')
    if bag.left_alone:
        notes.append('Topics left alone: ' + ', '.join(
            f'{topic} ({why})' for topic, why in sorted(bag.left_alone.items())) + '.')
    return notes


def _truth_notes(evaluation: BagEvaluation, truth_topic: str, scored: bool) -> list[str]:
    truth, tables = evaluation.truth, evaluation.tables
    if truth is None:
        return ['No truth in this bag: consistency and latency only.']
    notes = []
    if scored:
        known = int(np.sum(tables.column('truth_share') > 0))
        notes.append(f'Truth from {truth_topic} for {known} of {len(tables.rows)} frames, at '
                     f'{100 * np.nanmean(tables.column("truth_share")):.1f} % of the pixels; '
                     f'scale (truth / prediction) {np.nanmedian(tables.column("scale_ratio")):.3f}'
                     ' (median).')
    if truth.too_near:
        notes.append(f'{truth.too_near} of {truth.measured} measurements of {truth_topic} '
                     f'({truth.too_near / truth.measured:.1%}) are nearer than '
                     f'{truth.min_range_m:g} m to the sensor and count as no return '
                     '(--truth-min-range).')
    if evaluation.unusable and truth.last_ns:
        notes.append(f'{sum(evaluation.unusable.values())} messages of {truth_topic} could not be '
                     f'used: {_reasons(evaluation.unusable)}.')
    return notes


def _reasons(counts: Counter[str], most: int = 3) -> str:
    """Return the commonest reasons; each with its count where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    shown = '; '.join(f'{text} ({count})' for text, count in counts.most_common(most))
    return shown + (f'; {len(counts) - most} more reasons' if len(counts) > most else '')


def _counted(counts: Counter[str]) -> str:
    return ', '.join(f'{name} ({count})' for name, count in counts.most_common(10))


def _seconds(stamps_ns: list[int]) -> str:
    if not stamps_ns:
        return 'nothing'
    return f'{min(stamps_ns) / 1e9:.3f} to {max(stamps_ns) / 1e9:.3f} s'
