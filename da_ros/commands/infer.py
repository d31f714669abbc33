# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Estimate the range of panorama files and write what people open.

    da_ros_infer panorama.jpg --out ranges --camera-height 1.2
    da_ros_infer folder_of_panoramas --range-mask 20 --ply

Writes NAME_range.npy (float32 metres along the ray; NaN, +inf, -inf as published),
NAME_preview.png with its metres, NAME_depth_mm.png (16 bit: the same range in millimetres up to
65.535 m, 0 = not finite), NAME_scan.png (needs matplotlib) and, with --ply, NAME.ply (needs
plyfile). Prints a line for each: where the floor is, the scale that follows, what is unknown. A
picture that cannot be used is named, the others are done, and the exit code is 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
import signal
import sys
import threading
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from da_ros import files
from da_ros.backends.base import BackendError
from da_ros.backends.order import BACKEND_CHOICES
from da_ros.bags.frames import pictures_of
from da_ros.bags.storage import BagError
from da_ros.cameras.calibration import read_calibration
from da_ros.cameras.rig import Rig
from da_ros.commands.foreground import open_in_foreground
from da_ros.config import ConfigError, height_band, RangeRule, ScaleConfig, ScanConfig
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.legend import colour_limit_m, with_legend
from da_ros.points import PointProjector
from da_ros.range_map import colour, NEAR, RangeMap
from da_ros.scale import check_scale, floor_below
from da_ros.scan import ScanProjector

INTERRUPTED = 130             # as the shell counts a command that Ctrl-C has ended


class Done(NamedTuple):
    """What became of the pictures."""

    good: int
    bad: int
    interrupted: bool


def main(args: list[str] | None = None) -> int:
    """Run the command; 1 and one line if something is wrong."""
    options = _arguments(args)
    try:
        done = run(options)
    except (DaRosError, ConfigError, ValueError, OSError) as error:
        print(f'da_ros_infer: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        done = Done(0, 0, True)
    told = f'{done.good} panoramas -> {options.out}'
    if done.interrupted:
        print(f'da_ros_infer: interrupted; {told}', file=sys.stderr)
        return INTERRUPTED
    print(told + (f'; {done.bad} could not be used' if done.bad else ''))
    return 1 if done.bad else 0


def run(options: argparse.Namespace) -> Done:
    """
    Write the files of each picture.

    :raises DaRosError: wrong options, nothing to read, or outputs that cannot be written
    """
    paths = find_images(options.inputs)
    if options.ply:
        files.ply_writer()           # before the work, not after it
    plots = find_spec('matplotlib') is not None
    if not plots:
        print('no scan plots; for them run `pip install matplotlib`', file=sys.stderr)
    estimator = _estimator(options)
    projector = PointProjector(estimator.bundle.size_hw)
    band = [edge - options.camera_height for edge in height_band(options.camera_height)]
    scans = ScanProjector(estimator.bundle.size_hw, ScanConfig().beams, (band[0], band[1]),
                          estimator.rule.min_range_m, estimator.limit_m) if plots else None
    options.out.mkdir(parents=True, exist_ok=True)
    good = bad = 0
    with first_interrupt() as interrupted:
        for path in tqdm(paths, 'panoramas', disable=None):
            if interrupted.is_set():
                break
            try:
                range_map = _range_map(estimator, path)
            except BackendError:
                raise                # the runtime has failed, not the picture
            except (DaRosError, ValueError) as error:
                bad += 1
                name = '' if str(path) in str(error) else f'{path}: '
                tqdm.write(f'da_ros_infer: {name}{error}', file=sys.stderr)
                continue
            _write(options.out / path.stem, range_map, projector if options.ply else None, scans)
            tqdm.write(f'{path.name}: {describe(range_map, options.camera_height)}')
            good += 1
    return Done(good, bad, interrupted.is_set())


@contextmanager
def first_interrupt() -> Iterator[threading.Event]:
    """
    Give what the first Ctrl-C sets, so that a picture has all its files or none.

    An exception would come up in the middle of them, and inside of callbacks of C libraries. A
    second Ctrl-C does what it did before.
    """
    interrupted, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _estimator(options: argparse.Namespace) -> RangeEstimator:
    rule = RangeRule(range_mask_m=options.range_mask, camera_height_m=options.camera_height)
    estimator = open_in_foreground(lambda given_up: RangeEstimator(
        options.model or None, options.backend, rule=rule,
        elevation_span_deg=tuple(options.elevation), given_up=given_up))
    if options.fisheye:
        estimator.rig = Rig(read_calibration(options.fisheye))
    estimator.scale = ScaleConfig(options.scale_source, options.metres_per_unit)
    try:
        check_scale(estimator.bundle.kind, estimator.bundle.name, estimator.scale,
                    options.camera_height)
    except ConfigError as error:
        raise ConfigError(f'{error} (here: --scale-source, --camera-height, --metres-per-unit)'
                          ) from error
    return estimator


def _range_map(estimator: RangeEstimator, path: Path) -> RangeMap:
    picture = files.read_panorama(path)
    for text in (*picture.warnings, *estimator.oddities(picture.image)):
        tqdm.write(f'{path}: {text}', file=sys.stderr)
    return estimator.predict(picture.image, picture.extent)


def _write(stem: Path, range_map: RangeMap, projector: PointProjector | None,
           scans: ScanProjector | None) -> None:
    with files.whole_file(Path(f'{stem}_range.npy')) as part, part.open('wb') as stream:
        np.save(stream, range_map.range_m)
    files.write_image(Path(f'{stem}_preview.png'),
                      with_legend(colour(range_map), colour_limit_m(range_map)))
    files.write_depth_png(Path(f'{stem}_depth_mm.png'), range_map.range_m)
    if scans is not None:
        files.plot_scan(Path(f'{stem}_scan.png'), scans.project(range_map),
                        f'{stem.name}: scan from above [m]')
    if projector is not None:
        # What is too near is a point as well, at the minimum range.
        shown = (range_map.range_mask == NEAR).reshape(-1)
        bgr = range_map.image.reshape(-1, 3)[shown]
        files.write_ply(Path(f'{stem}.ply'), projector.project(range_map), bgr)


def describe(range_map: RangeMap, camera_height_m: float) -> str:
    """Return in a line how far to trust a range map: floor, scale, and what is unknown."""
    depth_m, share = floor_below(range_map.range_m)
    if np.isfinite(depth_m):
        text = f'floor {depth_m:.2f} m below the camera ({share:.0%} of the view down)'
        text += (f', scale {camera_height_m / depth_m:.2f}' if camera_height_m else
                 ', scale not checked (give --camera-height)')
    else:
        text = 'no floor seen, scale not checked'
    return (f'{text}; {np.isnan(range_map.range_m).mean():.1%} unknown, '
            f'{range_map.empty.mean():.1%} empty')


def find_images(inputs: list[Path]) -> list[Path]:
    """
    Return the image files of a list of files and folders; see `frames.pictures_of`.

    :raises FileError: if a path does not exist, holds no image, or two share a name
    """
    found = []
    for path in inputs:
        if not path.exists():
            raise files.FileError(f'{path} does not exist; give an image or a folder of images')
        try:
            found += pictures_of(path) if path.is_dir() else [path]
        except BagError as error:
            raise files.FileError(f'{path} holds no JPEG or PNG panorama') from error
    stems = [path.stem for path in found]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise files.FileError(f'two inputs are called {twice!r} and would overwrite each other; '
                              'rename one or use two calls')
    return found


def _arguments(args: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='da_ros_infer', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('inputs', nargs='+', type=Path, help='images, or folders of images')
    add('--out', type=Path, default=Path('ranges'), help='folder [%(default)s]')
    add('--model', default='', help='bundle folder or name; default: pano_tiny')
    add('--backend', default='auto', choices=BACKEND_CHOICES)
    add('--range-mask', type=float, default=-1.0, metavar='METRES',
        help='-1 = the largest of the bundle, 0 = off [%(default)g]')
    add('--camera-height', type=float, default=0.0, metavar='METRES',
        help='above the floor; 0 = unknown [%(default)g]')
    add('--elevation', nargs=2, type=float, default=(-90.0, 90.0), metavar=('MIN', 'MAX'),
        help='lowest and highest elevation that the images show [deg]')
    add('--fisheye', type=Path, metavar='CALIBRATION',
        help='the images are fisheye circles; file of da_ros_fisheye')
    add('--scale-source', default='none', choices=('none', 'camera_height', 'fixed'),
        help='metres of a scale-invariant bundle: from the floor and --camera-height, or fixed')
    add('--metres-per-unit', type=float, default=1.0, metavar='M', help='with fixed [%(default)g]')
    add('--ply', action='store_true', help='also write coloured point clouds')
    options = parser.parse_args(args)
    low, high = options.elevation
    if not -90 <= low < high <= 90:
        parser.error(f'--elevation {low:g} {high:g} must rise within -90 to 90')
    return options


if __name__ == '__main__':
    raise SystemExit(main())
