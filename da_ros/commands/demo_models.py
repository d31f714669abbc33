# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The models that ship, on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros import files
from da_ros.bundle import shipped_bundles
from da_ros.config import RangeRule
from da_ros.estimator import RangeEstimator
from da_ros.legend import with_legend
from da_ros.range_map import colour

RULE = RangeRule(range_mask_m=20.0, camera_height_m=1.5)      # the height of a tripod
SIZE = (512, 256)


def compare_models(samples: Sequence[Path], backend: str) -> tuple[list[str], NDArray[np.uint8]]:
    """
    Return the names of the models, and a picture: one row per panorama, camera first.

    :raises DaRosError: if a model does not run
    """
    panoramas = [files.read_panorama(path).image for path in samples]
    columns = [[_small(image) for image in panoramas]]
    for name in shipped_bundles():
        estimator = RangeEstimator(name, backend, rule=RULE)
        try:
            columns.append([_small(colour(estimator.predict(image))) for image in panoramas])
        finally:
            estimator.close()
    rows = np.vstack([np.hstack(row) for row in zip(*columns)])
    return list(shipped_bundles()), with_legend(rows, RULE.range_mask_m)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
