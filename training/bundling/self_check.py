# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The panoramas that a bundle stores to prove every runtime, and their expected outputs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.bundle import SelfCheck
from da_ros.files import write_image
from da_ros.panorama import resize_erp
from da_ros.sphere import erp_rays
from training.bundling.graph import ExportError, MASK_OUTPUT

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')
ROOM_M = np.array([[4.0, -3.0], [2.5, -3.5], [1.5, -1.2]])    # walls ahead/behind, left/right, z
CAMERA_HEIGHTS_M = (0.0, 1.2)     # one check with the height unknown, one with it known
SQUARE_M = 0.5
STORED_BITS = 16


def drawn_room(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """
    Return a picture of a rectangular room with chequered walls, drawn by formula.

    :return: (height, width, 3) uint8 BGR
    """
    rays = erp_rays(*size_hw)
    with np.errstate(divide='ignore'):
        to_wall = np.where(rays > 0, ROOM_M[:, 0] / rays, ROOM_M[:, 1] / rays)
    to_wall = np.where(np.isfinite(to_wall), to_wall, np.inf)
    wall = to_wall.argmin(-1)
    point = rays * to_wall.min(-1, keepdims=True)
    inside = np.floor(point / SQUARE_M)
    inside[np.arange(3) == wall[..., None]] = 0
    light = 0.55 + 0.25 * (inside.sum(-1) % 2) + 0.2 * np.cos(3 * point).prod(-1)
    tint = np.array([[200, 170, 150], [150, 190, 180], [130, 150, 210]])[wall]
    side = np.where(np.take_along_axis(rays, wall[..., None], -1) > 0, 1.0, 0.75)
    return np.clip(light[..., None] * tint * side, 0, 255).astype(np.uint8)


def read_panoramas(folder: Path | None, size_hw: tuple[int, int], resize: str,
                   count: int) -> list[NDArray[np.uint8]]:
    """
    Return panoramas at network size, evenly chosen from a folder; a drawn room without one.

    :param folder: jpg or png panoramas; None = the drawn room
    :param resize: method of the bundle
    :raises ExportError: if the folder has no readable 2:1 panorama
    """
    if folder is None:
        return [drawn_room(size_hw)]
    paths = sorted(p for p in folder.glob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ExportError(f'{str(folder)!r} holds no .jpg or .png panorama')
    chosen = [paths[k] for k in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]
    return [read_panorama(path, size_hw, resize) for path in chosen]


def read_panorama(path: Path, size_hw: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """
    Return one panorama at network size, BGR.

    :raises ExportError: if it is unreadable or not 2:1
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or image.shape[1] != 2 * image.shape[0]:
        raise ExportError(f'{str(path)!r} is no 2:1 panorama; remove it from the folder')
    return resize_erp(np.asarray(image, np.uint8), size_hw, resize)


def write_self_check(folder: Path, index: int, image: NDArray[np.uint8], camera_height_m: float,
                     outputs: dict[str, NDArray[np.float32]]) -> SelfCheck:
    """
    Write one panorama with its expected outputs into a bundle folder.

    They are rounded to STORED_BITS, which halves the file and is a thirtieth of what the strictest
    gate allows; probabilities to as many behind the point, because their zeros say nothing.
    """
    (folder / 'self_check').mkdir(exist_ok=True)
    check = SelfCheck(f'self_check/{index}.png', f'self_check/{index}.npz', camera_height_m)
    write_image(folder / check.image, image)
    np.savez_compressed(folder / check.expected,
                        **{name: rounded(array, fixed=name == MASK_OUTPUT)
                           for name, array in outputs.items()})
    return check


def rounded(array: NDArray[np.float32], fixed: bool = False) -> NDArray[np.float32]:
    """
    Return positive numbers with a mantissa of STORED_BITS: a relative error of at most 3.1e-5.

    Upwards, so that a probability above one half stays above it.

    :param fixed: numbers of at most 1 with STORED_BITS behind the point: that as absolute error
    """
    mantissa, exponent = (array, 0) if fixed else np.frexp(array)
    return np.ldexp(np.ceil(np.ldexp(mantissa, STORED_BITS)), exponent - STORED_BITS)
