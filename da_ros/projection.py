# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
From the camera's image to the level image of the network in one look-up, and back for ranges.

Two frames with the same origin: the *camera* frame of `cameras`, and the *map* frame of the
network's panorama and so of the range map, which should be level. Ranges are lengths of rays, so
turning a map back is a look-up along rays and changes no value.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.models import Camera, Samples
from da_ros.sphere import erp_rays_single, turned

Array = NDArray[np.float64]


class LookUp:
    """
    The look-up table of one camera, image size and grid of rays: halve, then one `cv2.remap`.

    Coordinates are fixed-point, 1/32 px.
    """

    def __init__(self, camera: Camera, camera_hw: tuple[int, int], rays: NDArray[Any],
                 halvings: int = 0, cubic: bool = False):
        """
        Compute the table.

        :param camera: model of the camera
        :param camera_hw: height and width of its images [px]
        :param rays: (h, w, 3) unit, in the camera frame: what to look at
        :param halvings: how often the image is halved first
        :param cubic: interpolate over 4 x 4 pixels instead of 2 x 2
        :raises ValueError: if images of this size do not fit the model
        """
        camera.check_size(*camera_hw)
        self.camera_hw, self.size_hw = camera_hw, (rays.shape[0], rays.shape[1])
        self._halvings, self._border = halvings, camera.border
        self._interpolation = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
        samples = camera.samples(rays, *camera_hw)
        #: (h, w) bool, False where the camera does not see
        self.seen = np.asarray(samples.weights.sum(0) > 0)
        self._prepare(samples)

    def _prepare(self, samples: Samples) -> None:
        """Make the maps: the pixels asked for, and below them second views of those blended."""
        width = self.size_hw[1]
        best = samples.weights.argmax(0)[None]
        col, row, weight = (np.take_along_axis(values, best, 0)[0] for values in (
            samples.cols, samples.rows, samples.weights))
        self._blended = np.flatnonzero((weight > 0) & (weight < 1 - 1e-6))
        self._share = weight.reshape(-1)[self._blended, None].astype(np.float32)
        if len(self._blended):
            more = -(-len(self._blended) // width) * width
            second = np.resize(self._blended, more)
            other = 1 - best.reshape(-1)[second]
            col, row = (np.concatenate([values, planes.reshape(2, -1)[other, second].reshape(
                -1, width)]) for values, planes in ((col, samples.cols), (row, samples.rows)))
        small_h, small_w = (side >> self._halvings for side in self.camera_hw)
        # OpenCV counts from pixel centres. A row beyond the first or last is the other side of a
        # pole or of a partial image's edge, never the other end of the image.
        col = col * (small_w / self.camera_hw[1]) - 0.5
        row = np.clip(row * (small_h / self.camera_hw[0]) - 0.5, 0, small_h - 1)
        if self._border != cv2.BORDER_WRAP:
            col = np.clip(col, 0, small_w - 1)
        self._maps = cv2.convertMaps(col.astype(np.float32), row.astype(np.float32),
                                     cv2.CV_16SC2)

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Return what a camera image shows along the rays.

        :param image: (camera height, camera width, 3) uint8
        :return: (h, w, 3) uint8; unseen pixels repeat the nearest seen ones
        :raises ValueError: if the image is not of the size of the table
        """
        if image.shape[:2] != self.camera_hw:
            raise ValueError(f'image is {image.shape[1]} x {image.shape[0]} px, the look-up table '
                             f'is for {self.camera_hw[1]} x {self.camera_hw[0]} px')
        for _ in range(self._halvings):
            image = np.asarray(cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2),
                                          interpolation=cv2.INTER_AREA), np.uint8)
        looked_up = cv2.remap(image, self._maps[0], self._maps[1], self._interpolation,
                              borderMode=self._border)
        panorama = np.asarray(looked_up[:self.size_hw[0]], np.uint8)
        if len(self._blended):
            flat = panorama.reshape(-1, image.shape[2])
            other = looked_up[self.size_hw[0]:].reshape(-1, image.shape[2])[:len(self._blended)]
            own = flat[self._blended].astype(np.float32)
            mixed = own * self._share + other * (1 - self._share)
            flat[self._blended] = np.round(mixed).astype(np.uint8)
        return panorama


class Projection(LookUp):
    """
    The look-up of a whole panorama: from the camera's image to the level image of the network.

    Halving keeps the resolution at least that of the network, so that the bilinear look-up skips
    no more than every other pixel.
    """

    def __init__(self, camera: Camera, camera_hw: tuple[int, int], size_hw: tuple[int, int],
                 camera_from_map: Array | None = None, method: str = 'area'):
        """
        Compute the table.

        :param camera: model of the camera
        :param camera_hw: height and width of its images [px]
        :param size_hw: height and width of the network [px]
        :param camera_from_map: (3, 3) rotation, `v_camera = R @ v_map`; None = identity
        :param method: `area` halves first; `linear` and `cubic` look up in the image as it is
        :raises ValueError: if images of this size do not fit the model
        """
        rays: NDArray[Any] = erp_rays_single(*size_hw)
        if camera_from_map is not None:
            rays = turned(rays, camera_from_map)
        halvings = _halvings(camera, camera_hw[1], size_hw[1]) if method == 'area' else 0
        super().__init__(camera, camera_hw, rays, halvings, method == 'cubic')


def _halvings(camera: Camera, width: int, network_width: int) -> int:
    """Return how often the image can be halved without becoming coarser than the network's."""
    ratio = camera.pixels_per_rad(width) * 2 * np.pi / network_width
    return max(0, int(np.floor(np.log2(ratio) + 1e-9)))


def look_up_index(size_hw: tuple[int, int], rays: NDArray[Any],
                  map_from_rays: Array | None = None) -> NDArray[np.intp]:
    """
    Return which pixel of a panorama holds each ray: ranges, masks and colours follow by `take`.

    :param size_hw: height and width of the panorama [px]
    :param rays: (..., 3) of any length but zero
    :param map_from_rays: (3, 3) rotation into the panorama's frame; None = identity
    :return: (...,) flat indices
    """
    height, width = size_hw
    rays = np.asarray(rays)
    if map_from_rays is not None:
        rays = turned(rays, map_from_rays)
    x, y, z = (rays[..., axis] for axis in range(3))
    real = x.dtype.type
    row = (real(height / 2) - np.arctan2(z, np.sqrt(x * x + y * y)) * real(height / np.pi))
    col = (real(width / 2) - np.arctan2(y, x) * real(width / (2 * np.pi)))
    index = np.clip(row.astype(np.intp), 0, height - 1)
    index *= width
    # Behind, azimuth is pi or -pi: both are the first column's left edge.
    index += np.where(col >= width, 0, np.maximum(col, 0)).astype(np.intp)
    return index
