# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Calibrate a dual-fisheye camera from a few of its frames, and show the panorama that results.

    da_ros_fisheye frames_folder --out fisheye.yaml
    da_ros_fisheye drive.mcap --topic /dual_fisheye/image --out fisheye.yaml

Frames hold two circles side by side, the left one looking forward. Take 3 to 10 of them where
there is texture all around and nothing nearer than 2 m; the camera may move or stand. The centres
come from the rims of the circles, the rest from what both lenses see. Which way is up, the overlap
cannot tell: give --roll until the picture stands upright.

Writes the calibration (parameter fisheye.calibration of the node) and a picture beside it: the
panorama, and the belt that both lenses see, as each sees it, with their difference below.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.bags.bag import BagReader, COMPRESSED, IMAGE
from da_ros.bags.frames import is_bag
from da_ros.cameras.calibration import write_calibration
from da_ros.cameras.fit import belts, Fit, fit
from da_ros.commands.infer import find_images
from da_ros.errors import DaRosError
from da_ros.files import read_panorama, write_image
from da_ros.pixels import picture_of
from da_ros.projection import Projection

PICTURE_HW = (512, 1024)
BELT_HEIGHT = 96

Image = NDArray[np.uint8]


def main(args: list[str] | None = None) -> int:
    """Run the command; 1 and one line if something is wrong."""
    parser = argparse.ArgumentParser(
        prog='da_ros_fisheye', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('inputs', nargs='+', type=Path,
                        help='images, folders of images, or one bag')
    parser.add_argument('--topic', default='',
                        help='image topic of the bag; may be left out if there is one')
    parser.add_argument('--frames', type=int, default=8,
                        help='frames to use, spread over the input [%(default)s]')
    parser.add_argument('--fov', type=float, default=200.0, metavar='DEGREES',
                        help='field of view of a lens, within 15 degrees [%(default)g]')
    parser.add_argument('--roll', type=float, default=0.0, metavar='DEGREES',
                        help='roll of the front lens [%(default)g]')
    parser.add_argument('--blend', type=float, default=4.0, metavar='DEGREES',
                        help='width of the blended band [%(default)g]')
    parser.add_argument('--out', type=Path, default=Path('fisheye.yaml'), help='[%(default)s]')
    options = parser.parse_args(args)
    try:
        frames = read_frames(options.inputs, options.topic, max(options.frames, 1))
        fitted = fit(frames, options.fov, options.roll, options.blend)
        write_calibration(options.out, fitted.camera, report(fitted, len(frames)))
        shown = write_image(options.out.with_suffix('.jpg'), picture(frames[0], fitted))
    except (DaRosError, ValueError, OSError) as error:
        print(f'da_ros_fisheye: {error}', file=sys.stderr)
        return 1
    print(f'{report(fitted, len(frames))} -> {options.out}, {shown}')
    return 0


def report(fitted: Fit, frames: int) -> str:
    """Return one line on how well the lenses agree."""
    return (f'{fitted.matches} patches in {frames} frames, lenses agree within '
            f'{fitted.error_deg:.3f} deg (median), field of view '
            f'{fitted.camera.lenses[0].fov_deg:.1f} deg')


def read_frames(inputs: list[Path], topic: str, most: int) -> list[Image]:
    """
    Return at most `most` images, spread evenly over the files or over the bag.

    :raises DaRosError: nothing readable
    """
    if len(inputs) > 1 or not is_bag(inputs[0]):
        paths = find_images(inputs)
        return [read_panorama(paths[i]).image for i in _spread(len(paths), most)]
    with BagReader(inputs[0]) as bag:
        name = bag.find_topic(topic, (IMAGE, COMPRESSED), 'image')
        chosen = set(_spread(bag.counts[name], most))
        return [picture_of(message.decode()).image.copy()
                for number, message in enumerate(bag.messages([name])) if number in chosen]


def _spread(count: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def picture(frame: Image, fitted: Fit) -> Image:
    """Return the panorama of a frame; below it the common belt by both lenses, and the errors."""
    camera = fitted.camera
    panorama = Projection(camera, camera.size_hw, PICTURE_HW).image(frame)
    front, rear, _ = belts(frame, camera, 2 * np.pi / PICTURE_HW[1])
    difference = cv2.absdiff(front, rear)
    rows = [panorama]
    for name, belt in (('front', front), ('rear', rear), ('difference', difference)):
        row = cv2.cvtColor(cv2.resize(belt, (PICTURE_HW[1], BELT_HEIGHT)), cv2.COLOR_GRAY2BGR)
        cv2.putText(row, name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 255, 255), 1,
                    cv2.LINE_AA)
        rows.append(np.asarray(row, np.uint8))
    return np.concatenate(rows)


if __name__ == '__main__':
    raise SystemExit(main())
