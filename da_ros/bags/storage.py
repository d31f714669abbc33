# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Files of bags: which channels they hold, and their messages as bytes.

A channel that nobody here can decode (JSON, protobuf, a definition in an unknown language) is a
channel like any other at this level: one odd topic must not hide the images beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
import sqlite3
from typing import Any, Protocol
from urllib.parse import quote

from da_ros.documents import DocumentError, read_yaml
from da_ros.errors import DaRosError, reason_of

REMEDY = ('a ROS 2 bag can be mended by `ros2 bag reindex FOLDER` or `mcap recover FILE`, a '
          'ROS 1 bag by `rosbag reindex FILE`')
INSTALL = 'reading bags needs the packages rosbags and mcap: pip install rosbags mcap'


class BagError(DaRosError):
    """A bag that is missing, damaged, or lacks what was asked for."""


@dataclass(frozen=True)
class Channel:
    """One recorded stream."""

    key: int
    topic: str
    kind: str         # message type, such as sensor_msgs/msg/Image; '' = not told
    encoding: str     # of its messages: cdr, ros1, json, protobuf, ...
    language: str     # of its definition: ros2msg, ros2idl, ros1msg, ...; '' = none stored
    definition: str
    count: int        # messages


class Storage(Protocol):
    """What the files of every kind have in common."""

    channels: list[Channel]
    span_ns: tuple[int, int] | None      # times of the first and the last message

    def messages(self, wanted: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording [ns] and bytes."""

    def close(self) -> None:
        """Let go of the files."""


def open_storages(path: Path) -> list[Storage]:
    """
    Return the files of a bag in their order.

    :param path: a ROS 1 `.bag`, a ROS 2 folder, or a single `.mcap` or `.db3`
    :raises BagError: if it is missing, damaged or no bag; names the remedy
    """
    try:
        if not path.exists():
            raise BagError(f'no bag {path}')
        if path.suffix == '.bag':
            from rosbags.rosbag1 import Reader
            return [RosbagsFiles(Reader(path), 'ros1')]
        if not path.is_dir():
            return [_file(path)]
        metadata = _metadata(path)
        if str(metadata.get('compression_mode') or 'none').lower() != 'none':
            from rosbags.rosbag2 import Reader as Reader2
            return [RosbagsFiles(Reader2(path), 'cdr')]
        return [_file(path / Path(name).name) for name in metadata['relative_file_paths']]
    except ImportError as error:
        raise BagError(INSTALL) from error
    except BagError:
        raise
    except Exception as error:           # many kinds, from struct.error to sqlite3.Error
        raise BagError(f'cannot open bag {path}: {reason_of(error).rstrip(".")}. It is no bag, or '
                       f'was not closed properly; {REMEDY}') from error


def _file(path: Path) -> Storage:
    if not path.is_file():
        raise BagError(f'cannot open bag {path.parent}: its metadata.yaml names {path.name}, '
                       'which is not there; copy it, or run `ros2 bag reindex`')
    if path.suffix not in ('.mcap', '.db3'):
        raise BagError(f'cannot open bag {path}: it is no .bag, .mcap or .db3')
    return McapFile(path) if path.suffix == '.mcap' else SqliteFile(path)


def _metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata of a rosbag2 folder; without them the order of its files is unknown."""
    file = folder / 'metadata.yaml'
    inside = sorted(p.name for p in folder.iterdir() if p.suffix in ('.mcap', '.db3'))
    if not file.is_file() and not inside:
        raise BagError(f'cannot open bag {folder}: it holds no metadata.yaml, .mcap or .db3')
    if not file.is_file():
        raise BagError(f'cannot open bag {folder}: it has no metadata.yaml (the recorder did not '
                       f'end properly); run `ros2 bag reindex {folder}`, or give one file: '
                       f'{", ".join(inside)}')
    try:
        metadata = read_yaml(file)['rosbag2_bagfile_information']
        assert all(isinstance(name, str) for name in metadata['relative_file_paths'] or [0])
    except (DocumentError, KeyError, TypeError, AssertionError) as error:
        raise BagError(f'cannot open bag {folder}: its metadata.yaml is damaged; run `ros2 bag '
                       f'reindex {folder}`') from error
    return dict(metadata)


class McapFile:
    """An mcap file, with or without an index."""

    def __init__(self, path: Path):
        """Read the channels; a file without an index is read through once."""
        from mcap.reader import make_reader
        self.path = path
        with path.open('rb') as stream:
            summary = make_reader(stream).get_summary()
        if summary is not None and summary.statistics is not None and summary.channels:
            found, statistics = summary, summary.statistics
            counts: dict[int, int] = statistics.channel_message_counts
            times = (statistics.message_start_time, statistics.message_end_time)
            self._indexed = bool(summary.chunk_indexes)
        else:
            found, counts, times = self._scan()
            self._indexed = False
        self.span_ns = times if sum(counts.values()) else None
        self.channels = [self._channel(channel, found.schemas.get(channel.schema_id), counts)
                         for channel in found.channels.values()]

    @staticmethod
    def _channel(channel: Any, schema: Any, counts: dict[int, int]) -> Channel:
        # Definitions of other languages are binary and never looked at.
        text = schema.data.decode('utf-8', 'replace') if schema else ''
        return Channel(channel.id, channel.topic, schema.name if schema else '',
                       channel.message_encoding, schema.encoding if schema else '', text,
                       counts.get(channel.id, 0))

    def _scan(self) -> tuple[Any, dict[int, int], tuple[int, int]]:
        from mcap.records import Channel as ChannelRecord
        from mcap.records import Message, Schema
        from mcap.stream_reader import StreamReader
        from mcap.summary import Summary
        found, counts, first, last = Summary(), Counter[int](), 2**63, 0
        with self.path.open('rb') as stream:
            for record in StreamReader(stream).records:
                if isinstance(record, Schema):
                    found.schemas[record.id] = record
                elif isinstance(record, ChannelRecord):
                    found.channels[record.id] = record
                elif isinstance(record, Message):
                    counts[record.channel_id] += 1
                    first, last = min(first, record.log_time), max(last, record.log_time)
        return found, counts, (first, last)

    def messages(self, wanted: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording [ns] and bytes."""
        from mcap.reader import NonSeekingReader, SeekingReader
        by_key = {channel.key: channel for channel in wanted}
        # Without an index, sorting by time would hold the whole file in memory.
        kind = SeekingReader if self._indexed else NonSeekingReader
        with self.path.open('rb') as stream:
            # Checked, because a chunk without compression reads well with any bytes in it.
            reader = kind(stream, validate_crcs=True)
            for _, channel, message in reader.iter_messages(
                    [channel.topic for channel in wanted], log_time_order=self._indexed):
                if channel.id in by_key:
                    yield by_key[channel.id], message.log_time, message.data

    def close(self) -> None:
        """Nothing is held open."""


class SqliteFile:
    """A db3 file of rosbag2."""

    def __init__(self, path: Path):
        """Read the channels."""
        self.path = path
        with closing(self._connect()) as database:
            columns = {row[1] for row in database.execute('PRAGMA table_info(topics)')}
            if not columns:
                raise BagError(f'cannot open bag {path}: the database holds no topics; {REMEDY}')
            counts = dict(database.execute(
                'SELECT topic_id, COUNT(*) FROM messages GROUP BY topic_id'))
            stored: dict[str, tuple[str, str]] = {}
            if database.execute('PRAGMA table_info(message_definitions)').fetchall():
                stored = {kind: (language, text) for kind, language, text in database.execute(
                    'SELECT topic_type, encoding, encoded_message_definition '
                    'FROM message_definitions')}
            self.channels = []
            for key, topic, kind, encoding in database.execute(
                    'SELECT id, name, type, serialization_format FROM topics ORDER BY id'):
                language, text = stored.get(kind, ('', ''))
                self.channels.append(Channel(key, topic, kind, encoding, language, text,
                                             counts.get(key, 0)))
            times = database.execute(
                'SELECT MIN(timestamp), MAX(timestamp) FROM messages').fetchone()
            self.span_ns = times if counts else None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f'file:{quote(str(self.path))}?immutable=1', uri=True)

    def messages(self, wanted: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording [ns] and bytes."""
        by_key = {channel.key: channel for channel in wanted}
        with closing(self._connect()) as database:
            for key, time_ns, raw in database.execute(
                    'SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN '
                    f'({",".join(map(str, by_key))}) ORDER BY timestamp'):
                yield by_key[key], time_ns, raw

    def close(self) -> None:
        """Nothing is held open."""


class RosbagsFiles:
    """What the package rosbags reads: ROS 1 bags, and compressed ROS 2 folders."""

    def __init__(self, reader: Any, encoding: str):
        """Open; the encoding is that of all its messages."""
        self._reader = reader
        reader.open()
        self.span_ns = (reader.start_time, reader.end_time) if reader.message_count else None
        self._connections = {number: c for number, c in enumerate(reader.connections)}
        languages = {'MSG': 'ros2msg' if encoding == 'cdr' else 'ros1msg', 'IDL': 'ros2idl',
                     'NONE': ''}
        self.channels = [
            Channel(number, c.topic, c.msgtype, encoding,
                    languages[c.msgdef.format.name], c.msgdef.data, c.msgcount)
            for number, c in self._connections.items()]

    def messages(self, wanted: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield channel, time of recording [ns] and bytes."""
        # By topic and type: connections of equal content are equal, and owners differ.
        by_name = {(channel.topic, channel.kind): channel for channel in wanted}
        for connection, time_ns, raw in self._reader.messages(
                [self._connections[channel.key] for channel in wanted]):
            yield by_name[connection.topic, connection.msgtype], time_ns, bytes(raw)

    def close(self) -> None:
        """Close the files."""
        self._reader.close()
