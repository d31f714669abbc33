# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What a network says of labelled photographs where the hand-made label says nothing.

The label decides the floor and the feet of what stands on it; walls, ceilings and what lies behind
are unknown. Labels of `training.label` fill that in where they agree with the hand: column by
column, after one factor per photograph, because the heights of both are conventions.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from training.data.shards import ShardError, ShardSet

AGREE = 0.12                # median |log ratio| in a column, up to which its prediction is taken
FEWEST = 8                  # pixels of a column that both must know


def load_backgrounds(folder: str | Path) -> dict[str, np.ndarray]:
    """
    Return the ranges (h, w) [m] that `training.label` wrote, by the stem of the image's name.

    :raises ShardError: if there is no label, one is damaged, or is of no picture that has a name
    """
    shards = ShardSet([folder])
    if shards.corrupt:
        raise ShardError(shards.corrupt[0])
    found = {}
    for index in range(len(shards)):
        sample = shards[index]
        if not isinstance(name := sample.meta.get('name'), str):
            raise ShardError(f'{shards.name(index)} does not say of which picture it is a label; '
                             'give what training.label made of the photographs')
        found[Path(name).stem] = sample.range_m
    return found


def filled(by_hand: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """
    Return the range (H, W) [m] by hand, and where that is NaN the prediction if it agrees.

    :param by_hand: (H, W) m
    :param predicted: (h, w) m, +inf = empty, NaN = unknown; of any size
    """
    predicted = cv2.resize(predicted, by_hand.shape[::-1], interpolation=cv2.INTER_NEAREST)
    both = np.isfinite(by_hand) & np.isfinite(predicted)
    if not both.any():
        return by_hand
    ratio = np.full(by_hand.shape, np.nan)
    ratio[both] = np.log(by_hand[both] / predicted[both])
    ratio -= (factor := np.nanmedian(ratio))
    known = both.sum(0) >= FEWEST
    agrees = np.zeros(by_hand.shape[1], bool)
    agrees[known] = np.nanmedian(np.abs(ratio[:, known]), 0) <= AGREE
    taken = np.isnan(by_hand) & agrees
    return np.where(taken, predicted * np.exp(factor), by_hand).astype(np.float32)
