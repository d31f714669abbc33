# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of a bag or a folder as serialised ROS messages, with their time: no ROS import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
import struct

from da_ros.bags.bag import BagReader, CAMERA_INFO, COMPRESSED, IMAGE, POINTS, SCAN
from da_ros.bags.storage import BagError

PICTURES = ('.jpg', '.jpeg', '.png')
# What `da_ros_infer` writes beside NAME_range.npy; NAME_depth_mm.png is truth, too.
OWN_PICTURES = ('_preview', '_scan')
# Large types whose only time is that of the Header they begin with: it is moved in place.
STAMPED = (IMAGE, COMPRESSED, POINTS, SCAN, CAMERA_INFO)


@dataclass(frozen=True)
class Frame:
    """One message to publish: CDR bytes and when, counted from the first message."""

    topic: str
    kind: str
    time_ns: int      # since the first message of the source
    log_ns: int       # when it was recorded
    cdr: bytes
    bag: BagReader | None = None      # knows the type

    def moved(self, move: Callable[[int], int]) -> bytes:
        """
        Return the bytes with every time inside passed through a function of nanoseconds.

        Headers, transforms of a TFMessage, poses of a path alike: what was recorded together
        must not be stamped by two clocks.

        :raises BagError: if the type is not known
        """
        if self.kind in STAMPED:
            raw = bytearray(self.cdr)
            try:
                order = '<' if raw[1] & 1 else '>'
                seconds, nanoseconds = struct.unpack_from(f'{order}iI', raw, 4)
                struct.pack_into(f'{order}iI', raw, 4,
                                 *divmod(move(seconds * 10**9 + nanoseconds), 10**9))
            except (IndexError, struct.error) as error:
                raise BagError(f'a message of {self.topic} ({self.kind}, {len(raw)} bytes) is '
                               f'damaged: {error}') from error
            return bytes(raw)
        if self.bag is None:
            raise BagError(f'{self.topic}: the times inside {self.kind} are not known')
        return self.bag.with_times(self.cdr, self.kind, move)


def bag_frames(bag: BagReader, topics: Sequence[str]) -> Iterator[Frame]:
    """
    Yield the messages of some topics of a bag in order.

    :raises BagError: where the bag is damaged; all before was yielded
    """
    first_ns = None
    for message in bag.messages(topics):
        first_ns = message.log_ns if first_ns is None else first_ns
        yield Frame(message.topic, message.kind, message.log_ns - first_ns, message.log_ns,
                    message.cdr(), bag)


def pictures_of(folder: Path) -> list[Path]:
    """
    Return the JPEG and PNG files of a folder by name, or the one file given.

    Hidden files are left out (other systems put `._NAME` beside each), and so is what
    `da_ros_infer` has written there.

    :raises BagError: if there is none
    """
    if folder.is_file():
        if folder.suffix.lower() in PICTURES:
            return [folder]
        raise BagError(f'{folder} is neither a bag nor a JPEG or PNG panorama')
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES
                   and not path.name.startswith('.') and not _is_own(path) and path.is_file())
    if not found:
        raise BagError(f'{folder} is no bag and holds no JPEG or PNG panorama')
    return found


def _is_own(path: Path) -> bool:
    stem = next((path.stem.removesuffix(end) for end in OWN_PICTURES if path.stem.endswith(end)),
                '')
    return path.stem.endswith('_depth_mm') or bool(
        stem and path.with_name(f'{stem}_range.npy').exists())


def is_bag(path: Path) -> bool:
    """Return whether a path looks like a bag rather than like pictures."""
    return path.suffix in ('.bag', '.mcap', '.db3') or (path.is_dir() and any(
        file.name == 'metadata.yaml' or file.suffix in ('.mcap', '.db3')
        for file in path.iterdir()))
