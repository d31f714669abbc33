# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tileable pictures with mip levels, looked up for a hundred thousand pixels at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from da_ros.errors import DaRosError

MAX_SIDE_PX = 256
LEVELS = 9
HELD_OUT = 'aws_warehouse'  # parts of the world that training never sees, see `worlds`


class SimulatorError(DaRosError):
    """An asset folder or a shard that cannot be used."""


class TextureStore:
    """
    All textures and their mip levels in one flat array.

    Texture 0 is plain white, for materials that are a tint only.
    """

    def __init__(self) -> None:
        self._levels: list[np.ndarray] = []
        self._table: list[tuple[list[int], list[int], list[int]]] = []
        self._count = 0
        self._flat = np.empty((0, 3), np.uint8)
        self._filled = 0
        self.names: dict[str, list[int]] = {}
        self.add(np.full((1, 1, 3), 255, np.uint8))

    def add(self, image: np.ndarray, group: str = '') -> int:
        """
        Append a picture.

        :param image: (H, W, 3) uint8 RGB
        :param group: name under which :attr:`names` lists the index
        :return: index of the texture
        """
        scale = MAX_SIDE_PX / max(image.shape[:2])
        if scale < 1:
            size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        offsets, heights, widths = [], [], []
        for _ in range(LEVELS):
            offsets.append(self._count)
            heights.append(image.shape[0])
            widths.append(image.shape[1])
            self._levels.append(image.reshape(-1, 3))
            self._count += image.shape[0] * image.shape[1]
            half = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
            if half != image.shape[1::-1]:
                image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
        self._table.append((offsets, heights, widths))
        self.names.setdefault(group, []).append(len(self._table) - 1)
        return len(self._table) - 1

    def _freeze(self) -> None:
        """Move new pictures into the flat array, which doubles when it is full."""
        if self._count > len(self._flat):
            larger = np.empty((max(self._count, 2 * len(self._flat)), 3), np.uint8)
            larger[:self._filled] = self._flat[:self._filled]
            self._flat = larger
        for level in self._levels:
            self._flat[self._filled:self._filled + len(level)] = level
            self._filled += len(level)
        self._levels = []
        table = np.array(self._table, dtype=np.int64)
        self._offset, self._height, self._width = table[:, 0], table[:, 1], table[:, 2]

    def sample(self, texture: np.ndarray, uv: np.ndarray, lod: np.ndarray) -> np.ndarray:
        """
        Return bilinear colours of repeating textures.

        :param texture: (N,) int, index
        :param uv: (N, 2) repeats; v grows upwards
        :param lod: (N,) log2 of texels of level 0 per pixel, relative to a side of one repeat
        :return: (N, 3) float32 in 0..1, as stored (gamma encoded)
        """
        if self._levels:
            self._freeze()
        side = np.maximum(self._width[texture, 0], self._height[texture, 0])
        level = np.clip(np.rint(lod + np.log2(side)), 0, LEVELS - 1).astype(np.int64)
        width, height = self._width[texture, level], self._height[texture, level]
        # Texel centres lie at + 0.5; rows count downwards while v grows upwards.
        x = uv[:, 0] * width - 0.5
        y = -uv[:, 1] * height - 0.5
        col, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        fx, fy = (x - col).astype(np.float32)[:, None], (y - row).astype(np.float32)[:, None]
        col, row = col % width, row % height
        right = np.where(col + 1 == width, 0, col + 1)
        below = np.where(row + 1 == height, 0, row + 1)
        upper = self._offset[texture, level] + row * width
        lower = upper + (below - row) * width
        top, bottom = (self._flat[base + col] * (1 - fx) + self._flat[base + right] * fx
                       for base in (upper, lower))
        return (top * (1 - fy) + bottom * fy) * np.float32(1 / 255)


def load_texture_folder(store: TextureStore, folder: Path) -> None:
    """
    Add every picture of `folder/<group>/*.jpg`, except those of the held-out world.

    :raises SimulatorError: if the folder has no picture
    """
    files = sorted(f for f in folder.glob('*/*.jpg') if HELD_OUT not in f.name)
    if not files:
        raise SimulatorError(f'no textures <group>/*.jpg under {folder}; give the asset folder')
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise SimulatorError(f'{file} is not a picture')
        store.add(np.ascontiguousarray(image[..., ::-1]), file.parent.name)
