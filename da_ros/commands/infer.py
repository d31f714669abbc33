"""
Estimate the range of panorama files and write what people open.

    da_ros_infer panorama.jpg --out ranges
    da_ros_infer folder_of_panoramas --range-mask 20 --ply

Writes NAME_range.npy (float32 metres along the ray; NaN, +inf, -inf as published),
NAME_preview.png, NAME_depth_mm.png (16 bit: the same range in millimetres up to 65.535 m, 0 = not
finite) and, with --ply, NAME.ply (needs plyfile).
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import numpy as np
from tqdm import tqdm

from da_ros import files
from da_ros.backends.base import BACKEND_CHOICES
from da_ros.commands.foreground import open_in_foreground
from da_ros.config import ConfigError, RangeRule
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.points import PointProjector
from da_ros.range_map import colour

SUFFIXES = ('.jpg', '.jpeg', '.png')


def main(args: list[str] | None = None) -> int:
    """Run the command; 1 and one line if something is wrong."""
    parser = argparse.ArgumentParser(
        prog='da_ros_infer', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', nargs='+', type=Path, help='images, or folders of images')
    parser.add_argument('--out', type=Path, default=Path('ranges'), help='folder [%(default)s]')
    parser.add_argument('--model', default='', help='bundle folder or name; default: pano_tiny')
    parser.add_argument('--backend', default='auto', choices=BACKEND_CHOICES)
    parser.add_argument('--range-mask', type=float, default=-1.0, metavar='METRES',
                        help='-1 = the largest of the bundle, 0 = off [%(default)g]')
    parser.add_argument('--camera-height', type=float, default=0.0, metavar='METRES',
                        help='0 = unknown [%(default)g]')
    parser.add_argument('--ply', action='store_true', help='also write coloured point clouds')
    options = parser.parse_args(args)
    try:
        count = run(options)
    except (DaRosError, ConfigError, ValueError, OSError) as error:
        print(f'da_ros_infer: {error}', file=sys.stderr)
        return 1
    print(f'{count} panoramas -> {options.out}')
    return 0


def run(options: argparse.Namespace) -> int:
    """Write `<name>_preview.png`, `<name>_range.npy`, `<name>_depth_mm.png` (, `.ply`) each."""
    paths = find_images(options.inputs)
    if options.ply:
        files.ply_writer()           # before the work, not after it
    rule = RangeRule(range_mask_m=options.range_mask, camera_height_m=options.camera_height)
    estimator = open_in_foreground(lambda given_up: RangeEstimator(
        options.model or None, options.backend, rule=rule, given_up=given_up))
    projector = PointProjector(estimator.bundle.size_hw)
    options.out.mkdir(parents=True, exist_ok=True)
    for path in tqdm(paths, 'panoramas', disable=None):
        try:
            range_map = estimator.predict(files.read_panorama(path))
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from error
        stem = options.out / path.stem
        np.save(f'{stem}_range.npy', range_map.range_m)
        files.write_image(Path(f'{stem}_preview.png'), colour(range_map))
        files.write_depth_png(Path(f'{stem}_depth_mm.png'), range_map.range_m)
        if options.ply:
            bgr = range_map.image.reshape(-1, 3)[range_map.valid.reshape(-1)]
            files.write_ply(Path(f'{stem}.ply'), projector.project(range_map), bgr)
    return len(paths)


def find_images(inputs: list[Path]) -> list[Path]:
    """
    Return the image files of a list of files and folders.

    :raises FileError: if a path does not exist, holds no image, or two share a name
    """
    found = []
    for path in inputs:
        if not path.exists():
            raise files.FileError(f'{path} does not exist; give an image or a folder of images')
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) \
            if path.is_dir() else [path]
        if not inside:
            raise files.FileError(f'{path} holds no image ({", ".join(SUFFIXES)})')
        found += inside
    stems = [path.stem for path in found]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise files.FileError(f'two inputs are called {twice!r} and would overwrite each other; '
                              'rename one or use two calls')
    return found


if __name__ == '__main__':
    raise SystemExit(main())
