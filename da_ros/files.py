# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Range maps and scans as files that people open: PNG, PLY, plot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.jpeg_png import decode_image, MAX_IMAGE_PIXELS
from da_ros.panorama import Picture
from da_ros.range_map import millimetres
from da_ros.scan import Scan


class FileError(DaRosError):
    """A file that cannot be read or written."""


def read_panorama(path: str | Path, max_pixels: int = MAX_IMAGE_PIXELS) -> Picture:
    """
    Read an image file as the live node reads a compressed message.

    :raises FileError: if it is missing, no JPEG or PNG, truncated, damaged or too large
    """
    try:
        return decode_image(Path(path).read_bytes(), max_pixels)
    except (OSError, ValueError) as error:
        raise FileError(f'{path} cannot be read: {getattr(error, "strerror", "") or error}; give '
                        'a JPEG or PNG panorama') from error
    except DaRosError as error:
        raise FileError(f'{path}: {error}; give a whole JPEG or PNG panorama') from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """
    Give a name to write to beside a file; the file appears when it is complete, or not at all.

    :raises FileError: full disk, no such folder to be, no permission
    """
    part = path.with_name(f'.{path.stem}.part{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise FileError(f'{path} cannot be written: {error.strerror or error}') from error
    finally:
        with suppress(OSError):        # a file in place of the folder: there is no part either
            part.unlink(missing_ok=True)


def write_image(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    """
    Write an image by its suffix; return the path.

    :raises FileError: unknown suffix, a size that the format does not have, no such folder to be,
        full disk
    """
    if not cv2.haveImageWriter(path.name):
        raise FileError(f'{path} cannot be written: no image ends in {path.suffix!r}')
    try:
        done, encoded = cv2.imencode(path.suffix, image)
    except cv2.error:
        done = False
    if not done:
        raise FileError(f'{path} cannot be written: {path.suffix} takes no image of shape '
                        f'{image.shape} in {image.dtype}')
    with whole_file(path) as part:
        part.write_bytes(encoded.tobytes())         # cv2.imwrite takes a full disk for a success
    return path


def write_depth_png(path: Path, range_m: NDArray[np.float32]) -> Path:
    """Write a range map as 16-bit PNG in millimetres; 0 = not finite or beyond 65.535 m."""
    return write_image(path, millimetres(range_m))


def ply_writer():
    """
    Return the module that writes PLY.

    :raises FileError: if it is not installed
    """
    try:
        import plyfile
    except ImportError as error:
        raise FileError('writing PLY needs plyfile; run `pip install plyfile`') from error
    return plyfile


def write_ply(path: Path, points: NDArray[np.float32], bgr: NDArray[np.uint8]) -> Path:
    """
    Write a coloured binary PLY.

    :param points: (N, 3) [m]
    :param bgr: (N, 3) uint8
    :raises FileError: if plyfile is not installed
    """
    plyfile = ply_writer()
    vertices = np.empty(len(points), [('x', 'f4'), ('y', 'f4'), ('z', 'f4'),
                                      ('red', 'u1'), ('green', 'u1'), ('blue', 'u1')])
    vertices['x'], vertices['y'], vertices['z'] = points.T
    vertices['blue'], vertices['green'], vertices['red'] = bgr.T
    with whole_file(path) as part:
        plyfile.PlyData([plyfile.PlyElement.describe(vertices, 'vertex')]).write(str(part))
    return path


def plot_scan(path: Path, scan: Scan, title: str, cut_m: float = 10.0) -> Path:
    """
    Plot a scan from above: robot in the middle, forward up, left to the left.

    :param cut_m: largest radius drawn [m]; empty beams are shaded out to it
    :raises FileError: if matplotlib is not installed
    """
    try:
        import matplotlib
        matplotlib.use('Agg')
        from matplotlib import pyplot
    except ImportError as error:
        raise FileError('plotting needs matplotlib; run `pip install matplotlib`') from error
    azimuth = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    figure = pyplot.figure(figsize=(6, 6))
    axes: Any = figure.add_subplot(projection='polar')
    axes.set_theta_zero_location('N')
    hit = np.isfinite(scan.ranges)
    free = np.where(hit, scan.ranges, np.where(np.isposinf(scan.ranges), cut_m, 0))
    axes.fill(azimuth, np.minimum(free, cut_m), color='#cfe8cf', lw=0, label='seen free')
    near = hit & (scan.ranges <= cut_m)
    axes.plot(azimuth[near], scan.ranges[near], '.', ms=3, color='#b02020', label='obstacle')
    axes.set_ylim(0, cut_m)
    axes.set_title(title, fontsize=10)
    axes.legend(loc='lower left', fontsize=8)
    try:
        with whole_file(path) as part:
            figure.savefig(part, dpi=110, bbox_inches='tight')
    finally:
        pyplot.close(figure)
    return path
