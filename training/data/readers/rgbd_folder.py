# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Your own perspective RGB-D: `NAME.jpg` or `NAME.png` beside `NAME_depth_mm.png`.

The depth is uint16 millimetres along the optical axis (REP 118), 0 = unknown; one horizontal
field of view for all. An image without depth is no sample: it is skipped by its name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.files import (
    clean_range,
    DataError,
    IMAGE_SUFFIXES,
    Pair,
    read_counts,
    Views,
)
from training.data.placement import pinhole_from_field, range_from_depth

SUFFIX = '_depth_mm.png'


def samples(root, field_deg: float | None = None) -> Views:
    """
    Return the views of one folder.

    :raises DataError: without a field of view, or if no image has its depth beside it
    """
    if field_deg is None or not 0 < field_deg < 180:
        raise DataError('a folder of RGB-D needs field_deg, the horizontal field of view')
    images = [path for path in sorted(Path(root).glob('*'))
              if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.endswith(SUFFIX)]
    pairs = [Pair(path, path.with_name(path.stem + SUFFIX)) for path in images]
    if not any(pair.depth.is_file() for pair in pairs):
        raise DataError(f'{root} holds no NAME.jpg or .png beside NAME{SUFFIX}')

    def decode(pair, size_hw):
        counts = read_counts(pair.depth)
        camera = pinhole_from_field(*size_hw, np.radians(field_deg))
        return range_from_depth(clean_range(counts / 1000, counts == 0), camera), camera
    return Views('rgbd_folder', pairs, decode)
