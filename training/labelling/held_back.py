# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a checkpoint on held-back shards, the same for every stage and row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
import sys

import numpy as np
import torch
from tqdm import tqdm

from da_ros.errors import DaRosError
from training.checkpoints.checkpoint import load_checkpoint
from training.data.shards import ShardSet
from training.labelling.labeler import Labeler, LabelError
from training.scoring import metrics
from training.scoring.predictors import resize_range
from training.scoring.protocols import get_protocol
from training.scoring.scores import FrameScores, row_metrics, score_frame

ALIGNMENTS = ('none', 'median')


def score_checkpoint(checkpoint: str | Path, data: Iterable[str | Path],
                     max_m: float = 100.0) -> dict[str, dict[str, float]]:
    """
    Score a network without camera height and without range mask, protocol `sphere`.

    Corrupt samples and shards are left out, counted, and named on stderr.

    :param data: shards with truth; farther truth than `max_m` is left out
    :return: for each alignment, none and median: every metric, `seam_ratio`, `edge_f1`
    :raises LabelError: if no sample could be scored
    """
    labeler = Labeler(load_checkpoint(checkpoint), 'cuda' if torch.cuda.is_available() else 'cpu')
    shards = ShardSet(data)
    skipped = list(shards.corrupt)
    frames: dict[str, list[FrameScores]] = {align: [] for align in ALIGNMENTS}
    for index in tqdm(range(len(shards)), unit='image', disable=None, leave=False):
        try:
            sample = shards[index]
            image = labeler.resized(sample.image)
        except DaRosError as error:
            skipped.append(f'{shards.name(index)}: {error}')
            continue
        range_m, _ = labeler.outputs(image)
        pred = resize_range(range_m, *sample.range_m.shape)
        for align, scored in frames.items():
            protocol = replace(get_protocol('sphere'), align=align, max_m=max_m)
            scored.append(score_frame(shards.name(index), (), pred, sample.range_m, protocol))
    for message in skipped:
        print(f'skipped: {message}', file=sys.stderr)
    if skipped:
        print(f'{len(skipped)} held-back samples or shards skipped', file=sys.stderr)
    if not frames['none']:
        raise LabelError(f'no sample of {", ".join(map(str, data))} could be scored')
    return {align: summary(scored, align) for align, scored in frames.items()}


def summary(frames: list[FrameScores], align: str) -> dict[str, float]:
    """Return the metrics of all frames together."""
    row = row_metrics(frames, replace(get_protocol('sphere'), align=align))
    row['seam_ratio'] = metrics.seam_metrics(np.sum([f.seam for f in frames], 0))['seam_ratio']
    row['edge_f1'] = metrics.edge_metrics(np.sum([f.edges for f in frames], 0))['edge_f1']
    return row
