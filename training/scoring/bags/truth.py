# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Truth for the frames of a bag: depth images, LiDAR clouds or scans, as range maps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da_ros.bags.bag import CAMERA_INFO, COMPRESSED, IMAGE, Message, POINTS, SCAN
from da_ros.bags.contents import points_of, range_image_of, scan_points_of
from da_ros.bags.storage import BagError
from da_ros.bags.transforms import TransformTree
from da_ros.range_map import resample_nearest
from da_ros.sphere import BODY_FROM_OPTICAL, erp_rays
from da_ros.stamps import stamp_ns
from training.scoring.projection import pinhole_points, project_points, remove_hidden

TRUTH_KINDS = (POINTS, SCAN, IMAGE, COMPRESSED)
LEAST_RANGE_M = 0.1             # nearer to the sensor is no return; real sensors begin farther
KEEP_NS = 700_000_000           # how long truth waits for frames that are stamped otherwise


@dataclass(frozen=True, eq=False)
class Observation:
    """One truth message: points in its frame, or a panorama of ranges in the camera's frame."""

    stamp_ns: int
    frame: str
    points: NDArray[np.float32] | None = None      # (N, 3) m
    range_m: NDArray[np.float32] | None = None     # (h, w) m

    def sparse_points(self, body_from_frame: NDArray[np.float64],
                      most: int = 3000) -> NDArray[np.float32]:
        """Return at most `most` points (N, 3) in the frame, thinned evenly."""
        points = self.points
        if points is None:
            assert self.range_m is not None
            coarse = resample_nearest(self.range_m, 64, 128)
            rays = (erp_rays(64, 128) @ body_from_frame)[np.isfinite(coarse)]
            points = (rays * coarse[np.isfinite(coarse)][:, None]).astype(np.float32)
        return points[::max(1, -(-len(points) // most))].copy()   # not a view of the whole


class TruthSource:
    """The newest observations of one topic, and what the camera should see of them."""

    def __init__(self, topic: str, kind: str, tree: TransformTree, size_hw: tuple[int, int],
                 body_from_frame: NDArray[np.float64], tolerance_s: float = 0.06,
                 body_from_sensor: NDArray[np.float64] | None = None,
                 min_range_m: float = LEAST_RANGE_M):
        """
        Prepare an empty buffer.

        :param kind: message type, one of TRUTH_KINDS
        :param tree: frames of the bag
        :param size_hw: height and width of the range maps to make [px]
        :param body_from_frame: (3, 3), rotates vectors of the camera's frame_id into its body
            frame (x forward)
        :param tolerance_s: truth farther in time from a frame does not belong to it [s]
        :param body_from_sensor: (4, 4) fixed pose of the sensor in the camera's body frame; None =
            from TF, with the motion between the two stamps
        :param min_range_m: what is nearer to the sensor is no return; a robot's mast may be [m]
        """
        self.topic, self.kind, self.tree, self.size_hw = topic, kind, tree, size_hw
        self.body_from_frame, self.tolerance_ns = body_from_frame, round(tolerance_s * 1e9)
        self.body_from_sensor, self.min_range_m = body_from_sensor, min_range_m
        self.measured = self.too_near = 0          # points or pixels, over all messages
        self.camera_matrix: NDArray[np.float64] | None = None
        self.first_ns = self.last_ns = 0
        self.recent: deque[Observation] = deque()

    def observe(self, message: Message) -> None:
        """
        Take in a message of the topic, or of the CameraInfo beside it.

        :raises BagError: if it is damaged or of an unusable kind
        """
        msg = message.decode()
        if message.kind == CAMERA_INFO:
            self.camera_matrix = np.asarray(getattr(msg, 'k', getattr(msg, 'K', None)), np.float64)
            return
        seen = self._observation(msg)
        self.recent.append(seen)
        self.first_ns = min(self.first_ns or seen.stamp_ns, seen.stamp_ns)
        self.last_ns = max(self.last_ns, seen.stamp_ns)
        while self.recent and self.recent[0].stamp_ns < self.last_ns - 2 * KEEP_NS:
            self.recent.popleft()

    def _observation(self, msg: Any) -> Observation:
        stamp, frame = stamp_ns(msg), msg.header.frame_id.lstrip('/')
        if self.kind in (POINTS, SCAN):
            points = points_of(msg) if self.kind == POINTS else scan_points_of(msg)
            return Observation(stamp, frame, points=self._returns(points))
        depth = range_image_of(msg)
        if depth.shape[1] == 2 * depth.shape[0]:
            near = depth < self.min_range_m
            self.measured += int(np.isfinite(depth).sum())
            self.too_near += int(near.sum())
            return Observation(stamp, frame, range_m=np.where(near, np.float32(np.nan), depth))
        if self.camera_matrix is None:
            raise BagError(
                f'{self.topic} is {depth.shape[1]} x {depth.shape[0]} px, so it is no panorama, '
                'and no CameraInfo came before it; record its camera_info or give --truth-info')
        try:
            points = pinhole_points(depth, self.camera_matrix)
        except ValueError as error:          # an uncalibrated camera says so by zeros
            raise BagError(f'{self.topic}: {error}; calibrate it, or give --truth-info') from error
        return Observation(stamp, frame, points=self._returns(points))

    def _returns(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Leave out what drivers write for "no return": points at the sensor's own place."""
        far = np.einsum('ij,ij->i', points, points) >= self.min_range_m ** 2
        self.measured += len(far)
        self.too_near += int((~far).sum())
        return points if far.all() else points[far]

    def nearest(self, stamp_ns: int) -> Observation | None:
        """Return the observation nearest in time, None if none is within the tolerance."""
        found = min(self.recent, key=lambda o: abs(o.stamp_ns - stamp_ns), default=None)
        if found is None or abs(found.stamp_ns - stamp_ns) > self.tolerance_ns:
            return None
        return found

    def distance_s(self, stamp_ns: int) -> float:
        """Return how far in time the nearest observation is [s]; inf without one."""
        return min((abs(o.stamp_ns - stamp_ns) for o in self.recent), default=np.inf) / 1e9

    def around(self, stamp_ns: int) -> list[Observation]:
        """Return all observations kept around a time."""
        return [o for o in self.recent if abs(o.stamp_ns - stamp_ns) <= KEEP_NS]

    def range_map(self, seen: Observation, camera: str, stamp_ns: int) -> NDArray[np.float32]:
        """
        Return what the camera should see.

        :param camera: frame of the camera's images
        :param stamp_ns: time of the image
        :return: (H, W) float32 m; NaN unknown
        :raises TransformError: if the sensor's frame is not connected with the camera's
        """
        # In the camera's own frame no point is projected, so that exact truth stays exact; its
        # motion within the tolerance is left out of account.
        if seen.range_m is not None and seen.frame == camera:
            return resample_nearest(seen.range_m, *self.size_hw)
        points = seen.points
        if points is None:
            assert seen.range_m is not None
            rays = erp_rays(*seen.range_m.shape) @ self.body_from_frame
            known = np.isfinite(seen.range_m)
            points = (rays[known] * seen.range_m[known][:, None]).astype(np.float32)
        moved = self.in_body(points, seen, camera, stamp_ns)
        # The sensor sees behind what hides things from the camera, between its own rays.
        return remove_hidden(project_points(moved, *self.size_hw))

    def in_body(self, points: NDArray[np.float32], seen: Observation, camera: str,
                stamp_ns: int) -> NDArray[np.float32]:
        """Return points (N, 3) of an observation in the camera's body frame at a time."""
        if self.body_from_sensor is not None:
            pose = self.body_from_sensor
        else:
            pose = np.eye(4)
            pose[:3, :3] = self.body_from_frame
            pose = pose @ self.tree.between(camera, stamp_ns, seen.frame, seen.stamp_ns)
        return points @ pose[:3, :3].T.astype(np.float32) + pose[:3, 3].astype(np.float32)


def body_from_frame(axes: str) -> NDArray[np.float64]:
    """Return (3, 3) body from the camera's frame_id: `optical` (z forward) or `body`."""
    return np.asarray(BODY_FROM_OPTICAL) if axes == 'optical' else np.eye(3)
