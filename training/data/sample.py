# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The one thing every data set and the simulator yield."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Sample:
    image: np.ndarray               # (H, W, 3) uint8 RGB
    range_m: np.ndarray             # (H, W) float32; NaN = unknown, +inf = empty
    valid: np.ndarray               # (H, W) bool, True where range_m is finite
    source: str                     # scene kind or data set
    camera_height_m: float = 0.0    # above the floor; 0 = unknown
    meta: dict = field(default_factory=dict)    # what else a shard's JSON says of it
