"""
Camera messages to BGR images, for live messages and for those of a bag: no ROS import.

A message is anything with the fields of sensor_msgs Image or CompressedImage.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError

# encoding -> (bytes per pixel of a row, channels, bits, OpenCV conversion to BGR)
_PLAIN: dict[str, tuple[int, int, int | None]] = {
    'bgr8': (1, 3, None), 'rgb8': (1, 3, cv2.COLOR_RGB2BGR),
    'bgra8': (1, 4, cv2.COLOR_BGRA2BGR), 'rgba8': (1, 4, cv2.COLOR_RGBA2BGR),
    'mono8': (1, 1, cv2.COLOR_GRAY2BGR), 'mono16': (2, 1, cv2.COLOR_GRAY2BGR),
    'yuv422': (1, 2, cv2.COLOR_YUV2BGR_UYVY), 'yuv422_yuy2': (1, 2, cv2.COLOR_YUV2BGR_YUY2),
    'nv12': (1, 1, cv2.COLOR_YUV2BGR_NV12)}
# ROS names a Bayer pattern by its first row from column 0, OpenCV from column 1 of row 1.
_BAYER = {'rggb': cv2.COLOR_BayerBG2BGR, 'bggr': cv2.COLOR_BayerRG2BGR,
          'gbrg': cv2.COLOR_BayerGR2BGR, 'grbg': cv2.COLOR_BayerGB2BGR}
ENCODINGS = {**_PLAIN, **{f'bayer_{pattern}{bits}': (bits // 8, 1, code)
                          for pattern, code in _BAYER.items() for bits in (8, 16)}}
_EVEN_ROWS = ('nv12',)
_EVEN_COLS = ('nv12', 'yuv422', 'yuv422_yuy2')
STILL_FORMATS = ('jpeg', 'jpg', 'png')
PADDING = 1 << 16
END_MARKS = {b'\xff\xd8': (b'\xff\xd9', 'JPEG'), b'\x89P': (b'IEND\xaeB`\x82', 'PNG')}


class MessageError(DaRosError):
    """A camera message that holds no image we can read."""


def image_from_msg(msg: Any) -> NDArray[np.uint8]:
    """
    Return the picture of a raw image message.

    :return: (height, width, 3) uint8 BGR; a read-only view of the message for bgr8
    :raises MessageError: zero size, unknown encoding, wrong step or data length
    """
    if msg.encoding not in ENCODINGS:
        raise MessageError(f'image encoding {msg.encoding!r} is not supported; use one of '
                           f'{", ".join(ENCODINGS)}')
    pixels = _rows_of(msg)
    width_bytes, channels, code = ENCODINGS[msg.encoding]
    if width_bytes == 2:      # the upper byte is the picture for an 8-bit network
        pixels = pixels.reshape(pixels.shape[0], msg.width, 2)[..., 0 if msg.is_bigendian else 1]
    if channels > 1:
        pixels = pixels.reshape(pixels.shape[0], msg.width, channels)
    if code is None:
        return pixels
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code), np.uint8)


def _rows_of(msg: Any) -> NDArray[np.uint8]:
    width_bytes, channels, _ = ENCODINGS[msg.encoding]
    size = f'{msg.width} x {msg.height} px {msg.encoding}'
    if not msg.width or not msg.height:
        raise MessageError(f'image is empty ({size}); check the camera driver')
    if (msg.encoding in _EVEN_ROWS and msg.height % 2) or (
            msg.encoding in _EVEN_COLS and msg.width % 2):
        raise MessageError(f'image of {size} needs even sides; check the camera driver')
    row = msg.width * channels * width_bytes
    rows = msg.height * 3 // 2 if msg.encoding in _EVEN_ROWS else msg.height
    if msg.step < row:
        raise MessageError(f'image of {size} has step {msg.step}, needs at least {row}; check '
                           'the camera driver')
    if len(msg.data) != msg.step * rows:
        raise MessageError(f'image of {size} with step {msg.step} has {len(msg.data)} bytes, '
                           f'needs {msg.step * rows}; check the camera driver')
    return np.frombuffer(msg.data, np.uint8).reshape(rows, msg.step)[:, :row]


def image_from_compressed_msg(msg: Any) -> NDArray[np.uint8]:
    """
    Return the picture of a compressed image message.

    :return: (height, width, 3) uint8 BGR
    :raises MessageError: a video format (naming the decoder to run), or a damaged JPEG or PNG
    """
    kind = msg.format.lower()
    if kind and not any(name in kind for name in STILL_FORMATS):
        raise MessageError(
            f'compressed format {msg.format!r} is not a still image (jpeg, png); decode it first, '
            "for instance by the camera driver's own decoder node or "
            '`ros2 run image_transport republish ffmpeg raw`, and set image_transport to raw')
    data = np.frombuffer(msg.data, np.uint8)
    _check_complete(data, msg.format)
    # A panorama's up is given by its rows; a camera's orientation tag must not turn it.
    image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise MessageError(f'compressed image of {len(data)} bytes ({msg.format!r}) cannot be '
                           'decoded; check the camera driver')
    return np.asarray(image, np.uint8)


def _check_complete(data: NDArray[np.uint8], name: str) -> None:
    """Refuse truncated files: decoders paint what is missing grey and say nothing."""
    mark, kind = END_MARKS.get(data[:2].tobytes(), (b'', ''))
    if not kind:
        raise MessageError(f'compressed image of {len(data)} bytes ({name!r}) is neither JPEG nor '
                           'PNG; check the camera driver')
    end = data[-PADDING:].tobytes().rstrip(b'\0')      # USB cameras pad their buffers with zeros
    if mark not in end[-64:]:
        raise MessageError(f'{kind} of {len(data)} bytes is truncated (no end mark); check the '
                           'camera driver or the link')
