# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Camera messages to pictures, for live messages and for those of a bag: no ROS import.

A message is anything with the fields of sensor_msgs Image or CompressedImage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.encodings import bgr_from_rows, by_cv_bridge, ENCODINGS
from da_ros.errors import DaRosError, reason_of
from da_ros.jpeg_png import decode_image, MAX_IMAGE_PIXELS
from da_ros.panorama import Picture

STILL_FORMATS = ('jpeg', 'jpg', 'png')


class MessageError(DaRosError):
    """A camera message that holds no image we can read."""


def picture_of(msg: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> Picture:
    """
    Return the picture of a message, raw or compressed, with what is to be told about it.

    :param max_pixels: larger compressed images are refused before any memory is taken
    :raises MessageError: see `image_from_msg` and `picture_from_compressed_msg`
    """
    if hasattr(msg, 'format'):
        return picture_from_compressed_msg(msg, max_pixels)
    image = image_from_msg(msg)
    meant = ENCODINGS[msg.encoding].stands_for if msg.encoding in ENCODINGS else ''
    if not meant:
        return Picture(image)
    return Picture(image, warnings=(
        f'image encoding {msg.encoding!r} says nothing of colours and is taken for {meant}; name '
        'the encoding in the camera driver',))


def image_from_msg(msg: Any) -> NDArray[np.uint8]:
    """
    Return the picture of a raw image message.

    :return: (height, width, 3) uint8 BGR; a read-only view of the message for bgr8
    :raises MessageError: zero size, unknown encoding, wrong step or data length
    """
    if not msg.width or not msg.height:
        raise MessageError(f'image is empty ({_size(msg)}); check the camera driver')
    if msg.encoding not in ENCODINGS:
        return _from_cv_bridge(msg)
    return bgr_from_rows(_rows_of(msg), msg.encoding, msg.width, bool(msg.is_bigendian))


def _from_cv_bridge(msg: Any) -> NDArray[np.uint8]:
    unknown = (f'image encoding {msg.encoding!r} is not supported; use one of '
               f'{", ".join(ENCODINGS)}')
    try:
        return by_cv_bridge(msg)
    except ImportError as error:
        raise MessageError(f'{unknown}; or install cv_bridge, which may know it') from error
    except Exception as error:          # its own, and those of numpy and OpenCV
        reason = reason_of(error)
        raise MessageError(f'{unknown}; cv_bridge does not convert it either: {reason}') from error


def _size(msg: Any) -> str:
    return f'{msg.width} x {msg.height} px {msg.encoding}'


def _rows_of(msg: Any) -> NDArray[np.uint8]:
    encoding, size = ENCODINGS[msg.encoding], _size(msg)
    if any(getattr(msg, side) % 2 for side in encoding.even.split()):
        raise MessageError(f'image of {size} needs even sides; check the camera driver')
    row = msg.width * encoding.channels * encoding.bits // 8
    rows = msg.height * encoding.rows_of_two // 2
    if msg.step < row:
        raise MessageError(f'image of {size} has step {msg.step}, needs at least {row}; check '
                           'the camera driver')
    if len(msg.data) != msg.step * rows:
        raise MessageError(f'image of {size} with step {msg.step} has {len(msg.data)} bytes, '
                           f'needs {msg.step * rows}; check the camera driver')
    return np.frombuffer(msg.data, np.uint8).reshape(rows, msg.step)[:, :row]


def picture_from_compressed_msg(msg: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> Picture:
    """
    Return the picture of a compressed image message.

    :raises MessageError: a video format (naming the decoder to run), or a JPEG or PNG that is
        truncated, damaged or too large
    """
    kind = msg.format.lower()
    if kind and not any(name in kind for name in STILL_FORMATS):
        raise MessageError(
            f'compressed format {msg.format!r} is not a still image (jpeg, png); decode it first: '
            'h264 by image_transport h264 (extra da_ros[video]), others by the decoder of the '
            'camera driver, or `ros2 run image_transport republish ffmpeg raw`, with '
            'image_transport raw')
    try:
        return decode_image(msg.data, max_pixels)
    except DaRosError as error:
        raise MessageError(f'compressed image ({msg.format!r}): {error}; check the camera driver '
                           'or the link') from error
