# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node of the real classes, but for runtime, publishers and DDS: those keep account."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
from ros_peer import image_msg
from schedules import Turns

from da_ros.backends import chain as chaining
from da_ros.backends.base import BackendAbsent, BackendError
from da_ros.config import Config, InputConfig
from da_ros.estimator import RangeEstimator
from da_ros.ros import frame_worker, video_worker
from da_ros.ros.camera_pipeline import CameraPipeline
from da_ros.ros.complaints import Complaints
from da_ros.ros.frame_worker import FrameWorker
from da_ros.ros.node import PanoDepthNode
from da_ros.ros.settings import Settings

HW = (4, 8)


class Runtime:
    """A runtime that knows when it may be used, and fails when it is told to."""

    name, warning = 'stand_in', ''

    def __init__(self, world: World, variant: str, bad: bool):
        self._world, self.variant, self._bad = world, variant, bad
        self.running = self.closed = self.cancelled = False
        world.runtimes.append(self)

    def run(self, feeds, mask_m):
        assert not self.closed and not self.running, 'used after close, or twice at once'
        self.running = True
        self._world.turns.step()
        assert not self.closed, 'closed in the middle of a run'
        self.running = False
        if self.cancelled or self._bad:
            raise BackendError('cancelled' if self.cancelled else 'lost the device')
        return {'range_m': np.ones(HW, np.float32), 'range_mask_probability': np.ones((4, *HW))}

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        assert not self.running and not self.closed
        self.closed = True


class Node:
    """The node's own code for parameters and the end, without its DDS."""

    _on_parameters, close = PanoDepthNode._on_parameters, PanoDepthNode.close
    _stop_worker, _unload = PanoDepthNode._stop_worker, PanoDepthNode._unload
    _startup_errors: dict = {}
    _broadcaster = None


class Camera(CameraPipeline):
    """One camera's own code, without its DDS; everything that comes out of it is kept."""

    def __init__(self, world: World, name: str, bundle):
        self._node, self.name, self._world = world.node, name, world
        self._logger = world.logger
        self._config, self._rig = world.node._settings.of(name), bundle.rig
        self._complaints = Complaints(world.logger)
        self._estimator = world.node._estimator.for_camera(bundle.rig, self._config.rule)
        self._estimator._view = bundle.rig, None, bundle.view
        quiet = SimpleNamespace(level_from_body=lambda *_: None, open=lambda: None,
                                close=lambda: None)
        self._level = self._pose = quiet
        self._camera = SimpleNamespace(topic=f'{name}/image', close=lambda: None)
        self._outputs = SimpleNamespace(wanted=lambda: frozenset({'scan'}), publish=self._publish,
                                        destroy=lambda: None)
        self._video = None
        self.published = []
        self.submitted = self.handed_over = self.waited = 0

    def _publish(self, topics, range_map, config, stamp, *_frames) -> dict:
        world = self._world
        world.turns.step()
        # What is raised here is a failed frame to the server, so it is kept for the end.
        if world.closed:
            world.wrong.append('published after the end')
        self.published.append((stamp, config.rule.max_range_m))
        self.waited = 0
        for other in world.cameras:
            other.waited += other is not self and other.handed_over > other.newest
            if other.waited >= len(world.cameras):
                world.wrong.append(f'{other.name} starves')
        return {}

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.submitted += 1
            self._on_image(image_msg(np.zeros((*HW, 3), np.uint8), self.submitted))
            self.handed_over = self.submitted

    @property
    def newest(self) -> int:
        """Stamp of the newest frame that has come out."""
        return self.published[-1][0] if self.published else 0

    def settled(self) -> bool:
        """Return whether the newest frame has come out."""
        return self.submitted > 0 and self.newest == self.submitted

    def check(self) -> None:
        """Hold to account."""
        stamps = [stamp for stamp, _ in self.published]
        assert stamps == sorted(set(stamps)), f'stale or double: {stamps}'
        ranges = [range_m for _, range_m in self.published]
        assert ranges == sorted(ranges, reverse=True), f'old parameters came back: {ranges}'
        # At the end one frame may wait in the slot, and one may have been taken out of it.
        told = len(stamps) + self._statistics.dropped + self._statistics.failed
        assert self.submitted - 2 <= told <= self.submitted


class World:
    """One node, ready for frames of its cameras."""

    def __init__(self, turns: Turns, bundle, patch, name: str):
        self.turns, self.runtimes, self.log, self.wrong = turns, [], [], []
        self.closed = self.opened_late = 0
        self._first_fails = name.endswith(('fall_back', 'falling_back'))
        patch.setattr(chaining, 'open_backend',
                      lambda name, _bundle, variant, _threads: self.open(name, variant))
        for module in (frame_worker, video_worker):
            patch.setattr(module, 'threading', turns.threading)
        self.node = node = Node()
        self.logger = logger = SimpleNamespace(error=self.log.append, warning=self.log.append)
        node.get_logger = lambda: logger
        node.context = SimpleNamespace(ok=lambda: self.alive)
        node.get_clock = lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=0))
        self.alive = True
        names = ('front', 'rear') if name.startswith('two') else ('',)
        transport = 'h264' if name == 'video' else 'raw'
        node._settings = Settings(
            Config(input=InputConfig(image_transport=transport)), {name: {} for name in names},
            band_follows=False)
        node._building = SimpleNamespace(cancel=lambda: None)
        node._estimator = RangeEstimator(bundle.bundle)
        node._cameras = self.cameras = [Camera(self, name, bundle) for name in names]
        self.camera = self.cameras[0]
        node._worker = FrameWorker(*[camera.begin() for camera in self.cameras])
        for number, camera in enumerate(self.cameras):
            camera._server.image_health.judge = lambda *_: None
            camera.open(partial(node._worker.submit, camera=number))
        self.statistics = self.camera._statistics

    def open(self, name: str, variant: str):
        """Open the first of a runtime, which may fail later, or the last, and none between."""
        assert not self.closed, 'opened after the end'
        estimator = getattr(self.node, '_estimator', None)
        self.opened_late += estimator is not None and estimator.chain._cancelled
        self.turns.step()
        if name not in ('openvino', 'onnxruntime'):
            raise BackendAbsent(name)
        if self.runtimes and name == 'openvino':
            raise BackendError('refused')
        return Runtime(self, variant, self._first_fails and not self.runtimes)

    def end(self) -> None:
        """Shut the node down, as its transition does."""
        self.node.close()
        self.closed = True
        self.node._unload()

    def settled(self) -> bool:
        """Return whether the newest frame of every camera that has sent one has come out."""
        return all(camera.settled() for camera in self.cameras if camera.submitted)

    def check(self) -> None:
        """Hold to account."""
        assert not self.wrong, self.wrong
        for camera in self.cameras:
            camera.check()
        assert all(runtime.closed for runtime in self.runtimes), 'a runtime was not closed'
        assert self.opened_late <= 1, 'runtimes are opened although the node is to end'
        assert not [text for text in self.log if 'no other runtime' in text], self.log
