# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Write ROS 2 bags (mcap, sqlite3) without a ROS installation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.bags.bag import COMPRESSED, IMAGE, ODOMETRY, POINTS, SCAN, TF
from da_ros.bags.storage import BagError


class BagWriter:
    """A new ROS 2 bag; use as a context manager."""

    def __init__(self, path: str | Path, storage: str = 'mcap'):
        """
        Create a bag.

        :param path: a folder that does not exist yet
        :param storage: mcap or sqlite3
        :raises BagError: if the folder exists or cannot be made
        """
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import get_typestore, Stores
        except ImportError as error:
            raise BagError('writing bags needs the package rosbags: pip install rosbags'
                           ) from error
        if storage not in ('mcap', 'sqlite3'):
            raise BagError(f'storage {storage!r} is none of mcap, sqlite3')
        if Path(path).exists():
            raise BagError(f'{path} exists already; give another name or remove it')
        self.store = get_typestore(Stores.ROS2_JAZZY)
        plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._writer = Writer(Path(path), version=8, storage_plugin=plugin)
            self._writer.open()
        except OSError as error:
            raise BagError(f'cannot write bag {path}: {error}') from error
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        """Return the open bag."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Write the index and close."""
        self.close()

    def close(self) -> None:
        """Write the index and close."""
        self._writer.close()

    def new(self, kind: str, **fields: Any) -> Any:
        """Return a message, such as `new('std_msgs/msg/Header', stamp=..., frame_id='map')`."""
        return self.store.types[kind](**fields)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """Return a std_msgs Header."""
        stamp = self.new('builtin_interfaces/msg/Time', sec=stamp_ns // 10**9,
                         nanosec=stamp_ns % 10**9)
        return self.new('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)

    def write(self, topic: str, msg: Any, log_ns: int) -> None:
        """Append a message."""
        self.write_raw(topic, msg.__msgtype__, self.store.serialize_cdr(msg, msg.__msgtype__),
                       log_ns)

    def write_raw(self, topic: str, kind: str, raw: bytes | memoryview, log_ns: int) -> None:
        """Append a message that is serialised already (CDR)."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=self.store, offered_qos_profiles=_latched(topic))
        self._writer.write(self._connections[topic], log_ns, raw)

    def image(self, stamp_ns: int, frame_id: str, pixels: NDArray[Any], encoding: str) -> Any:
        """Return a sensor_msgs Image."""
        return self.new(
            IMAGE, header=self.header(stamp_ns, frame_id), height=pixels.shape[0],
            width=pixels.shape[1], encoding=encoding, is_bigendian=0,
            step=pixels.nbytes // pixels.shape[0],
            data=np.ascontiguousarray(pixels).view(np.uint8).reshape(-1))

    def compressed(self, stamp_ns: int, frame_id: str, bgr: NDArray[np.uint8],
                   quality: int = 90) -> Any:
        """Return a sensor_msgs CompressedImage (JPEG)."""
        data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return self.new(COMPRESSED, header=self.header(stamp_ns, frame_id), format='jpeg',
                        data=data.reshape(-1))

    def points(self, stamp_ns: int, frame_id: str, points: NDArray[np.float32]) -> Any:
        """Return a sensor_msgs PointCloud2 of (N, 3) points [m]."""
        fields = [self.new('sensor_msgs/msg/PointField', name=name, offset=4 * i, datatype=7,
                           count=1) for i, name in enumerate('xyz')]
        data = np.ascontiguousarray(points, np.float32).view(np.uint8).reshape(-1)
        return self.new(
            POINTS, header=self.header(stamp_ns, frame_id), height=1, width=len(points),
            fields=fields, is_bigendian=False, point_step=12, row_step=12 * len(points),
            data=data, is_dense=True)

    def scan(self, stamp_ns: int, frame_id: str, scan: Any) -> Any:
        """Return a sensor_msgs LaserScan of a `da_ros.scan.Scan`."""
        return self.new(
            SCAN, header=self.header(stamp_ns, frame_id), angle_min=scan.angle_min,
            angle_max=scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1),
            angle_increment=scan.angle_increment, time_increment=0.0, scan_time=0.0,
            range_min=scan.range_min, range_max=scan.range_max,
            ranges=np.asarray(scan.ranges, np.float32), intensities=np.zeros(0, np.float32))

    def odometry(self, stamp_ns: int, parent: str, child: str, translation: Sequence[float],
                 quaternion: Sequence[float]) -> Any:
        """Return a nav_msgs Odometry without velocity; quaternion x y z w."""
        geometry = 'geometry_msgs/msg/'
        zero = self.new(geometry + 'Vector3', x=0.0, y=0.0, z=0.0)
        pose = self.new(
            geometry + 'Pose',
            position=self.new(geometry + 'Point', **dict(zip('xyz', map(float, translation)))),
            orientation=self.new(geometry + 'Quaternion',
                                 **dict(zip('xyzw', map(float, quaternion)))))
        unknown = np.zeros(36)
        return self.new(
            ODOMETRY, header=self.header(stamp_ns, parent), child_frame_id=child,
            pose=self.new(geometry + 'PoseWithCovariance', pose=pose, covariance=unknown),
            twist=self.new(geometry + 'TwistWithCovariance', covariance=unknown,
                           twist=self.new(geometry + 'Twist', linear=zero, angular=zero)))

    def transform(self, stamp_ns: int, parent: str, child: str, translation: Sequence[float],
                  quaternion: Sequence[float]) -> Any:
        """Return a tf2_msgs TFMessage with one transform; quaternion x y z w."""
        move = self.new('geometry_msgs/msg/Vector3', **dict(zip('xyz', map(float, translation))))
        turn = self.new('geometry_msgs/msg/Quaternion',
                        **dict(zip('xyzw', map(float, quaternion))))
        pose = self.new('geometry_msgs/msg/Transform', translation=move, rotation=turn)
        return self.new(TF, transforms=[self.new(
            'geometry_msgs/msg/TransformStamped', header=self.header(stamp_ns, parent),
            child_frame_id=child, transform=pose)])


def _latched(topic: str) -> list[Any]:
    """Return the quality of service that keeps /tf_static for late joiners."""
    if not topic.endswith('tf_static'):
        return []
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )
    never = QosTime(sec=2147483647, nsec=4294967295)
    return [Qos(history=QosHistory.KEEP_LAST, depth=1, reliability=QosReliability.RELIABLE,
                durability=QosDurability.TRANSIENT_LOCAL, deadline=never, lifespan=never,
                liveliness=QosLiveliness.AUTOMATIC, liveliness_lease_duration=never,
                avoid_ros_namespace_conventions=False)]
