# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tilt of the camera at the stamp of a frame, from the source that the user has chosen."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu

from da_ros.bags.transforms import TransformError, TransformTree
from da_ros.config import Config, ConfigError
from da_ros.errors import DaRosError
from da_ros.levelling import (
    LevellingError,
    mounting_from,
    rotation_from_text,
    Tilt,
    up_from_acceleration,
    up_from_quaternion,
)
from da_ros.ros.complaints import Complaints
from da_ros.ros.live_transforms import LiveTransforms
from da_ros.ros.parameters import topic_of
from da_ros.sphere import BODY_FROM_OPTICAL
from da_ros.stamps import stamp_ns

Array = NDArray[np.float64]
SENSOR = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LOOK_S = 0.002


class LevelSource:
    """
    Knows the rotation from the camera's body into the level frame.

    Where the source fails, roll and pitch of `base_from_camera` are used and `trouble` says why:
    a robot whose IMU is silent must not go blind.
    """

    def __init__(self, node: Node, config: Config, complaints: Complaints):
        """
        Prepare; nothing is subscribed yet.

        :raises ConfigError: what cannot be read, or messages that are not installed
        """
        self._node, self._config, self._complaints = node, config, complaints
        levelling = config.levelling
        self._mounting = mounting_from(config.mounting.base_from_camera)
        level = self._mounting.level_from_body
        self._fixed = None if np.allclose(level, np.eye(3), atol=1e-6) else level
        self._body_from_imu = rotation_from_text(levelling.body_from_imu,
                                                 'levelling.body_from_imu')
        self._tilt = Tilt(levelling.time_constant_s
                          if levelling.source == 'imu_acceleration' else 0.0)
        self.transforms = LiveTransforms(node) if levelling.source == 'tf' else None
        self._kind, self._topic, self._callback = self._subscribed(levelling.source)
        self._subscription: Any = None
        self.trouble = ''

    def _subscribed(self, source: str) -> tuple[Any, str, Callable[[Any], None]]:
        if source == 'odometry':
            try:
                from nav_msgs.msg import Odometry
            except ImportError as error:
                raise ConfigError('levelling.source odometry needs the messages nav_msgs (apt: '
                                  'ros-$ROS_DISTRO-nav-msgs); or use imu') from error
            return Odometry, self._named('odometry_topic'), self._on_odometry
        return (Imu if source.startswith('imu') else None, self._named('imu_topic'),
                self._on_imu)

    def _named(self, name: str) -> str:
        topic = getattr(self._config.levelling, name)
        topic_of(self._node, f'levelling.{name}', topic)       # now, not when it is subscribed
        return str(topic)

    def open(self) -> None:
        """Subscribe to the source, if it has a topic."""
        if self.transforms is not None:
            self.transforms.open()
        elif self._kind is not None and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._kind, self._topic, self._callback, SENSOR)

    def close(self) -> None:
        """Unsubscribe."""
        if self.transforms is not None:
            self.transforms.close()
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def level_from_body(self, time_ns: int, frames: tuple[str, str], wait_s: float
                        ) -> Array | None:
        """
        Return the rotation into the level frame at the time of a frame.

        :param time_ns: stamp of the frame
        :param frames: names of the body's and of the camera's frame, for TF
        :param wait_s: how long to wait for a tilt as new as the frame
        :return: (3, 3), the same object as long as the tilt hardly changes; None = level
        """
        if self._config.levelling.source == 'fixed':
            return self._fixed
        try:
            if self.transforms is not None:
                self._take_transform(time_ns, frames, wait_s)
            else:
                self._wait(lambda: self._tilt.newest_ns, time_ns, wait_s)
            level = self._tilt.level_from_body(time_ns)
        except DaRosError as error:
            self.trouble = f'levelling: {error}; roll and pitch of base_from_camera are used'
            self._complaints.error(self.trouble)
            return self._fixed
        if self.trouble:
            self.trouble = ''
            self._node.get_logger().info(
                f'levelling: the tilt of {self._config.levelling.source} is used again')
        return level

    def base_from_body(self, frames: tuple[str, str], time_ns: int) -> Array:
        """
        Return the pose of the camera's body on the robot, from TF.

        :param frames: names of the body's and of the camera's frame
        :raises LevellingError: if TF does not tell it yet
        """
        assert self.transforms is not None
        base, frame = self._config.frames.base, self._known(frames)
        pose = self.transforms.ask(lambda tree: _between(tree, base, frame, time_ns))
        if self._is_optical(frame, frames):
            pose[:3, :3] = pose[:3, :3] @ BODY_FROM_OPTICAL.T
        return pose

    def _known(self, frames: tuple[str, str]) -> str:
        """Return the body's frame, or the camera's where TF knows only that."""
        assert self.transforms is not None
        return self.transforms.ask(lambda tree: next(
            (name for name in frames if name in tree.frames), frames[0]))

    def _is_optical(self, frame: str, frames: tuple[str, str]) -> bool:
        return frame != frames[0] and self._config.frames.image_axes == 'optical'

    def _wait(self, newest_ns: Callable[[], int | None], time_ns: int, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while (newest := newest_ns()) is not None and newest < time_ns \
                and time.monotonic() < end:
            time.sleep(LOOK_S)

    def _take_transform(self, time_ns: int, frames: tuple[str, str], wait_s: float) -> None:
        assert self.transforms is not None
        target, ask, frame = (self._config.levelling.frame, self.transforms.ask,
                              self._known(frames))
        self._wait(lambda: ask(lambda tree: tree.newest_ns(frame)), time_ns, wait_s)
        turn = ask(lambda tree: _between(tree, target, frame, time_ns))[:3, :3]
        if self._is_optical(frame, frames):
            turn = turn @ BODY_FROM_OPTICAL.T
        self._tilt.add(turn[2], time_ns)

    def _on_imu(self, msg: Any) -> None:
        try:
            if self._config.levelling.source == 'imu':
                turn = msg.orientation
                up = up_from_quaternion([turn.x, turn.y, turn.z, turn.w], self._topic)
            else:
                pull = msg.linear_acceleration
                up = up_from_acceleration([pull.x, pull.y, pull.z], self._topic)
        except LevellingError as error:
            self._complaints.error(f'levelling: {error}')
            return
        self._tilt.add(self._body_from_imu @ up, stamp_ns(msg))

    def _on_odometry(self, msg: Any) -> None:
        turn = msg.pose.pose.orientation
        try:
            up = up_from_quaternion([turn.x, turn.y, turn.z, turn.w], self._topic)
        except LevellingError as error:
            self._complaints.error(f'levelling: {error}')
            return
        self._tilt.add(self._mounting.base_from_body[:3, :3].T @ up, stamp_ns(msg))


def _between(tree: TransformTree, target: str, source: str, time_ns: int) -> Array:
    try:
        return tree.between(target, time_ns, source, time_ns)
    except TransformError as error:
        raise LevellingError(str(error).replace('Frames of the bag', 'Known frames')) from error
