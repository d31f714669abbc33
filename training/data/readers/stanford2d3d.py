# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Stanford 2D-3D-S, scanned offices as panoramas: an evaluation set of both papers.

Layout: README of github.com/alexsax/2D-3D-Semantics: `area_N/pano/rgb/
camera_UUID_ROOM_I_frame_equirectangular_domain_rgb.png` and `.../pano/depth/..._depth.png`.
Unit, two protocols:

* `dap`: the set itself: uint16 of 1/512 m, distance from the camera's centre, 65535 = missing.
* `da2`: the copy that DA² evaluates on: uint16 of 1/1000 m. Its layout is not documented; the
  same names are looked for, or a list file of pairs is given. 0 and 65535 are unknown.
"""

from __future__ import annotations

from training.data.files import (
    clean_range,
    DataError,
    listed_pairs,
    pairs_of,
    Panoramas,
    read_counts,
)

UNITS_PER_METRE = {'dap': 512, 'da2': 1000}


def samples(root, protocol: str = 'dap', list_file: str | None = None) -> Panoramas:
    """
    Return the panoramas of all areas below a folder, or of a list file.

    :raises DataError: if the protocol is neither of the two
    """
    if protocol not in UNITS_PER_METRE:
        raise DataError(f'Stanford2D3D protocol {protocol!r} is none of dap, da2')
    pairs = listed_pairs(root, list_file) if list_file else pairs_of(
        root, '**/pano/rgb/*_rgb.png', lambda image: image.parent.parent / 'depth'
        / image.name.replace('_rgb.png', '_depth.png'))

    def decode(path):
        counts = read_counts(path)
        return clean_range(counts / UNITS_PER_METRE[protocol], (counts == 0) | (counts == 65535))
    return Panoramas('stanford2d3d', pairs, decode)
