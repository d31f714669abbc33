# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files beside an ONNX graph that hold its weights, found without the package onnx; hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import hashlib
import mmap
from pathlib import Path

# Messages of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) through which a
# tensor can be reached: {message: {number of a field: message in it}}.
_INSIDE: dict[str, dict[int, str]] = {
    'model': {7: 'graph', 20: 'training', 25: 'function'},
    'training': {1: 'graph', 2: 'graph'},
    'graph': {1: 'node', 5: 'tensor', 15: 'sparse'},
    'function': {7: 'node', 11: 'attribute'},
    'node': {5: 'attribute'},
    'attribute': {5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse'},
    'sparse': {1: 'tensor', 2: 'tensor'},
    'tensor': {13: 'external_data'},
    'external_data': {1: 'key', 2: 'value'}}
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5       # wire types of protobuf


def external_files(graph: Path) -> list[str]:
    """
    Return the files that a graph takes its weights from, relative to its folder.

    :raises ValueError: if it is no ONNX graph
    :raises OSError: if it cannot be read
    """
    with graph.open('rb') as stream:
        if not graph.stat().st_size:
            raise ValueError(f'{graph} is empty, no ONNX graph')
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return sorted(set(_locations(data)))
            except (IndexError, UnicodeDecodeError, ValueError) as error:
                raise ValueError(f'{graph} is no ONNX graph') from error


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def graph_digest(graph: Path, known: Mapping[Path, str] | None = None) -> str:
    """
    Return one sha256 of a graph and of the files that it takes its weights from.

    :param known: digests that need not be computed
    :return: that of the file itself where it holds all of its weights
    """
    try:
        beside = external_files(graph)
    except ValueError:           # no graph, which `load_bundle` refuses and no runtime opens
        beside = []
    digests = [(known or {}).get(path) or sha256_of(path)
               for path in (graph, *(graph.parent / name for name in beside))]
    return digests[0] if len(digests) == 1 else hashlib.sha256(
        ' '.join(digests).encode()).hexdigest()


def _locations(data: mmap.mmap) -> Iterator[str]:
    # A stack instead of recursion: graphs within graphs may be nested as deep as a file likes.
    stack = [('model', 0, len(data))]
    while stack:
        message, begin, end = stack.pop()
        entry = {}
        for number, first, last in _fields(data, begin, end):
            inside = _INSIDE[message].get(number)
            if message == 'external_data' and inside:
                entry[inside] = data[first:last].decode()
            elif inside:
                stack.append((inside, first, last))
        if entry.get('key') == 'location':
            yield entry.get('value', '')


def _fields(data: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, begin and end of every field with a length; skip the others."""
    while begin < end:
        tag, begin = _varint(data, begin)
        kind = tag & 7
        if kind == _LENGTH:
            length, begin = _varint(data, begin)
            if begin + length > end:
                raise ValueError('a field ends behind its message')
            yield tag >> 3, begin, begin + length
            begin += length
        elif kind == _VARINT:
            _, begin = _varint(data, begin)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            begin += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f'wire type {kind}')
    if begin != end:
        raise ValueError('a message ends within a field')


def _varint(data: mmap.mmap, begin: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[begin]
        begin += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, begin
    raise ValueError('a number has no end')
