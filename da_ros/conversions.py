"""ROS messages to arrays and back; no maths, no copies beyond the one into the message."""

from __future__ import annotations

from array import array
from typing import Any

from builtin_interfaces.msg import Time
import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from da_ros.errors import DaRosError
from da_ros.scan import Scan

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
END_MARKS = {b'\xff\xd8': (b'\xff\xd9', 'JPEG'), b'\x89P': (b'IEND\xaeB`\x82', 'PNG')}


class MessageError(DaRosError):
    """A camera message that holds no image we can read."""


def image_from_msg(msg: Image) -> NDArray[np.uint8]:
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


def _rows_of(msg: Image) -> NDArray[np.uint8]:
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


def image_from_compressed_msg(msg: CompressedImage) -> NDArray[np.uint8]:
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
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
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
    if mark not in data[-64:].tobytes():
        raise MessageError(f'{kind} of {len(data)} bytes is truncated (no end mark); check the '
                           'camera driver or the link')


def header_for(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with a time of any non-negative number of nanoseconds."""
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


def stamp_ns(msg: Any, offset_s: float = 0.0) -> int:
    """Return a message's stamp [ns], moved by an offset [s] and never below zero."""
    stamp = msg.header.stamp
    return max(stamp.sec * 10**9 + stamp.nanosec + round(offset_s * 1e9), 0)


def fill(target: array[Any], values: NDArray[Any]) -> array[Any]:
    """
    Copy the bytes of `values` into a message's array field.

    :return: `target` itself if the size fits (the fastest way), else a new array
    """
    if target.itemsize * len(target) == values.nbytes:
        np.frombuffer(target, values.dtype).reshape(values.shape)[...] = values
        return target
    fresh = array(target.typecode)
    fresh.frombytes(np.ascontiguousarray(values))
    return fresh


def fill_image(msg: Image, header: Header, pixels: NDArray[Any], encoding: str) -> Image:
    """Write an image into a message that is used again for every frame."""
    msg.header, msg.encoding = header, encoding
    msg.height, msg.width = pixels.shape[:2]
    msg.step = pixels.nbytes // pixels.shape[0]
    msg.is_bigendian = 0
    msg.data = fill(msg.data, pixels)
    return msg


def millimetres(range_m: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return 16UC1 values: millimetres, 0 for NaN and infinities."""
    finite = np.isfinite(range_m)
    return np.round(np.where(finite, range_m, 0) * 1000).astype(np.uint16)


def fill_camera_info(msg: CameraInfo, header: Header, height: int, width: int) -> CameraInfo:
    """Write the size; K stays zero (uncalibrated), because a panorama is no pinhole image."""
    msg.header, msg.height, msg.width = header, height, width
    msg.distortion_model = 'equirectangular'
    return msg


def fill_cloud(msg: PointCloud2, header: Header, records: NDArray[np.float32],
               size_hw: tuple[int, int] | None = None) -> PointCloud2:
    """
    Write point records into a message.

    :param records: (N, 3) x y z or (N, 4) x y z rgb, float32
    :param size_hw: height and width of an organised cloud, None = one row
    """
    names = ('x', 'y', 'z', 'rgb')[:records.shape[1]]
    if len(msg.fields) != len(names):
        msg.fields = [PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
                      for k, name in enumerate(names)]
    msg.header = header
    msg.height, msg.width = size_hw or (1, len(records))
    msg.point_step = 4 * len(names)
    msg.row_step = msg.point_step * msg.width
    msg.is_bigendian, msg.is_dense = False, size_hw is None
    msg.data = fill(msg.data, records)
    return msg


def fill_scan(msg: LaserScan, header: Header, scan: Scan) -> LaserScan:
    """Write a scan; all beams belong to one instant."""
    msg.header = header
    msg.angle_min, msg.angle_increment = scan.angle_min, scan.angle_increment
    msg.angle_max = scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1)
    msg.range_min, msg.range_max = scan.range_min, scan.range_max
    msg.ranges = fill(msg.ranges, scan.ranges)
    return msg
