# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Read bags without a ROS installation: ROS 1 (.bag), ROS 2 (sqlite3, mcap).

Messages are those of the `rosbags` package: the fields of ROS, arrays as numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
import difflib
from pathlib import Path
from types import TracebackType
from typing import Any

from da_ros.bags.definitions import Definitions
from da_ros.bags.storage import BagError, Channel, INSTALL, open_storages, REMEDY
from da_ros.bags.transforms import TransformTree
from da_ros.stamps import stamp_ns

IMAGE, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
POINTS, SCAN = 'sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/LaserScan'
CAMERA_INFO, TF = 'sensor_msgs/msg/CameraInfo', 'tf2_msgs/msg/TFMessage'
ODOMETRY = 'nav_msgs/msg/Odometry'


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
        self._storages = open_storages(self.path)
        self.kinds: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.left_alone: dict[str, str] = {}      # topic -> why it cannot be read
        channels = [channel for storage in self._storages for channel in storage.channels]
        self._ros2 = any(channel.encoding == 'cdr' for channel in channels)
        if not self._ros2 and self.path.suffix != '.bag' and any(
                channel.encoding == 'ros1' for channel in channels):
            self.close()
            raise BagError(f'{self.path} holds ROS 1 messages (`mcap convert` of a .bag); give '
                           'the .bag itself, or what `rosbags-convert` makes of it')
        try:
            self._definitions = Definitions(self._ros2)
        except ImportError as error:
            raise BagError(INSTALL) from error
        for channel in channels:
            self._take(channel)

    def _take(self, channel: Channel) -> None:
        topic, kind = channel.topic, channel.kind
        reason = self._definitions.learn(channel)
        if self.kinds.get(topic, kind) != kind:
            reason = f'it changes its type from {self.kinds[topic]} to {kind}'
        if reason:
            self.left_alone[topic] = reason
        if topic in self.left_alone:
            self.kinds.pop(topic, None)
            self.counts.pop(topic, None)
        else:
            self.kinds[topic] = kind
            self.counts[topic] = self.counts.get(topic, 0) + channel.count

    def __enter__(self) -> BagReader:
        """Return the open bag."""
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the bag."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        for storage in self._storages:
            storage.close()

    @property
    def duration_s(self) -> float:
        """Time from the first to the last message [s]."""
        spans = [storage.span_ns for storage in self._storages if storage.span_ns]
        if not spans:
            return 0.0
        return (max(last for _, last in spans) - min(first for first, _ in spans)) / 1e9

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
        known = [f'{topic} ({self.kinds[topic]}, {self.counts[topic]})'
                 for topic in sorted(self.kinds)]
        odd = [f'{topic} ({self.left_alone[topic]})' for topic in sorted(self.left_alone)]
        return ', '.join(known) + (f'; left alone: {", ".join(odd)}' if odd else '') if (
            known or odd) else 'nothing'

    def messages(self, topics: Sequence[str]) -> Iterator[Message]:
        """
        Yield the messages of topics in the order in which they were recorded.

        :raises BagError: where the bag is damaged; all before was yielded
        """
        for storage in self._storages:
            wanted = [c for c in storage.channels if c.topic in topics and c.topic in self.kinds]
            stream = storage.messages(wanted) if wanted else iter(())
            while True:
                try:
                    channel, log_ns, raw = next(stream)
                except StopIteration:
                    break
                except Exception as error:      # errors of zlib, sqlite, struct come through
                    raise BagError(f'{self.path} is damaged in the middle ({error}); {REMEDY}'
                                   ) from error
                yield Message(channel.topic, channel.kind, log_ns, raw, self)

    def decode(self, message: Message) -> Any:
        """Return the content of a message; see `Message.decode`."""
        try:
            return self._definitions.decode(message.raw, message.kind)
        except Exception as error:
            raise BagError(f'a message of {message.topic} ({message.kind}) cannot be decoded: '
                           f'{error}') from error

    def cdr(self, message: Message) -> bytes:
        """Return the CDR bytes of a message; see `Message.cdr`."""
        try:
            return self._definitions.cdr(message.raw, message.kind)
        except Exception as error:
            raise BagError(f'a message of {message.topic} ({message.kind}) cannot be converted: '
                           f'{error}') from error

    def with_times(self, cdr: bytes, kind: str, move: Callable[[int], int]) -> bytes:
        """
        Return a message with all its times moved; see `Definitions.with_times`.

        :raises BagError: if its bytes do not fit its type
        """
        try:
            return self._definitions.with_times(cdr, kind, move)
        except Exception as error:
            raise BagError(f'a message of type {kind} cannot be stamped anew: {error}') from error

    def transforms(self) -> TransformTree:
        """Return all frames of /tf and /tf_static; damaged messages are counted as left out."""
        tree = TransformTree()
        topics = [topic for topic, kind in self.kinds.items() if kind == TF]
        for message in self.messages(topics):
            static = message.topic.endswith('tf_static')
            try:
                transforms = message.decode().transforms
            except BagError:
                tree.left_out[f'damaged messages of {message.topic}'] += 1
                continue
            for stamped in transforms:
                move, turn = stamped.transform.translation, stamped.transform.rotation
                tree.add(stamped.header.frame_id, stamped.child_frame_id,
                         [move.x, move.y, move.z], [turn.x, turn.y, turn.z, turn.w],
                         None if static else stamp_ns(stamped))
        return tree


def _suggestion(fitting: Sequence[str], path: Path) -> str:
    return f'; {path} has {", ".join(fitting)}' if fitting else f'; {path} has none'
