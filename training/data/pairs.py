# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Folders of panoramas with range images: evaluation pairs.

A folder holds `NAME.jpg` (or .png) and `NAME_depth_mm.png`: range along the ray in uint16
millimetres, 0 = unknown. An optional `pairs.json` lists {'pairs': [{'name', 'rgb', 'depth',
'tier', 'env', 'camera_height_m', 'label', 'source'}, ...]}; without it every `*_depth_mm.png`
makes a pair. Tiers begin with a letter: A measured, B room layout (furniture is not in the truth;
`label` maps 1 floor, 2 ceiling, 3 wall, 4 opening), C rendered (0 = nothing there, sky), S
triangulated from a stereo pair (unknown around the outlines of near things and near the poles).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from training.data.sample import Sample

LABELS = {1: 'floor', 2: 'ceiling', 3: 'wall', 4: 'opening'}
SUFFIX = '_depth_mm.png'
HEIGHT_BANDS_M = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class PairsError(DaRosError):
    """A folder of pairs that is missing, incomplete or unreadable."""


@dataclass(frozen=True)
class Pair:
    """One pair, read when asked for."""

    name: str
    image_path: Path
    range_path: Path
    label_path: Path | None = None
    tier: str = ''              # A, B, C, S or nothing
    environment: str = ''       # indoor, outdoor or nothing
    scene: str = ''
    camera_height_m: float = 0.0

    @property
    def complete(self) -> bool:
        """Return whether everything visible is in the truth, as obstacles and edges need it."""
        return self.tier not in ('B', 'S')

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of the table rows that this pair counts for."""
        tier = f'tier {self.tier}' if self.tier else ''
        groups = ['all', tier, f'{tier} {self.environment}'.strip() if self.environment else '']
        if self.scene:
            groups.append(f'scene {self.scene}')
        if self.camera_height_m > 0:
            groups.append(height_group(self.camera_height_m))
        return tuple(dict.fromkeys(group for group in groups if group))

    def load(self) -> Sample:
        """
        Read the image and the range.

        :raises PairsError: if a file is missing, unreadable, or the sizes differ
        """
        image = _read(self.image_path, cv2.IMREAD_COLOR)
        depth = _read(self.range_path, cv2.IMREAD_UNCHANGED)
        if depth.dtype != np.uint16 or depth.ndim != 2:
            raise PairsError(f'{self.range_path} must be a uint16 image of one channel, '
                             f'got {depth.dtype} {depth.shape}')
        if depth.shape != image.shape[:2]:
            raise PairsError(f'{self.range_path} is {depth.shape}, its image {image.shape[:2]}')
        nothing = np.inf if self.tier == 'C' else np.nan
        range_m = np.where(depth > 0, depth / np.float32(1000), np.float32(nothing))
        return Sample(
            image=np.ascontiguousarray(image[..., ::-1]), range_m=range_m.astype(np.float32),
            valid=np.isfinite(range_m), source=self.name, camera_height_m=self.camera_height_m)

    def load_label(self) -> NDArray[np.uint8] | None:
        """Return the label map (H, W), keys of LABELS, or None."""
        return _read(self.label_path, cv2.IMREAD_GRAYSCALE) if self.label_path else None


def read_pairs(folder: str | Path) -> list[Pair]:
    """
    Return the pairs of a folder, sorted by name; images are read later, one by one.

    :raises PairsError: if the folder holds no pair, or the list names a missing file
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PairsError(f'no folder {folder}')
    listed = folder / 'pairs.json'
    pairs = list(_listed(folder, listed) if listed.is_file() else _found(folder))
    if not pairs:
        raise PairsError(f'no pair in {folder}: it needs NAME.jpg beside NAME{SUFFIX}')
    for pair in pairs:
        for path in (pair.image_path, pair.range_path, pair.label_path):
            if path is not None and not path.is_file():
                raise PairsError(f'pair {pair.name!r} names a missing file {path}')
    return sorted(pairs, key=lambda pair: pair.name)


def write_pair(folder: Path, name: str, sample: Sample) -> None:
    """
    Write a sample in this layout; ranges beyond 65.5 m and all that is not finite become 0.

    :raises PairsError: if a file cannot be written, as on a full disk
    """
    range_m = np.where(np.isfinite(sample.range_m) & (sample.range_m < 65.535), sample.range_m, 0)
    image = cv2.imencode('.jpg', sample.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    depth = cv2.imencode('.png', np.rint(range_m * 1000).astype(np.uint16))[1]
    for path, data in ((folder / f'{name}.jpg', image), (folder / f'{name}{SUFFIX}', depth)):
        try:
            path.write_bytes(data)          # cv2.imwrite takes a full disk for a success
        except OSError as error:
            raise PairsError(f'{path} cannot be written: {error.strerror}') from error


def _listed(folder: Path, listed: Path) -> Iterator[Pair]:
    try:
        rows = json.loads(listed.read_text())['pairs']
        for row in rows:
            if row.get('depth_kind', 'euclidean') != 'euclidean':
                raise PairsError(f'{listed}: pair {row["name"]!r} holds {row["depth_kind"]} '
                                 'depth; range along the ray (euclidean) is needed')
            yield Pair(
                name=row['name'], image_path=folder / row['rgb'],
                range_path=folder / row['depth'],
                label_path=folder / row['label'] if row.get('label') else None,
                tier=row.get('tier', '')[:1], environment=row.get('env', ''),
                scene=_scene(row), camera_height_m=float(row.get('camera_height_m') or 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PairsError(f'{listed} is no list of pairs: {error!r}') from error


def _scene(row: dict) -> str:
    """Return the scene of a rendered pair: its name without the prefix and the number."""
    name = row['name']
    return name.removeprefix('synth_').rsplit('_', 1)[0] if name.startswith('synth_') else ''


def _found(folder: Path) -> Iterator[Pair]:
    for range_path in sorted(folder.glob(f'*{SUFFIX}')):
        name = range_path.name.removesuffix(SUFFIX)
        images = [folder / f'{name}{end}' for end in ('.jpg', '.png', '.jpeg')]
        image = next((path for path in images if path.is_file()), images[0])
        yield Pair(name=name, image_path=image, range_path=range_path)


def height_group(height_m: float) -> str:
    """Return the table row of a camera height [m]."""
    for low, high in pairwise(HEIGHT_BANDS_M):
        if height_m <= high:
            return f'camera {low:g}-{high:g} m' if low else f'camera <= {high:g} m'
    return f'camera > {HEIGHT_BANDS_M[-1]:g} m'


def _read(path: Path, flag: int) -> np.ndarray:
    image = cv2.imread(str(path), flag)
    if image is None:
        raise PairsError(f'cannot read {path}: no image, or damaged')
    return image
