# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Virtual pinhole cameras in a range map: depth along the axis (REP 118), image, true intrinsics.

For consumers that know no panorama: depth_image_proc, MoveIt's depth updater. A view looks up the
range along each of its own rays and multiplies by the cosine to its axis; no two ranges are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.models import ErpCamera
from da_ros.config import ConfigError
from da_ros.projection import look_up_index, LookUp
from da_ros.range_map import RangeMap
from da_ros.sphere import BODY_FROM_OPTICAL, rotation_from_rpy

Array = NDArray[np.float64]
WIDEST_DEG = 150.0             # beyond it a pinhole spends its pixels on the rim


@dataclass(frozen=True)
class View:
    """A pinhole camera at the centre of the panorama, without roll; pixels are square."""

    name: str
    yaw_deg: float             # of the axis in the body frame, positive to the left
    pitch_deg: float           # positive down (REP 103)
    fov_deg: float             # horizontal
    width: int
    height: int

    @property
    def focal_px(self) -> float:
        """Focal length, the same in both directions."""
        return float(self.width / 2 / np.tan(np.deg2rad(self.fov_deg) / 2))

    @property
    def intrinsics(self) -> Array:
        """
        Camera matrix K (3, 3) of ROS: the centre of the first pixel is at 0, not 0.5.

        The axis goes through the middle of the image, which is (width - 1) / 2 in that count.
        """
        return np.array([[self.focal_px, 0, (self.width - 1) / 2],
                         [0, self.focal_px, (self.height - 1) / 2], [0, 0, 1]])

    @property
    def body_from_optical(self) -> Array:
        """Rotation (3, 3) from the view's optical frame (z forward, x right, y down)."""
        return rotation_from_rpy(0, *np.deg2rad([self.pitch_deg, self.yaw_deg])
                                 ) @ BODY_FROM_OPTICAL

    @property
    def rays_optical(self) -> Array:
        """Rays (height, width, 3) through the pixel centres in the optical frame, z = 1."""
        col, row = np.meshgrid(np.arange(self.width), np.arange(self.height))
        k = self.intrinsics
        return np.stack([(col - k[0, 2]) / k[0, 0], (row - k[1, 2]) / k[1, 1],
                         np.ones(col.shape)], -1)


class ViewProjector:
    """Cuts one view out of range maps of one size and pose; the geometry is computed once."""

    def __init__(self, view: View, size_hw: tuple[int, int], map_from_body: Array | None = None):
        """
        Find the pixel of the map under each pixel of the view.

        :param view: the pinhole camera
        :param size_hw: height and width of the range maps [px]
        :param map_from_body: (3, 3) rotation; None = identity
        """
        self.view = view
        rays = view.rays_optical
        body = rays @ view.body_from_optical.T
        self._index = look_up_index(size_hw, body, map_from_body)
        # range * cosine to the axis; the z of the unit ray.
        self._cosine = (1 / np.linalg.norm(rays, axis=-1)).astype(np.float32)
        if map_from_body is not None:
            body = body @ map_from_body.T
        self._image = LookUp(ErpCamera(), size_hw, body)

    def depth(self, range_map: RangeMap) -> NDArray[np.float32]:
        """
        Return depth along the view's axis.

        :return: (height, width) float32 [m]; NaN and infinities as in the map
        """
        return range_map.range_m.reshape(-1)[self._index] * self._cosine

    def image(self, range_map: RangeMap) -> NDArray[np.uint8]:
        """Return what the network saw in this view, bilinear: (height, width, 3) uint8 BGR."""
        return self._image.image(range_map.image)


def views_from(text: str, name: str = 'views') -> tuple[View, ...]:
    """
    Read views "front 0 0 90 320x240; rear 180 0 90 320x240": name, yaw, pitch, fov [deg], size.

    :raises ConfigError: naming the view and what is needed
    """
    views: list[View] = []
    for part in filter(str.strip, text.split(';')):
        words = part.replace(',', ' ').split()
        try:
            width, height = (int(side) for side in words[4].split('x'))
            yaw, pitch, fov = (float(word) for word in words[1:4])
            view = View(words[0], yaw, pitch, fov, width, height)
        except (ValueError, IndexError):
            view = None
        if view is None or len(words) != 5 or not _is_name(view.name):
            raise ConfigError(f'{name} {part.strip()!r} is no view; give NAME YAW PITCH FOV '
                              'WIDTHxHEIGHT [deg, px], such as front 0 0 90 320x240, views '
                              'parted by ;')
        _check(view, name)
        views.append(view)
    names = [view.name for view in views]
    if len(set(names)) < len(names):
        raise ConfigError(f'{name} gives {max(names, key=names.count)!r} twice')
    return tuple(views)


def _is_name(name: str) -> bool:
    """Return whether a word may be a part of a ROS topic."""
    return name.isascii() and name.replace('_', 'a').isalnum() and not name[0].isdigit()


def _check(view: View, name: str) -> None:
    limits = {'yaw': (view.yaw_deg, -360, 360), 'pitch': (view.pitch_deg, -90, 90),
              'field of view': (view.fov_deg, 1, WIDEST_DEG), 'width': (view.width, 8, 4096),
              'height': (view.height, 8, 4096)}
    for what, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ConfigError(f'{name}: {what} {value:g} of {view.name!r} is outside {low:g} to '
                              f'{high:g}')
    if np.rad2deg(2 * np.arctan(view.height / 2 / view.focal_px)) > WIDEST_DEG:
        raise ConfigError(f'{name}: {view.name!r} is {view.height} px high, a vertical field of '
                          f'view above {WIDEST_DEG:g} deg; give fewer rows')
