# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The one player: publishes frames of a bag or a folder at their time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
import sys
import time
from typing import Any

import cv2
import numpy as np

from da_ros.bags.bag import COMPRESSED, IMAGE
from da_ros.bags.frames import Frame
from da_ros.bags.storage import BagError
from da_ros.errors import DaRosError
from da_ros.files import read_panorama

CACHE_BYTES = 256 << 20       # of pictures that are shown again and again
LATE_S = 0.25                 # what is caught up; a player that is later goes slower than asked
CLOCK = 'rosgraph_msgs/msg/Clock'


class Player:
    """
    Publishes frames at their time, all stamps moved alike.

    Time of the source runs from its first message on, over all rounds. Stamps are either kept, or
    moved by the same law as the publishing: they keep their distance to it, and to each other,
    but for what a player that cannot keep up is late.
    """

    def __init__(self, node: Any, rate: float, keep_stamps: bool, clock: bool,
                 renamed: dict[str, str]):
        """
        Prepare.

        :param rate: 2 = twice as fast
        :param keep_stamps: publish the recorded stamps
        :param clock: also publish the recorded time on /clock
        :param renamed: topic of the source -> topic to publish
        :raises BagError: if somebody else publishes /clock
        """
        self._node, self._rate, self._renamed = node, rate, renamed
        self._keep = keep_stamps
        self._publishers: dict[str, Any] = {}
        self._clock = node.create_publisher(message_class(CLOCK), '/clock', 10) if clock else None
        self.pause: Callable[[str], None] | None = None      # after each message
        self.sent: dict[str, int] = {}
        self._started_s = time.monotonic()
        # When time 0 of the source is now, and from which time of the source on that counts.
        self._epochs: list[tuple[int, int]] = []
        self._sent_ns = -2**63               # time of the source of the last frame
        self._kept_up = True
        self._damaged: set[str] = set()      # topics of which a message was left out

    @property
    def running(self) -> bool:
        """Whether nobody asked to stop."""
        return bool(self._node.context.ok())

    def advertise(self, topic: str, kind: str) -> None:
        """
        Create the publisher of a topic of the source.

        :raises BagError: if its message package is not installed
        """
        from rclpy.qos import DurabilityPolicy, QoSProfile
        # Kept for subscribers that acknowledge late: what is overwritten before is lost to them.
        profile = QoSProfile(depth=10)
        if topic.endswith('tf_static'):
            profile = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        name = self._renamed.get(topic, topic)
        self._publishers[topic] = self._node.create_publisher(message_class(kind), name, profile)

    def others(self, topic: str) -> list[str]:
        """Return the nodes, other than this one, that publish a topic."""
        return sorted({info.node_name for info in self._node.get_publishers_info_by_topic(topic)
                       if info.node_name != self._node.get_name()})

    def wait_for_subscriber(self, topic: str, seconds: float) -> bool:
        """Wait until somebody takes a topic; return whether."""
        end = time.monotonic() + seconds
        publisher = self._publishers[topic]
        while publisher.get_subscription_count() == 0 and self.running:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        time.sleep(0.5)           # until all of them know this publisher
        return True

    def play(self, rounds: Iterator[Iterator[Frame]], between_ns: int) -> None:
        """
        Publish round after round at their time, until they end or the context does.

        :param between_ns: from the last frame of a round to the first one of the next
        """
        self._started_s = time.monotonic()
        self._epochs = [(self._sent_ns, self._node.get_clock().now().nanoseconds)]
        shift_ns = 0
        for frames in rounds:
            last_ns = 0
            for frame in frames:
                self._wait_until(frame, shift_ns)
                if not self.running:
                    return
                self._send(frame, shift_ns)
                last_ns = frame.time_ns
            shift_ns += last_ns + between_ns

    def _wait_until(self, frame: Frame, shift_ns: int) -> None:
        due_s = self._started_s + (frame.time_ns + shift_ns) / 1e9 / self._rate
        while self.running and (left_s := due_s - time.monotonic()) > 0:
            if left_s > 0.01:
                self._tick(frame.log_ns + shift_ns - round(left_s * 1e9 * self._rate))
            time.sleep(min(left_s, 0.01))
        if (late_s := time.monotonic() - due_s) > LATE_S and self.running:
            if self._kept_up:
                self._kept_up = False
                print(f'da_ros_replay: publishing fell {late_s:.1f} s behind and goes slower than '
                      'asked; lower --rate, --fps or --height', file=sys.stderr)
            self._delay(late_s)

    def _delay(self, seconds: float) -> None:
        """Let everything after the last frame be later: publishing and stamps alike."""
        self._started_s += seconds
        self._epochs.append((self._sent_ns, self._epochs[-1][1] + round(seconds * 1e9)))

    def _send(self, frame: Frame, shift_ns: int) -> None:
        self._tick(frame.log_ns + shift_ns)
        try:
            raw = self._stamped(frame, shift_ns)
        except BagError as error:        # of one message; the others are whole
            if frame.topic not in self._damaged:
                self._damaged.add(frame.topic)
                print(f'da_ros_replay: left out: {error}', file=sys.stderr)
            return
        try:
            self._publishers[frame.topic].publish(raw)
        except Exception:
            if self.running:
                raise
            return                       # a signal came between the look and the call
        self.sent[frame.topic] = self.sent.get(frame.topic, 0) + 1
        self._sent_ns = frame.time_ns + shift_ns
        if self.pause is not None:
            before_s = time.monotonic()
            self.pause(frame.topic)
            self._delay(time.monotonic() - before_s)

    def _stamped(self, frame: Frame, shift_ns: int) -> bytes:
        """Return a frame with its stamps moved; 0, which in a bag means none, stays."""
        # The time of a folder begins at 0.
        unset = 0 if frame.log_ns > frame.time_ns else None
        if not self._keep:
            first_ns = frame.log_ns - frame.time_ns - shift_ns
            return frame.moved(lambda t: t if t == unset else self._moved(t - first_ns))
        return frame.moved(lambda t: t if t == unset else t + shift_ns) if shift_ns else frame.cdr

    def _moved(self, source_ns: int) -> int:
        """Return the stamp of a time of the source: equal ones stay equal across a pause."""
        index = bisect_left(self._epochs, (source_ns, 0)) - 1
        return max(self._epochs[max(index, 0)][1] + round(source_ns / self._rate), 0)

    def _tick(self, time_ns: int) -> None:
        if self._clock is None:
            return
        clock = message_class(CLOCK)()
        clock.clock.sec, clock.clock.nanosec = divmod(max(time_ns, 0), 10**9)
        try:
            self._clock.publish(clock)
        except Exception:
            if self.running:
                raise


class Pictures:
    """Pictures of a folder as frames of topic `image`; one that cannot be read is named once."""

    def __init__(self, paths: Sequence[Path], fps: float, frame_id: str, compressed: bool,
                 height: int = 0):
        """
        Prepare; nothing is read yet.

        :param height: scale to so many rows; 0 = as they are
        """
        self.kind = COMPRESSED if compressed else IMAGE
        self._paths, self._fps, self._frame_id, self._height = paths, fps, frame_id, height
        self.bad: set[Path] = set()
        self._told: set[str] = set()
        self._messages: dict[Path, bytes] = {}

    def frames(self) -> Iterator[Frame]:
        """
        Yield a frame per picture, in even steps.

        :raises BagError: if none can be read
        """
        number = 0
        for path in self._paths:
            if path in self.bad:
                continue
            try:
                raw = self._messages.get(path) or self._message(path)
            except DaRosError as error:
                self.bad.add(path)
                print(f'da_ros_replay: left out: {error}', file=sys.stderr)
                continue
            if sum(map(len, self._messages.values())) + len(raw) < CACHE_BYTES:
                self._messages[path] = raw
            time_ns = round(number / self._fps * 1e9)
            frame = Frame('image', self.kind, time_ns, time_ns, raw)
            # The stored message is stamped 0, so that its stamp becomes its time.
            yield replace(frame, cdr=frame.moved(partial(int.__add__, time_ns)))
            number += 1
        if not number:
            raise BagError('none of the pictures can be read')

    def _message(self, path: Path) -> bytes:
        """Return a picture as a serialised message; refused as the live node refuses it."""
        from rclpy.serialization import serialize_message
        from sensor_msgs.msg import CompressedImage, Image

        from da_ros.ros.conversions import fill_image, header_for
        picture = read_panorama(path)
        for text in set(picture.warnings) - self._told:
            self._told.add(text)
            print(f'{path}: {text}', file=sys.stderr)
        header, image = header_for(0, self._frame_id), picture.image
        if self._height and image.shape[0] != self._height:
            width = round(image.shape[1] * self._height / image.shape[0])
            image = np.asarray(cv2.resize(image, (width, self._height),
                                          interpolation=cv2.INTER_AREA), np.uint8)
        if self.kind == IMAGE:
            return bytes(serialize_message(fill_image(Image(), header, image, 'bgr8')))
        plain = image is picture.image and path.suffix.lower() in ('.jpg', '.jpeg')
        data = path.read_bytes() if plain else cv2.imencode('.jpg', image)[1].tobytes()
        return bytes(serialize_message(CompressedImage(header=header, format='jpeg', data=data)))


def message_class(kind: str) -> Any:
    """
    Return the rclpy class of a message type such as sensor_msgs/msg/Image.

    :raises BagError: if its package is not installed
    """
    package, _, name = kind.split('/')
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise BagError(f'{kind} is not installed; source a ROS that has {package}') from error
