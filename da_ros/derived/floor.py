# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The floor under the robot: a plane fitted to the lower part of the panorama, and its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import erp_rays, row_from_elevation, solid_angles

Array = NDArray[np.float64]
STEEPEST_RAD, FLATTEST_RAD = np.deg2rad(80.0), np.deg2rad(15.0)   # below the horizon
MOST_SAMPLES = 2000            # pixels that the fit looks at
BIN = 0.02                     # of the logarithm of the depth below the camera: 2 %
SPAN = 8.0                     # of that logarithm: a factor of 3000
# Relative departures from the plane that still count, round by round: a camera tilted by 10
# degrees departs by a quarter from the level plane that the fit begins with.
ROUNDS = (0.25, 0.12, 0.06, 0.05, 0.05)
LEAST_SHARE = 0.2              # of the downward view that must lie in the plane
MOST_TILT_RAD = np.deg2rad(20.0)
TOLD_RATIO = 1.4               # a plane off the told camera height by more is not the floor
JUMP_RATIO = 1.2               # of the height from frame to frame ...
JUMP_FRAMES = 5                # ... that must last this long to be believed


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane below the camera: points p with normal . p + height = 0."""

    normal: Array               # (3,) unit vector, up
    height: float               # of the camera over the plane; > 0

    @property
    def tilt_rad(self) -> float:
        """Angle between the normal and the frame's z axis [rad]."""
        return float(np.arccos(np.clip(self.normal[2], -1, 1)))

    def height_of(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the heights over the plane of points (..., 3)."""
        a, b, c, h = (np.float32(v) for v in (*self.normal, self.height))
        return points[..., 0] * a + points[..., 1] * b + (points[..., 2] * c + h)

    def rotated(self, rotation: Array | None) -> Plane:
        """Return the plane in another frame of the same origin; None = identity."""
        return self if rotation is None else Plane(rotation @ self.normal, self.height)


def fit_floor(range_m: NDArray[np.floating],
              told_height: float = 0.0) -> tuple[Plane | None, float]:
    """
    Fit the plane that fills most of the downward view, tilted by up to some 10 degrees.

    Begins with the level plane of the fullest bin of depths below the camera, then repeats a
    weighted least-squares fit of 1 / range, which is linear in the rays, to the pixels close to
    the plane so far.

    :param range_m: (H, W), any unit; only finite positive values count
    :param told_height: of the camera over the floor, where it is known, else 0: the fit begins
        there, so that a table or a step beside the robot is not taken for the floor
    :return: the plane in the camera frame (None without data or of more than 20 degrees), and
        the share of the downward view within 5 % of it
    """
    pixel, rays, weight = _downward(*range_m.shape)
    sampled = np.asarray(range_m.reshape(-1)[pixel], np.float64)
    usable = np.isfinite(sampled) & (sampled > 0)
    if not usable.any():
        return None, 0.0
    points, weights = rays[:, usable] * sampled[usable], weight[usable]
    start = told_height or _commonest(-points[2], weights)
    scaled = np.array([0.0, 0.0, -1 / start])                   # scaled . point = 1 on the plane
    x, y, z = points
    close = np.zeros(len(weights), bool)
    for tolerance in ROUNDS:
        close = np.abs(scaled[0] * x + scaled[1] * y + scaled[2] * z - 1) < tolerance
        if close.sum() < 10:
            return None, 0.0
        trusted = points * (weights * close)
        # No dot and no @: the threads of BLAS wait up to 50 ms for a core that others keep busy.
        moments = (trusted[:, None] * points).sum(-1)
        scaled = np.linalg.solve(moments + 1e-12 * np.trace(moments) * np.eye(3), trusted.sum(1))
    plane = Plane(-scaled / np.linalg.norm(scaled), float(1 / np.linalg.norm(scaled)))
    share = float(weights[close].sum() / weight.sum())
    return (plane, share) if plane.tilt_rad <= MOST_TILT_RAD else (None, 0.0)


def floor_below(range_m: NDArray[np.floating]) -> tuple[float, float]:
    """
    Return how far the floor lies below the camera, in units of the range.

    :return: distance (NaN without a floor), and the share of the downward view that is floor
    """
    plane, share = fit_floor(range_m)
    return (float('nan'), 0.0) if plane is None else (plane.height, share)


class FloorTracker:
    """
    The floor from frame to frame: freezes where a frame shows none, and says so.

    Heights over a wrong plane would turn the floor into obstacles, or obstacles into floor; the
    last plane that was seen is wrong by the motion of the camera in its mounting only.
    """

    def __init__(self) -> None:
        """Begin without a floor."""
        self.plane: Plane | None = None     # camera frame; None until one was seen
        self.share = 0.0                    # of the downward view, in the last frame
        self.frames = 0                     # looked at
        self.frozen_frames = 0              # since the plane was last confirmed
        self._jumps = 0

    def update(self, range_m: NDArray[np.float32], told_height_m: float = 0.0) -> Plane | None:
        """
        Fit the floor of one frame; return it, or the last one that could be trusted.

        :param told_height_m: camera height over the floor, 0 = unknown
        """
        self.frames += 1
        plane, self.share = fit_floor(range_m, told_height_m)
        if plane is None or not self._trusted(plane, told_height_m):
            self.frozen_frames += 1
            return self.plane
        self.plane, self.frozen_frames, self._jumps = plane, 0, 0
        return plane

    def _trusted(self, plane: Plane, told_height_m: float) -> bool:
        if self.share < LEAST_SHARE:
            return False
        if told_height_m and _ratio(plane.height, told_height_m) > TOLD_RATIO:
            return False
        if self.plane is None or _ratio(plane.height, self.plane.height) <= JUMP_RATIO:
            return True
        self._jumps += 1
        return self._jumps >= JUMP_FRAMES

    def __str__(self) -> str:
        """Return a line for diagnostics."""
        if self.plane is None:
            return f'no floor seen: one plane fills {self.share:.0%} of the downward view'
        frozen = f', FROZEN for {self.frozen_frames} frames' if self.frozen_frames else ''
        return (f'{self.plane.height:.2f} m below the camera, tilted by '
                f'{np.rad2deg(self.plane.tilt_rad):.1f} deg, {self.share:.0%} of the downward '
                f'view{frozen}')


def floor_pixels(range_m: NDArray[np.float32], plane: Plane,
                 up_to_m: float) -> NDArray[np.bool_]:
    """
    Return where a pixel shows the floor or something below it.

    :param range_m: (H, W) float32
    :param plane: in the camera frame
    :param up_to_m: height over the plane [m] up to which a point is floor
    :return: (H, W) bool; False where the range is not finite
    """
    height, width = range_m.shape
    found = np.zeros(range_m.shape, bool)
    first = int(row_from_elevation(plane.tilt_rad, height))     # above, no ray meets the plane
    below = range_m[first:]
    ahead, left, up = _separable_rays(height, width)
    forward, sideways, upward = plane.normal.astype(np.float32)
    level = forward * ahead[1] + sideways * left[1]             # normal . ray, column by column
    rise = ahead[0][first:, None] * level
    rise += upward * up[first:, None]
    rise *= below
    np.less(rise, np.float32(up_to_m - plane.height), out=found[first:])
    found[first:] &= np.isfinite(below)
    return found


def _ratio(a: float, b: float) -> float:
    return max(a / b, b / a)


def _commonest(below: Array, weights: Array) -> float:
    """Return the depth of the fullest bin; of logarithms, smoothed over +- 5 %."""
    level = np.log(np.maximum(below, 1e-9))
    bins = np.clip(((level + SPAN / 2) / BIN).astype(np.intp), 0, round(SPAN / BIN) - 1)
    mass = np.bincount(bins, weights, minlength=round(SPAN / BIN))
    best = int(np.convolve(mass, np.ones(5), 'same').argmax())
    inside = np.abs(bins - best) <= 2
    return float(np.exp(np.average(level[inside], weights=weights[inside])))


@lru_cache(maxsize=4)
def _downward(height: int, width: int) -> tuple[NDArray[np.intp], Array, Array]:
    """Return flat pixels spread over the downward view, their rays and solid angles."""
    drop = -erp_rays(height, width)[..., 2]
    flat, steep = np.sin((FLATTEST_RAD, STEEPEST_RAD))
    rows = np.flatnonzero((drop[:, 0] > flat) & (drop[:, 0] < steep))
    stride = max(1, int(np.sqrt(len(rows) * width / MOST_SAMPLES)))
    rows, cols = rows[stride // 2::stride], np.arange(stride // 2, width, stride)
    pixel = (rows[:, None] * width + cols).reshape(-1)
    rays = np.ascontiguousarray(erp_rays(height, width).reshape(-1, 3)[pixel].T)
    return (pixel, rays,
            solid_angles(height, width).reshape(-1)[pixel])


@lru_cache(maxsize=4)
def _separable_rays(height: int, width: int) -> tuple:
    """Return x and y of the rays as (rows, columns) factors, and z by row; float32."""
    rays = erp_rays(height, width).astype(np.float32)
    level = np.hypot(rays[:, 0, 0], rays[:, 0, 1])
    middle = height // 2
    ahead, left = (rays[middle, :, k] / level[middle] for k in (0, 1))
    return (level, ahead), (level, left), rays[:, 0, 2].copy()
