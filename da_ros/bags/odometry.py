# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The pose of a base over time as nav_msgs/Odometry tells it, live or from a bag; no ROS."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.bags.transforms import NoPoseError, TransformError, TransformTree
from da_ros.stamps import stamp_ns

Array = NDArray[np.float64]
KEEP_NS = 10_000_000_000
BACK_NS = 200_000_000           # more is no late message: the clock went back, a bag was looped
QUARREL_NS = 1_000_000_000      # after the last word of a second source, the first is believed
ODOM, BASE = 'odometry', 'base'     # careless publishers leave both names out


class OdometryTrack:
    """The last ten seconds of one source; may be asked in another thread than it is filled in."""

    def __init__(self) -> None:
        """Start without a pose."""
        self._lock = Lock()
        self._tree = TransformTree()
        self._frames: tuple[str, str] | None = None
        self._newest_ns: int | None = None
        self._pruned_ns = 0
        self._quarrel: tuple[int, str] | None = None

    def add(self, msg: Any) -> None:
        """
        Take in a nav_msgs/Odometry.

        :raises TransformError: if it has no rotation or a value that is not finite, or comes
            from a second source, which its frames give away
        """
        pose, time_ns = msg.pose.pose, stamp_ns(msg)
        frames = msg.header.frame_id.lstrip('/'), msg.child_frame_id.lstrip('/')
        move, turn = pose.position, pose.orientation
        with self._lock:
            if self._newest_ns is not None and (
                    time_ns < self._newest_ns - BACK_NS
                    or (self._frames != frames and time_ns > self._newest_ns + QUARREL_NS)):
                # Another time, or another source in place of one that has fallen silent.
                self._tree, self._frames, self._newest_ns = TransformTree(), None, None
                self._pruned_ns, self._quarrel = 0, None
            if self._frames not in (None, frames):
                text = (f'two sources of odometry on one topic: {" -> ".join(self._frames or ())} '
                        f'and {" -> ".join(frames)}; let only one publish there')
                self._quarrel = time_ns, text
                raise TransformError(text)
            self._tree.add(ODOM, BASE, [move.x, move.y, move.z], [turn.x, turn.y, turn.z, turn.w],
                           time_ns)
            if self._tree.left_out:
                self._tree.left_out.clear()
                raise TransformError(f'odometry {" -> ".join(frames)} is no pose: a quaternion '
                                     'of zeros, or a value that is not finite')
            self._frames = frames
            self._newest_ns = max(time_ns, self._newest_ns or time_ns)
            if time_ns > self._pruned_ns + 2 * KEEP_NS:
                self._pruned_ns = time_ns - KEEP_NS
                self._tree.forget_before(self._pruned_ns)

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest pose; None = none yet."""
        return self._newest_ns

    def odom_from_base(self, time_ns: int) -> Array:
        """
        Return the pose (4, 4) at a time.

        :raises TransformError: if none is near, or two sources contradict each other
        """
        with self._lock:
            if self._quarrel is not None and abs(time_ns - self._quarrel[0]) < QUARREL_NS:
                raise TransformError(self._quarrel[1])
            if self._frames is None:
                raise NoPoseError('no odometry yet')
            return self._tree.between(ODOM, time_ns, BASE, time_ns)
