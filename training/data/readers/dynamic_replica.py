# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Dynamic Replica, rendered rooms with people and animals (DA² table 4).

Layout and encoding: README and datasets/dynamic_stereo_datasets.py of
github.com/facebookresearch/dynamic_stereo (the format of CO3D): `frame_annotations_SPLIT.jgz`, a
gzipped JSON list with `image.path`, `image.size` (h, w), `depth.path`, `depth.scale_adjustment`
and `viewpoint` (`focal_length`, `principal_point`, `intrinsics_format`); paths are relative to
`SPLIT/`. The depth is a 16-bit PNG whose bits are IEEE float16, along the optical axis, in the
units of Replica (metres); 0 is invalid.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np

from training.data.files import clean_range, DataError, Pair, read_counts, Views
from training.data.placement import Pinhole, range_from_depth


def samples(root, split: str = 'train') -> Views:
    """
    Return the left and right views of one split.

    :raises DataError: if its annotations are missing or not of this form
    """
    path = Path(root) / f'frame_annotations_{split}.jgz'
    frames = {}
    try:
        with gzip.open(path, 'rt', encoding='utf8') as file:
            for frame in json.load(file):
                image = Path(root) / split / frame['image']['path']
                scale = float(frame['depth'].get('scale_adjustment') or 1)
                frames[image] = (Pair(image, Path(root) / split / frame['depth']['path']), scale,
                                 _camera(frame['viewpoint'], frame['image']['size']))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f'{path} is no list of annotated frames: {error!r}') from error
    if not frames:
        raise DataError(f'{path} lists no frame')
    return Views('dynamic_replica', [frame[0] for frame in frames.values()],
                 lambda pair, size_hw: _decode(pair, *frames[pair.image][1:]))


def _decode(pair, scale, camera):
    depth = read_counts(pair.depth).view(np.float16).astype(np.float32) * scale
    return range_from_depth(clean_range(depth, ~np.isfinite(depth)), camera), camera


def _camera(viewpoint: dict, size_hw) -> Pinhole:
    """Return the camera of PyTorch3D's normalised intrinsics (x to the left, y up)."""
    height, width = (float(n) for n in size_hw)
    form = viewpoint['intrinsics_format'].lower()
    if form == 'ndc_norm_image_bounds':
        across, down = width / 2, height / 2
    elif form == 'ndc_isotropic':
        across = down = min(width, height) / 2
    else:
        raise ValueError(f'intrinsics_format {form!r} is not known')
    focal, principal = viewpoint['focal_length'], viewpoint['principal_point']
    return Pinhole(focal[0] * across, focal[1] * down, width / 2 - principal[0] * across,
                   height / 2 - principal[1] * down)
