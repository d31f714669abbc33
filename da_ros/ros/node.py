# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `pano_depth`: camera messages in, range messages out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from da_ros.backends.base import EngineMissing
from da_ros.backends.model_choice import open_estimator
from da_ros.config import Config, ConfigError
from da_ros.engines.building import Building
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.ros import parameters, settings
from da_ros.ros.camera_pipeline import CameraPipeline, check_topics, twins
from da_ros.ros.complaints import Complaints
from da_ros.ros.diagnostics import health, State, Statistics, status_msg
from da_ros.ros.frame_worker import FrameWorker
from da_ros.ros.live_transforms import Broadcaster
from da_ros.ros.process import serve
from da_ros.ros.transitions import guard_services, guarded, state_of

USAGE = """usage: pano_depth [--ros-args -p NAME:=VALUE ... -r TOPIC:=TOPIC ... --params-file FILE]

    pano_depth --ros-args -p camera_height_m:=1.2 -p range_mask_m:=20 -r image:=/camera/image_raw

Parameters and topics: README.md; all parameters with comments: config/pano_depth.yaml."""
WATCH_S = 0.2            # between two looks at who takes outputs and who publishes images
FAILURE, ERROR = TransitionCallbackReturn.FAILURE, TransitionCallbackReturn.ERROR


class PanoDepthNode(LifecycleNode):
    """
    Turns panoramas into range messages; one worker thread infers, the executor stays free.

    Each camera's subscription hands the newest frame to the worker through one slot; a frame that
    is replaced there is dropped and counted. Every frame is published under one configuration.
    """

    def __init__(self, **kwargs):
        """Declare parameters and start diagnostics; with `autostart`, configure and activate."""
        super().__init__('pano_depth', **kwargs)
        self._settings, self._startup_errors = settings.declare(self)
        self._estimator: RangeEstimator | None = None
        self._cameras: list[CameraPipeline] = []
        self._broadcaster: Broadcaster | None = None
        self._worker: FrameWorker | None = None
        self._building = Building()
        self._failure = ''
        self._reason = ''                # for the model, where none is named
        self._complaints = Complaints(self.get_logger())
        self.add_on_set_parameters_callback(self._on_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady, because a simulated clock may never tick.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._on_diagnostics, clock=steady)
        self.create_timer(WATCH_S, self._on_watch, clock=steady)
        guard_services(self)
        if self._settings.shared.input.autostart:
            self._autostart = self.create_timer(0.0, self._on_autostart, clock=steady)

    # ---- lifecycle ----

    def _on_autostart(self) -> None:
        self._autostart.cancel()
        self._start_up()

    def _start_up(self) -> None:
        # A lifecycle manager may have been faster, or have shut the node down meanwhile.
        if state_of(self) != 'unconfigured':
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and self.context.ok():
            self.trigger_activate()

    @guarded(FAILURE)
    def on_configure(self, state: LifecycleState) -> None:
        """Load the bundle and prove a runtime; on any error stay unconfigured and say why."""
        if self._startup_errors:
            raise ConfigError('; '.join(self._startup_errors.values()))
        # What fails at once comes before a network is loaded, which may take minutes.
        configs = {name: self._settings.of(name) for name in self._settings.cameras}
        self._broadcaster = self._frames_broadcaster(list(configs.values()))
        for name, config in configs.items():
            self._cameras.append(CameraPipeline(self, name, config, self._broadcaster))
        check_topics(self._cameras)
        self._estimator = self._load(self._settings.shared)
        self._building.cancel()          # of what is not wanted any more

    @guarded(FAILURE)
    def on_activate(self, state: LifecycleState) -> None:
        """Start the worker; a camera is subscribed as soon as somebody takes an output of it."""
        self._worker = FrameWorker(*[camera.begin() for camera in self._cameras])
        for number, camera in enumerate(self._cameras):
            camera.open(partial(self._worker.submit, camera=number))
        # Publishers are enabled last, or a thread that cannot start leaves them enabled.
        super().on_activate(state)
        self._on_watch()

    @guarded(ERROR)
    def on_deactivate(self, state: LifecycleState) -> None:
        """Stop the worker after its frame and unsubscribe."""
        self._stop_worker()              # first: its last frame is still to be published
        super().on_deactivate(state)

    @guarded(ERROR)
    def on_cleanup(self, state: LifecycleState) -> None:
        """Unload the bundle."""
        self._unload()
        self._building.forget()

    @guarded(ERROR)
    def on_shutdown(self, state: LifecycleState) -> None:
        """Stop at once and unload."""
        self.close()
        self._unload()

    @guarded(FAILURE)
    def on_error(self, state: LifecycleState) -> None:
        """Free worker, estimator and publishers; the node is unconfigured then."""
        self.close()
        self._unload()

    def on_done(self, transition: str) -> None:
        """Forget an old failure; after `on_error` it is the one to be told."""
        if transition != 'error':
            self._failure = ''

    def on_failed(self, transition: str, error: Exception) -> None:
        """Undo what a transition has begun, and say why it failed."""
        if isinstance(error, EngineMissing):
            self._failure = ''
            self._unload()
            self.get_logger().info(f'cannot configure yet: {error}; that may take minutes')
            return
        known = isinstance(error, (DaRosError, ConfigError))
        self._failure = str(error) if known else f'{type(error).__name__}: {error}'
        if self.context.ok():
            self.get_logger().error(f'cannot {transition}: {self._failure}')
        if transition == 'configure':
            self._building.cancel()
            self._unload()
        elif transition == 'activate':
            self._stop_worker()

    def close(self) -> None:
        """Stop the worker even in the middle of a frame, and a build of engines."""
        self._building.cancel()
        for camera in self._cameras:
            camera.stop()                # before the frame in progress is cancelled
        if self._estimator is not None:
            self._estimator.cancel()
        self._stop_worker()

    def _frames_broadcaster(self, configs: Sequence[Config]) -> Broadcaster | None:
        """Return what publishes the frames of level scans and of views, where TF is known."""
        if not any(config.levelling.source != 'fixed' or config.mounting.base_from_camera
                   or config.views.views for config in configs):
            return None
        try:
            return Broadcaster(self)
        except ConfigError:
            self._complaints.once(
                'tf2_msgs is not installed, so nobody publishes the frames of the level scan and '
                'of views; install ros-$ROS_DISTRO-tf2-msgs, or name a frame that is published '
                'by frames.scan')
            return None

    def _load(self, config: Config) -> RangeEstimator:
        choice = self._building.open(lambda given_up: open_estimator(config, given_up))
        estimator, self._reason = choice.estimator, choice.reason
        try:
            for camera in self._cameras:
                camera.load(estimator)
        except Exception:
            estimator.close()        # nobody else knows it yet
            raise
        refused = (f'backend not taken: {reason}' for reason in estimator.refused)
        for text in (*refused, estimator.warning):
            if text:
                self.get_logger().warning(text)
        if estimator.absent:
            self.get_logger().info(f'not on this machine: {", ".join(estimator.absent)}')
        self.get_logger().info(
            f'bundle {estimator.bundle.name!r} runs on {estimator.backend} '
            f'({estimator.report}), limit {estimator.limit_m:g} m'
            + (f'; taken because {self._reason}' if self._reason else ''))
        return estimator

    def _stop_worker(self) -> None:
        for camera in self._cameras:
            camera.close()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _unload(self) -> None:
        for camera in self._cameras:
            camera.destroy()
        self._cameras = []
        if self._broadcaster is not None:
            self._broadcaster.destroy()
            self._broadcaster = None
        if self._estimator is not None:
            self._estimator.close()
            self._estimator = None

    # ---- parameters ----

    def _on_parameters(self, changed: list) -> SetParametersResult:
        """Check the whole set against itself and the loaded bundle, then take it at once."""
        try:
            wanted = self._settings.with_changes(changed, self._estimator is not None)
            prepared = [camera.prepared(wanted.of(camera.name)) for camera in self._cameras]
        except (ConfigError, DaRosError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in (*(parameter.name for parameter in changed), parameters.WHOLE_SET):
            self._startup_errors.pop(name, None)
        if wanted.shared.estimator != self._settings.shared.estimator:
            self._building.forget()
        self._settings = wanted
        for camera, change in zip(self._cameras, prepared):
            camera.change(*change)
        return SetParametersResult(successful=True)

    # ---- what comes again and again ----

    def _on_watch(self) -> None:
        parameters.show_band(self, self._settings.shared.scan)
        for camera in self._cameras:
            camera.watch()

    def _on_diagnostics(self) -> None:
        if ended := self._building.ended():
            self.get_logger().warning(ended)
            if self._settings.shared.input.autostart:
                self._start_up()
        state = self._state()
        if state.twins:
            self._complaints.once(state.twins)
        array = DiagnosticArray(status=[camera.status(state, self._reason)
                                        for camera in self._cameras] or self._nothing(state))
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _state(self) -> State:
        return State(building=self._building.text, failure=self._failure,
                     twins=twins(self._cameras))

    def _nothing(self, state: State) -> list[DiagnosticStatus]:
        """Return what is told of cameras while nothing is configured."""
        return [status_msg(self.get_fully_qualified_name(), camera,
                           *health(Statistics(), state, 0.0), Statistics().values(0.0))
                for camera in self._settings.cameras]


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; exits 0 within two seconds of either."""
    serve(PanoDepthNode, USAGE, args)


if __name__ == '__main__':
    main()
