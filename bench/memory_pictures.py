# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Show what memory does to one rendered drive: a picture of one moment and a short video.

    python -m bench.memory_pictures drives/00003.tar --frame 30 --out docs/images

Writes memory.jpg and memory.webp: the camera; the range of the single frame and with memory (warm
= near); the error of both (white = none, red = too far, blue = too near, full at 30 %, grey =
unknown).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bench.memory import predict_shard, warped
from da_ros.range_map import colour, RangeMap
from training.data.shards import read_shard

MOST_ERROR = 0.3        # log range that gets the full colour
FIRST_ROW, LAST_ROW = 0.2, 0.85     # of the panorama: what a robot drives into


def error_picture(range_m: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR of the signed log error."""
    with np.errstate(invalid='ignore', divide='ignore'):
        error = np.log(range_m / target) / MOST_ERROR
    level = np.clip(np.nan_to_num(error, nan=0.0, posinf=1.0, neginf=-1.0), -1, 1)[..., None]
    red, blue = np.array([40, 40, 220.0]), np.array([220, 80, 40.0])
    picture = 255 + (np.where(level > 0, red, blue) - 255) * np.abs(level)
    picture[~np.isfinite(range_m) | ~np.isfinite(target)] = 160
    return picture.astype(np.uint8)


def sheet(image: np.ndarray, single: RangeMap, fused: RangeMap, target: np.ndarray,
          width: int) -> np.ndarray:
    """Return one picture (h, width, 3) BGR: the camera, then before and after."""
    rows = [image, np.concatenate([colour(single), colour(fused)], 1),
            np.concatenate([error_picture(m, target) for m in (single.range_m, fused.range_m)],
                           1)]
    height = image.shape[0]
    cut = slice(round(FIRST_ROW * height), round(LAST_ROW * height))
    size = lambda picture: (width, round(width * picture.shape[0] / picture.shape[1]))  # noqa: E731
    texts = ('camera', 'range: one frame | with memory',
             'error: one frame | with memory (red too far, blue too near, 30 %)')
    parts = []
    for picture, text in zip(rows, texts):
        picture = cv2.resize(picture[cut], size(picture[cut]), interpolation=cv2.INTER_AREA)
        for colour_of, thick in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour_of, thick,
                        cv2.LINE_AA)
        parts.append(picture)
    return np.concatenate(parts)


def main() -> None:
    """Write the picture and the video."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('shard', type=Path)
    parser.add_argument('--frame', type=int, default=20, help='of the picture')
    parser.add_argument('--frames', type=int, nargs=2, default=(0, 60), help='of the video')
    parser.add_argument('--bundle', default='')
    parser.add_argument('--out', type=Path, default=Path('docs/images'))
    args = parser.parse_args()
    memory, images = warped(), []
    for number, (sample, frame) in enumerate(zip(
            read_shard(args.shard), predict_shard(args.shard, args.bundle))):
        fused = memory(frame.range_map, frame.stamp_ns, frame.odom_from_camera)
        shown = (np.ascontiguousarray(sample.image[..., ::-1]), frame.range_map, fused,
                 frame.target)
        if number == args.frame:
            cv2.imwrite(str(args.out / 'memory.jpg'), sheet(*shown, 1024),
                        [cv2.IMWRITE_JPEG_QUALITY, 85])
        if args.frames[0] <= number < args.frames[1]:
            images.append(Image.fromarray(sheet(*shown, 640)[..., ::-1]))
    images[0].save(args.out / 'memory.webp', save_all=True, append_images=images[1:],
                   duration=150, loop=0, quality=55)


if __name__ == '__main__':
    main()
