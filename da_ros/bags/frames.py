"""Frames of a bag or a folder as serialised ROS messages, with their time: no ROS import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
import struct

from da_ros.bag import BagError, BagReader, CAMERA_INFO, COMPRESSED, IMAGE, POINTS, SCAN

PICTURES = ('.jpg', '.jpeg', '.png')
# Types that begin with a std_msgs Header: 4 bytes of encapsulation, then sec and nanosec.
STAMPED = (IMAGE, COMPRESSED, POINTS, SCAN, CAMERA_INFO)


@dataclass(frozen=True)
class Frame:
    """One message to publish: CDR bytes and when, counted from the first message."""

    topic: str
    kind: str
    time_ns: int      # since the first message of the source
    log_ns: int       # when it was recorded; 0 for files
    cdr: bytes


def bag_frames(bag: BagReader, topics: Sequence[str]) -> Iterator[Frame]:
    """
    Yield the messages of some topics of a bag in order.

    :raises BagError: where the bag is damaged; all before was yielded
    """
    first_ns = None
    for message in bag.messages(topics):
        first_ns = message.log_ns if first_ns is None else first_ns
        yield Frame(message.topic, message.kind, message.log_ns - first_ns, message.log_ns,
                    message.cdr())


def pictures_of(folder: Path) -> list[Path]:
    """
    Return the JPEG and PNG files of a folder by name, or the one file given.

    :raises BagError: if there is none
    """
    if folder.is_file() and folder.suffix.lower() in PICTURES:
        return [folder]
    found = sorted(path for path in folder.glob('*') if path.suffix.lower() in PICTURES)
    if not found:
        raise BagError(f'{folder} is no bag and holds no JPEG or PNG panorama')
    return found


def is_bag(path: Path) -> bool:
    """Return whether a path looks like a bag rather than like pictures."""
    return path.suffix in ('.bag', '.mcap', '.db3') or (path / 'metadata.yaml').is_file()


def with_stamp(frame: Frame, stamp_ns: int) -> bytes:
    """Return the frame's bytes with another stamp in its header; unstamped types as they are."""
    if frame.kind not in STAMPED:
        return frame.cdr
    raw = bytearray(frame.cdr)
    order = '<' if raw[1] & 1 else '>'
    struct.pack_into(f'{order}iI', raw, 4, stamp_ns // 10**9, stamp_ns % 10**9)
    return bytes(raw)


def stamp_of(frame: Frame) -> int:
    """Return the stamp in the header of a frame [ns]; its recording time for other types."""
    if frame.kind not in STAMPED:
        return frame.log_ns
    order = '<' if frame.cdr[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', frame.cdr, 4)
    return int(seconds) * 10**9 + int(nanoseconds)
