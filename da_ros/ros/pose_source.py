# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How the camera moved between frames, from the source that the user has chosen."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from da_ros.bags.odometry import OdometryTrack
from da_ros.bags.transforms import TransformError, TransformTree
from da_ros.config import Config, ConfigError
from da_ros.levelling import mounting_from
from da_ros.ros.complaints import Complaints
from da_ros.ros.live_transforms import LiveTransforms
from da_ros.ros.outputs import body_frame, FrameIdError
from da_ros.sphere import BODY_FROM_OPTICAL

Array = NDArray[np.float64]
SENSOR = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LOOK_S = 0.002
SILENT_NS = 500_000_000


class PoseSource:
    """
    Knows the pose of the camera's body in a frame that moves without jumps.

    Where the source fails there is no pose, `trouble` says why, and memory starts anew: without
    memory a robot sees as well as it did.
    """

    def __init__(self, node: Node, config: Config, complaints: Complaints):
        """
        Prepare; nothing is subscribed yet.

        :raises ConfigError: messages that are not installed, or a mounting that cannot be read
        """
        self._node, self._config, self._complaints = node, config, complaints
        self._track = OdometryTrack()
        self._base_from_body = mounting_from(config.mounting.base_from_camera).base_from_body
        source = config.memory.source
        self._transforms = LiveTransforms(node) if source == 'tf' else None
        self._kind = _odometry_type() if source == 'odometry' else None
        if self._kind is not None and not config.mounting.base_from_camera.strip():
            complaints.once('memory.source is odometry and base_from_camera is empty: the camera '
                            "is taken to be at the odometry's base; if it is not, set "
                            'base_from_camera, or memory is wrong in turns')
        self._subscription: Any = None
        self._asked = False         # a source that never spoke is waited for once
        self.trouble = ''

    def open(self) -> None:
        """Subscribe to the source, if there is one."""
        if self._transforms is not None:
            self._transforms.open()
        elif self._kind is not None and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._kind, self._config.memory.odometry_topic, self._on_odometry, SENSOR)

    def close(self) -> None:
        """Unsubscribe."""
        if self._transforms is not None:
            self._transforms.close()
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def odom_from_body(self, time_ns: int, camera_frame: str, wait_s: float) -> Array | None:
        """
        Return the pose of the camera's body at the time of a frame.

        :param camera_frame: frame_id of the camera, for TF
        :param wait_s: how long to wait for a pose as new as the frame
        :return: (4, 4); None = unknown
        """
        if self._transforms is None and self._kind is None:
            return None
        try:
            pose = (self._of_odometry(time_ns, wait_s) if self._transforms is None
                    else self._of_transforms(self._transforms, time_ns, camera_frame, wait_s))
        except (TransformError, FrameIdError) as error:
            self._fail(str(error).replace('Frames of the bag', 'Known frames'))
            return None
        self.trouble = ''
        return pose

    def _of_odometry(self, time_ns: int, wait_s: float) -> Array:
        self._wait(lambda: self._track.newest_ns, time_ns, wait_s)
        return self._track.odom_from_base(time_ns) @ self._base_from_body

    def crowd(self) -> str:
        """Return what to say of several publishers of odometry, which may be why it jumps."""
        if self._kind is None:
            return ''
        topic = self._node.resolve_topic_name(self._config.memory.odometry_topic)
        count = self._node.count_publishers(topic)
        return f'; {count} publishers on {topic}, let only one publish there' * (count > 1)

    def _of_transforms(self, transforms: LiveTransforms, time_ns: int, camera_frame: str,
                       wait_s: float) -> Array:
        frames = body_frame(self._config, camera_frame), camera_frame
        frame = transforms.ask(lambda tree: _known(tree, frames))
        self._wait(lambda: transforms.ask(lambda tree: tree.newest_ns(frame)), time_ns, wait_s)
        pose = transforms.ask(lambda tree: tree.between(
            self._config.memory.frame, time_ns, frame, time_ns))
        if frame != frames[0] and self._config.frames.image_axes == 'optical':
            pose[:3, :3] = pose[:3, :3] @ BODY_FROM_OPTICAL.T
        return pose

    def _wait(self, newest_ns: Callable[[], int | None], time_ns: int, wait_s: float) -> None:
        """Wait for a pose as new as a frame, but not for a source that has fallen silent."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            newest = newest_ns()
            if newest is None and self._asked:
                return
            if newest is not None and not time_ns - SILENT_NS < newest < time_ns:
                return
            time.sleep(LOOK_S)
        self._asked = True

    def _on_odometry(self, msg: Any) -> None:
        try:
            self._track.add(msg)
        except TransformError as error:
            self._fail(str(error))

    def _fail(self, text: str) -> None:
        self.trouble = f'memory: {text}; frames are published without memory'
        self._complaints.warning(self.trouble)


def _known(tree: TransformTree, frames: tuple[str, str]) -> str:
    """Return the body's frame, or the camera's where TF knows only that."""
    return next((name for name in frames if name in tree.frames), frames[0])


def _odometry_type() -> Any:
    try:
        from nav_msgs.msg import Odometry
    except ImportError as error:
        raise ConfigError('memory.source odometry needs the messages nav_msgs (apt: '
                          'ros-$ROS_DISTRO-nav-msgs); or use tf') from error
    return Odometry
