# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Labelled photographs in, tables out: `training.evaluate --benchmark free-space`.

Every bundle answers with the camera height told and not told; two baselines that see no picture
stand in the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.errors import DaRosError
from training.data.free_space import FreeSpaceError, LabelledPhotograph
from training.scoring import report
from training.scoring.free_space import (
    by_distance,
    differences,
    figures,
    METRICS,
    PhotographScore,
    score_photograph,
    SHARES,
    summary,
)
from training.scoring.free_space_baselines import constant_floor, RowPrior
from training.scoring.free_space_pictures import LEGEND, photograph_strip
from training.scoring.pictures import data_uri
from training.scoring.predictors import Predictor

USUAL_HEIGHT_M = 1.5        # of a tripod, told where a label does not say another
TOLD, NOT_TOLD, BLIND = 'height told', 'height not told', 'sees no picture'
COUNTS = ('photographs', 'obstacles', 'free', 'thin', 'overhang', 'degrees')
TITLE = ('Free floor in real photographs: level cameras, in daylight or lit rooms, about 1.5 m '
         'above the floor')
Scores = dict[tuple[str, str], list[PhotographScore]]


def evaluate_photographs(predictors: Sequence[Predictor],
                         photographs: Sequence[LabelledPhotograph], out: Path) -> dict[str, Any]:
    """
    Score photographs, write the report into a folder and return its content.

    :raises FreeSpaceError: if no photograph could be scored
    """
    out.mkdir(parents=True, exist_ok=True)
    prior, scores, pictures, failed = RowPrior(photographs), Scores(), [], []
    with (out / 'frames.jsonl').open('w', buffering=1) as lines:
        for photo in tqdm(photographs, unit='photograph', disable=None):
            try:
                answers = _answers(predictors, photo, prior)
            except DaRosError as error:
                failed.append(str(error))
                continue
            for (name, variant), range_m in answers.items():
                score = score_photograph(photo.name, photo.groups, photo.truth, range_m)
                scores.setdefault((name, variant), []).append(score)
                lines.write(json.dumps(report.plain({
                    'frame': photo.name, 'predictor': name, 'variant': variant,
                    'floor_height': score.height, **figures([score])})) + '\n')
            pictures += _pictures(predictors, photo, scores)
    if not scores:
        raise FreeSpaceError(f'no photograph could be scored; the first reason: {failed[0]}')
    result = {**_tables(scores), 'failed': failed, 'photographs': len(photographs) - len(failed)}
    for predictor in predictors:
        result['predictors'][predictor.name]['backend'] = getattr(predictor, 'backend', '')
    pictures.sort(key=lambda picture: picture[0])
    report.write_report(out, result, TITLE, [(text, uri) for _, text, uri in pictures],
                        _notes(result), sections(result))
    return result


def _answers(predictors: Sequence[Predictor], photo: LabelledPhotograph, prior: RowPrior
             ) -> dict[tuple[str, str], NDArray[np.floating]]:
    bgr = np.ascontiguousarray(photo.load()[..., ::-1])
    height_m = photo.camera_height_m or USUAL_HEIGHT_M
    found: dict[tuple[str, str], NDArray[np.floating]] = {}
    for predictor in predictors:
        if predictor.uses_camera_height:
            found[predictor.name, TOLD] = predictor.range_m(bgr, height_m)
        found[predictor.name, NOT_TOLD] = predictor.range_m(bgr, 0.0)
    found['row prior', BLIND] = prior.range_h(photo.name)
    found['constant floor', BLIND] = constant_floor()
    return found


def _pictures(predictors: Sequence[Predictor], photo: LabelledPhotograph, scores: Scores
              ) -> list[tuple[float, str, str]]:
    """Return (how good, caption, data URI) per predictor, told the height where it asks."""
    found = []
    for predictor in predictors:
        variant = TOLD if predictor.uses_camera_height else NOT_TOLD
        score = scores[predictor.name, variant][-1]
        row = figures([score])
        text = (f'{photo.name}, {predictor.name}, {variant}: '
                f'{_share(row, "found", "obstacles")} obstacles found, '
                f'{_share(row, "false_alarm", "free")} false alarms, '
                f'thin {_share(row, "thin_found", "thin")}, '
                f'overhanging {_share(row, "overhang_found", "overhang")}')
        good = np.nan_to_num(row['found'], nan=1.0) - np.nan_to_num(row['false_alarm'])
        found.append((float(good), text, data_uri(
            photograph_strip(photo.load(), photo.truth, score))))
    return found


def _share(row: Mapping[str, float], name: str, of: str) -> str:
    count = round(row[of])
    return f'{round(row[name] * count) if count else 0} of {count}'


def _tables(scores: Scores) -> dict[str, Any]:
    predictors: dict[str, Any] = {}
    for (name, variant), of in scores.items():
        groups = sorted({group for score in of for group in score.groups})
        predictors.setdefault(name, {'variants': {}})['variants'][variant] = {
            'groups': {group: summary([s for s in of if group in s.groups]) for group in groups},
            'by_distance': by_distance(of),
            'photographs': {score.name: {**figures([score]), 'floor_height': score.height}
                            for score in of}}
    return {'protocol': 'photograph', 'predictors': predictors,
            'comparisons': _comparisons(scores)}


def _comparisons(scores: Scores) -> dict[str, dict[str, float]]:
    """Return differences of every further bundle to the first, the same variant."""
    first = next(iter(scores))[0]
    return {f'{name} - {first}, {variant}: {metric}': row
            for (name, variant), of in scores.items()
            if name != first and (first, variant) in scores
            for metric, row in differences(scores[first, variant], of).items()}


def sections(result: Mapping[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Return (title, table) of everything in a result, in reading order."""
    rows = [(f'{name}, {variant}', tables) for name, predictor in result['predictors'].items()
            for variant, tables in predictor['variants'].items()]
    found = [(f'{group}: {way}', interval_table(
        {name: tables['groups'][group] for name, tables in rows}, key))
        for group in rows[0][1]['groups']
        for key, way in (('pooled', 'pooled over sectors [95 % interval over photographs]'),
                         ('mean', 'mean over photographs [95 % interval]'))]
    for name, tables in rows:
        if not name.endswith(BLIND):
            found.append((f'{name}: obstacles by distance', report.table(
                tables['by_distance'], ('obstacles', 'missed', 'late'))))
            found.append((f'{name}: every photograph', report.table(
                tables['photographs'], (*METRICS, *COUNTS, 'floor_height'))))
    if result['comparisons']:
        found.append(('Differences with paired 95 % intervals over photographs', report.table(
            result['comparisons'], ('difference', 'low', 'high'))))
    return found


def interval_table(rows: Mapping[str, Mapping[str, Mapping[str, float]]], key: str
                   ) -> list[list[str]]:
    """
    Return header and cells `value [low, high]` of summaries by name.

    :param key: `pooled` or `mean`
    """
    cells = [['', *METRICS, *COUNTS]]
    for name, row in rows.items():
        cells.append([name, *(_with_interval(*(row[f'{key}{end}'].get(metric)
                                               for end in ('', '_low', '_high')))
                              for metric in METRICS),
                      *(report.number(row[key][count]) for count in COUNTS)])
    return cells


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    def text(number: float | None) -> str:      # null in a report.json is NaN
        return 'nan' if number is None or np.isnan(number) else f'{number:.2f}'
    return text(value) if text(low) == 'nan' else f'{text(value)} [{text(low)}, {text(high)}]'


def _notes(result: Mapping[str, Any]) -> list[str]:
    notes = [f'{result["photographs"]} photographs; protocol in docs/free_space.md. Lengths are '
             'in camera heights h; only shape counts, a prediction is scaled by its own floor. '
             f'Height told: {USUAL_HEIGHT_M:g} m where a label does not say another.',
             f'Shares: {", ".join(SHARES)}. Pictures: {LEGEND}.']
    notes += [f'{name}: {predictor["backend"]}.'
              for name, predictor in result['predictors'].items() if predictor.get('backend')]
    return notes + [f'Skipped: {text}' for text in result['failed']]


def print_tables(result: Mapping[str, Any]) -> None:
    """Print the tables of all photographs together."""
    for title, cells in sections(result):
        print(f'\n{title}\n{report.text_table(cells)}')
