# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A real node process and a real DDS peer for tests; import it after an importorskip of rclpy."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
import os
from pathlib import Path
import signal
import subprocess
import sys
from threading import Lock
import time
from types import MappingProxyType
from unittest.mock import patch

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
import numpy as np
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParametersAtomically,
)
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from da_ros.ros.transport import MALLOC, profile_variables, TRANSPORT_VARIABLES

DEADLINE_S = float(os.environ.get('DA_ROS_TEST_DEADLINE_S', '60'))    # more where it is crowded
QUICK = dict.fromkeys(profile_variables(), str(Path(__file__).with_name('quick_discovery.xml')))
ONE_AT_A_TIME = Lock()
ANSWER_S = 3.0           # after which a request is sent again


def environment() -> dict[str, str]:
    """
    Return the environment of a node process: this host only, importable from a checkout.

    Without the transports that a command has set for this process, as those that tests call do.
    """
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, os.environ.get('PYTHONPATH', '')]
    kept = {name: value for name, value in os.environ.items()
            if name not in (*TRANSPORT_VARIABLES, *MALLOC)}
    return {**kept, 'PYTHONPATH': os.pathsep.join(p for p in paths if p), 'PYTHONUNBUFFERED': '1'}


def replay(*args: object) -> subprocess.Popen:
    """Start da_ros_replay with these arguments, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.replay', *map(str, args)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())


def finished(process: subprocess.Popen, timeout_s: float = 60) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command that ends without a traceback."""
    out, error = process.communicate(timeout=timeout_s)
    assert 'Traceback' not in error, error
    return process.returncode, out, error


class NodeProcess:
    """`pano_depth` in its own process; its log is kept for assertions."""

    def __init__(self, log: Path, namespace: str = '/',
                 program: Sequence[str] = ('-m', 'da_ros.ros.node'),
                 extra: Mapping[str, str] = MappingProxyType({}), **parameters):
        arguments = ['-r', f'__ns:={namespace}']
        for name, value in parameters.items():
            arguments += ['-p', f'{name}:={_yaml(value)}']
        self._log = log
        with log.open('w') as stream:
            self.process = subprocess.Popen(
                [sys.executable, *program, '--ros-args', *arguments],
                stdout=stream, stderr=subprocess.STDOUT, env=environment() | extra)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_for_log(self, text: str, timeout_s: float = DEADLINE_S) -> None:
        wait_until(lambda: text in self.log, f'log has {text!r}', timeout_s, lambda: self.log)

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; return exit code and seconds until the end."""
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return code, time.monotonic() - start


class Peer:
    """A camera and a receiver in this process."""

    def __init__(self, namespace: str = '/'):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        with ONE_AT_A_TIME, patch.dict(os.environ, QUICK):
            self.node = rclpy.create_node('test_peer', context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received: dict[str, list] = {}
        self._publishers: dict[str, object] = {}
        self._subscriptions: dict[str, object] = {}
        self._clients: dict[str, object] = {}

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def subscribe(self, kind, topic: str) -> list:
        messages = self.received.setdefault(topic, [])
        if topic not in self._subscriptions:
            self._subscriptions[topic] = self.node.create_subscription(
                kind, topic, messages.append, 10)
            self.until(lambda: self.node.count_publishers(topic) > 0, f'{topic} is published')
        return messages

    def unsubscribe(self, topic: str) -> None:
        self.node.destroy_subscription(self._subscriptions.pop(topic))
        self.received.pop(topic)

    def publish(self, msg, topic: str = 'image') -> None:
        """Publish once; the first time, wait until both ends of the topic know each other."""
        if topic not in self._publishers:
            publisher = self.node.create_publisher(
                type(msg), topic, QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE))
            self._publishers[topic] = publisher
            self.until(lambda: publisher.get_subscription_count() > 0, f'{topic} is subscribed')
            self.spin(0.5)
        self._publishers[topic].publish(msg)

    def publish_until(self, msg, condition, what: str, topic: str = 'image') -> None:
        """Publish again every second until the condition holds: best effort may lose a frame."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f'{what}: not within {DEADLINE_S:g} s')
            self.publish(msg, topic)
            pause = time.monotonic() + 1
            while not condition() and time.monotonic() < pause:
                self.executor.spin_once(timeout_sec=0.02)

    def until(self, condition, what: str, timeout_s: float = DEADLINE_S,
              detail=lambda: '') -> None:
        wait_until(condition, what, timeout_s, detail,
                   spin=lambda: self.executor.spin_once(timeout_sec=0.02))

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def diagnostics(self) -> list:
        """Subscribe to the diagnostics of this namespace's node; return the list of statuses."""
        statuses = self.received.setdefault('diagnostics', [])
        prefix = f'{self.node.get_namespace().rstrip("/")}/pano_depth:'

        def keep(msg):
            statuses.extend(s for s in msg.status if s.name.startswith(prefix))
        if '/diagnostics' not in self._subscriptions:
            self._subscriptions['/diagnostics'] = self.node.create_subscription(
                DiagnosticArray, '/diagnostics', keep, 10)
        return statuses

    def call(self, kind, name: str, request):
        """
        Return the answer of a service; the request must be one that may be sent again.

        A service that does not know its client yet cannot answer: it says `client will not receive
        response` in its log, and DDS gives a client no means to see that.
        """
        client = self._client(kind, name)
        futures = []
        began = time.monotonic()

        def answered() -> bool:
            if time.monotonic() >= began + len(futures) * ANSWER_S:
                futures.append(client.call_async(request))
            return any(future.done() for future in futures)
        self.until(answered, f'answer of {name}')
        return next(future for future in futures if future.done()).result()

    def _client(self, kind, name: str):
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        self.until(self._clients[name].service_is_ready, f'service {name}')
        return self._clients[name]

    def set_parameters(self, **values):
        """Set parameters as one set; return the result with its reason."""
        request = SetParametersAtomically.Request(parameters=[
            Parameter(name=name.replace('__', '.'), value=_value(value))
            for name, value in values.items()])
        return self.call(SetParametersAtomically, 'pano_depth/set_parameters_atomically',
                         request).result

    def describe(self, *names: str) -> list:
        return self.call(DescribeParameters, 'pano_depth/describe_parameters',
                         DescribeParameters.Request(names=list(names))).descriptors

    def get_parameter(self, name: str):
        """Return a parameter's value."""
        value = self.call(GetParameters, 'pano_depth/get_parameters',
                          GetParameters.Request(names=[name])).values[0]
        return parameter_value_to_python(value)

    def parameter_names(self) -> list[str]:
        """Return the names of all declared parameters."""
        return list(self.call(ListParameters, 'pano_depth/list_parameters',
                              ListParameters.Request()).result.names)

    def change_state(self, transition: int) -> bool:
        """Return whether a transition succeeded; it is asked for once."""
        known = 'pano_depth/change_state' in self._clients
        client = self._client(ChangeState, 'pano_depth/change_state')
        if not known:
            self.state()         # the processes know each other ...
            self.spin(0.5)       # ... and then soon this client as well
        request = ChangeState.Request()
        request.transition.id = transition
        future = client.call_async(request)
        self.until(future.done, f'answer to transition {transition}')
        return future.result().success

    def state(self) -> str:
        return self.call(GetState, 'pano_depth/get_state', GetState.Request()
                         ).current_state.label

    def wait_for_state(self, label: str) -> None:
        wait_until(lambda: self.state() == label, f'state {label}')


def wait_until(condition, what: str, timeout_s: float = DEADLINE_S, detail=lambda: '',
               spin=lambda: time.sleep(0.02)) -> None:
    """Wait for a condition; a timeout fails the test with `what` was awaited."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'{what}: not within {timeout_s:g} s {detail()}')
        spin()


def image_msg(bgr: np.ndarray, stamp_ns: int = 1_000_000_000, frame_id='camera_frame',
              encoding='bgr8') -> Image:
    """Return a raw image message."""
    msg = Image(height=bgr.shape[0], width=bgr.shape[1], encoding=encoding,
                step=bgr.nbytes // bgr.shape[0], data=array('B', bgr.tobytes()))
    msg.header.frame_id = frame_id
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return msg


def array_of(msg: Image) -> np.ndarray:
    """Return the pixels of a 32FC1, 16UC1, mono8 or bgr8 message."""
    dtype, shape = {'32FC1': (np.float32, ()), '16UC1': (np.uint16, ()),
                    'mono8': (np.uint8, ()), 'bgr8': (np.uint8, (3,))}[msg.encoding]
    return np.frombuffer(msg.data, dtype).reshape(msg.height, msg.width, *shape)


def _yaml(value) -> str:
    return str(value).lower() if isinstance(value, bool) else f"'{value}'" if value == '' else \
        str(value)


def _value(value) -> ParameterValue:
    if isinstance(value, bool):
        return ParameterValue(type=1, bool_value=value)
    if isinstance(value, int):
        return ParameterValue(type=2, integer_value=value)
    if isinstance(value, float):
        return ParameterValue(type=3, double_value=value)
    return ParameterValue(type=4, string_value=value)
