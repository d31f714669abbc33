"""
Read bags without a ROS installation: ROS 1 (.bag), ROS 2 (sqlite3, mcap).

Messages are those of the `rosbags` package: the fields of ROS, arrays as numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import difflib
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.pixels import image_from_compressed_msg, image_from_msg
from da_ros.transforms import TransformTree

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
POINTS, SCAN = 'sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/LaserScan'
CAMERA_INFO, TF = 'sensor_msgs/msg/CameraInfo', 'tf2_msgs/msg/TFMessage'
REMEDY = ('a ROS 2 bag can be mended by `ros2 bag reindex FOLDER` or `mcap recover FILE`, a '
          'ROS 1 bag by `rosbag reindex FILE`')
_FIELD_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}


class BagError(DaRosError):
    """A bag that is missing, damaged, or lacks what was asked for."""


@dataclass(frozen=True)
class Message:
    """One message of a bag, decoded when asked for."""

    topic: str
    kind: str         # message type, such as sensor_msgs/msg/Image
    log_ns: int       # when it was recorded
    raw: bytes
    bag: BagReader

    def decode(self) -> Any:
        """
        Return the message.

        :raises BagError: if its bytes do not fit its type
        """
        return self.bag.decode(self)

    def cdr(self) -> bytes:
        """Return the bytes as ROS 2 serialises them (CDR), whatever the bag's version."""
        return self.bag.cdr(self)


class BagReader:
    """An open bag; use as a context manager."""

    def __init__(self, path: str | Path):
        """
        Open a bag.

        :param path: a ROS 1 `.bag`, a ROS 2 folder, or a single `.mcap` or `.db3`
        :raises BagError: if it is missing or damaged; names the remedy
        """
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f'no bag {self.path}')
        self._reader = _any_reader(self.path)
        self.kinds: dict[str, str] = {
            name: info.msgtype or '' for name, info in self._reader.topics.items()}
        self.counts: dict[str, int] = {
            name: info.msgcount for name, info in self._reader.topics.items()}

    def __enter__(self) -> BagReader:
        """Return the open bag."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def duration_s(self) -> float:
        """Time from the first to the last message [s]."""
        return max(self._reader.duration, 0) / 1e9 if self._reader.message_count else 0.0

    def find_topic(self, name: str, kinds: Sequence[str], purpose: str) -> str:
        """
        Return a topic of one of the given types: the named one, or the only one if `name` is ''.

        :param purpose: for messages, such as 'image'
        :raises BagError: missing or ambiguous topic, or one of another type; lists what there is
        """
        fitting = [topic for topic, kind in self.kinds.items() if kind in kinds]
        if name and name in self.kinds:
            if self.kinds[name] not in kinds:
                raise BagError(f'topic {name} is {self.kinds[name]}; {purpose} needs '
                               f'{" or ".join(kinds)}{_suggestion(fitting, self.path)}')
            if not self.counts[name]:
                raise BagError(f'topic {name} of {self.path} holds no message')
            return name
        if name:
            near = difflib.get_close_matches(name, self.kinds, 3, 0.5)
            hint = f'; did you mean {" or ".join(near)}' if near else ''
            raise BagError(f'no topic {name} in {self.path}{hint}; it holds: {self._listing()}')
        if len(fitting) == 1:
            return fitting[0]
        what = 'several topics could be' if fitting else 'no topic can be'
        raise BagError(f'{what} the {purpose} in {self.path}; name one. It holds: '
                       f'{self._listing()}')

    def _listing(self) -> str:
        return ', '.join(f'{topic} ({self.kinds[topic]}, {self.counts[topic]})'
                         for topic in sorted(self.kinds)) or 'nothing'

    def messages(self, topics: Sequence[str]) -> Iterator[Message]:
        """
        Yield the messages of topics in the order in which they were recorded.

        :raises BagError: where the bag is damaged; all before was yielded
        """
        wanted = [c for c in self._reader.connections if c.topic in topics]
        if not wanted:
            return
        stream = self._reader.messages(wanted)
        while True:
            try:
                connection, log_ns, raw = next(stream)
            except StopIteration:
                return
            except Exception as error:   # rosbags lets errors of zlib, sqlite, struct through
                raise BagError(f'{self.path} is damaged in the middle ({error}); {REMEDY}'
                               ) from error
            yield Message(connection.topic, connection.msgtype, log_ns, bytes(raw), self)

    def decode(self, message: Message) -> Any:
        """Return the content of a message; see `Message.decode`."""
        try:
            return self._reader.deserialize(message.raw, message.kind)
        except Exception as error:
            raise BagError(f'a message of {message.topic} ({message.kind}) cannot be decoded: '
                           f'{error}') from error

    def cdr(self, message: Message) -> bytes:
        """Return the CDR bytes of a message; see `Message.cdr`."""
        if self._reader.is2:
            return message.raw
        from rosbags.typesys import get_typestore, Stores
        try:     # the ROS 2 definitions: a header without seq
            return bytes(get_typestore(Stores.ROS2_JAZZY).ros1_to_cdr(message.raw, message.kind))
        except Exception as error:
            raise BagError(f'a message of {message.topic} ({message.kind}) cannot be converted: '
                           f'{error}') from error

    def transforms(self) -> TransformTree:
        """Return all frames of /tf and /tf_static."""
        tree = TransformTree()
        topics = [topic for topic, kind in self.kinds.items() if kind == TF]
        for message in self.messages(topics):
            static = message.topic.endswith('tf_static')
            for stamped in message.decode().transforms:
                move, turn = stamped.transform.translation, stamped.transform.rotation
                tree.add(stamped.header.frame_id, stamped.child_frame_id,
                         [move.x, move.y, move.z], [turn.x, turn.y, turn.z, turn.w],
                         None if static else header_ns(stamped))
        return tree


def _any_reader(path: Path) -> Any:
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import get_typestore, Stores
    except ImportError as error:
        raise BagError('reading bags needs the package rosbags: pip install rosbags') from error
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:           # many kinds, from struct.error to sqlite3.Error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BagError(f'cannot open bag {path}: {reason} It is no bag, or was not closed '
                       f'properly; {REMEDY}') from error
    return reader


def _suggestion(fitting: Sequence[str], path: Path) -> str:
    return f'; {path} has {", ".join(fitting)}' if fitting else f'; {path} has none'


def header_ns(msg: Any) -> int:
    """Return the stamp of a message's header [ns]."""
    return int(msg.header.stamp.sec) * 10**9 + int(msg.header.stamp.nanosec)


def panorama_of(msg: Any) -> NDArray[np.uint8]:
    """
    Return the picture of an Image or CompressedImage message.

    :return: (height, width, 3) uint8 BGR
    :raises MessageError: as the live node refuses it
    """
    return image_from_compressed_msg(msg) if hasattr(msg, 'format') else image_from_msg(msg)


def range_image_of(msg: Any) -> NDArray[np.float32]:
    """
    Return a depth image message in metres.

    :return: (height, width) float32; 16UC1 millimetres with 0 as NaN, 32FC1 as it is
    :raises BagError: if it is of another encoding or damaged
    """
    kinds = {'16UC1': ('u2', 0.001), 'mono16': ('u2', 0.001), '32FC1': ('f4', 1.0)}
    if hasattr(msg, 'format'):
        depth = cv2.imdecode(np.frombuffer(msg.data, np.uint8), cv2.IMREAD_UNCHANGED)
        if depth is None or depth.dtype != np.uint16 or depth.ndim != 2:
            raise BagError(f'compressed depth of format {msg.format!r} is no 16-bit PNG; record '
                           'the raw depth topic')
        return np.where(depth > 0, depth * np.float32(0.001), np.float32(np.nan))
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
    if len(msg.data) < count * msg.point_step:
        raise BagError(f'point cloud of {count} points with step {msg.point_step} has '
                       f'{len(msg.data)} bytes')
    order = '>' if msg.is_bigendian else '<'
    axes = [fields[name] for name in 'xyz']
    record = np.dtype({
        'names': ['x', 'y', 'z'], 'formats': [order + _FIELD_TYPES[a.datatype] for a in axes],
        'offsets': [a.offset for a in axes], 'itemsize': msg.point_step})
    packed = np.frombuffer(msg.data, record, count)
    points = np.empty((count, 3), np.float32)
    for column, name in enumerate('xyz'):
        points[:, column] = packed[name]
    finite = np.isfinite(points).all(axis=1)
    return points if finite.all() else points[finite]


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
