# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scores and a picture on held-back shards while training goes on."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch

from da_ros.errors import DaRosError
from da_ros.sphere import solid_angles
from training.data.checks import check_has_valid, resized
from training.data.obstacles import floor_below, MAX_CAMERA_M
from training.data.sample import Sample
from training.data.shards import colour_of_range, ShardSet
from training.run.config import TrainError
from training.run.forward import Forward
from training.scoring.obstacles import obstacle_metrics, sector_table

SHOWN = 6
FAR_M = 100.0
NEAR_M = 3.0


class Validation(NamedTuple):
    """What a network says of held-back images."""

    scores: dict[str, float]        # NaN without a valid pixel
    picture: np.ndarray | None      # image, target and prediction in each of six columns
    skipped: list[str]              # corrupt samples, one message each


def validation_sets(words: list[str]) -> dict[str, ShardSet]:
    """
    Return the sets by name.

    :raises DaRosError: if a word is not NAME=FOLDER, names a set again, or has no valid pixel
    """
    if wrong := [word for word in words if not word.partition('=')[2]]:
        raise TrainError(f'--val {wrong[0]!r} is not NAME=FOLDER')
    names = Counter(word.partition('=')[0] for word in words)
    if again := [name for name, count in names.items() if count > 1]:
        raise TrainError(f'--val {again[0]!r} is given {names[again[0]]} times; give each set a '
                         'name of its own')
    sets = {name: ShardSet([path]) for name, _, path in (w.partition('=') for w in words)}
    for name, shards in sets.items():
        check_has_valid(f'--val {name}', shards)
    return sets


@torch.no_grad()
def evaluate(forward: Forward, data: ShardSet, count: int, size_hw: tuple[int, int],
             device: torch.device) -> Validation:
    """
    Return AbsRel (mean over images) unaligned, aligned by the median, and told the height.

    Also what share of the obstacles within 3 m was missed, and of the sectors falsely alarmed,
    both with the height told (`training.scoring.obstacles`).

    :param forward: in evaluation mode
    :param count: images, evenly picked
    """
    picked = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    rows, sectors, tiles, skipped = [], [], [], []
    for place, index in enumerate(picked):
        try:
            sample = resized(data[int(index)], size_hw[0])
        except DaRosError as error:
            skipped.append(str(error))
            continue
        free, told = predict(forward, sample, device)
        rows.append(abs_rel(sample, free, told))
        if 0 < sample.camera_height_m <= MAX_CAMERA_M:
            floor_m = floor_below(sample.range_m, sample.camera_height_m)
            sectors.append(sector_table(told, sample.range_m, floor_m))
        if place % max(1, len(picked) // SHOWN) == 0 and len(tiles) < SHOWN:
            tiles.append(np.concatenate([sample.image, colour_of_range(sample.range_m),
                                         colour_of_range(told)]))
    known = [row for row in rows if row is not None]
    mean = np.mean(known, 0) if known else np.full(3, np.nan)
    scores = dict(zip(('unaligned', 'aligned', 'told_height'), map(float, mean)))
    if sectors:
        found = obstacle_metrics(np.concatenate(sectors), NEAR_M)
        scores |= {'missed': found['miss_rate'], 'false_alarms': found['false_alarm_rate']}
    return Validation({name: round(score, 4) for name, score in scores.items()},
                      np.concatenate(tiles, 1) if tiles else None, skipped)


def predict(forward: Forward, sample: Sample, device: torch.device) -> np.ndarray:
    """Return range_m (2, H, W): without the camera height, and told it."""
    image = torch.from_numpy(np.ascontiguousarray(sample.image)).to(device)
    image = image.permute(2, 0, 1)[None].float() / 255
    heights = torch.tensor([0.0, sample.camera_height_m], device=device)
    return forward(image.expand(2, -1, -1, -1), heights).log_range.exp().cpu().numpy()


def abs_rel(sample: Sample, free: np.ndarray, told: np.ndarray) -> list[float] | None:
    """Return the three scores of one image, weighted by solid angle; None without truth."""
    use = sample.valid & (sample.range_m < FAR_M)
    if not use.any():
        return None
    weight, target = solid_angles(*use.shape)[use], sample.range_m[use]
    aligned = free * (np.median(target) / np.median(free[use]))
    return [float(np.average(np.abs(p[use] - target) / target, weights=weight))
            for p in (free, aligned, told)]
