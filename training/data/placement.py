# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A perspective RGB-D view as the part of a panorama that it covers (DA² section 3.1, eq. 1 to 4).

Two formulas of the paper are not what they say, and are offered for comparison only:

* eq. 1 takes Y = X H / W as the vertical field of view and a focal length from each. Angles are
  not proportional to pixels: 60 degrees on 1024 x 768 px gives fy 4.5 % longer than fx, where
  the cameras have square pixels. `pinhole_from_field` uses one focal length.
* eq. 3 adds the polar offset theta_c to the polar angle. That shears the picture; a camera that
  looks up or down is a rotation of its rays. `place` rotates, `place_as_printed` adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import angles_from_ray, erp_rays, ray_from_angles, rotation_from_rpy

Array = NDArray[np.floating]
MAX_AZIMUTH_RAD, MAX_ELEVATION_RAD = np.radians(30), np.radians(15)
SAME_SURFACE = 0.05     # neighbours that differ more in range are not mixed


@dataclass(frozen=True)
class Pinhole:
    """Focal lengths and principal point [px]; the centre of pixel i lies at i + 0.5."""

    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class View:
    """A perspective image and the range along the ray of each pixel."""

    image: NDArray[np.uint8]        # (h, w, 3) RGB
    range_m: NDArray[np.float32]    # (h, w); NaN = unknown, +inf = empty
    camera: Pinhole
    source: str


@dataclass(frozen=True)
class Placement:
    """A panorama of which a view covers a part."""

    image: NDArray[np.uint8]        # (H, W, 3) RGB, 0 where not seen
    range_m: NDArray[np.float32]    # (H, W), NaN where not seen
    seen: NDArray[np.bool_]         # (H, W), True where the centre of the pixel is in the view


def pinhole_from_field(height: int, width: int, field_rad: float) -> Pinhole:
    """
    Return the camera of square pixels with a horizontal field of view (DA² eq. 1 for fx).

    :raises ValueError: if the field is not between 0 and pi
    """
    if not 0 < field_rad < np.pi:
        raise ValueError(f'field of view {np.degrees(field_rad):g} degrees is not in (0, 180)')
    focal = width / (2 * np.tan(field_rad / 2))
    return Pinhole(focal, focal, width / 2, height / 2)


def pinhole_as_printed(height: int, width: int, field_rad: float) -> Pinhole:
    """Return the camera of DA² eq. 1 to the letter: Y = X H / W, fy = H / (2 tan(Y / 2))."""
    fx = pinhole_from_field(height, width, field_rad).fx
    fy = height / (2 * np.tan(field_rad * height / width / 2))
    return Pinhole(fx, fy, width / 2, height / 2)


def stretch(camera: Pinhole, height: int, width: int) -> NDArray[np.float32]:
    """Return range along the ray / z-depth of each pixel, (height, width), >= 1 (DA² eq. 2)."""
    across = (np.arange(width) + 0.5 - camera.cx) / camera.fx
    down = (np.arange(height) + 0.5 - camera.cy) / camera.fy
    return np.sqrt(1 + across[None, :] ** 2 + down[:, None] ** 2).astype(np.float32)


def range_from_depth(depth_m: Array, camera: Pinhole) -> NDArray[np.float32]:
    """Return the range along the ray of z-depth (h, w) [m]; NaN and +inf stay."""
    return depth_m.astype(np.float32) * stretch(camera, *depth_m.shape)


def random_centre(rng: np.random.Generator) -> tuple[float, float]:
    """Return azimuth and elevation [rad] of the view's axis: +-30 and +-15 degrees, uniform."""
    return (float(rng.uniform(-MAX_AZIMUTH_RAD, MAX_AZIMUTH_RAD)),
            float(rng.uniform(-MAX_ELEVATION_RAD, MAX_ELEVATION_RAD)))


def place(view: View, azimuth: float, elevation: float, height: int) -> Placement:
    """
    Return the panorama (height, 2 height) that a view covers when it looks along a direction.

    Each ray of the panorama is looked up in the view, so there are no holes: colour bilinear
    after an area filter, range as :func:`_look_up_range` says.

    :param azimuth: of the optical axis [rad], left positive
    :param elevation: of the optical axis [rad], up positive
    """
    rotation = rotation_from_rpy(0.0, -elevation, azimuth)      # body from view
    return _look_up(view, erp_rays(height, 2 * height) @ rotation)


def place_as_printed(view: View, azimuth: float, elevation: float, height: int) -> Placement:
    """Return :func:`place` with the angle offsets of DA² eq. 3; right for elevation 0 only."""
    angles = angles_from_ray(erp_rays(height, 2 * height))
    inside = np.abs(angles[1] - elevation) <= np.pi / 2
    rays = ray_from_angles(angles[0] - azimuth, angles[1] - elevation)
    return _look_up(view, np.where(inside[..., None], rays, (-1.0, 0.0, 0.0)))


def _look_up(view: View, rays: Array) -> Placement:
    """Sample a view along rays (H, W, 3) of its own body frame (x = optical axis)."""
    height, width = view.range_m.shape
    ahead = rays[..., 0] > 1e-6
    forward = np.where(ahead, rays[..., 0], 1.0)
    col = view.camera.cx - view.camera.fx * rays[..., 1] / forward
    row = view.camera.cy - view.camera.fy * rays[..., 2] / forward
    seen = ahead & (col >= 0) & (col <= width) & (row >= 0) & (row <= height)
    row, col = (np.where(seen, a, 0.5).astype(np.float32) for a in (row, col))
    image = _look_up_colour(view, row, col, len(rays))
    # Looked up as depth along the axis, which is even over a wall; range bends between pixels.
    depth_m = view.range_m / stretch(view.camera, height, width)
    range_m = _look_up_depth(depth_m, row, col) / np.where(seen, rays[..., 0], 1.0)
    return Placement(np.where(seen[..., None], image, 0).astype(np.uint8),
                     np.where(seen, range_m, np.nan).astype(np.float32), seen)


def _look_up_colour(view: View, row, col, erp_height: int) -> NDArray[np.uint8]:
    """Return bilinear colour of an image first shrunk to about the panorama's resolution."""
    height, width = view.range_m.shape
    shrink = min(1.0, erp_height / np.pi / view.camera.fx)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    return cv2.remap(small, col * np.float32(size[0] / width) - np.float32(0.5),
                     row * np.float32(size[1] / height) - np.float32(0.5),
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _look_up_depth(depth_m: Array, row, col) -> Array:
    """
    Return z-depth at continuous coordinates.

    Bilinear in 1 / depth, which is exact over a plane, where all four pixels belong to one
    surface; the nearest pixel at edges and beside unknown or empty ones.
    """
    row, col = row - np.float32(0.5), col - np.float32(0.5)
    nearest = cv2.remap(depth_m, np.rint(col), np.rint(row), cv2.INTER_NEAREST,
                        borderMode=cv2.BORDER_REPLICATE)
    with np.errstate(divide='ignore', invalid='ignore'):
        smooth = 1 / cv2.remap(1 / depth_m, col, row, cv2.INTER_LINEAR,
                               borderMode=cv2.BORDER_REPLICATE)
        low, high = (f(np.nan_to_num(depth_m, nan=fill), np.ones((3, 3), np.uint8))
                     for f, fill in ((cv2.erode, -np.inf), (cv2.dilate, np.inf)))
        single = (high - low < SAME_SURFACE * low).astype(np.uint8)
    surface = cv2.remap(single, np.rint(col), np.rint(row), cv2.INTER_NEAREST,
                        borderMode=cv2.BORDER_REPLICATE)
    return np.where((surface > 0) & np.isfinite(smooth), smooth, nearest)
