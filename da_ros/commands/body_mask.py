# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Learn from a drive where the camera sees the robot itself: what stays near while the robot moves.

    da_ros_body_mask drive.mcap --topic /camera/image --out robot.png

Record 20 s or more of a drive that turns and passes different places. A pixel belongs to the robot
if its colour stays, and it is near in nearly every frame or shows a pattern that stays. A floor of
one colour looks like that, too: look at the picture that is written beside the mask, and paint
over what is wrong.

Writes the mask (parameter body_mask.picture of the node): of the size of the camera's image, white
where the robot is; and NAME_shown.jpg, the mean of the frames with the mask in red.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from da_ros.backends.order import BACKEND_CHOICES
from da_ros.bags.bag import BagReader, COMPRESSED, IMAGE
from da_ros.body_mask import learn
from da_ros.cameras.calibration import read_calibration
from da_ros.cameras.models import Camera, ErpCamera, FisheyeCamera
from da_ros.cameras.rig import Rig
from da_ros.commands.foreground import open_in_foreground
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.files import write_image
from da_ros.panorama import Extent
from da_ros.pixels import picture_of
from da_ros.projection import look_up_index
from da_ros.sphere import erp_rays

Mask = NDArray[np.bool_]


def main(args: list[str] | None = None) -> int:
    """Run the command; 1 and one line if something is wrong."""
    parser = argparse.ArgumentParser(
        prog='da_ros_body_mask', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bag', type=Path, help='of a drive')
    parser.add_argument('--topic', default='',
                        help='image topic; may be left out if there is only one')
    parser.add_argument('--out', type=Path, default=Path('robot.png'), help='[%(default)s]')
    parser.add_argument('--frames', type=int, default=60,
                        help='frames to use, spread over the bag [%(default)s]')
    parser.add_argument('--reach', type=float, default=1.5, metavar='METRES',
                        help='the robot is nearer than this [%(default)g]')
    parser.add_argument('--grow', type=int, default=2, metavar='PX',
                        help="pixels of the network's size that the mask is grown by "
                        '[%(default)s]')
    parser.add_argument('--elevation', nargs=2, type=float, default=(-90.0, 90.0),
                        metavar=('MIN', 'MAX'), help='that the images show [deg]')
    parser.add_argument('--fisheye', type=Path, help='calibration of da_ros_fisheye')
    parser.add_argument('--model', default='', help='bundle folder or name; default: pano_tiny')
    parser.add_argument('--backend', default='auto', choices=BACKEND_CHOICES)
    options = parser.parse_args(args)
    try:
        text = run(options)
    except (DaRosError, ValueError, OSError) as error:
        print(f'da_ros_body_mask: {error}', file=sys.stderr)
        return 1
    print(text)
    return 0


def run(options: argparse.Namespace) -> str:
    """Learn and write the mask; return what became of it."""
    camera: Camera = ErpCamera(Extent(*options.elevation))
    if options.fisheye:
        camera = read_calibration(options.fisheye)
    estimator = open_in_foreground(lambda given_up: RangeEstimator(
        options.model or None, options.backend, given_up=given_up))
    estimator.rig = Rig(camera)
    images, ranges, camera_hw, refused = read_drive(options, estimator)
    body, _ = learn(images, ranges, options.reach, options.grow)
    mask = camera_mask(body, camera, camera_hw)
    write_image(options.out, np.where(mask, np.uint8(255), np.uint8(0)))
    shown = write_image(options.out.with_name(f'{options.out.stem}_shown.jpg'),
                        picture(images, body))
    left_out = f', {refused} refused' if refused else ''
    return (f'{len(images)} frames{left_out}, {body.mean():.1%} of the picture is the robot -> '
            f'{options.out}, {shown}')


def read_drive(options: argparse.Namespace, estimator: RangeEstimator):
    """
    Return the panoramas at network size, their ranges, the size of the images, and how many frames
    were refused.

    :raises DaRosError: if the bag holds no such images
    """
    images, ranges, refused, camera_hw = [], [], 0, (0, 0)
    with BagReader(options.bag) as bag:
        topic = bag.find_topic(options.topic, (IMAGE, COMPRESSED), 'image')
        count = bag.counts[topic]
        chosen = set(np.linspace(0, count - 1, min(count, options.frames)).astype(int).tolist())
        for number, message in enumerate(tqdm(bag.messages([topic]), 'frames', count,
                                              disable=None)):
            if number not in chosen:
                continue
            try:
                image = picture_of(message.decode()).image
                range_map = estimator.predict(image)
            except (DaRosError, ValueError):
                refused += 1
                continue
            camera_hw = image.shape[0], image.shape[1]
            images.append(range_map.image)
            ranges.append(range_map.range_m)
    return images, ranges, camera_hw, refused


def camera_mask(body: Mask, camera: Camera, camera_hw: tuple[int, int]) -> Mask:
    """Return a mask of the panorama in the camera's frame as a mask of the camera's image."""
    height, width = camera_hw
    if isinstance(camera, FisheyeCamera):
        col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        mask = np.zeros(camera_hw, bool)
        for lens in camera.lenses:
            inside = np.hypot(col - lens.centre_px[0], row - lens.centre_px[1]) <= lens.radius_px
            index = look_up_index((body.shape[0], body.shape[1]), lens.rays(col, row))
            mask[inside] = body.reshape(-1)[index][inside]
        return mask
    assert isinstance(camera, ErpCamera)
    rows = round(width / 2)
    full = body.reshape(-1)[look_up_index((body.shape[0], body.shape[1]),
                                          erp_rays(rows, 2 * rows))]
    top = round((90 - camera.extent.elevation_max_deg) / 180 * rows)
    return full[np.minimum(np.arange(top, top + height), rows - 1)][:, :width]


def picture(images: list[NDArray[np.uint8]], body: Mask) -> NDArray[np.uint8]:
    """Return the mean of the frames with the mask in red, its outline in white."""
    mean = np.mean(images, 0)
    shown = np.where(body[..., None], 0.4 * mean + 0.6 * np.array([40, 40, 230]), mean)
    shown = np.ascontiguousarray(shown.astype(np.uint8))
    outlines, _ = cv2.findContours(body.astype(np.uint8), cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(shown, outlines, -1, (255, 255, 255), 1)
    return shown


if __name__ == '__main__':
    raise SystemExit(main())
