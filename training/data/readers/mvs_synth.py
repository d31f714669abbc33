# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
MVS-Synth, rendered streets of a game (DA² table 4).

Layout: phuang17.github.io/DeepMVS/mvs-synth.html and the reader of github.com/phuang17/DeepMVS:
`SSSS/images/%04d.png`, `SSSS/depths/%04d.exr`, `SSSS/poses/%04d.json` with `f_x f_y c_x c_y`.
The EXR holds depth along the optical axis (that reader multiplies the ray (x, y, 1) by it), not
its inverse; 0 is invalid there. Other readers find +inf in the sky.
Unit: not stated (issue 25 of that repository asks and is unanswered); MapAnything found about
10 units per metre by measuring cars and people. So the unit must be given.
Smaller copies are reported to carry the focal lengths of the largest; a principal point that is
not in the middle of the image betrays it and is refused.
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
from training.data.placement import Pinhole, range_from_depth


def samples(root, metres_per_unit: float | None = None) -> Views:
    """
    Return the views of all sequences below a folder.

    :raises DataError: without a unit
    """
    unit = need_unit(metres_per_unit, 'MVS-Synth', '0.1 fits its cars and people')
    return Views('mvs_synth', pairs_of(
        root, '*/images/*.png',
        lambda image: image.parent.parent / 'depths' / f'{image.stem}.exr'),
        lambda pair, size_hw: _decode(pair, size_hw, unit))


def _decode(pair, size_hw, unit):
    depth = read_exr(pair.depth)
    camera = _camera(pair.image.parent.parent / 'poses' / f'{pair.image.stem}.json', size_hw)
    depth_m = clean_range(depth * unit, np.isnan(depth), np.isposinf(depth))
    return range_from_depth(depth_m, camera), camera


def _camera(path: Path, size_hw: tuple[int, int]) -> Pinhole:
    try:
        pose = json.loads(read_text(path))
        camera = Pinhole(*(float(pose[key]) for key in ('f_x', 'f_y', 'c_x', 'c_y')))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path} has no f_x, f_y, c_x, c_y: {error!r}') from error
    if abs(camera.cx - size_hw[1] / 2) > 2 or abs(camera.cy - size_hw[0] / 2) > 2:
        raise DataError(f'{path}: principal point ({camera.cx:g}, {camera.cy:g}) is not the '
                        f'middle of {size_hw[1]} x {size_hw[0]} px; scale the pose to this copy')
    return camera
