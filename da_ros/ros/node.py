"""The lifecycle node `pano_depth`: camera messages in, range messages out."""

from __future__ import annotations

from functools import partial
import os
import re
import signal
import sys
import threading
import time

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from da_ros import parameters
from da_ros.backends.base import BackendError, EngineMissing
from da_ros.building import Building
from da_ros.config import Config, ConfigError
from da_ros.conversions import stamp_ns
from da_ros.diagnostics import diagnostic_msg, Statistics
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.frame_worker import FrameWorker
from da_ros.outputs import check_depth_encoding, Outputs
from da_ros.pixels import image_from_compressed_msg, image_from_msg
from da_ros.range_map import RangeMap, seam_ratio
from da_ros.scale import floor_below

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:                                     # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

NEWEST_BEST_EFFORT = QoSProfile(
    depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
USAGE = """usage: pano_depth [--ros-args -p NAME:=VALUE ... -r TOPIC:=TOPIC ... --params-file FILE]

    pano_depth --ros-args -p camera_height_m:=1.2 -p range_mask_m:=20 -r image:=/camera/image_raw

Parameters and topics: README.md; all parameters with comments: config/pano_depth.yaml."""
REPEAT_COMPLAINT_S = 30.0
BLIND_S = 5.0                              # without a finished frame, diagnostics say error
EARLIEST_AGE_S, OLDEST_AGE_S = -0.1, 1.0   # of data when published; outside, they warn
LEAVE_S = 1.5


class PanoDepthNode(LifecycleNode):
    """
    Turns panoramas into range messages; one worker thread infers, the executor stays free.

    The subscription hands the newest frame to the worker through one slot; a frame that is
    replaced there is dropped and counted. Every frame is published under one configuration.
    """

    def __init__(self, **kwargs):
        """Declare parameters and start diagnostics; with `autostart`, configure and activate."""
        super().__init__('pano_depth', **kwargs)
        self._config, self._startup_errors = parameters.declare(self)
        self._estimator: RangeEstimator | None = None
        self._outputs: Outputs | None = None
        self._worker: FrameWorker | None = None
        self._subscription = None
        self._building = Building()
        self._failure = ''
        self._statistics = Statistics()
        self._last_map: RangeMap | None = None
        self._complaints: dict[str, float] = {}
        self._seen_by_diagnostics = (0, 0, 0)     # frames received, gone wrong, published
        self._topic = 'image'
        self.add_on_set_parameters_callback(self._on_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Steady, because a simulated clock may never tick.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._on_diagnostics, clock=steady)
        if self._config.input.autostart:
            self._autostart = self.create_timer(0.0, self._on_autostart, clock=steady)

    # ---- lifecycle ----

    def _on_autostart(self) -> None:
        self._autostart.cancel()
        self._start_up()

    def _start_up(self) -> None:
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS and self.context.ok():
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle and prove a runtime; on any error stay unconfigured and say why."""
        self._failure = ''
        try:
            if self._startup_errors:
                raise ConfigError('; '.join(self._startup_errors.values()))
            self._estimator = self._load(self._config)
            self._outputs = Outputs(self)
        except EngineMissing as missing:
            self.get_logger().info(f'cannot configure yet: {missing}; that may take minutes')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:       # rclpy would swallow it without a word
            self._building.cancel()
            return self._refuse('configure', error)
        self._building.cancel()          # of what is not wanted any more
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the camera and start the worker."""
        self._failure = ''
        self._statistics, self._seen_by_diagnostics = Statistics(), (0, 0, 0)
        self._worker = FrameWorker(self._process)
        try:
            self._subscription = self._subscribe()
        except Exception as error:
            self._stop_worker()
            return self._refuse('activate', error)
        return super().on_activate(state)

    def _subscribe(self):
        compressed = self._config.input.image_transport == 'compressed'
        kind, topic = ((CompressedImage, 'image/compressed') if compressed else (Image, 'image'))
        subscribe = partial(
            self.create_subscription, kind, topic, self._on_image, NEWEST_BEST_EFFORT,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self._topic = self.resolve_topic_name(topic)
        try:
            return subscribe(
                event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_lost))
        except UnsupportedEventTypeError:      # a middleware that does not count lost messages
            return subscribe()

    def _refuse(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        known = isinstance(error, (DaRosError, ConfigError))
        self._failure = str(error) if known else f'{type(error).__name__}: {error}'
        if transition == 'configure':
            self._unload()
        if self.context.ok():
            self.get_logger().error(f'cannot {transition}: {self._failure}')
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the worker after its frame and unsubscribe."""
        self._stop_worker()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unload the bundle."""
        self._unload()
        self._building.forget()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop at once and unload."""
        self.close()
        self._unload()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the worker even in the middle of a frame, and a build of engines."""
        self._building.cancel()
        if self._worker is not None:
            self._worker.stopping = True          # before the frame in progress is cancelled
        if self._estimator is not None:
            self._estimator.cancel()
        self._stop_worker()

    def _load(self, config: Config) -> RangeEstimator:
        chosen, erp = config.estimator, config.erp
        estimator = self._building.open(lambda given_up: RangeEstimator(
            chosen.model or None, chosen.backend, chosen.threads, config.rule,
            (erp.elevation_min_deg, erp.elevation_max_deg), given_up))
        self._check_with(estimator, config)
        for reason in estimator.refused:
            self.get_logger().warning(f'backend not taken: {reason}')
        if estimator.warning:
            self.get_logger().warning(estimator.warning)
        if estimator.absent:
            self.get_logger().info(f'not on this machine: {", ".join(estimator.absent)}')
        self.get_logger().info(
            f'bundle {estimator.bundle.name!r} runs on {estimator.backend} '
            f'({estimator.report}), limit {estimator.limit_m:g} m')
        return estimator

    @staticmethod
    def _check_with(estimator: RangeEstimator, config: Config) -> None:
        _, limit_m = estimator.resolve(config.rule)
        check_depth_encoding(config, limit_m)
        estimator.check_metric(config.scale, config.rule.camera_height_m)

    def _stop_worker(self) -> None:
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _unload(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        if self._estimator is not None:
            self._estimator.close()
        self._outputs = self._estimator = self._last_map = None

    # ---- parameters ----

    def _on_parameters(self, changed: list) -> SetParametersResult:
        """Check the whole set against itself and the loaded bundle, then take it at once."""
        try:
            config = parameters.with_changes(self._config, changed, self._estimator is not None)
            if self._estimator is not None:
                self._check_with(self._estimator, config)
        except (ConfigError, DaRosError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in (*(parameter.name for parameter in changed), parameters.WHOLE_SET):
            self._startup_errors.pop(name, None)
        if config.estimator != self._config.estimator:
            self._building.forget()
        self._config = config
        return SetParametersResult(successful=True)

    # ---- frames ----

    def _on_image(self, msg) -> None:
        self._statistics.received += 1
        if self._worker is not None and self._worker.submit(msg):
            self._statistics.dropped += 1

    def _on_lost(self, event) -> None:
        self._statistics.lost += event.total_count_change

    def _process(self, msg) -> None:
        """Serve one frame; whatever is wrong with it, the next one is served."""
        if not self.context.ok() or self._outputs is None:
            return
        try:
            topics = self._outputs.wanted()
            if topics:
                with self._statistics.timed('total'):
                    self._serve(msg, topics, self._config)
        except BackendError as error:
            self._on_backend_error(error)
        except (DaRosError, ValueError) as error:
            self._statistics.refused += 1
            self._complain(f'frame refused: {error}')
        except Exception as error:
            if not self.context.ok():
                return
            self._statistics.failed += 1
            self._complain(f'frame failed: {type(error).__name__}: {error}')

    def _serve(self, msg, topics: frozenset[str], config: Config) -> None:
        assert self._outputs and self._estimator
        statistics, estimator = self._statistics, self._estimator
        stamp = stamp_ns(msg, config.input.stamp_offset_s)
        with statistics.timed('convert'):
            image = (image_from_msg(msg) if isinstance(msg, Image)
                     else image_from_compressed_msg(msg))
            net_image = estimator.network_image(image)
        with statistics.timed('inference'):
            if estimator.rule is not config.rule:
                estimator.rule = config.rule
            estimator.scale = config.scale
            range_map = estimator.infer(net_image)
        with statistics.timed('messages'):
            self._outputs.publish(topics, range_map, config, stamp, msg.header.frame_id,
                                  (image.shape[0], image.shape[1]))
        self._last_map = range_map
        statistics.published += 1
        statistics.unknown_share = range_map.disagreements / range_map.range_m.size
        statistics.age_s.append(self.get_clock().now().nanoseconds * 1e-9 - stamp * 1e-9)
        statistics.finished.append(time.perf_counter())

    def _on_backend_error(self, error: BackendError) -> None:
        assert self._estimator
        self._statistics.failed += 1
        if self._worker is None or self._worker.stopping or not self.context.ok():
            return
        self._complain(f'inference failed: {error}')
        try:
            self._estimator.fall_back()
        except Exception as none_left:
            self._complain(f'and no other runtime is left: {none_left}')
            return
        self.get_logger().error(f'now running on {self._estimator.backend} instead')

    def _complain(self, text: str) -> None:
        """Log an error at once, but the same one (up to its numbers) not again within 30 s."""
        self._statistics.last_error = text
        now, kind = time.monotonic(), re.sub(r'\d+', '#', text)
        if now - self._complaints.get(kind, -REPEAT_COMPLAINT_S) >= REPEAT_COMPLAINT_S:
            self._complaints[kind] = now
            self.get_logger().error(f'{self._topic}: {text}')

    # ---- diagnostics ----

    def _on_diagnostics(self) -> None:
        if ended := self._building.ended():
            self.get_logger().warning(ended)
            if self._config.input.autostart:
                self._start_up()
        level, message = self._summary()
        values = self._statistics.values()
        estimator, last_map = self._estimator, self._last_map
        if estimator is not None:
            values |= {'bundle': estimator.bundle.name, 'backend': estimator.backend,
                       'self-check': str(estimator.report),
                       'limit': f'{estimator.resolve(self._config.rule)[1]:g} m'}
            values |= {name: text for name, text in (
                ('backends refused', '; '.join(estimator.refused)),
                ('backend warning', estimator.warning)) if text}
        if last_map is not None:
            depth_m, share = floor_below(last_map.range_m)
            known = f', camera_height_m {height:g}' if (
                height := self._config.rule.camera_height_m) else ''
            values['scale'] = f'floor {depth_m:.2f} m below the camera in {share:.0%} of the ' \
                              f'downward view{known}'
            values['seam step over other steps'] = f'{seam_ratio(last_map.range_m):.2f}'
        self._diagnostics.publish(diagnostic_msg(
            self.get_clock().now().to_msg(), self.get_fully_qualified_name(), level, message,
            values))

    def _summary(self) -> tuple[str, str]:
        if self._building.text:
            return 'warn', self._building.text
        if self._failure:
            return 'error', self._failure
        if self._subscription is None or self._outputs is None or self._estimator is None:
            return 'ok', 'not active'
        if not self._outputs.wanted():
            return 'ok', 'idle: no subscriber'
        statistics, before = self._statistics, self._seen_by_diagnostics
        now = self._seen_by_diagnostics = (
            statistics.received, statistics.refused + statistics.failed, statistics.published)
        if now[1] > before[1]:
            return 'error', statistics.last_error
        if now[0] == before[0]:
            return 'warn', f'no image on {self._topic}'
        silent_s = statistics.silent_s()
        if now[2] == before[2] and silent_s > BLIND_S:
            return 'error', f'images arrive, but none was finished for {silent_s:.0f} s'
        age_s = statistics.median_age_s()
        if not EARLIEST_AGE_S < age_s < OLDEST_AGE_S:
            return 'warn', (f'data is {age_s:.1f} s old when published; check the stamps of the '
                            'camera, the clock and stamp_offset_s')
        return 'ok', f'{statistics.rate_hz():.1f} Hz on {self._estimator.backend}'


def main(args: list[str] | None = None) -> None:
    """Run the node until SIGINT or SIGTERM; exits 0 within two seconds of either."""
    if '--help' in (sys.argv[1:] if args is None else args):
        print(USAGE)
        return
    # rclpy ends the spin by itself; Python's own handler would raise inside a callback.
    signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init(args=args)
    threading.Thread(target=_leave_in_time, daemon=True).start()
    node = None
    try:
        node = PanoDepthNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():            # else a call that the signal overtook
            raise
    finally:
        if node is not None:
            node.close()
        rclpy.try_shutdown()
        for impatient in (signal.SIGINT, signal.SIGTERM):     # a second Ctrl-C changes nothing
            signal.signal(impatient, signal.SIG_IGN)


def _leave_in_time() -> None:
    """End the process soon after a signal, even while a runtime is loading in C++."""
    while rclpy.ok():
        time.sleep(0.1)
    time.sleep(LEAVE_S)
    os._exit(0)


if __name__ == '__main__':
    main()
