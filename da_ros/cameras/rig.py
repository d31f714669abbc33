# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The camera on its robot: how its image becomes the level panorama, and what of it is unknown.

Frames, all with the camera's centre as origin: `camera` as in `cameras.models`, `body` (REP 103,
where clouds are published) and `map`, the frame of the network's panorama and the range map: the
level frame where the tilt is known, else the body frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.body_mask import BodyMask, boxes_from, check_boxes, read_picture
from da_ros.cameras.calibration import read_calibration
from da_ros.cameras.models import Camera, ErpCamera
from da_ros.config import Config
from da_ros.levelling import mounting_from
from da_ros.panorama import Extent, FULL_SPHERE, full_sphere, resize_erp, unseen
from da_ros.projection import look_up_index, Projection
from da_ros.sphere import erp_rays, erp_rays_single, rotation_from_rpy

Array = NDArray[np.float64]
UPRIGHT = np.eye(3)
UPRIGHT.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Rig:
    """A camera model, its turn in the body, and the robot's own shape."""

    camera: Camera = field(default_factory=ErpCamera)
    body_from_camera: Array = field(default_factory=lambda: UPRIGHT)   # (3, 3): `erp.*_deg`
    mask: BodyMask = field(default_factory=BodyMask)
    _robots: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict, init=False)

    def robot(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return where a panorama (height, width) of the body frame shows the robot itself."""
        if size_hw not in self._robots:
            self._robots[size_hw] = self.mask.covers(erp_rays(*size_hw), self.camera,
                                                     self.body_from_camera.T)
        return self._robots[size_hw]

    def camera_from_map(self, map_from_body: Array) -> Array:
        """Return the rotation (3, 3) that carries the network's rays into the camera."""
        return np.asarray(self.body_from_camera.T @ map_from_body.T)


class View:
    """
    What one rig sees at one tilt, at the network's size; tables are computed once and kept.

    A panorama that is neither turned nor mirrored is resized, as at the training; all others go
    through the look-up table.
    """

    def __init__(self, rig: Rig, size_hw: tuple[int, int], method: str = 'area',
                 map_from_body: Array | None = None):
        """
        Prepare; tables are made when the first image tells its size.

        :param rig: the camera on the robot
        :param size_hw: height and width of the network [px]
        :param method: area, linear or cubic, as stored in the bundle
        :param map_from_body: (3, 3) rotation into the level frame; None = the body is level
        """
        self.rig, self.size_hw, self.method = rig, size_hw, method
        self.map_from_body = UPRIGHT if map_from_body is None else map_from_body
        self._camera_from_map = rig.camera_from_map(self.map_from_body)
        #: whether the map is turned in the body
        self.turned = not np.allclose(self.map_from_body, UPRIGHT, atol=1e-9)
        #: whether the map's pixels are the camera's own, in its own order
        self.plain = isinstance(rig.camera, ErpCamera) and not rig.camera.mirrored and bool(
            np.allclose(self._camera_from_map, UPRIGHT, atol=1e-9))
        self._indices: dict[tuple[int, int], NDArray[np.intp] | None] = {}
        self._projection: Projection | None = None
        self._robot: NDArray[np.bool_] | None = None

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Return a camera image as the network sees it: full sphere, network size, BGR.

        :param image: (h, w, 3) uint8 BGR
        :raises ValueError: if its size does not fit the camera model
        """
        if self.plain:
            assert isinstance(self.rig.camera, ErpCamera)
            return resize_erp(full_sphere(image, self.rig.camera.extent), self.size_hw,
                              self.method)
        camera_hw = image.shape[0], image.shape[1]
        if self._projection is None or self._projection.camera_hw != camera_hw:
            self._projection = Projection(self.rig.camera, camera_hw, self.size_hw,
                                          self._camera_from_map, self.method)
        return self._projection.image(image)

    def unknown(self, seen: Extent = FULL_SPHERE) -> NDArray[np.bool_]:
        """
        Return which of the map's pixels say nothing: not seen by the camera, or the robot itself.

        :param seen: the part of the sphere that an image itself says that it shows
        :return: (height, width) bool
        """
        if self._projection is not None:
            unknown = ~self._projection.seen
        else:
            extent = getattr(self.rig.camera, 'extent', FULL_SPHERE)
            unknown = unseen(extent, self.size_hw)
        if seen != FULL_SPHERE:
            index = look_up_index(self.size_hw, erp_rays_single(*self.size_hw),
                                  self._camera_from_map)
            unknown = unknown | unseen(seen, self.size_hw).reshape(-1)[index]
        if self.rig.mask:
            if self._robot is None:
                self._robot = self._robot_in_map()
            unknown = unknown | self._robot
        return unknown

    def _robot_in_map(self) -> NDArray[np.bool_]:
        robot = self.rig.robot(self.size_hw)
        if not self.turned:
            return robot
        # Between two grids a pixel of the one may lie beside the robot's in the other.
        wide = cv2.copyMakeBorder(robot.astype(np.uint8), 0, 0, 1, 1, cv2.BORDER_WRAP)
        grown = np.asarray(cv2.dilate(wide, np.ones((3, 3), np.uint8)))[:, 1:-1] > 0
        return np.take(grown.reshape(-1), look_up_index(
            self.size_hw, erp_rays_single(*self.size_hw), self.map_from_body.T))

    def camera_index(self, size_hw: tuple[int, int]) -> NDArray[np.intp] | None:
        """
        Return where the pixels of the camera's panorama lie in the map.

        :param size_hw: height and width of the panorama [px]: of the whole sphere, in the frame
            and the order of the camera's image
        :return: (height, width) flat indices of the map; None where they are the map's own
        """
        if self.plain and size_hw == self.size_hw:
            return None
        if size_hw not in self._indices:
            rays = erp_rays_single(*size_hw)
            if getattr(self.rig.camera, 'mirrored', False):
                rays = rays[:, ::-1]
            self._indices[size_hw] = look_up_index(self.size_hw, rays, self._camera_from_map.T)
        return self._indices[size_hw]

    def in_camera(self, panorama: NDArray[np.uint8],
                  size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """
        Return what the network saw as a smaller panorama (height, width, 3) of the camera.

        :param panorama: (H, W, 3), `image` of this view
        """
        if self.plain:
            return np.asarray(cv2.resize(panorama, size_hw[::-1], interpolation=cv2.INTER_AREA),
                              np.uint8)
        return np.take(panorama.reshape(-1, 3), self._index_of(size_hw), axis=0)

    def unknown_in_camera(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Return `unknown` as a panorama (height, width) of the camera."""
        return np.take(self.unknown().reshape(-1), self._index_of(size_hw))

    def _index_of(self, size_hw: tuple[int, int]) -> NDArray[np.intp]:
        index = self.camera_index(size_hw)
        return np.arange(size_hw[0] * size_hw[1]).reshape(size_hw) if index is None else index

    def in_map(self, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a panorama (h, w) of the camera as one of the map (H, W), by nearest look-up."""
        rays = erp_rays_single(*self.size_hw)
        if getattr(self.rig.camera, 'mirrored', False):
            pixels = pixels[:, ::-1]
        return np.take(pixels.reshape(-1),
                       look_up_index(pixels.shape, rays, self._camera_from_map))

    def body_index(self) -> NDArray[np.intp] | None:
        """Return where the pixels of a panorama in the body frame lie in the map; None = same."""
        if not self.turned:
            return None
        if (0, 0) not in self._indices:
            self._indices[0, 0] = look_up_index(
                self.size_hw, erp_rays_single(*self.size_hw), self.map_from_body)
        return self._indices[0, 0]


def rig_from(config: Config) -> Rig:
    """
    Return what a configuration says of the camera; reads calibration and mask picture.

    :raises ConfigError: values that cannot be read or contradict
    :raises DaRosError: files that cannot be read or do not fit
    """
    erp, body = config.erp, config.body_mask
    camera: Camera = ErpCamera(Extent(erp.elevation_min_deg, erp.elevation_max_deg), erp.mirrored)
    if config.fisheye.calibration:
        camera = read_calibration(config.fisheye.calibration)
    mask = BodyMask(read_picture(body.picture, camera) if body.picture else None, body.below_deg,
                    boxes_from(body.boxes),
                    mounting_from(config.mounting.base_from_camera).base_from_body)
    if config.levelling.source != 'tf':          # TF tells later where the camera is
        check_boxes(mask)
    turn = np.deg2rad([erp.roll_deg, erp.pitch_deg, erp.yaw_deg])
    return Rig(camera, rotation_from_rpy(*turn), mask)
