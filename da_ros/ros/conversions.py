# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ROS messages to arrays and back; no maths, no copies beyond the one into the message."""

from __future__ import annotations

from array import array
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from da_ros.derived.obstacle_distance import centimetres
from da_ros.scan import Scan


def header_for(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with a time of any non-negative number of nanoseconds."""
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


def room(target: array[Any], nbytes: int) -> NDArray[np.uint8]:
    """
    Return the memory of a message's array field, made to have a size.

    Memory that is there is used again where the size stays; another size is left to realloc(3).
    The field cannot change its size while the returned view is in use.

    :return: (nbytes,) uint8; a multiple of the field's own items
    """
    have = target.itemsize * len(target)
    if nbytes < have:
        del target[nbytes // target.itemsize:]
    elif nbytes > have:
        target.frombytes(bytes(nbytes - have))
    return np.frombuffer(target, np.uint8) if nbytes else np.empty(0, np.uint8)


def fill(target: array[Any], values: NDArray[Any]) -> None:
    """
    Copy the bytes of `values` into a message's array field, in place.

    Assigning the field instead would make rclpy copy once more, or check every byte in Python.
    Values that lie in the field already (`room`) stay where they are.
    """
    address, items = target.buffer_info()
    if values.size and (values.ctypes.data, values.nbytes) == (address, items * target.itemsize):
        return
    memory = room(target, values.nbytes)
    memory.view(values.dtype).reshape(values.shape)[...] = values


def fill_image(msg: Image, header: Header, pixels: NDArray[Any], encoding: str) -> Image:
    """Write an image into a message that is used again for every frame."""
    msg.header, msg.encoding = header, encoding
    msg.height, msg.width = pixels.shape[:2]
    msg.step = pixels.nbytes // pixels.shape[0]
    msg.is_bigendian = 0
    fill(msg.data, pixels)
    return msg


def fill_camera_info(msg: CameraInfo, header: Header, height: int, width: int) -> CameraInfo:
    """Write the size; K stays zero (uncalibrated), because a panorama is no pinhole image."""
    msg.header, msg.height, msg.width = header, height, width
    msg.distortion_model = 'equirectangular'
    return msg


def fill_pinhole_info(msg: CameraInfo, header: Header, height: int, width: int,
                      intrinsics: NDArray[np.float64]) -> CameraInfo:
    """Write the calibration of a virtual pinhole view: no distortion, no rectification."""
    msg.header, msg.height, msg.width = header, height, width
    msg.distortion_model, msg.d = 'plumb_bob', [0.0] * 5
    msg.k = intrinsics.reshape(-1)
    msg.r = np.eye(3).reshape(-1)
    msg.p = np.hstack([intrinsics, np.zeros((3, 1))]).reshape(-1)
    return msg


def fill_cloud(msg: PointCloud2, header: Header, records: NDArray[np.float32],
               size_hw: tuple[int, int] | None = None,
               extra: tuple[str, ...] = ('rgb',)) -> PointCloud2:
    """
    Write point records into a message.

    :param records: (N, 3 and more) float32: x y z and the extra values
    :param size_hw: height and width of an organised cloud, None = one row
    :param extra: names of the values after x y z, as many as there are
    """
    names = ('x', 'y', 'z', *extra)[:records.shape[1]]
    if [field.name for field in msg.fields] != list(names):
        msg.fields = [PointField(name=name, offset=4 * k, datatype=PointField.FLOAT32, count=1)
                      for k, name in enumerate(names)]
    msg.header = header
    msg.height, msg.width = size_hw or (1, len(records))
    msg.point_step = 4 * len(names)
    msg.row_step = msg.point_step * msg.width
    msg.is_bigendian, msg.is_dense = False, size_hw is None
    fill(msg.data, records)
    return msg


def fill_scan(msg: LaserScan, header: Header, scan: Scan) -> LaserScan:
    """Write a scan; all beams belong to one instant."""
    msg.header = header
    msg.angle_min, msg.angle_increment = scan.angle_min, scan.angle_increment
    msg.angle_max = scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1)
    msg.range_min, msg.range_max = scan.range_min, scan.range_max
    fill(msg.ranges, scan.ranges)
    return msg


def fill_px4(msg: Any, header: Header, beams: Scan) -> Any:
    """Write obstacle distances into a px4_msgs/ObstacleDistance; the stamp in microseconds."""
    msg.timestamp = header.stamp.sec * 10**6 + header.stamp.nanosec // 1000
    msg.frame = msg.MAV_FRAME_BODY_FRD
    msg.sensor_type = msg.MAV_DISTANCE_SENSOR_LASER
    msg.increment, msg.angle_offset = 5.0, 0.0
    msg.min_distance, msg.max_distance = (
        round(limit * 100) for limit in (beams.range_min, beams.range_max))
    msg.distances = centimetres(beams)
    return msg
