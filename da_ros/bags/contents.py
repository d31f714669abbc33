# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What messages of a bag hold: pictures, depth, clouds, scans, as arrays."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.bags.storage import BagError
from da_ros.errors import DaRosError
from da_ros.jpeg_png import check_still

_FIELD_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
PNG = b'\x89PNG'


def range_image_of(msg: Any) -> NDArray[np.float32]:
    """
    Return a depth image message in metres.

    :return: (height, width) float32; 16UC1 millimetres with 0 as NaN, 32FC1 as it is
    :raises BagError: if it is empty, of another encoding or damaged
    """
    if hasattr(msg, 'format'):
        return _compressed_depth(msg)
    if not msg.width or not msg.height:
        raise BagError(f'depth image is empty ({msg.width} x {msg.height} px)')
    kinds = {'16UC1': ('u2', 0.001), 'mono16': ('u2', 0.001), '32FC1': ('f4', 1.0)}
    if msg.encoding not in kinds:
        raise BagError(f'depth encoding {msg.encoding!r} is not supported; use 32FC1 [m] or '
                       '16UC1 [mm]')
    kind, scale = kinds[msg.encoding]
    item = np.dtype(('>' if msg.is_bigendian else '<') + kind)
    if msg.step < msg.width * item.itemsize or len(msg.data) != msg.step * msg.height:
        raise BagError(f'depth image of {msg.width} x {msg.height} px {msg.encoding} with step '
                       f'{msg.step} has {len(msg.data)} bytes')
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)
    depth = np.ascontiguousarray(rows[:, :msg.width * item.itemsize]).view(item)
    if kind == 'f4':
        return depth.astype(np.float32)
    return np.where(depth > 0, depth * np.float32(scale), np.float32(np.nan))


def _compressed_depth(msg: Any) -> NDArray[np.float32]:
    """
    Return the metres of a depth PNG, plain or as compressed_depth_image_transport writes it.

    That puts 12 bytes before the PNG: a format number and two floats A, B. 32FC1 is stored as
    inverse depth there: depth = A / (value - B), 0 = unknown.
    """
    data = bytes(memoryview(msg.data))
    start = 0 if data.startswith(PNG) else 12
    depth = None
    if data[start:].startswith(PNG):
        try:
            check_still(data[start:])          # truncated, or a size that would take all memory
        except DaRosError as error:
            raise BagError(f'compressed depth of format {msg.format!r}: {error}') from error
        depth = cv2.imdecode(np.frombuffer(data, np.uint8, offset=start), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.dtype != np.uint16 or depth.ndim != 2:
        raise BagError(f'compressed depth of format {msg.format!r} is no 16-bit PNG; record the '
                       'raw depth topic')
    known = depth > 0
    if start and msg.format.startswith('32FC1'):
        _, quantum, offset = struct.unpack_from('<iff', data)
        known &= depth > offset
        inverse = np.where(known, depth - np.float32(offset), 1)
        return np.where(known, np.float32(quantum) / inverse, np.nan).astype(np.float32)
    return np.where(known, depth * np.float32(0.001), np.float32(np.nan))


def points_of(msg: Any) -> NDArray[np.float32]:
    """
    Return the finite points of a PointCloud2 message.

    :return: (N, 3) float32 x y z [m] in the frame of the message
    :raises BagError: if it has no x, y, z or damaged data
    """
    fields = {field.name: field for field in msg.fields}
    if not {'x', 'y', 'z'} <= set(fields):
        raise BagError(f'point cloud has the fields {", ".join(fields) or "none"}; x, y, z needed')
    count = int(msg.width) * int(msg.height)
    order = '>' if msg.is_bigendian else '<'
    layout: Any = {'names': ['x', 'y', 'z'],
                   'formats': [_type_of(fields[name], order) for name in 'xyz'],
                   'offsets': [fields[name].offset for name in 'xyz']}
    least = np.dtype(layout).itemsize
    if (count and msg.point_step < least) or len(msg.data) < count * msg.point_step:
        raise BagError(f'point cloud of {count} points with step {msg.point_step} has '
                       f'{len(msg.data)} bytes; its x, y, z need a step of {least}')
    record = np.dtype(layout | {'itemsize': max(msg.point_step, least)})
    packed = np.frombuffer(msg.data, record, count)
    points = np.empty((count, 3), np.float32)
    for column, name in enumerate('xyz'):
        points[:, column] = packed[name]
    finite = np.isfinite(points).all(axis=1)
    return points if finite.all() else points[finite]


def _type_of(field: Any, order: str) -> str:
    if field.datatype not in _FIELD_TYPES:
        raise BagError(f'point cloud field {field.name!r} has datatype {field.datatype}; known '
                       f'are {min(_FIELD_TYPES)} to {max(_FIELD_TYPES)}')
    return order + _FIELD_TYPES[field.datatype]


def scan_points_of(msg: Any) -> NDArray[np.float32]:
    """
    Return the finite beams of a LaserScan message as points.

    :return: (N, 3) float32 x y z [m] in the frame of the message, z = 0
    """
    ranges = np.asarray(msg.ranges, np.float32)
    angle = msg.angle_min + msg.angle_increment * np.arange(len(ranges))
    good = np.isfinite(ranges) & (ranges >= msg.range_min) & (ranges <= msg.range_max)
    flat = ranges[good], angle[good]
    return np.stack([flat[0] * np.cos(flat[1]), flat[0] * np.sin(flat[1]),
                     np.zeros(len(flat[0]))], axis=1).astype(np.float32)
