# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG bytes to pictures, from any source: messages, bags and files are read alike."""

from __future__ import annotations

from dataclasses import dataclass
import re
import struct
from typing import Any
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.gpano import LONGEST_PACKET, read_gpano
from da_ros.panorama import Picture, place

MAX_IMAGE_PIXELS = 16384 * 8192

# A marker of ITU-T T.81, annex B. In the coded data of a scan FF is followed by 00 (a stuffed
# byte) or a restart mark; FF before a marker is a fill byte.
_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
# All kinds of frame header; C4, C8 and CC among them are tables and an extension.
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01})
_KNOWN = frozenset(range(0xC0, 0xD0)) | frozenset(range(0xD8, 0xF0)) | {0x01, 0xFE}
_JPEG, _PNG = b'\xff\xd8', b'\x89PNG\r\n\x1a\n'
_XMP_OF_JPEG = b'http://ns.adobe.com/xap/1.0/\0'
_XMP_OF_PNG = b'XML:com.adobe.xmp\0'
_MID_GREY = 128                   # what a decoder paints where the coded data have ended
# Each restart mark, because a cut may lie just before the one that the decoder waits for.
_MORE_DATA = np.frombuffer(
    b'\xa5\x5a' * 16 + b''.join(bytes([0xFF, mark]) + b'\xa5\x5a' * 16
                                for mark in range(0xD0, 0xD8)), np.uint8)


class StillError(DaRosError):
    """Bytes that are no whole JPEG or PNG, or one too large to be decoded."""


@dataclass
class Header:
    """What stands in a file beside its pixels."""

    kind: str
    sizes: list[tuple[int, int]]      # width, height [px]; of every frame header
    end: int                          # bytes of the picture; what follows is a trailer
    xmp: bytes = b''


def decode_image(data: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> Picture:
    """
    Decode a JPEG or PNG; what a camera appends behind its end is left alone.

    A crop that its GPano data describe is placed in the full sphere (see `da_ros.gpano`).

    :param data: anything with the buffer of bytes
    :param max_pixels: larger ones are refused before any memory is taken
    :return: (height, width, 3) uint8 BGR, with the part of the sphere that it shows
    :raises StillError: another format, truncated, damaged, or too large
    :raises GPanoError: GPano data that contradict themselves or the picture
    """
    header = check_still(data, max_pixels)
    whole = np.frombuffer(data, np.uint8, header.end)
    pixels = _decoded(whole)
    if pixels is None:
        raise StillError(f'{header.kind} of {len(data)} bytes cannot be decoded')
    if header.kind == 'JPEG' and _ends_early(whole, pixels):
        raise StillError(f'JPEG of {len(data)} bytes is truncated (its data end before the last '
                         'row)')
    found = read_gpano(header.xmp)
    try:
        return Picture(place(pixels, found.extent, max_pixels), found.extent, found.warnings)
    except ValueError as error:
        raise StillError(f'GPano data do not fit: {error}') from error


def _decoded(whole: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    try:
        # A panorama's up is given by its rows; a camera's orientation tag must not turn it.
        image = cv2.imdecode(whole, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _ends_early(whole: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> bool:
    """Return whether a JPEG was cut and its end mark put behind the cut, as some cameras do."""
    # The decoder paints what is missing mid-grey and tells nobody. A last pixel of that grey may
    # be right, too, so more data decide: of a whole picture they change nothing.
    if (pixels[-1, -1] != _MID_GREY).any():
        return False
    longer = np.concatenate([whole[:-2], _MORE_DATA, whole[-2:]])
    other = _decoded(longer)
    return other is None or not np.array_equal(other, pixels)


def check_still(data: Any, max_pixels: int = MAX_IMAGE_PIXELS) -> Header:
    """
    Read the header of a JPEG or PNG before anything decodes it.

    :param data: anything with the buffer of bytes
    :raises StillError: another format, truncated, damaged, or of more than `max_pixels`
    """
    header = _read_header(memoryview(data).cast('B') if len(data) else memoryview(b''))
    for width, height in header.sizes:
        if width * height > max_pixels:
            raise StillError(f'{header.kind} of {width} x {height} px is larger than '
                             f'max_image_pixels {max_pixels}; scale it down, or raise the limit')
    return header


def _read_header(data: memoryview) -> Header:
    if data[:2] == _JPEG:
        return _walk_jpeg(data)
    if data[:8] == _PNG:
        return _walk_png(data)
    if data[:2] == _PNG[:2]:
        raise _truncated('PNG', data)
    raise StillError(f'image of {len(data)} bytes is neither JPEG nor PNG')


def _walk_jpeg(data: memoryview) -> Header:
    # Marker by marker, because a thumbnail within a segment has marks of its own, and a decoder
    # paints what is missing at the end grey and says nothing.
    header, begin = Header('JPEG', [], 0), 2
    while found := _MARKER.search(data, begin):
        code, begin = data[found.start() + 1], found.end()
        if code == _END_OF_IMAGE:
            header.end = begin
            return header
        if code not in _KNOWN or code == _START_OF_IMAGE:
            raise StillError(f'JPEG of {len(data)} bytes is truncated or damaged (mark '
                             f'FF{code:02X} at byte {found.start()} before its end mark)')
        if code in _WITHOUT_LENGTH:
            continue
        if begin + 2 > len(data):
            break
        length, = struct.unpack_from('>H', data, begin)
        segment, begin = data[begin + 2:begin + length], begin + max(length, 2)
        if code in _FRAME_HEADERS and len(segment) >= 5:
            height, width = struct.unpack_from('>HH', segment, 1)
            header.sizes.append((width, height))
        if (code == _APP1 and segment[:len(_XMP_OF_JPEG)] == _XMP_OF_JPEG
                and len(header.xmp) < LONGEST_PACKET):
            header.xmp += bytes(segment[len(_XMP_OF_JPEG):])
    raise _truncated('JPEG', data)


def _walk_png(data: memoryview) -> Header:
    header, begin = Header('PNG', [], 0), len(_PNG)
    while begin + 12 <= len(data):
        length, kind = struct.unpack_from('>I4s', data, begin)
        chunk, begin = data[begin + 8:begin + 8 + length], begin + 12 + length
        if begin > len(data):
            break
        if kind == b'IHDR' and length >= 8:
            header.sizes.append(struct.unpack_from('>II', chunk))
        if (kind == b'iTXt' and chunk[:len(_XMP_OF_PNG)] == _XMP_OF_PNG
                and len(header.xmp) < LONGEST_PACKET):
            header.xmp += _png_text(bytes(chunk[len(_XMP_OF_PNG):]))
        if kind == b'IEND':
            header.end = begin
            return header
    raise _truncated('PNG', data)


def _png_text(chunk: bytes) -> bytes:
    compressed, text = chunk[:1] == b'\1', chunk[2:].split(b'\0', 2)[-1]
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, LONGEST_PACKET)
    except zlib.error:
        return b''


def _truncated(kind: str, data: memoryview) -> StillError:
    return StillError(f'{kind} of {len(data)} bytes is truncated (no end mark)')
