# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The live half of `da_ros_view`: subscribes while somebody watches, and asks the node."""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, LaserScan, PointCloud2

from da_ros.commands.view_foxglove import FoxgloveServer
from da_ros.commands.view_page import CHANGEABLE, colours_of_range, Page, Shown, small
from da_ros.errors import DaRosError
from da_ros.pixels import picture_of
from da_ros.scan import Scan

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
PERIOD_S = 0.1                 # newer data waits: a browser is no control loop
ANSWER_S = 3.0
SHOWN_VALUES = ('rate', 'latency total p50 / p99', 'data age p50 / p99', 'backend', 'limit',
                'scale', 'floor', 'last error')


class Live:
    """Keeps the newest message of each topic while the page is watched."""

    def __init__(self, node: Any, page: Page | FoxgloveServer, name: str, image: str):
        """Ask the node for its parameters; subscribe to nothing yet."""
        self._node, self._page, self._name, self._image = node, page, name, image
        self._subscriptions: list[Any] = []
        self._newest: dict[str, Any] = {}
        self._setting = node.create_client(
            SetParametersAtomically, f'{name}/set_parameters_atomically')
        self._getting = node.create_client(GetParameters, f'{name}/get_parameters')
        self._asked = False

    def look(self) -> None:
        """Subscribe or unsubscribe as the page is watched, and show what is new."""
        if self._page.watched and not self._subscriptions:
            self._subscribe()
        elif not self._page.watched and self._subscriptions:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []
            self._newest.clear()
        if not self._asked and self._getting.service_is_ready():
            self._asked = True
            self._getting.call_async(GetParameters.Request(names=list(CHANGEABLE))
                                     ).add_done_callback(self._on_values)
        if self._newest and self._page.watched:
            newest, self._newest = self._newest, {}
            self._page.show(_shown(newest))

    def _subscribe(self) -> None:
        topics = {'scan': LaserScan, 'points': PointCloud2, 'depth/preview': Image,
                  self._image: Image, f'{self._image}/compressed': CompressedImage}
        for topic, kind in topics.items():
            key = 'image' if topic.startswith(self._image) else topic
            self._subscriptions.append(self._node.create_subscription(
                kind, topic, lambda msg, key=key: self._newest.update({key: msg}), BEST_EFFORT))
        self._subscriptions.append(self._node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_diagnostics, 5))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name.startswith(f'{self._node.get_namespace().rstrip("/")}/{self._name}'):
                self._newest['status'] = status

    def _on_values(self, future: Any) -> None:
        values = {name: value.double_value for name, value in
                  zip(CHANGEABLE, future.result().values)}
        self._page.add_parameters(values, self.change)

    def change(self, name: str, value: float) -> str:
        """Ask the node to change a parameter; return '' or its reason. Not of the spin thread."""
        request = SetParametersAtomically.Request(parameters=[
            Parameter(name=name, value=ParameterValue(type=3, double_value=value))])
        done = threading.Event()
        future = self._setting.call_async(request)
        future.add_done_callback(lambda _future: done.set())
        if not done.wait(ANSWER_S):
            return f'{self._name} does not answer'
        result = future.result().result
        return '' if result.successful else result.reason


def _shown(newest: dict[str, Any]) -> Shown:
    shown = Shown()
    if 'scan' in newest:
        msg = newest['scan']
        shown.scan = Scan(np.array(msg.ranges, np.float32), msg.angle_min, msg.angle_increment,
                          msg.range_min, msg.range_max)
    if 'points' in newest:
        shown.points, shown.colours = cloud_of(newest['points'])
    for topic, attribute in (('image', 'panorama'), ('depth/preview', 'preview')):
        if topic in newest:
            try:
                setattr(shown, attribute, small(picture_of(newest[topic]).image))
            except DaRosError as error:
                shown.text = f'{topic}: {error}'
    if 'status' in newest:
        status = newest['status']
        values = {value.key: value.value for value in status.values}
        shown.text = f'**{status.message}**\n\n' + '\n'.join(
            f'* {key}: {values[key]}' for key in SHOWN_VALUES if key in values)
    return shown


def cloud_of(msg: PointCloud2) -> tuple[np.ndarray, np.ndarray]:
    """Return finite points (N, 3) and their colours (N, 3) RGB: the cloud's, or by range."""
    values = np.frombuffer(msg.data, np.float32).reshape(-1, msg.point_step // 4)
    values = values[np.isfinite(values[:, 0])]
    points = np.ascontiguousarray(values[:, :3])
    offset = next((field.offset // 4 for field in msg.fields if field.name == 'rgb'), None)
    if offset is None:
        return points, colours_of_range(points)
    packed = np.ascontiguousarray(values[:, offset]).view(np.uint8).reshape(-1, 4)
    return points, np.ascontiguousarray(packed[:, 2::-1])


def watch(options: argparse.Namespace, page: Page | FoxgloveServer) -> None:
    """Serve what the running node publishes, until Ctrl-C."""
    rclpy.init()
    node = rclpy.create_node('da_ros_view', namespace=options.namespace)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    live = Live(node, page, options.node, options.image)
    print(f'open {page.url}; Ctrl-C ends', flush=True)
    try:
        due = 0.0
        while rclpy.ok():
            # Without a browser nothing but the question whether there is one.
            executor.spin_once(timeout_sec=PERIOD_S)
            if time.monotonic() >= due:
                due = time.monotonic() + PERIOD_S
                live.look()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():            # else a call that the signal overtook
            raise
    finally:
        page.close()
        node.destroy_node()
        rclpy.try_shutdown()
