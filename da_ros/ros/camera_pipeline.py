# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: its subscription, its outputs, and all that is known of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from da_ros.cameras.rig import Rig, rig_from
from da_ros.config import Config, ConfigError
from da_ros.estimator import RangeEstimator
from da_ros.memory.scale_track import ScaleTrack
from da_ros.ros.camera_subscription import CameraSubscription
from da_ros.ros.complaints import Complaints
from da_ros.ros.diagnostics import (
    estimator_values,
    health,
    loss_text,
    map_values,
    State,
    Statistics,
    status_msg,
)
from da_ros.ros.frame_server import FrameServer
from da_ros.ros.level_source import LevelSource
from da_ros.ros.live_transforms import Broadcaster
from da_ros.ros.outputs import (
    body_frame,
    check_depth_encoding,
    FrameIdError,
    Outputs,
    scan_warning,
)
from da_ros.ros.pose_source import PoseSource
from da_ros.ros.video_worker import DecodedFrame, VideoWorker
from da_ros.scale import check_scale

VIDEO_DEPTH = 30         # messages of a video that may wait: none must be left out
LINGER_S = 5.0           # the camera stays subscribed after the last taker of an output has left


class CameraPipeline:
    """
    What a camera needs beside the runtime, which it shares: made at configure, used while active.

    A camera with a name has its image and its outputs in the namespace of that name below the
    node's; the only camera of a node needs none. All methods run in the executor's thread.
    """

    def __init__(self, node: LifecycleNode, name: str, config: Config,
                 broadcaster: Broadcaster | None):
        """
        Create the publishers; the node must be in its configure transition.

        :param name: '' = the only camera
        :raises ConfigError, DaRosError: what cannot be read, or does not go together
        """
        self.name, self._node, self._config = name, node, config
        logger = node.get_logger()
        self._logger = logger.get_child(name) if name else logger
        self._complaints = Complaints(self._logger)
        self._rig = rig_from(config)
        self._level = LevelSource(node, config, self._complaints)
        self._pose = PoseSource(node, config, self._complaints)
        self._camera = self._subscription()
        self._outputs = Outputs(node, config, broadcaster, name)
        self._estimator: RangeEstimator | None = None
        self._server: FrameServer | None = None
        self._video: VideoWorker | None = None
        self._submit: Callable[[Any], bool] | None = None         # while the node is active
        self._statistics = Statistics()
        self._wanted_until = 0.0

    def _subscription(self) -> CameraSubscription:
        given = self._config.input
        # As a namespace does it: a name that begins with a slash is absolute.
        topic = f'{self.name}/{given.image_topic}' if (
            self.name and not given.image_topic.startswith('/')) else given.image_topic
        if given.image_transport == 'raw':
            return CameraSubscription(self._node, Image, topic, self._on_image, self._on_lost)
        return CameraSubscription(
            self._node, CompressedImage, f'{topic}/compressed', self._on_image, self._on_lost,
            **{'depth': VIDEO_DEPTH} if given.image_transport == 'h264' else {})

    @property
    def topic(self) -> str:
        """Full name of the topic of its images."""
        return self._camera.topic

    # ---- life ----

    def load(self, estimator: RangeEstimator) -> None:
        """
        Take the runtime of an estimator.

        :raises ConfigError, DaRosError: if the configuration does not fit the bundle
        """
        check_with(estimator, self._config)
        self._estimator = estimator.for_camera(self._rig, self._config.rule)
        if text := scan_warning(self._config, self._estimator):
            self._logger.warning(text)
        self._warn_of_band()

    def begin(self) -> Callable[[Any], None]:
        """Return what serves frames; what was before is not known to be so still."""
        assert self._estimator
        self._estimator.track = ScaleTrack()
        self._server = FrameServer(self._node, self.topic, self._estimator, self._outputs,
                                   (self._level, self._pose), (self._config, self._rig),
                                   self._complaints)
        self._statistics = self._server.statistics
        return self._server.serve

    def open(self, submit: Callable[[Any], bool]) -> None:
        """
        Hand images on, as soon as somebody takes an output.

        :param submit: takes an image; returns True if that pushed out another one
        :raises VideoError: if PyAV is needed and not installed
        """
        assert self._server
        if self._config.input.image_transport == 'h264':
            self._video = VideoWorker(self._on_picture, self._server.refuse)
        self._level.open()
        self._pose.open()
        self._submit = submit

    def stop(self) -> None:
        """Publish nothing from now on; the frame in progress is about to be cancelled."""
        if self._server is not None:
            self._server.stopping = True

    def close(self) -> None:
        """Hand no more images on, and unsubscribe."""
        self._camera.close()
        self._level.close()
        self._pose.close()
        if self._video is not None:
            self._video.stop()
            self._video = None
        self._submit = None

    def destroy(self) -> None:
        """Remove the publishers."""
        self._outputs.destroy()

    # ---- parameters ----

    def prepared(self, config: Config) -> tuple[Config, Rig]:
        """
        Return what `change` takes of another configuration.

        :raises ConfigError, DaRosError: if it does not fit the bundle, or cannot be read
        """
        if self._estimator is not None:
            check_with(self._estimator, config)
        return config, self._rig if config.erp == self._config.erp else rig_from(config)

    def change(self, config: Config, rig: Rig) -> None:
        """Take a configuration from the next frame on."""
        differs, self._config, self._rig = config != self._config, config, rig
        if differs:
            self._warn_of_band()
        if self._server is not None:
            self._server.settings = config, rig

    def _warn_of_band(self) -> None:
        low = self._config.scan.min_height_m
        if self._config.rule.camera_height_m == 0 < low:
            self._logger.warning(
                f'scan.min_height_m {low:g} counts from the camera, because '
                'camera_height_m is 0: the scan sees nothing below the camera; set '
                'camera_height_m if the band is meant from the floor')

    # ---- frames ----

    def watch(self) -> None:
        """Subscribe to the camera while somebody takes an output, and some seconds longer."""
        if self._submit is None:
            return
        now, wanted = time.perf_counter(), bool(self._outputs.wanted())
        self._statistics.want(wanted, now)
        if wanted:
            self._wanted_until = now + LINGER_S
            self._camera.open()
            self._camera.follow()
        elif now > self._wanted_until:
            # Receiving a 4K camera costs a third of a core, whether or not a frame is used.
            self._camera.close()

    def _on_image(self, msg: Any) -> None:
        self._statistics.arrived(time.perf_counter())
        if self._video is not None:
            self._video.submit(msg)
        elif self._submit is not None and self._submit(msg):
            self._statistics.dropped += 1

    def _on_picture(self, frame: DecodedFrame, decode_s: float) -> None:
        self._statistics.add('decode', decode_s)
        if self._submit is not None and self._submit(frame):
            self._statistics.dropped += 1

    def _on_lost(self, count: int) -> None:
        self._statistics.lose(count, time.perf_counter())
        self._complaints.warning(loss_text(count, self.topic, self._camera.remedy))

    # ---- diagnostics ----

    @property
    def body_frame(self) -> str:
        """The frame of its clouds; '' = not known yet."""
        if self._server is None or self._server.last_map is None:
            return ''
        try:
            return body_frame(self._config, self._server.frame)
        except FrameIdError:
            return ''

    def status(self, state: State, reason: str) -> DiagnosticStatus:
        """
        Return what this camera has to tell.

        :param state: of the node
        :param reason: why the model was taken
        """
        now = time.perf_counter()
        level, message = health(self._statistics, self._state(state), now)
        values = self._statistics.values(now) | {'subscription': self._camera.text}
        rule = self._config.rule
        if self._estimator is not None:
            values |= estimator_values(self._estimator, rule, reason)
            if self._config.scale.track:
                values['scale track'] = self._estimator.track.state
        if self._server is not None:
            values |= map_values(self._server.last_map, self._server.oddities,
                                 rule.camera_height_m)
            if self._config.memory.source != 'none':
                values['memory'] = self._server.memory.state
        if self._outputs.floor:
            values['floor'] = self._outputs.floor
        return status_msg(self._node.get_fully_qualified_name(), self.name, level, message, values)

    def _state(self, state: State) -> State:
        if self._submit is None or self._server is None or self._estimator is None:
            return state
        seen = self._server.image_health.health
        return replace(
            state, active=True, topic=self.topic, unseen=self._camera.unseen(),
            blind=seen.blind, dirt=seen.dirt, remedy=self._camera.remedy,
            backend=self._estimator.backend, fallback='; '.join(self._estimator.refused),
            floor=self._outputs.floor_warning, levelling=self._level.trouble,
            memory=self._pose.trouble,
            waiting=self._video.waiting if self._video is not None else 0,
            timeout_s=self._config.input.consumer_timeout_s)


def check_with(estimator: RangeEstimator, config: Config) -> None:
    """Raise ConfigError or DaRosError if a configuration does not fit the loaded bundle."""
    _, limit_m = estimator.resolve(config.rule)
    check_depth_encoding(config, limit_m)
    bundle = estimator.bundle
    check_scale(bundle.kind, bundle.name, config.scale, config.rule.camera_height_m)


def check_topics(pipelines: list[CameraPipeline]) -> None:
    """
    Check that every camera has images of its own.

    :raises ConfigError: naming the topic and the remedy
    """
    for number, one in enumerate(pipelines):
        for other in pipelines[:number]:
            if one.topic == other.topic:
                raise ConfigError(
                    f'cameras {other.name} and {one.name} both take {one.topic}; set '
                    f'{one.name}.image_topic, or an image_topic without a slash in front, which '
                    'is looked for in the namespace of each')


def twins(pipelines: list[CameraPipeline]) -> str:
    """Return which cameras say that they are at the same place, and what to do; '' = none."""
    by_frame: dict[str, str] = {}
    for one in pipelines:
        other = by_frame.setdefault(one.body_frame, one.name) if one.body_frame else one.name
        if other != one.name:
            return (f'clouds of {other} and {one.name} are both in frame {one.body_frame!r}, as '
                    'if the cameras were at one place; set frame_id in their drivers, or '
                    f'{one.name}.frames.body')
    return ''
