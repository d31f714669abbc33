# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Camera pictures of all kinds, written byte by byte where no library writes them."""

from array import array
import struct
from types import SimpleNamespace
import zlib

import cv2
import numpy as np

from da_ros.gpano import NAMESPACE

NOISE = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)


def jpeg(image=NOISE, *options) -> bytes:
    return cv2.imencode('.jpg', image, options)[1].tobytes()


def png(image=NOISE) -> bytes:
    return cv2.imencode('.png', image)[1].tobytes()


def segment(code: int, content: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes([0xFF, code]) + struct.pack('>H', len(content) + 2) + content


def with_segment(data: bytes, code: int, content: bytes) -> bytes:
    return data[:2] + segment(code, content) + data[2:]


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return (struct.pack('>I', len(content)) + kind + content
            + struct.pack('>I', zlib.crc32(kind + content)))


def still(data: bytes, name='jpeg') -> SimpleNamespace:
    """Return a compressed message as a bag gives it."""
    return SimpleNamespace(format=name, data=array('B', data))


CROP = dict(FullPanoWidthPixels=256, FullPanoHeightPixels=128, CroppedAreaImageWidthPixels=128,
            CroppedAreaImageHeightPixels=64, CroppedAreaLeftPixels=64, CroppedAreaTopPixels=32)


def packet(style='attributes', prefix='GPano', **values) -> bytes:
    head = (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
            f'xmlns:{prefix}="{NAMESPACE}"')
    if style == 'elements':
        inner = ''.join(f'\n<{prefix}:{k}>{v}</{prefix}:{k}>' for k, v in values.items())
        return f'{head}>{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'.encode()
    quote = '"' if style == 'attributes' else "'"
    inner = ' '.join(f'{prefix}:{k} = {quote}{v}{quote}' for k, v in values.items())
    return f'{head} {inner}/></rdf:RDF></x:xmpmeta>'.encode()


def in_jpeg(xmp: bytes, data: bytes) -> bytes:
    return with_segment(data, 0xE1, b'http://ns.adobe.com/xap/1.0/\0' + xmp)


def in_png(xmp: bytes, data: bytes, packed: bool) -> bytes:
    text = zlib.compress(xmp) if packed else xmp
    content = b'XML:com.adobe.xmp\0' + bytes([packed, 0]) + b'\0\0' + text
    return data[:33] + chunk(b'iTXt', content) + data[33:]


def two_circles(pano: np.ndarray, height: int, width: int, fov_deg=200.0) -> np.ndarray:
    """Return what a camera of two fisheye lenses gives before stitching: black around them."""
    half = width // 2
    size = min(height, half)
    y, x = (np.mgrid[:height, :half] + 0.5) / size * 2 - 1
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    theta = radius * np.deg2rad(fov_deg) / 2
    sides = []
    for turn in (0.0, np.pi):
        azimuth = np.arctan2(np.sin(theta) * np.cos(angle), np.cos(theta)) + turn
        down = np.arcsin(np.clip(np.sin(theta) * np.sin(angle), -1, 1))
        col = ((azimuth / (2 * np.pi) + 0.5) % 1) * pano.shape[1]
        row = (down / np.pi + 0.5) * pano.shape[0]
        side = pano[np.clip(row, 0, pano.shape[0] - 1).astype(int),
                    np.clip(col, 0, pano.shape[1] - 1).astype(int)]
        side[radius > 1] = 0
        sides.append(side)
    return np.hstack(sides)
