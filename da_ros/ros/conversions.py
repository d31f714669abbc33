"""ROS messages to arrays and back; no maths, no copies beyond the one into the message."""

from __future__ import annotations

from array import array
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from da_ros.scan import Scan


def header_for(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with a time of any non-negative number of nanoseconds."""
    return Header(stamp=Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame_id)


def stamp_ns(msg: Any, offset_s: float = 0.0) -> int:
    """Return a message's stamp [ns], moved by an offset [s] and never below zero."""
    stamp = msg.header.stamp
    return max(stamp.sec * 10**9 + stamp.nanosec + round(offset_s * 1e9), 0)


def fill(target: array[Any], values: NDArray[Any]) -> None:
    """
    Copy the bytes of `values` into a message's array field, in place.

    Assigning the field instead would make rclpy copy once more, or check every byte in Python.
    """
    if target.itemsize * len(target) != values.nbytes:
        del target[:]
        target.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    elif values.size:
        np.frombuffer(target, values.dtype).reshape(values.shape)[...] = values


def fill_image(msg: Image, header: Header, pixels: NDArray[Any], encoding: str) -> Image:
    """Write an image into a message that is used again for every frame."""
    msg.header, msg.encoding = header, encoding
    msg.height, msg.width = pixels.shape[:2]
    msg.step = pixels.nbytes // pixels.shape[0]
    msg.is_bigendian = 0
    fill(msg.data, pixels)
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
