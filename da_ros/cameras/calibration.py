# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The calibration file of a fisheye camera: one or two equidistant lenses in one image.

    format: 1
    image: {width: 1920, height: 960}
    blend_deg: 4
    lenses:                                   # the first looks forward
    - {centre_px: [480, 480], radius_px: 470, fov_deg: 200,
       roll_deg: 0, pitch_deg: 0, yaw_deg: 0}
    - {centre_px: [1440, 480], radius_px: 470, fov_deg: 200,
       roll_deg: 0, pitch_deg: 0, yaw_deg: 180}
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from da_ros.cameras.models import FisheyeCamera, Lens
from da_ros.documents import DocumentError, read_yaml
from da_ros.errors import DaRosError

FORMAT = 1
FIELDS_DEG = (60.0, 280.0)
LARGEST = 1e300           # of any number
ANGLES = ('roll_deg', 'pitch_deg', 'yaw_deg')


class CalibrationError(DaRosError):
    """A calibration file that is unreadable or says what no camera can be."""


def read_calibration(path: str | Path) -> FisheyeCamera:
    """
    Read a calibration file.

    :raises CalibrationError: naming the file, the key, the value and the remedy
    """
    try:
        stored = read_yaml(Path(path))
    except DocumentError as error:
        raise CalibrationError(f'calibration {error}; write one with da_ros_fisheye') from error
    try:
        return _camera(stored)
    except CalibrationError as error:
        raise CalibrationError(f'calibration {path}: {error}') from error


def write_calibration(path: Path, camera: FisheyeCamera, comment: str = '') -> None:
    """
    Write a calibration file.

    :param comment: lines put before the values, without the comment sign
    :raises CalibrationError: if it cannot be written
    """
    lines = [f'# {line}'.rstrip() for line in comment.splitlines()]
    height, width = camera.size_hw
    lenses = [{key: [round(v, 3) for v in value] if key == 'centre_px' else round(value, 4)
               for key, value in asdict(lens).items()} for lens in camera.lenses]
    lines += [f'format: {FORMAT}', f'image: {{width: {width}, height: {height}}}',
              f'blend_deg: {camera.blend_deg:g}', 'lenses:',
              *(f'- {yaml.safe_dump(lens, default_flow_style=True, width=200).strip()}'
                for lens in lenses)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    except OSError as error:
        raise CalibrationError(f'{path} cannot be written: {error.strerror or error}') from error


def check_camera(camera: FisheyeCamera) -> FisheyeCamera:
    """
    Refuse what no camera can be.

    :raises CalibrationError: naming the value and what is allowed
    """
    height, width = camera.size_hw
    for number, lens in enumerate(camera.lenses, 1):
        (col, row), low, high = lens.centre_px, *FIELDS_DEG
        if not low <= lens.fov_deg <= high:
            raise CalibrationError(f'lens {number} has fov_deg {lens.fov_deg:g}, an impossible '
                                   f'field of view; give {low:g} to {high:g}')
        if not 0 < lens.radius_px <= width:
            raise CalibrationError(f'lens {number} has radius_px {lens.radius_px:g}, needs a '
                                   f'length within the image of {width} x {height} px')
        if not (0 <= col <= width and 0 <= row <= height):
            raise CalibrationError(f'lens {number} has centre_px [{col:g}, {row:g}] outside the '
                                   f'image of {width} x {height} px')
        if not all(-360 <= getattr(lens, name) <= 360 for name in ANGLES):
            raise CalibrationError(f'lens {number} is turned by more than 360 degrees')
    if len(camera.lenses) == 2:
        overlap = sum(lens.fov_deg for lens in camera.lenses) / 2 - 180
        if camera.blend_deg < 0 or camera.blend_deg > max(overlap, 0):
            raise CalibrationError(f'blend_deg {camera.blend_deg:g} is outside 0 to the overlap '
                                   f'of the lenses, {max(overlap, 0):g} deg')
    return camera


def _camera(stored: Any) -> FisheyeCamera:
    _check_keys(stored, 'the file', ('format', 'image', 'blend_deg', 'lenses'))
    if stored['format'] != FORMAT:
        raise CalibrationError(f'format {stored["format"]!r} is not known, only {FORMAT}')
    _check_keys(stored['image'], 'image', ('width', 'height'))
    lenses = stored['lenses']
    if not isinstance(lenses, list) or len(lenses) not in (1, 2):
        raise CalibrationError('lenses must be a list of one or two')
    height, width = (_number(stored['image'][side], f'image.{side}') for side in (
        'height', 'width'))
    return check_camera(FisheyeCamera(
        (int(height), int(width)),
        tuple(_lens(entry, f'lens {number}') for number, entry in enumerate(lenses, 1)),
        _number(stored['blend_deg'], 'blend_deg')))


def _lens(entry: Any, name: str) -> Lens:
    names = tuple(item.name for item in fields(Lens))
    _check_keys(entry, name, names)
    centre = entry['centre_px']
    if not isinstance(centre, list) or len(centre) != 2:
        raise CalibrationError(f'{name} has centre_px {centre!r}, needs [column, row]')
    return Lens((_number(centre[0], f'{name} centre_px'), _number(centre[1], f'{name} centre_px')),
                **{key: _number(entry[key], f'{name} {key}') for key in names[1:]})


def _check_keys(mapping: Any, name: str, keys: tuple[str, ...]) -> None:
    found = set(mapping) if isinstance(mapping, dict) else set()
    if found != set(keys):
        wrong = [f'lacks {key}' for key in keys if key not in found]
        wrong += [f'has an unknown {key!r}' for key in sorted(found - set(keys), key=str)]
        raise CalibrationError(f'{name} {", ".join(wrong)}; it holds {", ".join(keys)}')


def _number(value: Any, name: str) -> float:
    # A whole number beyond 1e308 is no float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
            abs(value) <= LARGEST):
        raise CalibrationError(f'{name} is {value!r:.60}, needs a number')
    return float(value)
