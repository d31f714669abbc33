# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Virtual KITTI 2, outdoor rendering (DA² table 4).

Layout and unit: europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2,
archives `rgb`, `depth` and `textgt` unpacked side by side, or into one tree:
`SceneXX/VARIATION/frames/rgb/Camera_C/rgb_%05d.jpg`, `.../frames/depth/Camera_C/depth_%05d.png`
(uint16 centimetres along the optical axis; the sky lies on the far plane at 65535) and
`SceneXX/VARIATION/intrinsic.txt` with lines `frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]`.
The principal point is taken as an index of pixel centres (620.5 of 1242 px: the middle).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from training.data.files import (
    clean_range,
    DataError,
    pairs_of,
    read_counts,
    read_text,
    Views,
)
from training.data.placement import Pinhole, range_from_depth

SKY = 65535


def samples(root) -> Views:
    """Return the views of both cameras in all variations below a folder."""
    root = Path(root)
    return Views('virtual_kitti2', pairs_of(
        root, '**/frames/rgb/Camera_*/rgb_*.jpg', lambda image: _depth_of(root, image)),
        lambda pair, size_hw: _decode(root, pair))


def _depth_of(root: Path, image: Path) -> Path:
    scene, variation, _, _, camera, name = image.parts[-6:]
    tail = Path(scene, variation, 'frames', 'depth', camera,
                name.replace('rgb_', 'depth_').replace('.jpg', '.png'))
    return _somewhere(root, image, tail)


def _somewhere(root: Path, image: Path, tail: Path) -> Path:
    """Return a file in the tree of the image, or in another archive's tree beside it."""
    own = image.parents[5] / tail
    beside = sorted(root.glob(f'*/{tail}'))
    return own if own.is_file() or not beside else beside[0]


def _decode(root, pair):
    counts = read_counts(pair.depth)
    scene, variation, _, _, camera, name = pair.image.parts[-6:]
    text = _somewhere(root, pair.image, Path(scene, variation, 'intrinsic.txt'))
    pinhole = _cameras(text).get((int(name[4:9]), int(camera[7:])))
    if pinhole is None:
        raise DataError(f'{text} has no line for {pair.image}')
    depth_m = clean_range(counts / 100, counts == 0, counts == SKY)
    return range_from_depth(depth_m, pinhole), pinhole


@lru_cache(maxsize=64)
def _cameras(path: Path) -> dict[tuple[int, int], Pinhole]:
    lines = [line.split() for line in read_text(path).splitlines()[1:] if line.strip()]
    try:
        return {(int(w[0]), int(w[1])): Pinhole(float(w[2]), float(w[3]), float(w[4]) + 0.5,
                                                float(w[5]) + 0.5) for w in lines}
    except (ValueError, IndexError) as error:
        raise DataError(f'{path} is not "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"') from error
