# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A new bag with predictions beside the truth, to open in RViz or Foxglove."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.bags.bag import BagReader, Message, TF
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.transforms import quaternion_from
from da_ros.config import Config
from da_ros.derived.frame import Derivation
from da_ros.memory.stages import Remembered
from da_ros.range_map import RangeMap
from da_ros.sphere import BODY_FROM_OPTICAL
from da_ros.stamps import stamp_ns


class OutputBag:
    """
    Writes /da_ros/depth/image, /da_ros/points, /da_ros/scan, /truth/depth/image, the image.

    Clouds and scans are in the body frame, named as the node names it. /tf and /tf_static are
    copied, and the body frame is joined to the camera's by a static transform.
    """

    def __init__(self, path: str | Path, source: BagReader, image_topic: str, axes: str):
        """
        Create the bag.

        :param axes: axes of the camera's frame_id, optical or body
        :raises BagError: if the folder exists
        """
        self._bag, self._axes = BagWriter(path, 'mcap'), axes
        self._image_topic = image_topic.removesuffix('/compressed') + '/compressed'
        self._derivation = Derivation()
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
                    stamp_ns(link), link.header.frame_id.lstrip('/'),
                    link.child_frame_id.lstrip('/'), (move.x, move.y, move.z),
                    (turn.x, turn.y, turn.z, turn.w)), message.log_ns)
        return frames

    def write(self, message: Message, range_map: RangeMap, target: NDArray[np.float32] | None,
              config: Config, remembered: Remembered | None = None) -> None:
        """
        Append the outputs of one frame under its stamp.

        :param config: of scan and cloud
        :param remembered: what they show; None = the range map
        """
        bag, msg, log_ns = self._bag, message.decode(), message.log_ns
        stamp, camera = stamp_ns(msg), msg.header.frame_id.lstrip('/')
        body = self._body(camera, stamp, log_ns)
        remembered = remembered or Remembered(range_map)
        derived = self._derivation.of(remembered.range_map, config, range_map, remembered.near)
        bag.write(self._image_topic, bag.compressed(stamp, camera, range_map.image), log_ns)
        bag.write('/da_ros/depth/image', bag.image(stamp, camera, range_map.range_m, '32FC1'),
                  log_ns)
        bag.write('/da_ros/points', bag.points(stamp, body, derived.points()), log_ns)
        bag.write('/da_ros/scan', bag.scan(stamp, body, derived.scan()), log_ns)
        if target is not None and np.isfinite(target).any():
            bag.write('/truth/depth/image', bag.image(stamp, camera, target, '32FC1'), log_ns)

    def _body(self, camera: str, stamp: int, log_ns: int) -> str:
        """Return the body frame of a camera; publish its link once if the bag lacks it."""
        if self._axes == 'body':
            return camera
        stem = next((camera.removesuffix(suffix) for suffix in ('_optical_frame', '_frame')
                     if camera.endswith(suffix)), camera)
        body = f'{stem}_link'
        if body not in self._frames:
            self._frames.add(body)
            turn = quaternion_from(BODY_FROM_OPTICAL.T).tolist()
            self._bag.write('/tf_static', self._bag.transform(
                stamp, camera, body, (0.0, 0.0, 0.0), turn), log_ns)
        return body

    def close(self) -> None:
        """Write the index and close."""
        self._bag.close()
