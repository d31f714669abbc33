# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
PanoSUNCG, rendered homes as panoramas: an evaluation set of DA².

The set is no longer distributed and its layout is not documented, so a list file of pairs is
needed. Range as the released DA² evaluation reads it: channel 0 of an 8-bit picture / 20 m
(another version of that reader has 10 / 255 instead of 1 / 20). 0 is unknown, and so is 255,
12.75 m and more.
"""

from __future__ import annotations

import numpy as np

from training.data.files import clean_range, DataError, listed_pairs, Panoramas, read_raw


def samples(root, list_file: str | None = None) -> Panoramas:
    """
    Return the panoramas of a list file.

    :raises DataError: without a list
    """
    if not list_file:
        raise DataError('PanoSUNCG needs list_file, "IMAGE DEPTH" per line')
    return Panoramas('panosuncg', listed_pairs(root, list_file), _decode)


def _decode(path):
    picture = read_raw(path)
    if picture.dtype != np.uint8:
        raise DataError(f'{path} must be an 8-bit picture, got {picture.dtype}')
    counts = picture if picture.ndim == 2 else picture[..., 0]
    return clean_range(counts / np.float32(20), (counts == 0) | (counts == 255))
