# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The stages of memory that need the motion: what scan and clouds show beside what is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da_ros.config import Config
from da_ros.memory.near import NearMemory, NearPoints, NOTHING
from da_ros.memory.warped import WarpedMemory
from da_ros.range_map import RangeMap
from da_ros.sphere import rotation_from_rpy

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Remembered:
    """A range map, steadied, and the points that were near and are not seen now."""

    range_map: RangeMap
    near: NearPoints = NOTHING


class Memory:
    """Warped and near memory of one camera, in the order of its frames."""

    def __init__(self) -> None:
        """Start empty."""
        self._warped, self._near = WarpedMemory(), NearMemory()
        self._config: Config | None = None

    def take(self, range_map: RangeMap, stamp_ns: int, odom_from_body: Array | None,
             config: Config) -> Remembered:
        """
        Return a range map as memory sees it, and remember it.

        :param odom_from_body: (4, 4) pose of the camera's body at the stamp; None = unknown
        :param config: another one than that of the frame before is a reason to forget all
        """
        if self._config is not None and config != self._config:
            self.reset('parameters changed')
        self._config = config
        pose = None if odom_from_body is None else pose_of_map(
            odom_from_body, range_map, config.levelling.source != 'fixed')
        fused, near = range_map, NOTHING
        if config.memory.warped:
            fused = self._warped.fuse(range_map, stamp_ns, pose)
        if config.memory.near_s:
            near = self._near.update(fused, stamp_ns, pose, config.memory.near_s,
                                     config.scan.min_height_m - config.rule.camera_height_m)
        return Remembered(fused, near)

    def reset(self, why: str) -> None:
        """Forget all."""
        self._warped.reset(why)
        self._near.reset(why)

    @property
    def state(self) -> str:
        """What memory does, in words, for diagnostics."""
        if self._config is None:
            return 'empty'
        memory = self._config.memory
        said = [*([self._warped.state] if memory.warped else []),
                *([f'near: {self._near.state}'] if memory.near_s else [])] or ['off']
        if self.resets:
            said.append(f'started anew {self.resets} times, last: {self.why}')
        return '; '.join(said)

    @property
    def why(self) -> str:
        """Why it was last forgotten, '' = never."""
        warped = self._config is None or self._config.memory.warped
        return self._warped.why if warped else self._near.why

    @property
    def resets(self) -> int:
        """How often what was there had to be forgotten."""
        return max(self._warped.resets, self._near.resets)


def pose_of_map(odom_from_body: Array, range_map: RangeMap, upright: bool = False) -> Array:
    """
    Return the pose (4, 4) of the frame of a range map, which may be turned in the body.

    :param upright: the map is level by measured gravity, as odom is. Odometry of wheels knows no
        tilt: with it, what the levelling has taken out would come back, the other way round.
    """
    pose = np.array(odom_from_body, np.float64)
    if range_map.view is not None and range_map.view.turned:
        pose[:3, :3] = pose[:3, :3] @ range_map.view.map_from_body.T
    if upright:
        pose[:3, :3] = rotation_from_rpy(0, 0, np.arctan2(pose[1, 0], pose[0, 0]))
    return pose
