# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Hypersim, indoor rendering (DA² table 4).

Layout and unit: README of github.com/apple/ml-hypersim, "Lossless high-resolution images" and
issue 9: `ai_VVV_NNN/images/scene_cam_XX_final_preview/frame.IIII.tonemap.jpg` and
`.../scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5`, key `dataset`: *Euclidean distance
to the optical centre in metres*, despite its name: it is a range already and is not stretched.
Not finite: no geometry there (issue 45); windows among them, so unknown rather than empty.
Camera: 60 degrees across, principal point in the middle, square pixels (issue 75); the same
issue says that exact cameras differ slightly in some scenes, which is not modelled.
"""

from __future__ import annotations

import numpy as np

from training.data.files import clean_range, pairs_of, read_hdf5, Views
from training.data.placement import pinhole_from_field

FIELD_RAD = np.pi / 3


def samples(root) -> Views:
    """Return the views of every `ai_*` scene below a folder."""
    return Views('hypersim', pairs_of(
        root, '**/images/scene_cam_*_final_preview/frame.*.tonemap.jpg', _distance_of), _decode)


def _distance_of(image):
    folder = image.parent.name.replace('_final_preview', '_geometry_hdf5')
    return image.parent.parent / folder / image.name.replace('tonemap.jpg', 'depth_meters.hdf5')


def _decode(pair, size_hw):
    range_m = read_hdf5(pair.depth)
    return clean_range(range_m, ~np.isfinite(range_m)), pinhole_from_field(*size_hw, FIELD_RAD)
