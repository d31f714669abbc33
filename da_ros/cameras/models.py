# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Where a camera's image shows each direction: equirectangular, or fisheye circles side by side.

The frame of a camera is a body frame (x forward, y left, z up): +x is the centre of an
equirectangular image, and whatever the calibration calls forward for fisheye lenses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.panorama import check_size, Extent, FULL_SPHERE
from da_ros.sphere import rotation_from_rpy, turned

TINY = 1e-6              # rad; edges are computed in two ways, and in single precision
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """
    Where n sub-images (lenses) show each of some rays, and how much each is to be believed.

    `cols`, `rows`, `weights` (n, ...): continuous coordinates in the camera image [px], always
    inside it; weights in [0, 1] that sum to 1, or to 0 where the camera does not see.
    """

    cols: Array
    rows: Array
    weights: Array


class Camera(Protocol):
    """A camera model: immutable, knows no image but the size that it is asked about."""

    @property
    def border(self) -> int:
        """OpenCV border mode: what lies beyond the left and right edge."""

    def check_size(self, height: int, width: int) -> None:
        """Raise ValueError, with the remedy, unless images of this size fit the model."""

    def pixels_per_rad(self, width: int) -> float:
        """Return the resolution of an image of this width where it is coarsest."""

    def samples(self, rays: NDArray[Any], height: int, width: int) -> Samples:
        """Return where unit rays (..., 3) in the camera frame are seen in an image."""


@dataclass(frozen=True)
class ErpCamera:
    """An equirectangular image of the whole sphere, or of a part of it."""

    extent: Extent = FULL_SPHERE
    mirrored: bool = False               # left and right are exchanged

    @property
    def border(self) -> int:
        """Only a whole turn goes round."""
        return cv2.BORDER_WRAP if self._turn_deg == 360 else cv2.BORDER_REPLICATE

    def check_size(self, height: int, width: int) -> None:
        """
        Refuse a height that does not fit the declared extent.

        :raises ValueError: naming the size and the parameters to correct
        """
        check_size(height, width, self.extent)

    def pixels_per_rad(self, width: int) -> float:
        """Return the resolution along the horizon."""
        return float(width / np.deg2rad(self._turn_deg))

    def samples(self, rays: NDArray[Any], height: int, width: int) -> Samples:
        """Return where rays are seen; beyond a partial image, its nearest pixel with weight 0."""
        x, y, z = (rays[..., axis] for axis in range(3))
        azimuth = np.arctan2(-y if self.mirrored else y, x)
        elevation = np.arctan2(z, np.sqrt(x * x + y * y))
        extent, real = self.extent, azimuth.dtype.type
        turn, span = np.deg2rad([self._turn_deg, extent.elevation_max_deg
                                 - extent.elevation_min_deg])
        from_left = np.deg2rad(extent.azimuth_max_deg, dtype=real) - azimuth
        from_left -= real(2 * np.pi) * np.floor(from_left / real(2 * np.pi))
        from_top = np.deg2rad(extent.elevation_max_deg, dtype=real) - elevation
        weight = np.ones_like(azimuth)
        if extent != FULL_SPHERE:
            weight[(from_left > turn) | (from_top < -TINY) | (from_top > span + TINY)] = 0
            # What lies beside the picture is nearer to its left edge beyond the middle.
            from_left[from_left > (turn + 2 * np.pi) / 2] = 0
        col = np.minimum(from_left * real(width / turn), real(width))
        row = np.clip(from_top * real(height / span), real(0), real(height))
        return Samples(col[None], row[None], weight[None])

    @property
    def _turn_deg(self) -> float:
        return self.extent.azimuth_max_deg - self.extent.azimuth_min_deg


@dataclass(frozen=True)
class Lens:
    """
    An equidistant fisheye lens: a ray at angle t from the axis is at t * radius / (fov / 2).

    The lens frame has its axis along +x; its image shows +y to the left and +z upwards.
    """

    centre_px: tuple[float, float]     # col, row of the axis; the centre of pixel i is i + 0.5
    radius_px: float                   # of the image circle, where the angle is fov / 2
    fov_deg: float                     # full angle
    roll_deg: float = 0.0              # of the lens in the camera frame, REP 103
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0

    @property
    def camera_from_lens(self) -> Array:
        """Rotation (3, 3)."""
        return rotation_from_rpy(*np.deg2rad([self.roll_deg, self.pitch_deg, self.yaw_deg]))

    @property
    def pixels_per_rad(self) -> float:
        """Resolution, the same from the axis to the edge."""
        return self.radius_px / np.deg2rad(self.fov_deg / 2)

    def project(self, rays: NDArray[Any]) -> tuple[Array, Array, Array]:
        """
        Return where rays fall in the image; those beyond the circle fall on its edge.

        :param rays: (..., 3) unit, camera frame
        :return: col, row [px], angle from the axis [rad]
        """
        x, y, z = np.moveaxis(turned(rays, self.camera_from_lens.T), -1, 0)
        planar = np.sqrt(y * y + z * z)
        angle = np.arctan2(planar, x)
        real = angle.dtype.type
        radius = np.minimum(real(self.pixels_per_rad) * angle, real(self.radius_px))
        scale = radius / np.where(planar > 0, planar, real(1))        # on the axis: any direction
        return (real(self.centre_px[0]) - scale * y, real(self.centre_px[1]) - scale * z, angle)

    def rays(self, col: Array, row: Array) -> Array:
        """Return the unit rays (..., 3) of image coordinates [px], in the camera frame."""
        right, down = np.asarray(col) - self.centre_px[0], np.asarray(row) - self.centre_px[1]
        radius = np.hypot(right, down)
        angle = radius / self.pixels_per_rad
        side = np.sin(angle) / np.where(radius > 0, radius, 1)
        in_lens = np.stack([np.cos(angle), -side * right, -side * down], -1)
        return np.asarray(in_lens @ self.camera_from_lens.T)


@dataclass(frozen=True)
class FisheyeCamera:
    """One or two fisheye circles in one image, blended half-way between their axes."""

    size_hw: tuple[int, int]           # of the calibrated image [px]
    lenses: tuple[Lens, ...]
    blend_deg: float = 4.0             # width of the blended band

    @property
    def border(self) -> int:
        """A circle ends before the image does."""
        return cv2.BORDER_REPLICATE

    def check_size(self, height: int, width: int) -> None:
        """
        Refuse any size but that of the calibration.

        :raises ValueError: naming both sizes
        """
        if (height, width) != self.size_hw:
            raise ValueError(f'image is {width} x {height} px, but the fisheye calibration is of '
                             f'{self.size_hw[1]} x {self.size_hw[0]} px; calibrate again '
                             '(da_ros_fisheye), or set the camera to that size')

    def pixels_per_rad(self, width: int) -> float:
        """Return the resolution of the coarsest lens."""
        return min(lens.pixels_per_rad for lens in self.lenses)

    def samples(self, rays: NDArray[Any], height: int, width: int) -> Samples:
        """Return where each lens sees rays; outside the circles the weight is 0."""
        cols, rows, angles = map(np.stack, zip(*(lens.project(rays) for lens in self.lenses)))
        seen = angles <= self._half_fields(angles.ndim)
        weights = self._shares(angles) * seen
        total = weights.sum(0)
        weights /= np.where(total > 0, total, 1)
        return Samples(np.clip(cols, 0, width), np.clip(rows, 0, height), weights)

    def _half_fields(self, ndim: int) -> Array:
        fields = np.deg2rad([lens.fov_deg / 2 for lens in self.lenses])
        return fields.reshape(-1, *[1] * (ndim - 1))

    def _shares(self, angles: Array) -> Array:
        """Return each lens's share before the limits of its circle: half where both are equal."""
        if len(angles) == 1:
            return np.ones_like(angles)
        nearer = angles[::-1] - angles            # grows twice as fast as the angle itself
        width = 2 * np.deg2rad(max(self.blend_deg, 1e-6))
        # Beyond the other circle this lens is alone, however small its share: keep a trace of it.
        return np.clip(0.5 + nearer / width, 1e-9, 1)
