# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory between the frames of a bag, as the node has it: odometry in the order of recording."""

from __future__ import annotations

from collections import Counter
import re

import numpy as np
from numpy.typing import NDArray

from da_ros.bags.bag import Message
from da_ros.bags.odometry import OdometryTrack
from da_ros.bags.transforms import TransformError
from da_ros.config import Config
from da_ros.levelling import mounting_from
from da_ros.memory.stages import Memory, Remembered
from da_ros.range_map import RangeMap

MOST_REASONS = 5


class BagMemory:
    """The node's memory, fed by a nav_msgs/Odometry topic of a bag."""

    def __init__(self, topic: str, config: Config):
        """
        Start empty.

        :param topic: of the odometry
        :param config: with `memory.source` odometry, and `base_from_camera`
        :raises ConfigError: if `base_from_camera` cannot be read
        """
        self.topic, self.config = topic, config
        self.troubles: Counter[str] = Counter()     # reason -> messages or frames
        self._base_from_body = mounting_from(config.mounting.base_from_camera).base_from_body
        self._track, self._memory = OdometryTrack(), Memory()

    def observe(self, message: Message) -> None:
        """Take in odometry; what cannot be used is counted."""
        try:
            self._track.add(message.decode())
        except TransformError as error:
            self._note(error)

    def odom_from_body(self, time_ns: int) -> NDArray[np.float64] | None:
        """Return the pose (4, 4) that the node would know when the image arrives; None = none."""
        try:
            return self._track.odom_from_base(time_ns) @ self._base_from_body
        except TransformError as error:
            self._note(error)
            return None

    def _note(self, error: TransformError) -> None:
        self.troubles[re.sub(r'\d+', '#', str(error))] += 1      # stamps aside

    def notes(self) -> list[str]:
        """Return how memory fared, for the report."""
        told = f'Scores are those of memory between frames, moved by {self.topic}'
        if self._memory.resets:
            told += f'; started anew {self._memory.resets} times, last: {self._memory.why}'
        return [f'{told}.', *(f'Memory, {count} times: {reason}.'
                              for reason, count in self.troubles.most_common(MOST_REASONS))]

    def take(self, range_map: RangeMap, time_ns: int,
             odom_from_body: NDArray[np.float64] | None) -> Remembered:
        """Return what scan and clouds show of a frame, and remember it."""
        return self._memory.take(range_map, time_ns, odom_from_body, self.config)
