# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation asks for predictions: a bundle in its estimator, or a baseline."""

from __future__ import annotations

from pathlib import Path
import time
from typing import Protocol as Interface

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.commands.foreground import open_in_foreground
from da_ros.config import RangeRule
from da_ros.estimator import RangeEstimator
from da_ros.range_map import resample_nearest

RAW = RangeRule(range_mask_m=0.0, min_range_m=0.0, max_range_m=1000.0)


class Predictor(Interface):
    """Anything that turns a panorama into a range."""

    name: str
    uses_camera_height: bool
    range_masks_m: tuple[float, ...]

    def range_m(self, image: NDArray[np.uint8], camera_height_m: float) -> NDArray[np.float32]:
        """Return the range [m] of a BGR panorama, (h, w), without any range mask."""

    def within(self, image: NDArray[np.uint8], mask_m: float) -> NDArray[np.bool_]:
        """Return where the predictor says that something lies within the mask, (h, w)."""


class BundlePredictor:
    """A bundle in the very estimator that the node uses."""

    def __init__(self, bundle: str | Path | None, backend: str = 'auto', threads: int = 0):
        """Open the bundle; raises what `RangeEstimator` raises."""
        self._estimator = open_in_foreground(lambda given_up: RangeEstimator(
            bundle, backend, threads, RAW, given_up=given_up))
        loaded = self._estimator.bundle
        self.name = loaded.folder.name
        self.uses_camera_height = loaded.uses_camera_height
        self.range_masks_m = loaded.range_masks_m
        self.backend = self._estimator.backend
        self.times_ms: list[float] = []

    def range_m(self, image: NDArray[np.uint8], camera_height_m: float) -> NDArray[np.float32]:
        """Return the range [m] of a BGR panorama, (h, w) float32, without any range mask."""
        self._estimator.rule = RangeRule(
            range_mask_m=0.0, min_range_m=0.0, max_range_m=1000.0,
            camera_height_m=camera_height_m)
        started = time.perf_counter()
        range_m = self._estimator.predict(image).range_m
        self.times_ms.append(1000 * (time.perf_counter() - started))
        return range_m

    def within(self, image: NDArray[np.uint8], mask_m: float) -> NDArray[np.bool_]:
        """Return where the published range map has something within the mask, (h, w) bool."""
        self._estimator.rule = RangeRule(range_mask_m=mask_m, min_range_m=0.0)
        return np.isfinite(self._estimator.predict(image).range_m)


def resize_range(range_m: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """
    Return a range map at another size, linear and closed over the seam.

    Where a neighbour is not finite the nearest value is taken, so that no kind of value spreads.

    :param range_m: (h, w) float32
    """
    if range_m.shape == (height, width):
        return range_m
    nearest = resample_nearest(range_m, height, width)
    finite = np.isfinite(range_m)
    rows = ((np.arange(height) + 0.5) * range_m.shape[0] / height - 0.5).astype(np.float32)
    cols = ((np.arange(width) + 0.5) * range_m.shape[1] / width + 0.5).astype(np.float32)
    map_rows, map_cols = np.meshgrid(
        np.clip(rows, 0, range_m.shape[0] - 1), cols, indexing='ij')
    wrapped = np.pad(np.where(finite, range_m, 0), ((0, 0), (1, 1)), mode='wrap')
    linear = cv2.remap(wrapped.astype(np.float32), map_cols, map_rows, cv2.INTER_LINEAR)
    if finite.all():
        return linear
    whole = cv2.remap(np.pad(finite, ((0, 0), (1, 1)), mode='wrap').astype(np.float32),
                      map_cols, map_rows, cv2.INTER_LINEAR)
    return np.where(whole > 0.999, linear, nearest).astype(np.float32)
