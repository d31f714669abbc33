# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Real panoramas with the free floor labelled by hand: range where a label decides it.

The labels (`training/data/floor_labels/NAME.json`, ours, in the format of
`training.data.free_space`) ship; NAME.jpg is looked for below the folder that is given. In
camera heights h, for a level camera above a flat floor:

* below the boundary, floor: range 1 / sin(-elevation);
* from the foot at elevation -e up to 0.3 h above the floor, an upright front at the ground
  distance d = 1 / tan(e): range d / cos(elevation). So too a thin thing, if it is one pole or leg
  and no row of them, and the edge of an overhang, at the distance of its plumb line;
* all else is unknown: what stands higher or farther, `unsure` and `far` beyond their boundary,
  and of the two columns at a silhouette the farther one above the nearer foot.

How high the cameras stood is not known: h is told as 1.5 m, the height of a tripod. Labels of
cameras that stood tilted (`level: false`) are left out: the floor of a level one is told of here.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.files import clean_range, DataError, Pair, Panoramas, RangeMap, read_picture
from training.data.free_space import check_label, ground_distance
from training.data.leaks import refuse_evaluation_picture
from training.data.sample import Sample

LABELS = Path(__file__).resolve().parent.parent / 'floor_labels'
HEIGHT_M = 1.5
FRONT = 0.3                 # h: how high above its foot a front is taken as upright
ONE_POLE_DEG = 4.0          # a wider `thin` is a row of them with gaps
JUMP = 0.15                 # of log distance between two columns: a silhouette
EDGE_PX = 1.5               # of an overhang, above and below the line that was drawn
SIZE_HW = (320, 640)


class FreeFloor(Panoramas):
    """Labelled panoramas at one size; their cameras count as 1.5 m high."""

    def __getitem__(self, index: int) -> Sample:
        """:raises DaRosError: if a file is missing, corrupt, or an evaluation picture."""
        sample = super().__getitem__(index)
        refuse_evaluation_picture(sample.image, str(self.pairs[index].image))
        sample.camera_height_m = HEIGHT_M
        return sample


def samples(root) -> FreeFloor:
    """
    Return the labelled panoramas that lie below a folder.

    :raises DataError: if none lies there
    """
    labelled = {path.stem: path for path in sorted(LABELS.glob('*.json'))}
    found = {path.stem: path for path in sorted(Path(root).rglob('*.jpg'))}
    pairs = [Pair(found[name], label) for name, label in labelled.items()
             if name in found and _is_level(label)]
    if not pairs:
        raise DataError(f'no labelled panorama below {root}; it needs NAME.jpg of '
                        f'{LABELS}/NAME.json')
    return FreeFloor('free_floor', pairs, _decode, _read_image)


def _is_level(path: Path) -> bool:
    return json.loads(path.read_text(encoding='utf-8')).get('level', True)


def _read_image(path: Path) -> NDArray[np.uint8]:
    return cv2.resize(read_picture(path), SIZE_HW[::-1], interpolation=cv2.INTER_AREA)


def _decode(path: Path) -> RangeMap:
    try:
        label = json.loads(path.read_text(encoding='utf-8'))
        return labelled_range(label, *SIZE_HW)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path} is no label of free floor: {error!r}') from error


def labelled_range(label: dict, height: int, width: int) -> RangeMap:
    """
    Return the range [m] that a label decides, NaN elsewhere, as the module's text says.

    :param label: content of a label file
    :raises ValueError: see `free_space.check_label`
    """
    check_label(label)
    boundary, front, edge, plumb = _columns(label, width)
    elevation = (90 - 180 * (np.arange(height) + 0.5) / height)[:, None]
    with np.errstate(divide='ignore', invalid='ignore'):
        floor = np.where(elevation < np.minimum(boundary, -1e-3),
                         1 / np.sin(np.radians(-elevation)), np.nan)
        distance = ground_distance(boundary)
        top = -np.degrees(np.arctan((1 - FRONT) / distance))
        upright = front & (elevation >= boundary) & (elevation <= top)
        shape = np.where(upright, distance / np.cos(np.radians(elevation)), floor)
        on_edge = np.abs(elevation - edge) < EDGE_PX * 180 / height
        shape = np.where(on_edge, plumb / np.cos(np.radians(elevation)), shape)
    shape = np.where(_beside_silhouettes(boundary, elevation), np.nan, shape)
    return clean_range(HEIGHT_M * shape, np.isnan(shape))


def free_distance(label: dict, width: int) -> NDArray:
    """
    Return the ground distance [h] up to which the floor is free, (width,), per column.

    :param label: content of a label file
    :raises ValueError: see `free_space.check_label`
    """
    check_label(label)
    return ground_distance(_columns(label, width)[0])


def _columns(label: dict, width: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """
    Return what the label says of each column, (width,) each.

    :return: elevation [deg] where the free floor ends; whether an upright front stands there;
        elevation of the edge of an overhang, NaN without one, and its ground distance [h]
    """
    azimuth = 180 - 360 * (np.arange(width) + 0.5) / width
    boundary, front = np.full(width, np.nan), np.zeros(width, bool)
    edge, plumb = np.full(width, np.nan), np.full(width, np.nan)
    # thin things last: one narrower than a column has none of its own
    for interval in sorted(label['intervals'], key=lambda each: each['kind'] == 'thin'):
        start, stop = interval['azimuth_deg']
        here = (azimuth >= start) & (azimuth < stop)
        if interval['kind'] == 'thin' and not here.any():
            here[np.argmin(np.abs(azimuth - (start + stop) / 2))] = True
        foot = _at(azimuth[here], interval['points'])
        boundary[here] = foot
        front[here] = interval['kind'] == 'clear' or (
            interval['kind'] == 'thin' and stop - start <= ONE_POLE_DEG)
        if interval['kind'] == 'overhang' and 'overhang_points' in interval:
            edge[here] = _at(azimuth[here], interval['overhang_points'])
            plumb[here] = ground_distance(foot)
    return boundary, front, edge, plumb


def _at(azimuth: NDArray, points: list) -> NDArray:
    corner = np.array(points, dtype=float)
    return np.interp(azimuth, corner[:, 0], corner[:, 1])


def _beside_silhouettes(boundary: NDArray, elevation: NDArray) -> NDArray[np.bool_]:
    """Return (H, W): above the nearer foot in the farther column where the distance jumps."""
    distance = np.minimum(ground_distance(boundary), 100.0)
    hidden = np.full(len(boundary), np.inf)
    for step in (1, -1):
        nearer = np.log(distance / np.roll(distance, step)) > JUMP
        hidden = np.minimum(hidden, np.where(nearer, np.roll(boundary, step), np.inf))
    return elevation > hidden
