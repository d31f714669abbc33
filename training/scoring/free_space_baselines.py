# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Range maps that need no network: what a label says, and two baselines that see no picture.

* constant floor: nothing stands anywhere: no alarm, nothing found.
* row prior: every row shows what that row of the other photographs shows in the median, all the
  way around. What a network finds beyond it, it has seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays
from training.data.free_space import BINS, LabelledPhotograph, Truth
from training.data.obstacles import PHOTOGRAPH

Array = NDArray[np.floating]
SIZE_HW = (256, 512)


def range_of_label(truth: Truth, size_hw: tuple[int, int] = SIZE_HW) -> Array:
    """
    Return a range map [h] that shows what a label says, which must score without a fault.

    Floor up to the nearest thing of each degree, which stands upright to the top of the obstacle
    band; +inf above. Of what is not judged only the floor before it is there, NaN above.
    """
    up = erp_rays(*size_hw)[:, 0, 2][:, None]
    width = size_hw[1]
    azimuth_deg = 180 - 360 * (np.arange(width) + .5) / width
    degree = np.clip((azimuth_deg + 180).astype(int), 0, BINS - 1)
    things = np.minimum.reduce([truth.clear, truth.thin, truth.overhang])[degree]
    wall = things / np.sqrt(1 - up ** 2)
    wall = np.where(wall * up + 1 <= PHOTOGRAPH.highest + 0.1, wall, np.inf)
    range_h = np.minimum(constant_floor(size_hw), wall)
    unsure = truth.unsure[degree]
    return np.where((unsure < things) & (range_h * np.sqrt(1 - up ** 2) >= unsure),
                    np.nan, range_h)


def constant_floor(size_hw: tuple[int, int] = SIZE_HW) -> Array:
    """Return the range [h] of an endless level floor, +inf from the horizon up."""
    up = erp_rays(*size_hw)[..., 2]
    return np.where(up < 0, -1 / np.minimum(up, -1e-9), np.inf)


class RowPrior:
    """What the rows of the other labelled photographs show in the median."""

    def __init__(self, photographs: Sequence[LabelledPhotograph]):
        """Take the photographs of the benchmark."""
        self._maps = {photo.name: range_of_label(photo.truth)
                      for photo in photographs}

    def range_h(self, name: str) -> Array:
        """Return the range map [h] for a photograph, which is itself left out."""
        others = [seen for other, seen in self._maps.items() if other != name]
        rows = np.nanmedian(np.concatenate(others, axis=1), axis=1)
        return np.broadcast_to(rows[:, None], SIZE_HW)
