# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What the readers of public data sets share: decoding with clear errors, and lists of file pairs.

A reader is a module with `samples(root, ...)`, which returns :class:`Panoramas` or :class:`Views`:
random access, files are opened when an item is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from training.data.placement import Pinhole, View
from training.data.sample import Sample

os.environ.setdefault('OPENCV_IO_ENABLE_OPENEXR', '1')      # OpenCV asks when it first reads one
RangeMap = NDArray[np.float32]
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.bmp')
END_OF_FILE = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND'}      # by first bytes: JPEG, PNG


class DataError(DaRosError):
    """A file of a data set that is missing, corrupt, or not of the documented form."""


@dataclass(frozen=True)
class Pair:
    """An image and the file of its depth or range."""

    image: Path
    depth: Path


def pairs_of(root: str | Path, pattern: str, depth_of: Callable[[Path], Path]) -> list[Pair]:
    """
    Return the pairs whose images match a pattern below a folder, sorted.

    :raises DataError: if there is none
    """
    root = Path(root)
    pairs = [Pair(path, depth_of(path)) for path in sorted(root.glob(pattern))]
    if not pairs:
        raise DataError(f'{root} holds no {pattern}; give the folder that the data set unpacks to')
    return pairs


def listed_pairs(root: str | Path, list_file: str | Path) -> list[Pair]:
    """
    Return the pairs of a list file: 'IMAGE DEPTH' per line, relative to the root.

    :raises DataError: if the list is missing or a line holds anything else
    """
    root, pairs = Path(root), []
    for number, line in enumerate(_text(Path(list_file)).splitlines(), 1):
        words = line.split()
        if words and len(words) != 2:
            raise DataError(f'{list_file} line {number} is not "IMAGE DEPTH": {line!r}')
        if words:
            pairs.append(Pair(root / words[0], root / words[1]))
    if not pairs:
        raise DataError(f'{list_file} lists no pair')
    return pairs


def need_unit(metres_per_unit: float | None, name: str, hint: str) -> float:
    """:raises DataError: if a data set that does not state its unit is read without one."""
    if metres_per_unit is None or not metres_per_unit > 0:
        raise DataError(f'{name} does not state the unit of its depth; give metres_per_unit '
                        f'({hint}; any positive one where training is scale-invariant)')
    return float(metres_per_unit)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path} cannot be read: {error}') from error


def read_text(path: Path) -> str:
    """:raises DataError: if the file is missing or no text."""
    return _text(path)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 RGB; :raises DataError: if it is missing or no picture."""
    return np.ascontiguousarray(_decode(path, cv2.IMREAD_COLOR)[..., ::-1])


def read_counts(path: Path) -> NDArray[np.uint16]:
    """Return (H, W) of a 16-bit grey picture; :raises DataError: if it is anything else."""
    counts = read_raw(path)
    if counts.dtype != np.uint16 or counts.ndim != 2:
        raise DataError(f'{path} must be a uint16 picture of one channel, '
                        f'got {counts.dtype} {counts.shape}')
    return counts


def read_exr(path: Path) -> RangeMap:
    """Return (H, W) float32 of an EXR of one channel, or of three equal ones."""
    values = read_raw(path)
    if values.dtype != np.float32:
        raise DataError(f'{path} must hold float32, got {values.dtype}')
    if values.ndim == 3:
        if not np.array_equal(values[..., 0], values[..., -1], equal_nan=True):
            raise DataError(f'{path} holds different channels; one of depth is needed')
        values = values[..., 0]
    return values


def read_array(path: Path, key: str = '') -> NDArray:
    """Return the (H, W) array of an .npy, or of one key of an .npz."""
    try:
        loaded = np.load(path)
        array = loaded[key] if key else loaded
    except (OSError, ValueError, KeyError, EOFError, TypeError) as error:
        raise DataError(f'{path} cannot be read: {error}') from error
    except Exception as error:                      # zipfile.BadZipFile, zlib.error, ...
        raise DataError(f'{path} is corrupt: {error}') from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(f'{path} must hold floats (H, W), got {array.dtype} {array.shape}')
    return array


def read_hdf5(path: Path, key: str = 'dataset') -> NDArray:
    """Return the (H, W) array of an HDF5 file; h5py is needed."""
    try:
        import h5py
    except ImportError as error:
        raise DataError('reading HDF5 needs h5py; run `pip install h5py`') from error
    try:
        with h5py.File(path) as file:
            array = np.asarray(file[key])
    except (OSError, KeyError) as error:
        raise DataError(f'{path} cannot be read: {error}') from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(f'{path} must hold floats (H, W), got {array.dtype} {array.shape}')
    return array


def read_raw(path: Path) -> NDArray:
    """Return a picture as it is stored, channels in OpenCV's order."""
    return _decode(path, cv2.IMREAD_UNCHANGED)


def _decode(path: Path, flags: int) -> NDArray:
    if not path.is_file():
        raise DataError(f'no file {path}')
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror or error}') from error
    end = END_OF_FILE.get(data[:2])
    if end is not None and end not in data[len(data) // 2:]:
        raise DataError(f'{path} is cut off; fetch it again')       # OpenCV would fill it up
    if flags != cv2.IMREAD_UNCHANGED:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise DataError(f'{path} is corrupt: {error.err}') from error
    if picture is None:
        raise DataError(f'{path} is not a readable picture')
    return picture


def clean_range(values: NDArray, unknown: NDArray, empty: NDArray | bool = False) -> RangeMap:
    """Return metres as float32 with NaN where unknown (or not positive) and +inf where empty."""
    with np.errstate(invalid='ignore'):
        range_m = np.where(unknown | ~(values > 0), np.nan, values)
    return np.where(empty, np.inf, range_m).astype(np.float32)


class Panoramas:
    """Random access to the Samples of pairs of panorama and range file."""

    def __init__(self, source: str, pairs: Iterable[Pair], decode: Callable[[Path], RangeMap],
                 read_image: Callable[[Path], NDArray[np.uint8]] = read_picture):
        """
        Remember the pairs.

        :param source: name of the data set
        :param decode: range file -> (H, W) float32 m, NaN = unknown, +inf = empty
        """
        self.source, self.pairs = source, list(pairs)
        self._decode, self._read_image = decode, read_image

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """:raises DataError: naming the file that is missing, corrupt or of another size."""
        pair = self.pairs[index]
        image = self._read_image(pair.image)
        with _named(pair):
            range_m = self._decode(pair.depth)
        _check_sizes(pair, image, range_m)
        if image.shape[1] != 2 * image.shape[0]:
            raise DataError(f'{pair.image} is {image.shape[1]} x {image.shape[0]} px; a panorama '
                            'is twice as wide as high')
        return Sample(image, range_m, np.isfinite(range_m), self.source)


class Views:
    """Random access to the Views of pairs of perspective image and depth file."""

    def __init__(self, source: str, pairs: Iterable[Pair],
                 decode: Callable[[Pair, tuple[int, int]], tuple[RangeMap, Pinhole]]):
        """
        Remember the pairs.

        :param decode: (pair, size_hw of the image) -> range along the ray (h, w) and camera
        """
        self.source, self.pairs = source, list(pairs)
        self._decode = decode

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> View:
        """:raises DataError: naming the file that is missing, corrupt or of another size."""
        pair = self.pairs[index]
        image = read_picture(pair.image)
        with _named(pair):
            range_m, camera = self._decode(pair, image.shape[:2])
        _check_sizes(pair, image, range_m)
        if not (0 < camera.fx < np.inf and 0 < camera.fy < np.inf):
            raise DataError(f'{pair.depth}: its camera has focal lengths of {camera.fx:g} and '
                            f'{camera.fy:g} px; they must be positive')
        return View(image, range_m, camera, self.source)


@contextmanager
def _named(pair: Pair) -> Iterator[None]:
    """:raises DataError: naming the pair, if its numbers cannot be computed with."""
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise DataError(f'{pair.depth}: {error}; it or a file of its camera is damaged'
                        ) from error


def _check_sizes(pair: Pair, image: NDArray, range_m: NDArray) -> None:
    if range_m.shape != image.shape[:2]:
        raise DataError(f'{pair.depth} is {range_m.shape}, its image {pair.image.name} '
                        f'{image.shape[:2]}')
