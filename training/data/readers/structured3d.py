# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Structured3D, rendered rooms as panoramas (DAP section 3.1, DA² table 4).

Layout and unit: data_organization.md of github.com/bertjiazheng/Structured3D:
`scene_SSSSS/2D_rendering/ROOM/panorama/{full,simple,empty}/rgb_{raw,cold,warm}light.png` and
`depth.png` beside it: uint16 millimetres, 0 = no reading. `full`, `simple`, `empty` are the same
room with all, few and no furniture. That file does not say range or z-depth; a panorama has no
optical axis, and both papers take it as range.
"""

from __future__ import annotations

from training.data.files import clean_range, DataError, pairs_of, Panoramas, read_counts

FURNITURE, LIGHTS = ('full', 'simple', 'empty'), ('raw', 'cold', 'warm')


def samples(root, furniture: str = 'full', light: str = 'raw') -> Panoramas:
    """
    Return the panoramas of all scenes below a folder.

    :raises DataError: if the furniture or light is none of the set's
    """
    if furniture not in FURNITURE or light not in LIGHTS:
        raise DataError(f'Structured3D has furniture {FURNITURE} and light {LIGHTS}, '
                        f'got {furniture!r}, {light!r}')
    return Panoramas('structured3d', pairs_of(
        root, f'**/2D_rendering/*/panorama/{furniture}/rgb_{light}light.png',
        lambda image: image.parent / 'depth.png'), _decode)


def _decode(path):
    counts = read_counts(path)
    return clean_range(counts / 1000, counts == 0)
