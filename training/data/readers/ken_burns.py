# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
3D Ken Burns, indoor and outdoor rendering (DA² table 4).

Layout and camera: README and issues 37 and 39 of github.com/sniklaus/3d-ken-burns:
`SCENE-MODE/%05d-{bl,br,tl,tr}-image.png`, `SCENE-MODE/%05d-meta.json` with `fltFov` [degrees]
and `SCENE-MODE-depth/%05d-{bl,br,tl,tr}-depth.exr`. Focal length in px =
max(width, height) / 2 / tan(fltFov / 2), principal point in the middle; depth along the optical
axis, since the author's disparity is focal * 20 / depth.
Unit: the cameras are 20 units apart, what a unit is in metres is not stated. So it must be given.
What the sky holds is not stated either: not finite, or above `far_units` (an open choice, default
60000), counts as empty.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from training.data.files import (
    clean_range,
    DataError,
    need_unit,
    pairs_of,
    read_exr,
    read_text,
    Views,
)
from training.data.placement import pinhole_from_field, range_from_depth


def samples(root, metres_per_unit: float | None = None, far_units: float = 60000.0) -> Views:
    """
    Return the four views of all samples below a folder.

    :raises DataError: without a unit
    """
    unit = need_unit(metres_per_unit, '3D Ken Burns', '0.001 is what some readers take')
    return Views('ken_burns', pairs_of(root, '*/*-image.png', _depth_of),
                 lambda pair, size_hw: _decode(pair, size_hw, unit, far_units))


def _depth_of(image: Path) -> Path:
    folder = image.parent
    return folder.parent / f'{folder.name}-depth' / image.name.replace('image.png', 'depth.exr')


def _decode(pair, size_hw, unit, far_units):
    path = pair.image.parent / f'{pair.image.name[:5]}-meta.json'
    try:
        field_rad = np.radians(float(json.loads(read_text(path))['fltFov']))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path} has no fltFov: {error!r}') from error
    height, width = size_hw
    if height > width:
        field_rad = 2 * np.arctan(np.tan(field_rad / 2) * width / height)
    depth = read_exr(pair.depth)
    camera = pinhole_from_field(height, width, field_rad)
    depth_m = clean_range(depth * unit, np.isnan(depth), depth > far_units)
    return range_from_depth(depth_m, camera), camera
