# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The subscription to the camera: it takes what the publishers offer, and tells why none comes."""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    HistoryPolicy,
    qos_check_compatible,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from da_ros.config import ConfigError
from da_ros.ros.parameters import topic_of

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:                                     # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
# A frame that lacks a fragment holds back the later ones until it was sent again; the depth is the
# time for that. What is complete is taken out at once, and the newest wins in the worker's slot.
DEPTH = 5
CHANGE_S = 1.0             # between two subscriptions
REMEDY = ('give its process the profile of docs/speed.md (shared memory), or raise '
          'net.core.rmem_max')


class CameraSubscription:
    """
    A subscription that is reliable if every publisher is, as `ros2 topic echo` does it.

    Frames of megabytes travel in fragments, and without a shared-memory segment that holds them
    most of those get lost: a best-effort reader then gets nearly nothing, a reliable one asks for
    them again. A reliable reader of a best-effort publisher gets nothing at all. So what the
    publishers offer decides, unless the user has said it (`qos_overrides`).
    """

    def __init__(self, node: Node, kind: type, topic: str, on_image: Callable[[Any], None],
                 on_lost: Callable[[int], None], depth: int = DEPTH):
        """
        Prepare; nothing is subscribed yet.

        :param kind: message type
        :param on_image: takes a message
        :param on_lost: takes the number of messages that the middleware has just lost
        :param depth: messages that may wait
        :raises ConfigError: if an override cannot be taken
        """
        self._node, self._kind = node, kind
        self.topic = topic_of(node, 'image_topic', topic)
        self._on_image, self._on_lost, self._depth = on_image, on_lost, depth
        self._overrides = self._given_overrides()
        self._reliability, self._why = RELIABLE, 'no publisher is known yet'
        self._changed = -CHANGE_S
        self._subscription: Any = None
        try:
            probe = self._subscribe()
        except Exception as error:       # rclpy has an exception of its own for each policy
            raise ConfigError(f'qos_overrides of {self.topic}: {error}') from error
        node.destroy_subscription(probe)

    def open(self) -> None:
        """Subscribe, if it is not done yet."""
        if self._subscription is None:
            self._reliability, self._why = self._choice()
            self._replace()

    def follow(self) -> None:
        """Subscribe anew if the publishers offer something else now, at most once a second."""
        if self._subscription is None or time.monotonic() - self._changed < CHANGE_S:
            return
        before = self._reliability
        self._reliability, self._why = self._choice()
        if self._reliability != before:
            self._replace()

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def text(self) -> str:
        """How it is subscribed, and why so."""
        if self._subscription is None:
            return 'none, because nobody takes an output'
        profile = self._subscription.qos_profile
        return f'{_qos(profile)}, depth {profile.depth}: {self._why}'

    @property
    def remedy(self) -> str:
        """What to do against lost images."""
        if self._subscription is not None and (
                self._subscription.qos_profile.reliability == RELIABLE):
            return f'the camera is too fast for its transport: {REMEDY}'
        if QoSPolicyKind.RELIABILITY in self._overrides:
            return (f'set qos_overrides.{self.topic}.subscription.reliability to reliable, or '
                    f'for the camera: {REMEDY}')
        return f'let the camera publish reliably, or {REMEDY}'

    def unseen(self) -> str:
        """Return why no image can come, as far as the graph shows it; '' = it shows nothing."""
        everybody = self._node.get_publishers_info_by_topic(self.topic)
        if not everybody:
            return 'nobody publishes it' + self._elsewhere()
        publishers = self._publishers()
        if not publishers:
            other = everybody[0]
            return (f'{_owner(other)} publishes {other.topic_type}, needed is '
                    f'{_type_name(self._kind)}; see image_transport')
        if self._subscription is None:
            return ''
        for publisher in publishers:
            verdict, reason = qos_check_compatible(
                publisher.qos_profile, self._subscription.qos_profile)
            if verdict == QoSCompatibility.ERROR:
                return (f'{_owner(publisher)} offers {_qos(publisher.qos_profile)}, but asked is '
                        f'{_qos(self._subscription.qos_profile)}, which never match '
                        f'({_one_line(reason)})')
        return ''

    def _choice(self) -> tuple[ReliabilityPolicy, str]:
        publishers = self._publishers()
        if QoSPolicyKind.RELIABILITY in self._overrides:
            return self._reliability, 'qos_overrides say so'
        if not publishers:
            return self._reliability, self._why
        for publisher in publishers:
            if publisher.qos_profile.reliability != RELIABLE:
                return BEST_EFFORT, f'{_owner(publisher)} offers no more'
        return RELIABLE, 'every publisher offers it'

    def _publishers(self) -> list[Any]:
        wanted = _type_name(self._kind)
        return [info for info in self._node.get_publishers_info_by_topic(self.topic)
                if info.topic_type == wanted]

    def _elsewhere(self) -> str:
        me = self._node.get_fully_qualified_name()
        topics = [topic for topic, kinds in self._node.get_topic_names_and_types()
                  if _type_name(self._kind) in kinds and any(
                      _owner(info) != me for info in
                      self._node.get_publishers_info_by_topic(topic))]
        return f'; its type is that of {", ".join(sorted(topics)[:3])}' if topics else ''

    def _given_overrides(self) -> list[QoSPolicyKind]:
        # Only what was given is declared as a parameter: rclpy declares overrides read-only at
        # the first subscription, and every later one would silently get the values of the first.
        prefix = f'qos_overrides.{self.topic}.subscription.'
        return [kind for name, kind in QoSPolicyKind.__members__.items()
                if prefix + name.lower() in self._node._parameter_overrides]

    def _replace(self) -> None:
        self.close()        # first, or a frame between the two would arrive twice
        self._subscription = self._subscribe()
        self._changed = time.monotonic()
        self._node.get_logger().info(f'{self.topic}: subscribed {self.text}')

    def _subscribe(self) -> Any:
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=self._depth,
                             reliability=self._reliability)

        def lost(event: Any) -> None:
            self._on_lost(event.total_count_change)

        def subscribe(**events: Any) -> Any:
            return self._node.create_subscription(
                self._kind, self.topic, self._on_image, profile,
                qos_overriding_options=QoSOverridingOptions(self._overrides), **events)
        try:
            return subscribe(event_callbacks=SubscriptionEventCallbacks(
                message_lost=lost,
                # What never matches is told by `unseen`, and soon changed by `follow`.
                incompatible_qos=lambda event: None))
        except UnsupportedEventTypeError:      # a middleware that does not count lost messages
            return subscribe()


def _owner(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


def _qos(profile: QoSProfile) -> str:
    words = (profile.reliability.name, profile.durability.name)
    return ' '.join(words).lower().replace('_', '-')


def _one_line(text: str) -> str:
    return text.removeprefix('ERROR: ').strip().rstrip(';')


def _type_name(kind: type) -> str:
    package, rest = kind.__module__.split('.', 1)
    return f'{package}/{rest.split(".")[0]}/{kind.__name__}'
