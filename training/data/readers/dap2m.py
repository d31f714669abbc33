# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
DAP-2M, the labelled outdoor part: panoramas of a drone simulator (DAP section 3.1).

Layout: the list files beside the released weights (huggingface.co/Insta360-Research/DAP-weights,
datasets/instadata_list_test.txt): per line `raw_data_DATE/.../panorama_N.png` and
`raw_data_DATE/.../erp_distance_N.npy`, relative to the root; radial distance.
Unit: not stated there, so it must be given (the simulator works in metres). What the sky holds
is not stated: not finite, or beyond `empty_beyond_m` (an open choice), is empty.
"""

from __future__ import annotations

import numpy as np

from training.data.files import (
    clean_range,
    DataError,
    listed_pairs,
    need_unit,
    Panoramas,
    read_array,
)


def samples(root, list_file: str | None = None, metres_per_unit: float | None = None,
            empty_beyond_m: float = 1000.0) -> Panoramas:
    """
    Return the panoramas of a list file.

    :raises DataError: without a list or a unit
    """
    if not list_file:
        raise DataError('DAP-2M needs list_file, "IMAGE DEPTH" per line, as it is published')
    unit = need_unit(metres_per_unit, 'DAP-2M', "1 takes the simulator's metres")

    def decode(path):
        range_m = read_array(path).astype(np.float64) * unit
        return clean_range(range_m, np.isnan(range_m), range_m > empty_beyond_m)
    return Panoramas('dap2m', listed_pairs(root, list_file), decode)
