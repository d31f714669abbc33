# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
UnrealStereo4K, indoor and outdoor rendering (DA² table 4).

Origin: github.com/fabiotosi92/SMD-Nets, whose README describes the set but not its files. Layout
as the converter of github.com/facebookresearch/map-anything documents it:
`0000S/ImageC/%05d.png` (RGBA), `0000S/DispC/%05d.npy` (disparity in px, C = 0 left, 1 right),
`0000S/ExtrinsicsC/%05d.txt`: first line K (9 numbers), second line [R | t] world to camera (12).
Depth along the optical axis = baseline * K[0,0] / disparity, the baseline from the two [R | t].
What the sky holds is not documented: disparities of 0, or depths of 10000 units and more (which
that converter drops), are unknown here.
Unit: that of [R | t], not stated by the authors; that converter takes it as metres. So the unit
must be given.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.files import (
    clean_range,
    DataError,
    need_unit,
    pairs_of,
    read_array,
    read_text,
    Views,
)
from training.data.placement import Pinhole, range_from_depth

FAR_UNITS = 10000


def samples(root, metres_per_unit: float | None = None) -> Views:
    """
    Return the left and right views of all scenes below a folder.

    :raises DataError: without a unit
    """
    unit = need_unit(metres_per_unit, 'UnrealStereo4K', '1 takes its extrinsics as metres')
    return Views('unreal_stereo4k', pairs_of(root, '*/Image[01]/*.png', _disparity_of),
                 lambda pair, size_hw: _decode(pair, unit))


def _disparity_of(image: Path) -> Path:
    return image.parent.parent / image.parent.name.replace('Image', 'Disp') / f'{image.stem}.npy'


def _decode(pair, unit):
    disparity = np.abs(read_array(pair.depth).astype(np.float64))
    side = int(pair.image.parent.name[-1])
    matrix, own = _calibration(pair.image, side)
    other = _calibration(pair.image, 1 - side)[1]
    baseline = float(np.linalg.norm((own @ np.linalg.inv(other))[:3, 3]))
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = baseline * matrix[0, 0] / disparity
    camera = Pinhole(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    depth_m = clean_range(depth * unit, ~(depth < FAR_UNITS))
    return range_from_depth(depth_m, camera), camera


def _calibration(image: Path, side: int):
    path = image.parent.parent / f'Extrinsics{side}' / f'{image.stem}.txt'
    try:
        lines = [np.array(line.split(), float) for line in read_text(path).splitlines() if line]
        matrix, pose = lines[0].reshape(3, 3), lines[1].reshape(3, 4)
    except (ValueError, IndexError) as error:
        raise DataError(f'{path} is not a line of 9 and a line of 12 numbers') from error
    return matrix, np.vstack([pose, [0, 0, 0, 1]])
