# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Live /tf and /tf_static in the tree that bags fill too; needs tf2_msgs alone, no tf2 library."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from geometry_msgs.msg import TransformStamped
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from da_ros.bags.transforms import quaternion_from, TransformTree
from da_ros.config import ConfigError
from da_ros.ros.conversions import header_for
from da_ros.stamps import stamp_ns

MOVING = QoSProfile(depth=100)
STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
KEEP_NS = 10_000_000_000      # as tf2 does
BACK_NS = 1_000_000_000       # more is no late message: the clock went back, a bag was looped
SPAN_NS = 100_000_000         # a consumer of scans looks for TF up to the end of the scan, too
Answer = TypeVar('Answer')


def message_type() -> Any:
    """
    Return tf2_msgs/TFMessage.

    :raises ConfigError: if it is not installed
    """
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise ConfigError('TF needs the messages tf2_msgs (apt: ros-$ROS_DISTRO-tf2-msgs); '
                          'without them use levelling.source odometry or imu, memory.source '
                          'odometry, and base_from_camera') from error
    return TFMessage


class LiveTransforms:
    """The last ten seconds of all frames; may be asked in another thread than it is filled in."""

    def __init__(self, node: Node):
        """
        Prepare; nothing is subscribed yet.

        :raises ConfigError: if tf2_msgs is not installed
        """
        self._node, self._kind = node, message_type()
        self._tree, self._lock = TransformTree(), Lock()
        self._subscriptions: list[Any] = []
        self._pruned_ns = 0
        self._newest_ns: dict[str, int] = {}        # of each link, by its child

    def open(self) -> None:
        """Subscribe."""
        if not self._subscriptions:
            self._subscriptions = [
                self._node.create_subscription(self._kind, topic, callback, qos)
                for topic, callback, qos in (('/tf', self._on_moving, MOVING),
                                             ('/tf_static', self._on_static, STATIC))]

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def ask(self, question: Callable[[TransformTree], Answer]) -> Answer:
        """
        Return what a function makes of the tree, which must not be kept.

        :raises TransformError: as the function does
        """
        with self._lock:
            return question(self._tree)

    def _on_moving(self, msg: Any) -> None:
        self._add(msg, static=False)

    def _on_static(self, msg: Any) -> None:
        self._add(msg, static=True)

    def _add(self, msg: Any, static: bool) -> None:
        with self._lock:
            for stamped in msg.transforms:
                move, turn = stamped.transform.translation, stamped.transform.rotation
                time_ns, child = stamp_ns(stamped), stamped.child_frame_id
                if not static:
                    # Compared link by link: some publishers date theirs into the future.
                    if time_ns < self._newest_ns.get(child, 0) - BACK_NS:
                        self._tree.forget_moving()
                        self._pruned_ns = 0
                        self._newest_ns.clear()
                    self._newest_ns[child] = time_ns
                self._tree.add(stamped.header.frame_id, stamped.child_frame_id,
                               [move.x, move.y, move.z], [turn.x, turn.y, turn.z, turn.w],
                               None if static else time_ns)
                if not static and time_ns > self._pruned_ns + 2 * KEEP_NS:
                    self._pruned_ns = time_ns - KEEP_NS
                    self._tree.forget_before(self._pruned_ns)


class Broadcaster:
    """Publishes the frames that this node alone knows: the level one, and those of views."""

    def __init__(self, node: Node):
        """
        Create the publishers.

        :raises ConfigError: if tf2_msgs is not installed
        """
        self._kind = message_type()
        self._node = node
        self._moving = node.create_publisher(self._kind, '/tf', MOVING)
        self._static = node.create_publisher(self._kind, '/tf_static', STATIC)
        self._sent: dict[str, TransformStamped] = {}

    def moving(self, parent: str, child: str, parent_from_child: NDArray[np.float64],
               time_ns: int) -> None:
        """Publish a rotation at a time, and for a scan's length after it."""
        self._moving.publish(self._kind(transforms=[
            _transform(parent, child, parent_from_child, when)
            for when in (time_ns, time_ns + SPAN_NS)]))

    def static(self, parent: str, child: str, parent_from_child: NDArray[np.float64]) -> None:
        """Publish a rotation for good; the same one is not sent again."""
        if child in self._sent and self._sent[child].header.frame_id == parent:
            return
        now = self._node.get_clock().now().nanoseconds
        self._sent[child] = _transform(parent, child, parent_from_child, now)
        self._static.publish(self._kind(transforms=list(self._sent.values())))

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in (self._moving, self._static):
            self._node.destroy_publisher(publisher)


def _transform(parent: str, child: str, parent_from_child: NDArray[np.float64],
               time_ns: int) -> TransformStamped:
    stamped = TransformStamped(header=header_for(time_ns, parent), child_frame_id=child)
    turn = stamped.transform.rotation
    turn.x, turn.y, turn.z, turn.w = map(float, quaternion_from(parent_from_child))
    return stamped


