# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What happens to one camera message, on the worker's thread: it becomes every wanted output."""

from __future__ import annotations

from dataclasses import replace
import time
from typing import Any

from rclpy.node import Node

from da_ros.backends.base import BackendError
from da_ros.body_mask import check_boxes
from da_ros.cameras.image_health import ImageHealth
from da_ros.cameras.rig import Rig
from da_ros.config import Config
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.levelling import LevellingError
from da_ros.memory.stages import Memory, Remembered
from da_ros.pixels import picture_of
from da_ros.range_map import RangeMap
from da_ros.ros.complaints import Complaints
from da_ros.ros.diagnostics import Statistics
from da_ros.ros.level_source import LevelSource
from da_ros.ros.outputs import body_frame, Outputs
from da_ros.ros.pose_source import PoseSource
from da_ros.ros.video_worker import DecodedFrame
from da_ros.stamps import stamp_ns


class FrameServer:
    """
    Serves frames one after the other; whatever is wrong with one, the next one is served.

    `settings` may be replaced at any time; a frame is published under those it began with.
    """

    def __init__(self, node: Node, topic: str, estimator: RangeEstimator, outputs: Outputs,
                 sources: tuple[LevelSource, PoseSource], settings: tuple[Config, Rig],
                 complaints: Complaints):
        """Keep what serving needs; `topic` is that of the camera, for texts."""
        self._node, self._topic = node, topic
        self._estimator, self._outputs = estimator, outputs
        (self._level, self._pose), self._complaints = sources, complaints
        self.settings = settings
        self._of_tf: tuple[Rig, Rig] | None = None      # as configured, and as TF completes it
        self.statistics = Statistics()
        self.image_health = ImageHealth()
        self.last_map: RangeMap | None = None
        self.frame = ''               # of the last image
        self.memory = Memory()
        self.oddities: list[str] = []         # of the camera images, each told once
        self.stopping = False         # then a runtime that fails was cancelled

    def serve(self, msg: Any) -> None:
        """Publish what is wanted of a camera message; raises nothing."""
        if not self._running():
            return
        try:
            topics = self._outputs.wanted()
            if topics:
                with self.statistics.timed('total'):
                    self._serve(msg, topics, *self.settings)
        except BackendError as error:
            self._on_backend_error(error)
        except (DaRosError, ValueError) as error:
            self.refuse(str(error))
        # Not only Exception: SystemExit, or a panic of a library, would end the thread in silence.
        except BaseException as error:
            if self._running():
                self.statistics.failed += 1
                self._complain(f'frame failed: {type(error).__name__}: {error}')

    def refuse(self, text: str) -> None:
        """Count a message that gives no frame, and say why."""
        self.statistics.refused += 1
        self._complain(f'frame refused: {text}')

    def _running(self) -> bool:
        return self._node.context.ok() and not self.stopping

    def _serve(self, msg: Any, topics: frozenset[str], config: Config, rig: Rig) -> None:
        statistics, estimator = self.statistics, self._estimator
        stamp, frame = stamp_ns(msg, config.input.stamp_offset_s), self._frame_id(msg, config)
        self.frame = frame
        # Only TF asks for names; a camera without a frame_id is served as far as it goes.
        frames = (body_frame(config, frame) if config.levelling.source == 'tf' else frame), frame
        estimator.rig = self._mounted(rig, config, frames, stamp)
        with statistics.timed('convert'):
            picture = msg.picture if isinstance(msg, DecodedFrame) else picture_of(
                msg, config.input.max_image_pixels)
            image = picture.image
            net_image = estimator.network_image(image, self._level.level_from_body(
                stamp, frames, config.levelling.wait_s))
            self.image_health.judge(image, net_image, estimator.view(), stamp,
                                    config.image_health.frozen_s)
        for text in {*picture.warnings, *estimator.oddities(image)}.difference(self.oddities):
            self.oddities.append(text)
            self._complaints.once(f'{self._topic}: {text}')
        with statistics.timed('inference'):
            # Parameters may change meanwhile; all outputs of this frame follow `config`.
            if estimator.rule is not config.rule:
                estimator.rule = config.rule
            estimator.scale = config.scale
            range_map = estimator.infer(net_image, picture.extent)
        if config.image_health.act:
            self.image_health.forget_blind(range_map)
        remembered = None
        if config.memory.source != 'none':
            with statistics.timed('memory'):
                remembered = self._remember(range_map, stamp, frame, config)
        with statistics.timed('messages'):
            failures = self._outputs.publish(
                topics, range_map, config, stamp, frame, (image.shape[0], image.shape[1]),
                remembered)
        self.last_map = range_map
        statistics.unknown_share = range_map.disagreements / range_map.range_m.size
        if failures and self._running():
            statistics.failed += 1
            for topic, error in failures.items():
                self._complain(f'{topic} is not published: {error}')
        # The age is that of the data when it is out, on the node's clock: simulated time included.
        if len(failures) < len(topics):
            age_s = (self._node.get_clock().now().nanoseconds - stamp) * 1e-9
            statistics.finish(age_s, time.perf_counter())

    def _remember(self, range_map: RangeMap, stamp: int, frame: str, config: Config) -> Remembered:
        """Return what scans and clouds show of a frame; one line where memory starts anew."""
        pose = self._pose.odom_from_body(stamp, frame, config.memory.wait_s)
        before = self.memory.resets
        remembered = self.memory.take(range_map, stamp, pose, config)
        if self.memory.resets > before and pose is not None:
            self._complaints.warning(f'memory starts anew: {self.memory.why}{self._pose.crowd()}')
        return remembered

    def _mounted(self, rig: Rig, config: Config, frames: tuple[str, str], time_ns: int) -> Rig:
        """Return the rig, with the pose from TF where boxes of the robot are to be masked."""
        if config.levelling.source != 'tf' or not rig.mask.boxes:
            return rig
        if self._of_tf is None or self._of_tf[0] is not rig:
            try:
                pose = self._level.base_from_body(frames, time_ns)
            except LevellingError as error:
                raise LevellingError(f'body_mask.boxes: {error}') from error
            mask = replace(rig.mask, base_from_body=pose)
            check_boxes(mask)
            self._of_tf = rig, replace(rig, mask=mask)
        return self._of_tf[1]

    def _frame_id(self, msg: Any, config: Config) -> str:
        given, expected = msg.header.frame_id, config.frames.camera.lstrip('/')
        frame = given.lstrip('/')
        if frame != given:
            self._complaints.once(f'{self._topic}: frame_id {given!r} begins with a slash, which '
                                  f'tf2 refuses; {frame!r} is used instead')
        if expected and frame != expected:
            self._complaints.once(
                f'{self._topic}: images come from frame {frame!r}, but the mounting transform is '
                f'that of {expected!r}: set camera_frame:={frame} in the launch file, or the '
                'frame_id in the camera driver')
        return frame

    def _on_backend_error(self, error: BackendError) -> None:
        self.statistics.failed += 1
        if not self._running():
            return
        self._complain(f'inference failed: {error}')
        try:
            self._estimator.fall_back(str(error))
        except Exception as none_left:
            if self._running():
                self._complain(f'and no other runtime is left: {none_left}')
            return
        self._node.get_logger().error(f'now running on {self._estimator.backend} instead')

    def _complain(self, text: str) -> None:
        """Log an error at once, and keep it for the diagnostics."""
        self.statistics.go_wrong(text, time.perf_counter())
        self._complaints.error(f'{self._topic}: {text}')
