# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Which way is up: how the camera's body is mounted and tilted, and the level frame that follows.

Three frames with REP 103 axes: `base` (the robot), `body` (the camera's, where clouds are
published) and `level` (the origin of the body, z against gravity, x below the body's x axis). The
mounting gives base_from_body; levelling replaces its roll and pitch, never its yaw.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike, NDArray

from da_ros.config import ConfigError
from da_ros.errors import DaRosError
from da_ros.sphere import rotation_from_rpy

Array = NDArray[np.float64]
GRAVITY_M_S2 = 9.80665
MOST_SHARE_OFF = 0.3           # of gravity by which a measured acceleration may differ from it
STEP_RAD = np.deg2rad(0.5)     # smaller tilts keep the look-up table and the geometry as they are
MAX_AGE_NS = 500_000_000       # between a frame and the nearest tilt known
HISTORY = 1000                 # tilts kept: images come late, 5 s at 200 Hz


class LevellingError(DaRosError):
    """A tilt that is unknown or cannot be true."""


@dataclass(frozen=True)
class Mounting:
    """Where the camera's body sits on the robot's base: x y z [m], roll pitch yaw [rad]."""

    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rpy: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def base_from_body(self) -> Array:
        """Pose (4, 4), `points_base = T @ points_body`."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_from_rpy(*self.rpy)
        matrix[:3, 3] = self.xyz
        return matrix

    @property
    def level_from_body(self) -> Array:
        """Rotation (3, 3) into the level frame, if the base is level: roll and pitch alone."""
        return rotation_from_rpy(self.rpy[0], self.rpy[1], 0.0)


def mounting_from(text: str, name: str = 'base_from_camera') -> Mounting:
    """
    Read "x y z roll pitch yaw" [m, rad]; '' = at the base's origin, level.

    :raises ConfigError: naming the parameter, the text and what is needed
    """
    numbers = _numbers(text, name, 6, 'x y z roll pitch yaw') if text.strip() else [0.0] * 6
    return Mounting((numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5]))


def rotation_from_text(text: str, name: str) -> Array:
    """
    Read "roll pitch yaw" [rad]; '' = no turn.

    :return: (3, 3)
    :raises ConfigError: naming the parameter, the text and what is needed
    """
    numbers = _numbers(text, name, 3, 'roll pitch yaw') if text.strip() else [0.0] * 3
    return rotation_from_rpy(*numbers)


def _numbers(text: str, name: str, count: int, what: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.replace(',', ' ').split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ConfigError(f'{name} {text!r} needs {count} numbers: {what} [m, rad]'
                          if count == 6 else
                          f'{name} {text!r} needs {count} numbers: {what} [rad]')
    return numbers


def level_from_up(up: ArrayLike) -> Array:
    """
    Return the rotation from the body into the level frame: pitch after roll, no yaw.

    :param up: (3,) unit vector against gravity in the body frame
    :return: (3, 3), `v_level = R @ v_body`; R @ up = +z, and the body's x axis keeps azimuth 0
    """
    x, y, z = np.asarray(up, np.float64)
    return rotation_from_rpy(float(np.arctan2(y, z)),
                             float(np.arctan2(-x, np.hypot(y, z))), 0.0)


def up_from_quaternion(quaternion: ArrayLike, source: str) -> Array:
    """
    Return the vertical of a gravity-aligned world in the frame that is turned in it.

    :param quaternion: x y z w, world_from_frame
    :param source: whose orientation it is, for messages
    :return: (3,) unit
    :raises LevellingError: if it is zero or not finite
    """
    x, y, z, w = np.asarray(quaternion, np.float64)
    norm = float(x * x + y * y + z * z + w * w)
    if not np.isfinite(norm) or norm < 1e-6:
        raise LevellingError(f'{source} gives the orientation [{x:g} {y:g} {z:g} {w:g}], which is '
                             'no rotation; use a source that measures one (levelling.source '
                             'imu_acceleration needs none)')
    return np.array([2 * (x * z - w * y), 2 * (y * z + w * x),
                     w * w - x * x - y * y + z * z]) / norm


def up_from_acceleration(acceleration: ArrayLike, source: str) -> Array:
    """
    Return the direction of a measured acceleration, which at rest points up (REP 145).

    :param acceleration: (3,) m/s^2
    :return: (3,) unit
    :raises LevellingError: if it is not finite or too far from 1 g to be gravity
    """
    vector = np.asarray(acceleration, np.float64)
    length = float(np.linalg.norm(vector))
    if not abs(length / GRAVITY_M_S2 - 1) <= MOST_SHARE_OFF:
        raise LevellingError(f'{source} measures {length:.1f} m/s^2, which is not gravity '
                             f'({GRAVITY_M_S2:.1f}); check its unit, or whether the robot falls')
    return vector / length


class Tilt:
    """
    The vertical over time in the body frame, low-passed, looked up at the stamps of images.

    Small changes are held back: between steps of half a degree the level frame stands still in
    the body, so that tables are not computed anew for every frame. What is published is turned
    by the frame in use and so stays exact.
    """

    def __init__(self, time_constant_s: float = 0.0):
        """
        Start without a tilt.

        :param time_constant_s: of the low pass; 0 = none, for orientations filtered already
        """
        self._constant_ns = time_constant_s * 1e9
        self._known: deque[tuple[int, Array]] = deque(maxlen=HISTORY)
        self._lock = Lock()            # tilts are added by another thread than looks them up
        self._held: Array | None = None

    def add(self, up: Array, stamp_ns: int) -> None:
        """Take a vertical (3,) of the body frame; one older than the last starts anew."""
        with self._lock:
            if self._known and stamp_ns < self._known[-1][0]:      # a bag played again
                self._known.clear()
            if self._known and self._constant_ns:
                before_ns, before = self._known[-1]
                up = before - np.expm1((before_ns - stamp_ns) / self._constant_ns) * (up - before)
            self._known.append((stamp_ns, up / np.linalg.norm(up)))

    @property
    def newest_ns(self) -> int | None:
        """Time of the last tilt; None before the first."""
        with self._lock:
            return self._known[-1][0] if self._known else None

    def level_from_body(self, stamp_ns: int) -> Array:
        """
        Return the rotation into the level frame at a time.

        :return: (3, 3); the same object as long as the tilt stays within half a degree of it
        :raises LevellingError: if no tilt is known near that time
        """
        up = self._at(stamp_ns)
        held = self._held
        if held is None or not np.dot(held[2], up) > np.cos(STEP_RAD):
            held = self._held = level_from_up(up)
        return held

    def _at(self, stamp_ns: int) -> Array:
        with self._lock:
            known = list(self._known)
        after = bisect_left(known, stamp_ns, key=lambda item: item[0])
        near = known[max(after - 1, 0):after + 1]
        if not near or min(abs(item[0] - stamp_ns) for item in near) > MAX_AGE_NS:
            age = (f'the last is {(stamp_ns - known[-1][0]) / 1e9:.1f} s older than the image'
                   if known else 'none has come')
            raise LevellingError(f'no tilt within {MAX_AGE_NS / 1e9:g} s of the image: {age}')
        if len(near) == 1 or near[0][0] == near[1][0]:
            return near[-1][1]
        share = np.clip((stamp_ns - near[0][0]) / (near[1][0] - near[0][0]), 0, 1)
        mixed = near[0][1] + share * (near[1][1] - near[0][1])
        return np.asarray(mixed / np.linalg.norm(mixed))
