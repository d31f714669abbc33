"""Publishers of one range map: each message is built only if somebody subscribes to it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from da_ros import conversions as to_ros
from da_ros.config import Config, ConfigError
from da_ros.errors import DaRosError
from da_ros.points import PointProjector
from da_ros.range_map import colour, RangeMap, resample_nearest
from da_ros.scan import ScanProjector
from da_ros.sphere import rotation_from_rpy

RELIABLE_KEEP_2 = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
MAX_16UC1_M = 65.535
# In the order of publishing: what stops a robot first.
TOPICS = {
    'scan': LaserScan, 'points': PointCloud2, 'depth/image': Image,
    'depth/camera_info': CameraInfo, 'range_mask': Image, 'depth/preview': Image,
    'depth/preview/compressed': CompressedImage}


class FrameIdError(DaRosError):
    """An image that does not say which frame it was taken in."""


class Outputs:
    """All outputs of the node, their reused messages and their precomputed geometry."""

    def __init__(self, node: LifecycleNode):
        """Create the publishers; the node must be in its configure transition."""
        self._node = node
        self._publishers = {
            topic: node.create_lifecycle_publisher(
                kind, topic, RELIABLE_KEEP_2,
                qos_overriding_options=QoSOverridingOptions.with_default_policies())
            for topic, kind in TOPICS.items()}
        self._msgs: dict[str, Any] = {topic: kind() for topic, kind in TOPICS.items()}
        self._points: tuple[Any, PointProjector] | None = None
        self._scan: tuple[Any, ScanProjector] | None = None

    def destroy(self) -> None:
        """Remove the publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def wanted(self) -> frozenset[str]:
        """Return the topics that have subscribers."""
        return frozenset(topic for topic, publisher in self._publishers.items()
                         if publisher.get_subscription_count())

    def publish(self, topics: frozenset[str], range_map: RangeMap, config: Config, stamp_ns: int,
                camera_frame: str, camera_hw: tuple[int, int]) -> None:
        """
        Publish the given topics of one frame, all of the same range map and configuration.

        :param camera_frame: frame_id of the camera message
        :param camera_hw: height and width of the camera image [px]
        :raises FrameIdError: if points or scan would have no frame; then nothing is published
        """
        build = {'scan': self._scan_msg, 'points': self._points_msg,
                 'depth/image': self._depth_msg, 'depth/camera_info': self._info_msg,
                 'range_mask': self._mask_msg, 'depth/preview': self._preview_msg,
                 'depth/preview/compressed': self._compressed_msg}
        frames = {}
        if not topics.isdisjoint(('scan', 'points')):
            body = body_frame(config, camera_frame)
            frames = {'scan': config.frames.scan or body, 'points': body}
        for topic, publisher in self._publishers.items():
            if topic in topics:
                header = to_ros.header_for(stamp_ns, frames.get(topic, camera_frame))
                publisher.publish(
                    build[topic](self._msgs[topic], header, range_map, config, camera_hw))

    def _scan_msg(self, msg, header, range_map: RangeMap, config: Config, _hw) -> LaserScan:
        rule, scan = config.rule, config.scan
        key = (range_map.size_hw, scan, rule.min_range_m, range_map.limit_m,
               rule.camera_height_m, config.erp)
        if self._scan is None or self._scan[0] != key:
            band = (scan.min_height_m - rule.camera_height_m,
                    scan.max_height_m - rule.camera_height_m)
            self._scan = key, ScanProjector(
                range_map.size_hw, scan.beams, band, rule.min_range_m, range_map.limit_m,
                _body_from_camera(config))
        return to_ros.fill_scan(msg, header, self._scan[1].project(range_map))

    def _points_msg(self, msg, header, range_map: RangeMap, config: Config, _hw) -> PointCloud2:
        key = (range_map.size_hw, config.points, config.erp)
        if self._points is None or self._points[0] != key:
            points = config.points
            self._points = key, PointProjector(range_map.size_hw, points.max_points, points.rgb,
                                               points.organised, _body_from_camera(config))
        records = self._points[1].project(range_map)
        organised_hw = range_map.size_hw if config.points.organised else None
        return to_ros.fill_cloud(msg, header, records, organised_hw)

    def _depth_msg(self, msg, header, range_map: RangeMap, config: Config, camera_hw) -> Image:
        range_m = depth_pixels(range_map, config, camera_hw)
        if config.depth.encoding == '16UC1':
            return to_ros.fill_image(msg, header, to_ros.millimetres(range_m), '16UC1')
        return to_ros.fill_image(msg, header, range_m, '32FC1')

    def _info_msg(self, msg, header, range_map: RangeMap, config: Config, camera_hw) -> CameraInfo:
        size = camera_hw if config.depth.size == 'camera' else range_map.size_hw
        return to_ros.fill_camera_info(msg, header, *size)

    def _mask_msg(self, msg, header, range_map: RangeMap, _config, _hw) -> Image:
        return to_ros.fill_image(msg, header, range_map.range_mask, 'mono8')

    def _preview_msg(self, msg, header, range_map: RangeMap, _config, _hw) -> Image:
        return to_ros.fill_image(msg, header, colour(range_map), 'bgr8')

    def _compressed_msg(self, msg, header, range_map: RangeMap, _config, _hw) -> CompressedImage:
        _, data = cv2.imencode('.jpg', colour(range_map), (cv2.IMWRITE_JPEG_QUALITY, 90))
        msg.header, msg.format = header, 'bgr8; jpeg compressed bgr8'
        to_ros.fill(msg.data, data)
        return msg


def depth_pixels(range_map: RangeMap, config: Config,
                 camera_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return the range at network size, or at camera size by nearest look-up."""
    if config.depth.size == 'network':
        return range_map.range_m
    height, width = camera_hw
    full = resample_nearest(range_map.range_m, width // 2, width)
    top = round((90 - config.erp.elevation_max_deg) / 180 * (width // 2))
    return full[top:top + height]


def body_frame(config: Config, camera_frame: str) -> str:
    """
    Return the frame of the clouds: as configured, or derived from the camera's frame.

    :raises FrameIdError: if neither names one
    """
    if not camera_frame and not config.frames.body:
        raise FrameIdError('image has no frame_id; set it in the camera driver, or set '
                           'frames.body')
    if config.frames.body or config.frames.image_axes == 'body':
        return config.frames.body or camera_frame
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


def _body_from_camera(config: Config) -> NDArray[np.float64] | None:
    angles = (config.erp.roll_deg, config.erp.pitch_deg, config.erp.yaw_deg)
    return rotation_from_rpy(*np.deg2rad(angles)) if any(angles) else None
