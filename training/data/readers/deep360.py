# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Deep360, rendered streets as panoramas: an evaluation set of DAP.

Layout and projection: README, dataloader/ and utils/geometry.py of github.com/nju-ee/MODE-2022:
`epN_500frames/{training,validation,testing}/rgb`, 12 pictures per frame (6 rectified pairs), and
`.../depth/*.npz`, key `arr_0`, one per frame: metres from the centre of camera 1, which is the
first of the 12 pictures in the order of names. All are Cassini projections, twice as high as
wide: the row turns about the left-right axis, the column goes from left to right::

    row = (1/2 - atan2(up, forward) / 2 pi) height,  column = (1/2 - asin(left) / pi) width

which is a panorama of a camera lying on its side. Here they become level panoramas. 0 is
unknown; the far plane of the simulator, 1000 m, is empty.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import col_from_azimuth, erp_rays, row_from_elevation
from training.data.files import (
    clean_range,
    DataError,
    Pair,
    Panoramas,
    read_array,
    read_picture,
)

PICTURES, FAR_M = 12, 1000.0


def samples(root, part: str = 'testing') -> Panoramas:
    """
    Return the panoramas of camera 1 in one part of all episodes.

    :param part: training, validation or testing
    :raises DataError: if there is none, a folder is missing, or pictures and ranges do not match
        in number
    """
    pairs = []
    for folder in sorted(Path(root).glob(f'ep*_500frames/{part}')):
        images, depths = _files(folder / 'rgb'), _files(folder / 'depth')
        if len(images) != PICTURES * len(depths):
            raise DataError(f'{folder} holds {len(images)} pictures and {len(depths)} ranges; '
                            f'{PICTURES} pictures per range are needed')
        pairs += [Pair(image, depth) for image, depth in zip(images[::PICTURES], depths)]
    if not pairs:
        raise DataError(f'{root} holds no ep*_500frames/{part} with rgb and depth')
    return Panoramas('deep360', pairs, _read_range, _read_image)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f'{folder} cannot be read: {error.strerror}; unpack the whole episode'
                        ) from error


def cassini_pixels(height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the continuous (row, col) in a Cassini picture (2 height, height) of each pixel."""
    forward, left, up = np.moveaxis(erp_rays(height, 2 * height), -1, 0)
    row = col_from_azimuth(np.arctan2(up, forward), 2 * height)
    col = row_from_elevation(np.arcsin(np.clip(left, -1, 1)), height)
    return row.astype(np.float32), col.astype(np.float32)


def _read_image(path):
    image = read_picture(path)
    row, col = cassini_pixels(_height(path, image))
    closed = cv2.copyMakeBorder(image, 1, 1, 0, 0, cv2.BORDER_WRAP)
    return cv2.remap(closed, col - np.float32(0.5), row + np.float32(0.5), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def _read_range(path):
    range_m = read_array(path, 'arr_0').astype(np.float32)
    height = _height(path, range_m)
    row, col = cassini_pixels(height)
    nearest = range_m[np.minimum(row.astype(int), 2 * height - 1),
                      np.minimum(col.astype(int), height - 1)]
    return clean_range(nearest, ~np.isfinite(nearest), nearest >= FAR_M)


def _height(path, array) -> int:
    if array.shape[0] != 2 * array.shape[1]:
        raise DataError(f'{path} is {array.shape[1]} x {array.shape[0]} px; a Cassini picture is '
                        'twice as high as wide')
    return array.shape[1]
