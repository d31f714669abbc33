"""A new bag with predictions beside the truth, to open in RViz or Foxglove."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.bag import BagReader, header_ns, Message, TF
from da_ros.bag_writer import BagWriter
from da_ros.config import PointsConfig, ScanConfig
from da_ros.points import PointProjector
from da_ros.range_map import RangeMap
from da_ros.scan import ScanProjector
from da_ros.sphere import BODY_FROM_OPTICAL
from da_ros.transforms import quaternion_from


class OutputBag:
    """
    Writes /da_ros/depth/image, /da_ros/points, /da_ros/scan, /truth/depth/image, the image.

    Clouds and scans are in the body frame, named as the node names it. /tf and /tf_static are
    copied, and the body frame is joined to the camera's by a static transform.
    """

    def __init__(self, path: str | Path, source: BagReader, image_topic: str):
        """
        Create the bag.

        :raises BagError: if the folder exists
        """
        self._bag = BagWriter(path, 'mcap')
        self._image_topic = image_topic.removesuffix('/compressed') + '/compressed'
        self._projectors: tuple[PointProjector, ScanProjector] | None = None
        frames = self._copy_transforms(source)
        self._frames = frames

    def _copy_transforms(self, source: BagReader) -> set[str]:
        frames = set()
        topics = [topic for topic, kind in source.kinds.items() if kind == TF]
        for message in source.messages(topics):
            for link in message.decode().transforms:
                move, turn = link.transform.translation, link.transform.rotation
                frames.add(link.child_frame_id.lstrip('/'))
                self._bag.write(message.topic, self._bag.transform(
                    header_ns(link), link.header.frame_id.lstrip('/'),
                    link.child_frame_id.lstrip('/'), (move.x, move.y, move.z),
                    (turn.x, turn.y, turn.z, turn.w)), message.log_ns)
        return frames

    def write(self, message: Message, range_map: RangeMap,
              target: NDArray[np.float32] | None) -> None:
        """Append the outputs of one frame under its stamp."""
        bag, header = self._bag, message.decode().header
        stamp_ns, log_ns = int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec), \
            message.log_ns
        camera = header.frame_id.lstrip('/')
        body = self._body(camera, stamp_ns, log_ns)
        points, scan = self._project(range_map)
        bag.write(self._image_topic, bag.compressed(stamp_ns, camera, range_map.image), log_ns)
        bag.write('/da_ros/depth/image', bag.image(stamp_ns, camera, range_map.range_m, '32FC1'),
                  log_ns)
        bag.write('/da_ros/points', bag.points(stamp_ns, body, points.project(range_map)), log_ns)
        bag.write('/da_ros/scan', bag.scan(stamp_ns, body, scan.project(range_map)), log_ns)
        if target is not None and np.isfinite(target).any():
            bag.write('/truth/depth/image', bag.image(stamp_ns, camera, target, '32FC1'), log_ns)

    def _body(self, camera: str, stamp_ns: int, log_ns: int) -> str:
        """Return the body frame of a camera; publish its link once if the bag lacks it."""
        body = camera
        for suffix in ('_optical_frame', '_frame'):
            if camera.endswith(suffix):
                body = camera.removesuffix(suffix) + '_link'
                break
        if body != camera and body not in self._frames:
            self._frames.add(body)
            turn = quaternion_from(BODY_FROM_OPTICAL.T).tolist()
            self._bag.write('/tf_static', self._bag.transform(
                stamp_ns, camera, body, (0.0, 0.0, 0.0), turn), log_ns)
        return body

    def _project(self, range_map: RangeMap) -> tuple[PointProjector, ScanProjector]:
        if self._projectors is None:
            scan = ScanConfig()
            self._projectors = (
                PointProjector(range_map.size_hw, PointsConfig().max_points),
                ScanProjector(range_map.size_hw, scan.beams,
                              (scan.min_height_m, scan.max_height_m), range_map.min_range_m,
                              range_map.limit_m))
        return self._projectors

    def close(self) -> None:
        """Write the index and close."""
        self._bag.close()
