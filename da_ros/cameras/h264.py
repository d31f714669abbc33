# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The little of H.264 (ITU-T H.264, clauses 7.3 and 7.4) that says whether a picture is missing.

Decoders conceal a lost message in silence: they go on from the wrong picture. Each picture carries
a number, though, and a number that is skipped tells the loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SLICE, IDR, SEQUENCE = 1, 5, 7       # types of units: a picture, a key picture, parameters
HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
HEADER_BYTES = 128                   # more than any header read here
MOST_NUMBER_BITS = 16         # of frame_num (clause 7.4.2.1.1)


@dataclass(frozen=True)
class Unit:
    """A unit of the byte stream: its type, whether others refer to it, and its first bytes."""

    kind: int
    referred: bool
    head: bytes


def units(data: bytes) -> Iterator[Unit]:
    """Yield the units behind the start codes of a message."""
    at = data.find(b'\0\0\1')
    while at >= 0 and at + 3 < len(data):
        header = data[at + 3]
        following = data.find(b'\0\0\1', at + 3)
        end = len(data) if following < 0 else following
        head = data[at + 4:min(end, at + 4 + HEADER_BYTES)].replace(b'\0\0\3', b'\0\0')
        yield Unit(header & 31, bool(header & 96), head)
        at = following


class Numbering:
    """Follows the numbers of pictures through a stream (clause 7.4.3, frame_num)."""

    def __init__(self) -> None:
        """Start before the first key picture."""
        self._bits: int | None = None
        self._planes = False
        self._last = 0

    def missing(self, data: bytes) -> bool:
        """Take a message; return whether a picture that others need is missing before it."""
        for unit in units(data):
            if unit.kind == SEQUENCE:
                bits, self._planes = _number_bits(_Bits(unit.head))
                # A damaged header names thousands; the decoder then refuses what follows it.
                self._bits = bits if bits <= MOST_NUMBER_BITS else None
            elif unit.kind in (SLICE, IDR) and self._bits is not None:
                number = self._number(unit)
                step = (number - self._last) % (1 << self._bits)
                if unit.kind == SLICE and step > 1:
                    return True
                if unit.referred:
                    self._last = number
        return False

    def _number(self, unit: Unit) -> int:
        if unit.kind == IDR:
            return 0
        assert self._bits is not None
        bits = _Bits(unit.head)
        for _ in ('first_mb_in_slice', 'slice_type', 'pic_parameter_set_id'):
            bits.exponential()
        if self._planes:
            bits.plain(2)
        return bits.plain(self._bits)


class _Bits:
    """Reads bits from the front; zeros follow the end, as a cut header is damaged anyway."""

    def __init__(self, data: bytes):
        self._value, self._left = int.from_bytes(data, 'big'), 8 * len(data)

    def plain(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            return 0
        return (self._value >> self._left) & ((1 << count) - 1)

    def exponential(self) -> int:
        """Return an unsigned Exp-Golomb number (clause 9.1)."""
        zeros = 0
        while self._left > 0 and not self.plain(1):
            zeros += 1
        return (1 << zeros) - 1 + self.plain(zeros)


def _number_bits(bits: _Bits) -> tuple[int, bool]:
    """Return the bits of frame_num, and whether slices name a colour plane (clause 7.3.2.1.1)."""
    profile, planes = bits.plain(8), False
    bits.plain(16)
    bits.exponential()
    if profile in HIGH_PROFILES:
        chroma = bits.exponential()
        if chroma == 3:
            planes = bool(bits.plain(1))
        bits.exponential()
        bits.exponential()
        bits.plain(1)
        if bits.plain(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.plain(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    return bits.exponential() + 4, planes


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            coded = bits.exponential()
            following = (last + ((coded + 1) // 2 if coded % 2 else -(coded // 2))) % 256
        last = following or last
