# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Raw camera encodings: how their bytes lie in a message, and how they become BGR.

Names are those of `sensor_msgs/image_encodings.hpp` (ros2/common_interfaces, rolling); nv12 is the
name that drivers use for V4L2's format. Layouts of YUV:
https://www.kernel.org/doc/html/latest/userspace-api/media/v4l/yuv-formats.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# BT.601, 16 to 235, as OpenCV's conversions of the other YUV formats; it has none of 4:4:4.
BGR_FROM_YUV = np.array([[1.164, 2.018, 0.0, -276.836], [1.164, -0.391, -0.813, 135.576],
                         [1.164, 0.0, 1.596, -222.921]])


@dataclass(frozen=True)
class Encoding:
    """One encoding; a row of the image has `width * channels` values of `bits` bits."""

    channels: int = 1
    bits: int = 8
    to_bgr: int | None = None         # OpenCV's conversion; None = it is BGR already
    rows_of_two: int = 2              # rows of data that belong to two rows of the image
    even: str = ''                    # the sides that must be even: 'width', 'width height'
    stands_for: str = ''              # what is meant by a name that only says the type


_COLOURS = {
    'bgr8': Encoding(3), 'rgb8': Encoding(3, to_bgr=cv2.COLOR_RGB2BGR),
    'bgra8': Encoding(4, to_bgr=cv2.COLOR_BGRA2BGR),
    'rgba8': Encoding(4, to_bgr=cv2.COLOR_RGBA2BGR),
    'mono8': Encoding(to_bgr=cv2.COLOR_GRAY2BGR)}
_WIDE = {name.replace('8', '16'): replace(encoding, bits=16)
         for name, encoding in _COLOURS.items()}
# ROS names a Bayer pattern by its first row from column 0, OpenCV from column 1 of row 1.
_BAYER = {'rggb': cv2.COLOR_BayerBG2BGR, 'bggr': cv2.COLOR_BayerRG2BGR,
          'gbrg': cv2.COLOR_BayerGR2BGR, 'grbg': cv2.COLOR_BayerGB2BGR}
_UYVY = Encoding(2, to_bgr=cv2.COLOR_YUV2BGR_UYVY, even='width')
_YUYV = Encoding(2, to_bgr=cv2.COLOR_YUV2BGR_YUY2, even='width')
_SEMIPLANAR = Encoding(to_bgr=cv2.COLOR_YUV2BGR_NV12, rows_of_two=3, even='width height')

ENCODINGS = {
    **_COLOURS, **_WIDE,
    **{f'bayer_{pattern}{bits}': Encoding(bits=bits, to_bgr=code)
       for pattern, code in _BAYER.items() for bits in (8, 16)},
    'uyvy': _UYVY, 'yuv422': _UYVY,                   # the latter until Jazzy
    'yuyv': _YUYV, 'yuv422_yuy2': _YUYV,
    'nv12': _SEMIPLANAR, 'nv21': replace(_SEMIPLANAR, to_bgr=cv2.COLOR_YUV2BGR_NV21),
    'nv24': Encoding(rows_of_two=6),
    # What cv_bridge writes where nobody named an encoding.
    '8UC1': replace(_COLOURS['mono8'], stands_for='mono8'),
    '8UC3': replace(_COLOURS['bgr8'], stands_for='bgr8'),
    '8UC4': replace(_COLOURS['bgra8'], stands_for='bgra8'),
    # Not 16UC1, which is what depth images are called.
    '16UC3': replace(_WIDE['bgr16'], stands_for='bgr16'),
    '16UC4': replace(_WIDE['bgra16'], stands_for='bgra16')}


def bgr_from_rows(rows: NDArray[np.uint8], name: str, width: int,
                  big_endian: bool) -> NDArray[np.uint8]:
    """
    Convert the data of an image.

    :param rows: (rows of data, bytes of a row) without padding
    :param name: one of `ENCODINGS`
    :return: (height, width, 3) uint8; a view of `rows` for bgr8
    """
    encoding = ENCODINGS[name]
    if name == 'nv24':
        return _bgr_from_nv24(rows, width)
    values = rows
    if encoding.bits == 16:    # the upper byte is the picture for an 8-bit network
        values = rows.reshape(len(rows), -1, 2)[..., 0 if big_endian else 1]
    if encoding.channels > 1:
        values = values.reshape(len(rows), width, encoding.channels)
    if encoding.to_bgr is None:
        return values
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(values), encoding.to_bgr), np.uint8)


def _bgr_from_nv24(rows: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    height = len(rows) // 3
    chroma = rows[height:].reshape(height, width, 2)    # a row of pairs fills two rows of data
    yuv = np.dstack([rows[:height], chroma])
    return np.asarray(cv2.transform(yuv, BGR_FROM_YUV), np.uint8)


def by_cv_bridge(msg: Any) -> NDArray[np.uint8]:
    """
    Convert an encoding that the table lacks.

    :return: (height, width, 3) uint8 BGR
    :raises ImportError: if cv_bridge is not installed
    :raises Exception: of any kind, where cv_bridge cannot
    """
    from cv_bridge import CvBridge
    image = np.asarray(CvBridge().imgmsg_to_cv2(msg, 'bgr8'))
    if image.shape != (msg.height, msg.width, 3) or image.dtype != np.uint8:
        raise TypeError(f'it gave {image.shape} {image.dtype}')
    return image
