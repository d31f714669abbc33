# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bytes as a list of decisions, so that random, hypothesis' and a guided fuzzer's bytes all do."""

from __future__ import annotations

from collections.abc import Sequence
import struct
from typing import Any, TypeVar

Item = TypeVar('Item')
ODD_NUMBERS = (0, 1, -1, 255, 256, 2**31 - 1, -2**31, 2**32, 2**63, -2**63 - 1, 10**400, 0.0, -0.0,
               0.5, 1e-320, 1e308, float('nan'), float('inf'), -float('inf'))
ODD_TEXTS = ('', ' ', '0', 'nan', '/', '..', '../../x', '\0', '\n', '*', '${x}', 'é' * 300,
             '1 2 3', '1 2 3 4 5 6', '1;2', 'a: 1', "'", 'x' * 5000, '😀', '\ud800')


class Choices:
    """Takes decisions from bytes; zeros when they are used up."""

    def __init__(self, data: bytes):
        """Start at the first byte."""
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        taken = self._data[self._at:self._at + count]
        self._at += count
        return taken + bytes(count - len(taken))

    def rest(self) -> bytes:
        """Return all that is left."""
        return self._data[self._at:]

    def below(self, count: int) -> int:
        """Return a number from 0 to `count` - 1."""
        return int.from_bytes(self.take(2), 'little') % count

    def of(self, items: Sequence[Item]) -> Item:
        """Return one of several."""
        return items[self.below(len(items))]

    def value(self, depth: int = 0) -> Any:
        """Return anything that YAML or a parameter can be."""
        kind = self.below(8 if depth < 3 else 6)
        if kind == 0:
            return self.of(ODD_NUMBERS)
        if kind == 1:
            return self.of(ODD_TEXTS)
        if kind == 2:
            return struct.unpack('<d', self.take(8))[0]
        if kind == 3:
            return self.below(1000) - 500
        if kind == 4:
            return self.of((True, False, None))
        if kind == 5:
            return self.take(self.below(20)).decode('latin-1')
        if kind == 6:
            return [self.value(depth + 1) for _ in range(self.below(5))]
        return {self.of((*ODD_TEXTS, 'x', 1)): self.value(depth + 1)
                for _ in range(self.below(4))}

    def changed(self, tree: Any, share: int = 12) -> Any:
        """Return a document with some of its parts replaced by anything."""
        if self.below(share) == 0:
            return self.value()
        if isinstance(tree, dict):
            return {key: self.changed(value, share) for key, value in tree.items()
                    if self.below(4 * share)}
        if isinstance(tree, list):
            return [self.changed(value, share) for value in tree if self.below(4 * share)]
        return tree

    def damaged(self, data: bytes) -> bytes:
        """Return bytes with some changed, left out, repeated, or cut off."""
        out = bytearray(data)
        for _ in range(1 + self.below(6)):
            at, kind = self.below(len(out) or 1), self.below(6)
            if kind == 0:
                out[at:at + 1] = self.take(1)
            elif kind == 1:
                out[at:at + 4] = self.of((b'\xff' * 4, b'\0' * 4, b'\x7f\xff\xff\xff',
                                          b'\0\0\0\1', b'\x80\0\0\0'))
            elif kind == 2:
                del out[at:at + self.below(40)]
            elif kind == 3:
                out[at:at] = out[self.below(len(out) or 1):][:self.below(60)]
            elif kind == 4:
                out[at:at] = self.take(self.below(20))
            else:
                del out[at:]
        return bytes(out)
