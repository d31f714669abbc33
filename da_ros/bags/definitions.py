# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Message types as a bag defines them: bytes become messages of the package `rosbags`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from da_ros.bags.storage import Channel

READABLE = {'ros2msg', 'ros2idl', 'omgidl', 'ros1msg'}
TIME = 'builtin_interfaces/msg/Time'
# Types whose fields are read by name here; of these, a bag's own definition must be that of ROS.
READ = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/PointCloud2',
        'sensor_msgs/msg/LaserScan', 'tf2_msgs/msg/TFMessage', 'nav_msgs/msg/Odometry'}
UNKNOWN = ('', 'unknown')            # what recorders write that did not find the definition


class Definitions:
    """
    The types of one bag.

    Each has a store of its own: bags hold definitions that contradict each other or refer to what
    is not there (service events, types of another release), and one must not spoil the others.
    """

    def __init__(self, ros2: bool):
        """Start empty; `ros2` tells how messages are serialised."""
        from rosbags.typesys import get_typestore, Stores
        self._ros2 = ros2
        self._standard = get_typestore(Stores.ROS2_JAZZY)
        self._stores: dict[str, Any] = {}

    def learn(self, channel: Channel) -> str:
        """Take in the type of a channel; return '' or why its messages cannot be read."""
        expected = 'cdr' if self._ros2 else 'ros1'
        if channel.encoding != expected:
            return f'{channel.encoding or "unknown"} messages, not {expected}'
        if channel.kind in self._stores:
            return ''
        if channel.language in UNKNOWN:
            if channel.kind not in self._standard.fielddefs:
                return f'the bag holds no definition of {channel.kind or "its type"}'
            self._stores[channel.kind] = self._standard
            return ''
        if channel.language not in READABLE:
            return f'defined in {channel.language}'
        try:
            store = _store_of(channel)
        except Exception:      # rosbags raises whatever its parser stumbles over
            return f'the definition of {channel.kind} cannot be read'
        if channel.kind in READ and (field := _differs(store, self._standard, channel.kind)):
            return f'{channel.kind} is defined with another field {field} than in ROS'
        self._stores[channel.kind] = store
        return ''

    def decode(self, raw: bytes, kind: str) -> Any:
        """Return a message; raises what rosbags raises where the bytes do not fit the type."""
        store = self._stores[kind]
        read = store.deserialize_cdr if self._ros2 else store.deserialize_ros1
        return read(raw, kind)

    def cdr(self, raw: bytes, kind: str) -> bytes:
        """Return the bytes as ROS 2 serialises them."""
        if self._ros2:
            return raw
        return bytes(self._standard.ros1_to_cdr(raw, kind))   # a header without seq

    def with_times(self, cdr: bytes, kind: str, move: Callable[[int], int]) -> bytes:
        """
        Return a message with every builtin_interfaces/Time inside passed through a function.

        :param cdr: as `cdr` returns it
        :param move: from and to nanoseconds; a time of 0 means "not set" and stays
        """
        # ROS 1 messages were converted by the standard definitions.
        store = self._stores[kind] if self._ros2 else self._standard
        msg = store.deserialize_cdr(cdr, kind)
        return bytes(store.serialize_cdr(msg, kind)) if _move_times(msg, move) else cdr


def _move_times(msg: Any, move: Callable[[int], int]) -> int:
    """Move all times of a message in place; return how many there were."""
    moved = 0
    for item in fields(msg):
        value: Any = getattr(msg, item.name)
        if getattr(value, '__msgtype__', '') == TIME:
            if time_ns := value.sec * 10**9 + value.nanosec:
                sec, nanosec = divmod(move(time_ns), 10**9)
                setattr(msg, item.name, type(value)(sec=sec, nanosec=nanosec))
                moved += 1
        elif is_dataclass(value):
            moved += _move_times(value, move)
        elif isinstance(value, list):
            moved += sum(_move_times(part, move) for part in value if is_dataclass(part))
    return moved


def _store_of(channel: Channel) -> Any:
    from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores
    types: dict[str, Any] = {}
    if channel.language.endswith('idl'):
        # rosbag2 joins the files of a type by a line of = and the name of each.
        for part in channel.definition.split('=' * 80 + '\n'):
            title, _, rest = part.partition('\n')
            types |= get_types_from_idl(rest if title.startswith('IDL: ') else part) \
                if part.strip() else {}
    else:
        types |= get_types_from_msg(channel.definition, channel.kind)
    store = get_typestore(Stores.EMPTY)
    store.register(types)
    store.get_msgdef(channel.kind)         # raises where a nested type is missing
    return store


def _differs(store: Any, standard: Any, kind: str) -> str:
    """Return a field of the standard's that a store has not, or of another type; '' = none."""
    has = dict(store.fielddefs[kind][1])
    for name, form in standard.fielddefs[kind][1]:
        if has.get(name) != form:
            return f'{kind.rsplit("/", 1)[-1]}.{name}'
        while isinstance(form[1][0], tuple):           # a sequence or an array of it
            form = form[1][0]
        if isinstance(form[1], str) and (inside := _differs(store, standard, form[1])):
            return inside
    return ''
