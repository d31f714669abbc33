# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
GPano data: which part of the sphere a photo shows, and how its camera was turned.

The properties are those of the Photo Sphere XMP schema
(https://developers.google.com/streetview/spherical-metadata).
"""

from __future__ import annotations

from dataclasses import dataclass
import math
import re

from da_ros.errors import DaRosError
from da_ros.panorama import Extent, FULL_SPHERE

NAMESPACE = 'http://ns.google.com/photos/1.0/panorama/'
CROP = ('FullPanoWidthPixels', 'FullPanoHeightPixels', 'CroppedAreaImageWidthPixels',
        'CroppedAreaImageHeightPixels', 'CroppedAreaLeftPixels', 'CroppedAreaTopPixels')
LONGEST_PACKET, MOST_PREFIXES = 1 << 20, 4        # more is not written by cameras
MOST_TILT_DEG = 1.0      # beyond it, 17 mm of height in a metre, a warning


class GPanoError(DaRosError):
    """GPano data that contradict themselves, or name another projection."""


@dataclass(frozen=True)
class GPano:
    """What the data of one picture say."""

    extent: Extent = FULL_SPHERE
    warnings: tuple[str, ...] = ()


def read_gpano(xmp: bytes) -> GPano:
    """
    Read the GPano properties of an XMP packet.

    :param xmp: the packet; b'' = none
    :raises GPanoError: another projection than equirectangular, or a crop that cannot be
    """
    values = _properties(xmp[:LONGEST_PACKET].decode('utf-8', 'replace'))
    projection = values.get('ProjectionType', 'equirectangular').strip().lower()
    if projection != 'equirectangular':
        raise GPanoError(f'GPano data say that the picture is {projection[:40]!r}; stitch it as '
                         'an equirectangular panorama')
    extent = _extent({name: _number(values, name) for name in CROP if name in values})
    warnings = []
    if extent != FULL_SPHERE:
        warnings.append(f'GPano data: the picture shows {extent}; the rest is unknown')
    pitch, roll = (_number(values, name, 0.0) for name in ('PosePitchDegrees', 'PoseRollDegrees'))
    if max(abs(pitch), abs(roll)) > MOST_TILT_DEG:
        warnings.append(
            f'GPano data: the camera was pitched by {pitch:g} and rolled by {roll:g} deg, and '
            'these are not applied: unless the picture was levelled later, heights and scans are '
            'tilted; level it, or set erp.pitch_deg and erp.roll_deg')
    return GPano(extent, tuple(warnings))


def _properties(text: str) -> dict[str, str]:
    # Attributes or elements, under any prefix; a parser of XML would expand entities for them.
    found: dict[str, str] = {}
    prefixes = re.findall(r'xmlns:([\w.-]+)\s*=\s*["\']' + re.escape(NAMESPACE), text)
    for prefix in {re.escape(prefix) for prefix in (*prefixes[:MOST_PREFIXES], 'GPano')}:
        for pattern in (prefix + r':(\w+)\s*=\s*"([^"]*)"', prefix + r":(\w+)\s*=\s*'([^']*)'",
                        '<' + prefix + r':(\w+)(?:\s[^<>]*)?>([^<]*)</'):
            found.update(re.findall(pattern, text))
    return found


def _number(values: dict[str, str], name: str, default: float = math.nan) -> float:
    if name not in values:
        return default
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise GPanoError(f'GPano data give {name} as {values[name][:40]!r}, which is no number; '
                         'remove or correct them')
    return number


def _extent(crop: dict[str, float]) -> Extent:
    full_width, full_height, width, height, left, top = (crop.get(name) for name in CROP)
    if (width, height) == (full_width, full_height) and not left and not top:
        return FULL_SPHERE                    # said, or nothing said
    said = ', '.join(f'{name} {value:g}' for name, value in crop.items())
    missing = [name for name in CROP if name not in crop]
    if (full_width is None or full_height is None or width is None or height is None
            or left is None or top is None):
        raise GPanoError(f'GPano data of a crop lack {", ".join(missing)} ({said}); remove or '
                         'complete them')
    if (min(full_width, full_height, width, height) <= 0 or abs(full_width - 2 * full_height) > 2
            or width > full_width or top < 0 or top + height > full_height
            or not 0 <= left < full_width):
        raise GPanoError(f'GPano data describe no part of a panorama ({said}); remove or correct '
                         'them')
    azimuth_max_deg = 180 - 360 * left / full_width
    return Extent(90 - 180 * (top + height) / full_height, 90 - 180 * top / full_height,
                  azimuth_max_deg - 360 * width / full_width, azimuth_max_deg)
