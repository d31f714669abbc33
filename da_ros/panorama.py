# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the sphere: the part that they show, its place in the full panorama, its size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import azimuth_from_col, check_erp_size, elevation_from_row

INTERPOLATION = {'area': cv2.INTER_AREA, 'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC}
MOST_COLUMNS_OFF = 2          # stitchers round; more is another picture
MOST_SHARE_OFF = 0.02
REMEDY = ('declare a partial panorama by erp.elevation_min_deg and erp.elevation_max_deg '
          '(commands: --elevation MIN MAX)')
FISHEYE = ('it looks like two fisheye circles side by side, whose ranges mean nothing; calibrate '
           'them (da_ros_fisheye, parameter fisheye.calibration), or stitch them first')
BLACK, LIT = 20.0, 45.0       # mean grey level of a corner and of what lies beside it
COLUMNS_OF_CUBIC = 2          # that an interpolation takes from either side


@dataclass(frozen=True)
class Extent:
    """
    The part of the sphere that a picture shows, in its camera's body frame [deg].

    Azimuth grows to the left, so `azimuth_max_deg` is the left edge; a picture across the seam
    has an `azimuth_min_deg` below -180.
    """

    elevation_min_deg: float = -90.0
    elevation_max_deg: float = 90.0
    azimuth_min_deg: float = -180.0
    azimuth_max_deg: float = 180.0

    def __str__(self) -> str:
        """Return the angles for people."""
        text = f'elevation {self.elevation_min_deg:.4g} to {self.elevation_max_deg:.4g} deg'
        if self.azimuth_max_deg - self.azimuth_min_deg < 360:
            text += f', azimuth {self.azimuth_min_deg:.4g} to {self.azimuth_max_deg:.4g} deg'
        return text


FULL_SPHERE = Extent()


@dataclass(frozen=True)
class Picture:
    """A full panorama (but a raw message or file may be partial: `erp.elevation_*`)."""

    image: NDArray[np.uint8]              # (height, width, 3) BGR
    extent: Extent = FULL_SPHERE          # what lies outside was painted in and is unknown
    warnings: tuple[str, ...] = ()        # to be told once, not with every frame


@lru_cache(maxsize=8)
def unseen(extent: Extent, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """
    Return which pixel centres of a full panorama lie outside an extent.

    :return: (H, W), read-only
    """
    height, width = size_hw
    elevation = np.rad2deg(elevation_from_row(np.arange(height) + 0.5, height))[:, None]
    from_left = extent.azimuth_max_deg - np.rad2deg(
        azimuth_from_col(np.arange(width) + 0.5, width))[None]
    outside = ((elevation < extent.elevation_min_deg) | (elevation > extent.elevation_max_deg)
               | (from_left % 360 > extent.azimuth_max_deg - extent.azimuth_min_deg))
    outside.setflags(write=False)
    return outside


def place(image: NDArray[np.uint8], extent: Extent,
          max_pixels: int = 1 << 40) -> NDArray[np.uint8]:
    """
    Place a partial picture in the full panorama; its edges are continued into the rest.

    :param image: (h, w, 3), evenly spaced over `extent`
    :param max_pixels: most pixels of the panorama
    :return: (H, 2 H, 3); the input itself where it is full already
    :raises ValueError: if the shape does not fit the extent within a row, or the panorama is
        larger than `max_pixels`
    """
    if extent == FULL_SPHERE:
        return image
    height, width = image.shape[:2]
    check_size(height, width, extent)
    turn_deg = extent.azimuth_max_deg - extent.azimuth_min_deg
    full_width = round(width * 360 / turn_deg)
    full_height = round(full_width / 2)
    if full_width * full_height > max_pixels:
        raise ValueError(f'image of {width} x {height} px with {extent} is part of a panorama of '
                         f'{full_width} x {full_height} px, larger than max_image_pixels '
                         f'{max_pixels}; scale it down, or raise the limit')
    top = min(round((90 - extent.elevation_max_deg) / 180 * full_height), full_height - 1)
    image = image[:full_height - top]         # rounding may leave a row too many
    beside = full_width - width
    full = cv2.copyMakeBorder(image, top, full_height - top - image.shape[0], beside // 2,
                              beside - beside // 2, cv2.BORDER_REPLICATE)
    left = round((180 - extent.azimuth_max_deg) / 360 * full_width)
    if left != beside // 2:
        full = np.roll(full, left - beside // 2, axis=1)
    return np.asarray(full, np.uint8)


def check_size(height: int, width: int, extent: Extent) -> None:
    """
    Refuse a picture whose shape does not fit its extent within a row.

    :raises ValueError: naming the size and what may be declared
    """
    if extent == FULL_SPHERE:
        if not is_nearly_full(height, width):
            raise ValueError(f'image is {width} x {height} px, not twice as wide as high '
                             f'({height} rows need {2 * height} columns); {REMEDY}')
        return
    fitting = width * (extent.elevation_max_deg - extent.elevation_min_deg) / (
        extent.azimuth_max_deg - extent.azimuth_min_deg)
    if abs(height - fitting) > 1:
        raise ValueError(f'image is {width} x {height} px, but {extent} of {width} columns are '
                         f'{fitting:.1f} rows; correct erp.elevation_min_deg and '
                         'erp.elevation_max_deg (commands: --elevation), or the GPano data')


def is_nearly_full(height: int, width: int) -> bool:
    """Return whether a size is 2:1 but for a column or two."""
    return height > 0 and abs(width - 2 * height) <= min(MOST_COLUMNS_OFF, MOST_SHARE_OFF * width)


def full_sphere(image: NDArray[np.uint8], extent: Extent) -> NDArray[np.uint8]:
    """
    Return a camera image as a full panorama; a column or two may still be missing.

    :param image: (h, w, 3) of the extent that the user has declared
    :raises ValueError: if the shape does not fit; says what may be declared
    """
    if extent != FULL_SPHERE:
        return place(image, extent)
    height, width = image.shape[:2]
    if not is_nearly_full(height, width) and looks_like_fisheye(image):
        raise ValueError(f'image is {width} x {height} px, not twice as wide as high ({height} '
                         f'rows need {2 * height} columns); {FISHEYE}')
    check_size(height, width, extent)
    return image


def oddities(image: NDArray[np.uint8], extent: Extent = FULL_SPHERE) -> tuple[str, ...]:
    """Return what the user must be told once of pictures like this one: mostly nothing."""
    height, width = image.shape[:2]
    found = []
    if extent == FULL_SPHERE and width != 2 * height and is_nearly_full(height, width):
        found.append(f'image of {width} x {height} px is taken for a full panorama, though '
                     f'{height} rows need {2 * height} columns; check the stitcher')
    if looks_like_fisheye(image):
        found.append(f'image of {width} x {height} px: {FISHEYE}')
    return tuple(found)


def looks_like_fisheye(image: NDArray[np.uint8]) -> bool:
    """
    Return whether an image shows two fisheye circles side by side: black corners of both halves.

    A panorama may be black at the zenith (night) and at the nadir (tripod), but all along a row;
    beside the corners of a circle the same rows are not black.
    """
    height, half = image.shape[0], image.shape[1] // 2
    radius = min(height, half) / 2
    corner, inner, outer = (int(share * radius) for share in (0.15, 0.1, 0.25))
    if inner < 2:
        return False
    middle = slice(half // 2 - outer, half // 2 + outer)
    for side in (image[:, :half], image[:, half:2 * half]):
        lit = False
        for rows in (side, side[::-1]):
            bands = (rows[:corner, :corner], rows[:corner, -corner:],
                     rows[inner:outer, :inner], rows[inner:outer, -inner:])
            # Of a circle at the upper edge of a taller half, the lower corners are black as well.
            if max(float(band.mean()) for band in bands) > BLACK:
                return False
            lit |= float(rows[inner:outer, middle].mean()) > LIT
        if not lit:
            return False
    return True


def resize_erp(image: NDArray[np.uint8], size_hw: tuple[int, int],
               method: str) -> NDArray[np.uint8]:
    """
    Resize a panorama to network size, across its seam.

    `area` halves exactly while it can, then averages areas: half the time of one pass.

    :param method: area, linear or cubic, as stored in the bundle
    :raises ValueError: if the image is not a full 2:1 panorama, but for a column or two
    """
    if not is_nearly_full(*image.shape[:2]):
        check_erp_size(*image.shape[:2])
    height, width = size_hw
    if image.shape[:2] == size_hw:
        return np.ascontiguousarray(image)
    while method == 'area' and image.shape[0] >= 2 * height and not (
            image.shape[0] % 2 or image.shape[1] % 2):
        image = np.asarray(cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2),
                                      interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[:2] == size_hw:
        return image
    enlarges = image.shape[1] < width
    interpolation = cv2.INTER_LINEAR if method == 'area' and enlarges else INTERPOLATION[method]
    if interpolation == cv2.INTER_CUBIC or enlarges:
        return _resize_wrapped(image, size_hw, interpolation)
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def _resize_wrapped(image: NDArray[np.uint8], size_hw: tuple[int, int],
                    interpolation: int) -> NDArray[np.uint8]:
    # OpenCV repeats the border column, which leaves a step at the seam that the network sees as
    # an edge. So the columns from beyond the seam go along; as many as become whole columns.
    before, after = image.shape[1], size_hw[1]
    unit = before // math.gcd(before, after)
    margin = unit * math.ceil(COLUMNS_OF_CUBIC / unit)
    left = np.arange(-margin, before + margin) % before
    scaled = cv2.resize(image[:, left], (after + 2 * margin * after // before, size_hw[0]),
                        interpolation=interpolation)
    cut = margin * after // before
    return np.ascontiguousarray(scaled[:, cut:cut + after], np.uint8)
