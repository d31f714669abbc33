# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Photographs with the boundary of the free floor labelled by hand: a truth that needs no scanner.

The camera is level. Where the nearest thing stands on the floor at elevation -e, its ground
distance is h / tan(e), h = camera height; all lengths here are in h. `NAME.json` beside the
picture that its `image` names holds `intervals` over the whole turn, azimuth -180 to 180 degrees,
left of the middle positive, each with

* `kind`: `clear` the foot of a thing is seen; `far` nothing within about 15 h; `unsure` not
  judged; `thin` a pole or leg; `overhang` the foot is hidden below an edge;
* `points`: [azimuth, elevation] of the contact with the floor, straight in between; of an
  overhang what lies plumb below its edge (`overhang_points`: the edge as it is seen);
* thin ones: `base_points` and `base_kind`, what stands behind;
* `what`: a few words; those with glass or mirror in them are scored apart.

Optional beside `intervals`: `camera_height_m` and `groups`, the table rows it counts for.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from training.data.files import DataError, read_picture

Array = NDArray[np.floating]
FOLDER = Path(__file__).resolve().parent.parent / 'benchmarks' / 'free_space'
KINDS = ('clear', 'far', 'unsure', 'thin', 'overhang')
BINS = 360              # of one degree: bin i is azimuth -180 + i to -179 + i
PER_BIN = 10            # samples of a label in each
GLASS = re.compile(r'\b(glass|mirror)', re.IGNORECASE)


class FreeSpaceError(DaRosError):
    """A label that is missing, incomplete or contradicts itself."""


@dataclass(frozen=True)
class Truth:
    """Ground distances [h] per degree of azimuth, all (360,); +inf = none of the kind there."""

    clear: Array        # nearest thing whose foot is seen
    unsure: Array       # nearest place not judged
    thin: Array
    overhang: Array     # plumb below the edge
    glass: Array        # those of `clear` that are glass or a mirror
    plain: Array        # clear; +inf where far, NaN where most is unsure or only overhangs

    @property
    def nearest(self) -> Array:
        """Whatever is nearest, also where not judged."""
        return np.minimum.reduce([self.clear, self.unsure, self.thin, self.overhang])


@dataclass(frozen=True)
class LabelledPhotograph:
    """A photograph and its label."""

    name: str
    image_path: Path
    truth: Truth
    groups: tuple[str, ...] = ('all',)
    camera_height_m: float = 0.0        # 0 = not known

    def load(self) -> NDArray[np.uint8]:
        """
        Read the photograph, (H, W, 3) RGB.

        :raises FreeSpaceError: if it is missing, damaged, or not twice as wide as high
        """
        try:
            image = read_picture(self.image_path)
        except DataError as error:
            raise FreeSpaceError(str(error)) from error
        height, width = image.shape[:2]
        if width != 2 * height:
            raise FreeSpaceError(f'{self.image_path} is {width} x {height} px; a panorama is '
                                 'twice as wide as high')
        return image


def read_photographs(folder: str | Path = FOLDER) -> list[LabelledPhotograph]:
    """
    Return the labelled photographs of a folder, by name; pictures are read later.

    :raises FreeSpaceError: if there is none, or a label is wrong
    """
    files = sorted(Path(folder).glob('*.json'))
    if not files:
        raise FreeSpaceError(f'no label in {folder}: it needs NAME.json beside NAME.jpg, as '
                             '`python -m training.label_free_space` writes them')
    return [_photograph(file) for file in files]


def _photograph(file: Path) -> LabelledPhotograph:
    try:
        label = json.loads(file.read_text(encoding='utf-8'))
        truth = rasterise(label)
        return LabelledPhotograph(
            file.stem, file.parent / label['image'], truth,
            ('all', *label.get('groups', ())), float(label.get('camera_height_m') or 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise FreeSpaceError(f'{file} is no label of free floor: {reason}') from error


def ground_distance(elevation_deg: Array) -> Array:
    """Return the ground distance [h] of what is seen below the horizon; +inf from there up."""
    below = np.radians(np.maximum(-np.asarray(elevation_deg, dtype=float), 1e-6))
    return np.where(np.asarray(elevation_deg) < -1e-6, 1 / np.tan(below), np.inf)


def elevation_deg(distance: Array) -> Array:
    """Return the elevation [deg] at which the floor is seen at a ground distance [h]."""
    with np.errstate(divide='ignore'):
        return -np.degrees(np.arctan(1 / np.asarray(distance, dtype=float)))


def check_label(label: dict[str, Any]) -> None:
    """
    Check what a label says of the whole turn.

    :raises ValueError: if an interval has no kind or no points, or the turn has a gap
    """
    end = -180.0
    for interval in label['intervals']:
        start, stop = interval['azimuth_deg']
        where = f'interval {start:g} to {stop:g}'
        if abs(start - end) > 1e-6 or stop < start:
            raise ValueError(f'{where} does not go on from {end:g}; intervals follow each other '
                             'from -180 to 180')
        if interval['kind'] not in KINDS:
            raise ValueError(f'{where}: kind {interval["kind"]!r}; there are: {", ".join(KINDS)}')
        if 'base_points' in interval and interval['base_kind'] not in KINDS:
            raise ValueError(f'{where}: base_kind {interval["base_kind"]!r}')
        for name in ('points', 'base_points', 'overhang_points'):
            if name in interval:
                _check_points(f'{where}: {name}', np.array(interval[name], dtype=float))
        end = stop
    if abs(end - 180) > 1e-6:
        raise ValueError(f'the last interval ends at {end:g}, not at 180')


def _check_points(where: str, points: Array) -> None:
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f'{where} must be a list of [azimuth, elevation]')
    if not np.isfinite(points).all() or np.abs(points[:, 1]).max() > 90:
        raise ValueError(f'{where} holds an elevation beyond 90 degrees, or none')
    if (np.diff(points[:, 0]) < 0).any():
        raise ValueError(f'{where} must go on from left to right, azimuths rising')


def rasterise(label: dict[str, Any]) -> Truth:
    """
    Return the truth per degree of azimuth.

    :param label: content of a label file
    :raises ValueError: see `check_label`
    """
    check_label(label)
    count = BINS * PER_BIN
    azimuth = -180 + (np.arange(count) + .5) / PER_BIN
    found = {kind: np.full(count, np.inf) for kind in (*KINDS, 'glass')}
    base = np.full(count, '', dtype='U8')

    def put(kind: str, where: NDArray[np.bool_], points: list, glass: bool) -> None:
        corner = np.array(points, dtype=float)
        distance = ground_distance(np.interp(azimuth[where], corner[:, 0], corner[:, 1]))
        found[kind][where] = distance
        base[where] = kind              # of a thin thing, what stands behind, which comes second
        if glass and kind == 'clear':
            found['glass'][where] = distance

    for interval in label['intervals']:
        start, stop = interval['azimuth_deg']
        where = (azimuth >= start) & (azimuth < stop)
        if not where.any():             # narrower than a sample, and still there
            where[int(np.clip((0.5 * (start + stop) + 180) * PER_BIN, 0, count - 1))] = True
        glass = bool(GLASS.search(interval.get('what') or ''))
        put(interval['kind'], where, interval['points'], glass)
        if 'base_points' in interval:
            put(interval['base_kind'], where, interval['base_points'], glass)
    return _truth(found, base)


def _truth(found: dict[str, Array], base: NDArray[np.str_]) -> Truth:
    """Reduce the samples to degrees: the nearest of each kind."""
    nearest = {kind: values.reshape(BINS, PER_BIN).min(1) for kind, values in found.items()}
    share = {kind: (base == kind).reshape(BINS, PER_BIN).mean(1) for kind in KINDS}
    plain = nearest['clear'].copy()
    plain[(share['clear'] == 0) & (share['far'] > 0)] = np.inf
    plain[share['unsure'] + share['overhang'] > .5] = np.nan
    return Truth(nearest['clear'], nearest['unsure'], nearest['thin'], nearest['overhang'],
                 nearest['glass'], plain)
