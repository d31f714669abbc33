# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Publishers of one range map: each message is built only if somebody subscribes to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from da_ros.config import Config, ConfigError
from da_ros.derived.frame import Derivation, Derived
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.memory.stages import Remembered
from da_ros.panorama import FULL_SPHERE
from da_ros.range_map import (
    colour,
    MAX_16UC1_M,
    millimetres,
    nearest_of_blocks,
    RangeMap,
    resample_nearest,
)
from da_ros.ros import conversions as to_ros
from da_ros.ros.live_transforms import Broadcaster
from da_ros.scan import ScanProjector
from da_ros.views import ViewProjector, views_from

try:
    from px4_msgs.msg import ObstacleDistance
except ImportError:                     # of a PX4 workspace; MAVROS takes obstacle_distance
    ObstacleDistance = None

RELIABLE_KEEP_2 = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
MOST_FROZEN_FRAMES = 10      # without a floor that can be trusted; then diagnostics warn
# In the order of publishing: what stops a robot first.
TOPICS = {
    'scan': LaserScan, 'obstacle_distance': LaserScan, 'points': PointCloud2,
    'points_clearing': PointCloud2, 'cliff': LaserScan, 'depth/image': Image,
    'depth/camera_info': CameraInfo, 'range_mask': Image, 'confidence': Image,
    'depth/preview': Image, 'depth/preview/compressed': CompressedImage}
if ObstacleDistance is not None:
    TOPICS['fmu/in/obstacle_distance'] = ObstacleDistance

OF_LEVEL = ('scan', 'cliff')
OF_BODY = (*OF_LEVEL, 'points', 'points_clearing')
VIEW_TOPICS = {'depth': Image, 'image': Image, 'camera_info': CameraInfo}
# Aligned with the camera's image, pixel by pixel.
OF_CAMERA = ('depth/image', 'depth/camera_info', 'range_mask', 'depth/preview',
             'depth/preview/compressed')


class FrameIdError(DaRosError):
    """An image that does not say which frame it was taken in."""


class Outputs:
    """All outputs of a camera, their reused messages and their precomputed geometry."""

    _derived: Derived               # of the frame being published

    def __init__(self, node: LifecycleNode, config: Config,
                 broadcaster: Broadcaster | None = None, namespace: str = ''):
        """
        Create the publishers; the node must be in its configure transition.

        :param broadcaster: publishes the frames of level scans and of views; None = nobody does
        :param namespace: of the camera, below that of the node; '' = none
        :raises ConfigError: if an override of the quality of service cannot be taken
        """
        self._node, self._broadcaster = node, broadcaster
        self._views = {view.name: view for view in views_from(config.views.views)}
        kinds = {topic: kind for topic, kind in TOPICS.items()
                 if topic != 'cliff' or config.cliff.enabled}
        kinds |= {f'views/{name}/{topic}': kind for name in self._views
                  for topic, kind in VIEW_TOPICS.items()}
        self._publishers: dict[str, Any] = {}
        for topic, kind in kinds.items():
            name = f'{namespace}/{topic}' if namespace else topic
            try:
                self._publishers[topic] = node.create_lifecycle_publisher(
                    kind, name, RELIABLE_KEEP_2,
                    qos_overriding_options=QoSOverridingOptions.with_default_policies())
            except Exception as error:    # rclpy has an exception of its own for each policy
                self.destroy()            # or those made so far would stay, with each attempt
                raise ConfigError(f'qos_overrides of {name}: {error}') from error
        self._msgs: dict[str, Any] = {topic: kind() for topic, kind in kinds.items()}
        self._builders: dict[str, Callable[..., Any]] = {
            'scan': self._scan_msg, 'obstacle_distance': self._obstacle_distance_msg,
            'fmu/in/obstacle_distance': self._px4_msg, 'points': self._points_msg,
            'points_clearing': self._clearing_msg, 'cliff': self._cliff_msg,
            'depth/image': self._depth_msg, 'depth/camera_info': self._info_msg,
            'range_mask': self._mask_msg, 'confidence': self._confidence_msg,
            'depth/preview': self._preview_msg,
            'depth/preview/compressed': self._compressed_msg}
        self._derivation = Derivation()
        for name in self._views:
            self._builders |= {f'views/{name}/depth': partial(self._view_depth_msg, name),
                               f'views/{name}/image': partial(self._view_image_msg, name),
                               f'views/{name}/camera_info': partial(self._view_info_msg, name)}
        self._projectors: dict[str, tuple[Any, ViewProjector]] = {}

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def wanted(self) -> frozenset[str]:
        """Return the topics that have subscribers."""
        return frozenset(topic for topic, publisher in list(self._publishers.items())
                         if publisher.get_subscription_count())

    def publish(self, topics: frozenset[str], range_map: RangeMap, config: Config, stamp_ns: int,
                camera_frame: str, camera_hw: tuple[int, int],
                remembered: Remembered | None = None) -> dict[str, Exception]:
        """
        Publish the given topics of one frame, all of the same range map and configuration.

        :param camera_frame: frame_id of the camera message
        :param camera_hw: height and width of the camera image [px]
        :param remembered: what scans and clouds show; None = the range map
        :return: why topics were not published; the others were, because a cloud that cannot be
            made must not silence the scan that stops the robot
        """
        failures: dict[str, Exception] = {}
        remembered = remembered or Remembered(range_map)
        self._derived = self._derivation.of(
            remembered.range_map, config, range_map, remembered.near)
        turned = range_map.view is not None and range_map.view.turned
        of_camera = None
        for topic, build in self._builders.items():
            if topic not in topics:
                continue
            try:
                shown = range_map
                if topic in OF_CAMERA and range_map.view is not None:
                    shown = of_camera = of_camera or range_map.at(
                        range_map.view.camera_index(range_map.size_hw))
                header = to_ros.header_for(stamp_ns, frame_of(topic, config, camera_frame, turned))
                msg = build(self._msgs[topic], header, shown, config, camera_hw)
                self._tell_frame(topic, header.frame_id, range_map, config, stamp_ns, camera_frame)
                self._publishers[topic].publish(msg)
            except Exception as error:
                failures[topic] = error
        return failures

    @property
    def floor(self) -> str:
        """What is known of the floor, for diagnostics; '' = nothing needs it."""
        return str(self._derivation.tracker) if self._derivation.tracker.frames else ''

    @property
    def floor_warning(self) -> str:
        """Why heights over the floor are not to be trusted; '' = they are, or nobody asks."""
        return f'floor: {self.floor}' if (
            self._derivation.tracker.frozen_frames > MOST_FROZEN_FRAMES) else ''

    def _tell_frame(self, topic: str, frame: str, range_map: RangeMap, config: Config,
                    stamp_ns: int, camera_frame: str) -> None:
        """Publish the frame of a level scan or a view, which nobody else knows."""
        if self._broadcaster is None:
            return
        if topic in OF_LEVEL and range_map.view is not None and range_map.view.turned and (
                not config.frames.scan):
            self._broadcaster.moving(body_frame(config, camera_frame), frame,
                                     range_map.view.map_from_body.T, stamp_ns)
        elif topic.startswith('views/'):
            self._broadcaster.static(body_frame(config, camera_frame), frame,
                                     self._views[topic.split('/')[1]].body_from_optical)

    def _scan_msg(self, msg, header, _map, _config, _hw) -> LaserScan:
        return to_ros.fill_scan(msg, header, self._derived.scan())

    def _obstacle_distance_msg(self, msg, header, _map, _config, _hw) -> LaserScan:
        return to_ros.fill_scan(msg, header, self._derived.obstacle_distance())

    def _px4_msg(self, msg, header, _map, _config, _hw) -> Any:
        return to_ros.fill_px4(msg, header, self._derived.obstacle_distance())

    def _cliff_msg(self, msg, header, _map, _config, _hw) -> LaserScan:
        return to_ros.fill_scan(msg, header, self._derived.cliff())

    def _points_msg(self, msg, header, range_map: RangeMap, config: Config, _hw) -> PointCloud2:
        points = config.points
        records = self._derived.points(partial(to_ros.room, msg.data))
        return to_ros.fill_cloud(msg, header, records,
                                 range_map.size_hw if points.organised else None,
                                 self._derived.fields())

    def _clearing_msg(self, msg, header, _map, _config, _hw) -> PointCloud2:
        return to_ros.fill_cloud(msg, header, self._derived.clearing())

    def _depth_msg(self, msg, header, range_map: RangeMap, config: Config, camera_hw) -> Image:
        range_m = at_depth_size(range_map.range_m, config, camera_hw)
        if config.depth.encoding == '16UC1':
            return to_ros.fill_image(msg, header, millimetres(range_m), '16UC1')
        return to_ros.fill_image(msg, header, range_m, '32FC1')

    def _info_msg(self, msg, header, range_map: RangeMap, config: Config, camera_hw) -> CameraInfo:
        size = camera_hw if config.depth.size == 'camera' else range_map.size_hw
        return to_ros.fill_camera_info(msg, header, *size)

    def _projector(self, name: str, range_map: RangeMap) -> ViewProjector:
        view = range_map.view
        map_from_body = view.map_from_body if view is not None and view.turned else None
        if name not in self._projectors or self._projectors[name][0] is not map_from_body:
            self._projectors[name] = map_from_body, ViewProjector(
                self._views[name], range_map.size_hw, map_from_body)
        return self._projectors[name][1]

    def _view_depth_msg(self, name: str, msg, header, range_map: RangeMap, config: Config,
                        _hw) -> Image:
        depth_m = self._projector(name, range_map).depth(range_map)
        if config.depth.encoding == '16UC1':
            return to_ros.fill_image(msg, header, millimetres(depth_m), '16UC1')
        return to_ros.fill_image(msg, header, depth_m, '32FC1')

    def _view_image_msg(self, name: str, msg, header, range_map: RangeMap, _config, _hw) -> Image:
        return to_ros.fill_image(msg, header, self._projector(name, range_map).image(range_map),
                                 'bgr8')

    def _view_info_msg(self, name: str, msg, header, _map, _config, _hw) -> CameraInfo:
        view = self._views[name]
        return to_ros.fill_pinhole_info(msg, header, view.height, view.width, view.intrinsics)

    def _mask_msg(self, msg, header, range_map: RangeMap, _config, _hw) -> Image:
        return to_ros.fill_image(msg, header, range_map.range_mask, 'mono8')

    def _confidence_msg(self, msg, header, range_map: RangeMap, config: Config,
                        camera_hw) -> Image:
        sure, view = self._derived.confidence(), range_map.view
        if view is not None and (index := view.camera_index(range_map.size_hw)) is not None:
            sure = np.take(sure.reshape(-1), index)
        return to_ros.fill_image(msg, header, at_depth_size(sure, config, camera_hw), 'mono8')

    def _preview_msg(self, msg, header, range_map: RangeMap, _config, _hw) -> Image:
        return to_ros.fill_image(msg, header, colour(range_map), 'bgr8')

    def _compressed_msg(self, msg, header, range_map: RangeMap, _config, _hw) -> CompressedImage:
        _, data = cv2.imencode('.jpg', colour(range_map), (cv2.IMWRITE_JPEG_QUALITY, 90))
        msg.header, msg.format = header, 'bgr8; jpeg compressed bgr8'
        to_ros.fill(msg.data, data)
        return msg


def scan_warning(config: Config, estimator: RangeEstimator) -> str:
    """Return what is wrong with the scan of a partial panorama, '' if nothing."""
    extent = getattr(estimator.rig.camera, 'extent', FULL_SPHERE)
    if extent == FULL_SPHERE:
        return ''
    rule, scan = config.rule, config.scan
    band = scan.min_height_m - rule.camera_height_m, scan.max_height_m - rule.camera_height_m
    projector = ScanProjector(estimator.bundle.size_hw, scan.beams, band, rule.min_range_m,
                              estimator.limit_m, estimator.rig.body_from_camera)
    return projector.unseen_text(extent)


def at_depth_size(pixels: NDArray[Any], config: Config,
                  camera_hw: tuple[int, int]) -> NDArray[Any]:
    """
    Return a map (H, W) at the size of the depth image: the network's, or the camera's.

    Where the camera's image is the smaller one, ranges keep the nearest of the pixels that fall
    together: a look-up would lose a pole between two samples.
    """
    if config.depth.size == 'network':
        return pixels
    height, width = camera_hw
    shrinks = width < pixels.shape[1] and pixels.dtype == np.float32
    # Nearest, because a mean of a wall and of what is behind it is a range at which nothing is.
    full = (nearest_of_blocks if shrinks else resample_nearest)(pixels, round(width / 2), width)
    top = round((90 - config.erp.elevation_max_deg) / 180 * len(full))
    # Where sides are rounded, the image has a row more than the sphere has room for.
    return full[np.minimum(np.arange(top, top + height), len(full) - 1)]


def frame_of(topic: str, config: Config, camera_frame: str, turned: bool = False) -> str:
    """
    Return the frame_id of an output.

    :param turned: whether the level frame, in which scans are, differs from the body's
    :raises FrameIdError: if a cloud or scan would have none
    """
    if topic in OF_LEVEL and (scan := config.frames.scan.lstrip('/')):
        return scan
    if topic in OF_LEVEL and turned:
        return body_frame(config, camera_frame) + '_level'
    if topic in ('obstacle_distance', 'fmu/in/obstacle_distance'):
        return body_frame(config, camera_frame) + '_frd'     # y right, z down: angles clockwise
    if topic.startswith('views/'):
        return f'{body_frame(config, camera_frame)}_{topic.split("/")[1]}_optical_frame'
    return body_frame(config, camera_frame) if topic in OF_BODY else camera_frame


def body_frame(config: Config, camera_frame: str) -> str:
    """
    Return the frame of the clouds: as configured, or derived from the camera's frame.

    :raises FrameIdError: if neither names one
    """
    given = config.frames.body.lstrip('/')      # tf2 refuses names that begin with a slash
    if not camera_frame and not given:
        raise FrameIdError('image has no frame_id; set it in the camera driver, or set '
                           'frames.body')
    if given or config.frames.image_axes == 'body':
        return given or camera_frame
    for suffix in ('_optical_frame', '_frame'):
        if camera_frame.endswith(suffix):
            return camera_frame.removesuffix(suffix) + '_link'
    return camera_frame + '_link'


def check_depth_encoding(config: Config, limit_m: float) -> None:
    """
    Refuse 16UC1 where millimetres do not fit 16 bits.

    :raises ConfigError: naming the limit and the remedy
    """
    if config.depth.encoding == '16UC1' and limit_m > MAX_16UC1_M:
        raise ConfigError(
            f'depth.encoding 16UC1 holds at most {MAX_16UC1_M} m, but the limit is {limit_m:g} m; '
            'lower range_mask_m or max_range_m, or use 32FC1')
