# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node's outputs: which images were answered, and all of them in a bag if asked."""

from __future__ import annotations

import struct
import threading
import time
from typing import Any

from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.topics import OUTPUTS
from da_ros.commands.player import message_class

DIAGNOSTICS = {'/diagnostics': 'diagnostic_msgs/msg/DiagnosticArray'}
SETTLE_S = 0.3              # between the first and the last output of one image


class Recorder:
    """Subscribes to the node's outputs, counts the images they answer, and writes them."""

    def __init__(self, node: Any, prefix: str, path: str = ''):
        """
        Subscribe.

        :param prefix: namespace of the node
        :param path: folder of a new bag; '' = only count
        :raises BagError: if the folder exists
        """
        from rclpy.qos import QoSProfile
        # Who only waits must not make the node work for topics that nobody takes.
        names = [name for name in OUTPUTS if 'preview' not in name] if path else ['depth/image']
        self.topics = {_absolute(prefix, name): OUTPUTS[name] for name in names} | DIAGNOSTICS
        self.path = path
        self._bag = BagWriter(path, 'mcap') if path else None
        self._lock = threading.Condition()
        self._node = node
        self._stamps: set[int] = set()       # of all answers
        self._latest = time.monotonic()      # when the last one came
        self.counts = dict.fromkeys(self.topics, 0)
        for topic, kind in self.topics.items():
            node.create_subscription(
                message_class(kind), topic, lambda raw, t=topic, k=kind: self._take(t, k, raw),
                QoSProfile(depth=10), raw=True)

    @property
    def answered(self) -> int:
        """How many images have at least one output."""
        with self._lock:
            return len(self._stamps)

    def wait(self, count: int, seconds: float) -> bool:
        """Wait until so many images are answered, at most so long; return whether."""
        end_s = time.monotonic() + seconds
        with self._lock:
            while len(self._stamps) < count and self._running:
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    break
                self._lock.wait(min(left_s, 0.1))       # nobody notifies of a signal
            return len(self._stamps) >= count

    def linger(self, count: int, seconds: float) -> None:
        """Let the last answers arrive: until all are there, or none came for so long."""
        while self._running:
            with self._lock:
                quiet_s, missing = time.monotonic() - self._latest, count - len(self._stamps)
            if quiet_s > (seconds if missing > 0 else min(SETTLE_S, seconds)):
                return
            time.sleep(0.02)

    @property
    def _running(self) -> bool:
        return bool(self._node.context.ok())

    def _take(self, topic: str, kind: str, raw: bytes) -> None:
        with self._lock:
            self.counts[topic] += 1
            if topic not in DIAGNOSTICS:
                # Each output begins with a Header; its stamp says which image it answers.
                self._stamps.add(struct.unpack_from('<Q', raw, 4)[0])
                self._latest = time.monotonic()
                self._lock.notify_all()
            if self._bag is not None and self._running:
                name = self._node.resolve_topic_name(topic)
                self._bag.write_raw(name, kind, raw, self._node.get_clock().now().nanoseconds)

    def close(self) -> None:
        """Write the index and close; what comes afterwards is not written."""
        with self._lock:
            bag, self._bag = self._bag, None
            if bag is not None:
                bag.close()


def _absolute(prefix: str, name: str) -> str:
    return f'/{prefix.strip("/")}/{name}' if prefix.strip('/') else f'/{name}'
