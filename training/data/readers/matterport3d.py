# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Matterport3D as panoramas: scanned homes, an evaluation set of both papers.

The set itself holds no panoramas of range; both papers use prepared copies. Two protocols:

* `dap`: EXR in metres. Names of the renderings of github.com/VCL3D/3D60:
  `NAME_color_0_Left_Down_0.0.png` beside `NAME_depth_0_Left_Down_0.0.exr`; holes of the scan are
  +inf, NaN or 0 (github.com/VCL3D/Pano3D, download/index.md) and unknown, never empty.
* `da2`: uint16 of 1/2560 m; its layout is not documented, so a list file of pairs is needed.

(The scans' own perspective depth has yet another unit, 1/4000 m.)
"""

from __future__ import annotations

import numpy as np

from training.data.files import (
    clean_range,
    DataError,
    listed_pairs,
    pairs_of,
    Panoramas,
    read_counts,
    read_exr,
)


def samples(root, protocol: str = 'dap', list_file: str | None = None) -> Panoramas:
    """
    Return the panoramas below a folder, or of a list file.

    :raises DataError: if the protocol is neither of the two, or da2 comes without a list
    """
    if protocol not in DECODE:
        raise DataError(f'Matterport3D protocol {protocol!r} is none of dap, da2')
    if protocol == 'da2' and not list_file:
        raise DataError('Matterport3D protocol da2 needs list_file, "IMAGE DEPTH" per line')
    pairs = listed_pairs(root, list_file) if list_file else pairs_of(
        root, '**/*_color_0_*.png', lambda image: image.with_name(
            image.name.replace('_color_', '_depth_')).with_suffix('.exr'))
    return Panoramas('matterport3d', pairs, DECODE[protocol])


def _decode_exr(path):
    range_m = read_exr(path)
    return clean_range(range_m, ~np.isfinite(range_m))


def _decode_counts(path):
    counts = read_counts(path)
    return clean_range(counts / 2560, counts == 0)


DECODE = {'dap': _decode_exr, 'da2': _decode_counts}
