# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Every parameter once: name, default, unit, range and description.

The node declares one ROS parameter per field (`parameters.py`), grouped by the class's prefix;
commands and training read the same defaults. `runtime=False` marks what is read at configure only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from da_ros.backends.order import BACKEND_CHOICES
from da_ros.jpeg_png import MAX_IMAGE_PIXELS


def _value(default: Any, text: str, minimum: float | None = None, maximum: float | None = None,
           choices: tuple[str, ...] = (), runtime: bool = True) -> Any:
    return field(default=default, metadata={
        'text': text, 'minimum': minimum, 'maximum': maximum, 'choices': choices,
        'runtime': runtime})


class ConfigError(ValueError):
    """A parameter value outside its range, or values that do not go together."""


@dataclass(frozen=True)
class RangeRule:
    """What counts as an obstacle; the one rule that `estimator.apply_rule` applies."""

    range_mask_m: float = _value(
        -1.0, 'Range-mask threshold [m]: -1 = the largest of the bundle, 0 = off, else one of '
        "the bundle's. Farther is published as +inf.", -1, 1000)
    mask_probability: float = _value(
        0.5, 'P(range <= mask) above which a pixel counts as within the mask (strict).', 0, 1)
    min_range_m: float = _value(
        0.3, 'Closer than this [m] is published as -inf.', 0, 10)
    max_range_m: float = _value(
        100.0, "From this range on [m] a pixel is published as +inf; never above the bundle's "
        'maximum.', 0.5, 1000)
    camera_height_m: float = _value(
        0.0, 'Height of the camera above the floor [m], fed to the network; 0 = unknown.', 0, 50)


@dataclass(frozen=True)
class EstimatorConfig:
    """What is loaded at configure."""

    model: str = _value('', 'Bundle folder, or a name: pano_base, pano_tiny; empty = pano_base '
                        'where it sustains 8 Hz on this machine, measured once, else pano_tiny.',
                        runtime=False)
    model_signers: str = _value(
        '', 'File of allowed signers (ssh-keygen), one of whom must have signed a bundle that '
        'does not ship with the package; empty = not asked.', runtime=False)
    backend: str = _value('auto', 'Inference runtime: auto tries them in the order given here.',
                          choices=BACKEND_CHOICES, runtime=False)
    threads: int = _value(0, 'CPU threads of the inference runtime; 0 = its choice.', 0, 256,
                          runtime=False)


@dataclass(frozen=True)
class ScaleConfig:
    """Where metres come from when the bundle is scale-invariant; metric bundles need none."""

    source: str = _value(
        'none', 'Scale of a scale_invariant bundle: camera_height takes it from the floor and '
        'camera_height_m in every frame, fixed uses scale.metres_per_unit.',
        choices=('none', 'camera_height', 'fixed'))
    metres_per_unit: float = _value(
        1.0, 'Metres per unit of the bundle where scale.source is fixed.', 1e-3, 1e3)
    track: bool = _value(False, 'Hold the scale over time by the floor; needs a fixed height.')


@dataclass(frozen=True)
class InputConfig:
    """How camera messages arrive."""

    autostart: bool = _value(True, 'Configure and activate without a lifecycle manager.',
                             runtime=False)
    camera: str = _value(
        '', 'Camera profile, whose values are the defaults of other parameters: a name of '
        'config/cameras (generic, insta360_ros, insta360_fisheye, theta, gazebo), or a path; '
        'read once, when the node starts.', runtime=False)
    cameras: tuple[str, ...] = _value(
        (), 'Names of several cameras, as [front, rear]: each has a namespace of its own '
        'for its image and its outputs, and all take turns in one network. NAME.PARAMETER gives '
        'one of them a value of its own. Empty = one camera, without a namespace; read once, when '
        'the node starts.', runtime=False)
    image_topic: str = _value(
        'image', 'Topic of raw images; that of compressed ones is the same with /compressed.',
        runtime=False)
    image_transport: str = _value(
        'raw', 'raw subscribes to the image topic, compressed to its jpeg or png, h264 to its '
        'video (needs PyAV: the extra da_ros[video]).',
        choices=('raw', 'compressed', 'h264'), runtime=False)
    max_image_pixels: int = _value(
        MAX_IMAGE_PIXELS, 'Larger JPEG and PNG images are refused before they are decoded [px].',
        1, 1_000_000_000)
    stamp_offset_s: float = _value(
        0.0, 'Added to every stamp [s]; negative for cameras that stamp late.', -5, 5)
    consumer_timeout_s: float = _value(
        1.0, 'Age of the data when published [s] from which diagnostics warn: the shortest '
        'timeout of those that use it.', 0.01, 60)


@dataclass(frozen=True)
class ImageHealthConfig:
    """Pictures that do not show the world; diagnostics tell them in any case."""

    act: bool = _value(False, 'Publish as unknown (NaN) what a frozen, black or over-exposed '
                       'picture or a dirty part of the lens shows, never as empty.')
    frozen_s: float = _value(
        0.8, 'For how long the same picture may come with new stamps [s]; 0 = for ever, for '
        'simulations that stand still.', 0, 60)


@dataclass(frozen=True)
class ErpConfig:
    """What part of the sphere the image shows, and how the camera is turned in its body frame."""

    elevation_max_deg: float = _value(
        90.0, "Elevation of the image's upper edge [deg]; below 90 for a partial panorama.",
        -89, 90, runtime=False)
    elevation_min_deg: float = _value(
        -90.0, "Elevation of the image's lower edge [deg]; above -90 for a partial panorama.",
        -90, 89, runtime=False)
    roll_deg: float = _value(0.0, 'Roll of the camera in the body frame [deg].', -180, 180)
    pitch_deg: float = _value(
        0.0, 'Pitch of the camera in the body frame [deg], positive nose down (REP 103).',
        -90, 90)
    yaw_deg: float = _value(
        0.0, 'Yaw of the image centre in the body frame [deg], positive to the left.', -180, 180)
    mirrored: bool = _value(False, 'Left and right of the image are exchanged.', runtime=False)


@dataclass(frozen=True)
class FisheyeConfig:
    """Images that are fisheye circles instead of a panorama."""

    calibration: str = _value(
        '', 'Calibration file of da_ros_fisheye; empty = images are panoramas.', runtime=False)


@dataclass(frozen=True)
class MountingConfig:
    """Where the camera's body sits on the robot."""

    base_from_camera: str = _value(
        '', '"x y z roll pitch yaw" [m, rad] of the camera body in the base frame, for levelling, '
        'memory and body_mask.boxes; empty = at its origin, level. Not with levelling.source tf.',
        runtime=False)


@dataclass(frozen=True)
class LevellingConfig:
    """Which way is up: the panorama is turned upright before inference, ranges are turned back."""

    source: str = _value(
        'fixed', 'fixed = roll and pitch of base_from_camera; imu = orientation of an IMU, '
        'imu_acceleration = its low-passed acceleration, odometry = orientation of the base, tf = '
        'that of the camera body in levelling.frame.',
        choices=('fixed', 'imu', 'imu_acceleration', 'odometry', 'tf'), runtime=False)
    imu_topic: str = _value('imu', 'Topic of sensor_msgs/Imu.', runtime=False)
    body_from_imu: str = _value(
        '', '"roll pitch yaw" [rad] of the IMU in the camera body frame; empty = aligned with it.',
        runtime=False)
    odometry_topic: str = _value('odometry', 'Topic of nav_msgs/Odometry.', runtime=False)
    frame: str = _value('odom', 'Gravity-aligned frame, for levelling.source tf.', runtime=False)
    time_constant_s: float = _value(
        0.5, 'Low pass of imu_acceleration [s].', 0.01, 60, runtime=False)
    wait_s: float = _value(
        0.05, 'How long a frame waits for the tilt of its stamp [s]; then the nearest within '
        '0.5 s is taken, or roll and pitch of base_from_camera with a warning.', 0, 1)


@dataclass(frozen=True)
class BodyMaskConfig:
    """Where the camera sees the robot itself: NaN there, neither obstacle nor empty."""

    picture: str = _value(
        '', "PNG of the camera's image, white where the robot is (da_ros_body_mask makes one).",
        runtime=False)
    below_deg: float = _value(
        -90.0, 'All below this elevation in the camera body frame is the robot [deg]; -90 = off.',
        -90, 0, runtime=False)
    boxes: str = _value(
        '', 'Boxes of the robot in the base frame: "x0 y0 z0 x1 y1 z1; ..." [m].', runtime=False)


@dataclass(frozen=True)
class ViewsConfig:
    """Virtual pinhole cameras."""

    views: str = _value(
        '', '"NAME YAW PITCH FOV WIDTHxHEIGHT; ..." [deg, px]: depth along the axis (REP 118), '
        'image and camera_info on views/NAME.', runtime=False)


@dataclass(frozen=True)
class DepthConfig:
    """The depth image."""

    encoding: str = _value('32FC1', '32FC1 [m], or 16UC1 [mm] with 0 for NaN and infinities.',
                           choices=('32FC1', '16UC1'))
    size: str = _value('network', 'Image size: that of the network, or of the camera by nearest '
                       'look-up.', choices=('network', 'camera'))


@dataclass(frozen=True)
class PointsConfig:
    """The point cloud."""

    max_points: int = _value(
        30000, 'Most points of a cloud, spread evenly over the sphere; 0 = every pixel. Ignored '
        'for organised clouds.', 0, 10_000_000)
    rgb: bool = _value(False, 'Add the colour of the camera image as field rgb.')
    organised: bool = _value(False, 'Publish height x width points with NaN where there is no '
                             'finite range.')
    thinning: str = _value(
        'nearest', 'nearest keeps the nearest pixel of each of max_points cells of the sphere, '
        'uniform the same pixels in every frame.', choices=('nearest', 'uniform'))
    too_near: str = _value(
        'range_min', 'What is closer than min_range_m: a point at min_range_m, or left out, where '
        'a robot does not see it.', choices=('range_min', 'minus_inf'))
    floor: str = _value('keep', 'Floor points (floor.up_to_m): keep or drop.',
                        choices=('keep', 'drop'))
    height: bool = _value(False, 'Add the height over the fitted floor [m] as field height; it is '
                          'absent until a floor was seen.')
    age: bool = _value(False, 'Add the age of what is remembered [s] as field age; 0 = seen now.')
    clearing_range_m: float = _value(
        0.0, 'Where points_clearing puts its points [m]; 0 = limit + 0.1. Must be beyond the '
        'range up to which the consumer marks.', 0, 1100)


@dataclass(frozen=True)
class EdgesConfig:
    """Flying pixels: between a near thing and what is behind it, where nothing is."""

    points: bool = _value(True, 'Drop flying pixels from points; depth, scan and mask keep them.')
    grazing_deg: float = _value(
        5.0, 'Flattest angle between ray and surface that is believed [deg]; what changes faster '
        'is an edge.', 0.5, 45)


@dataclass(frozen=True)
class FloorConfig:
    """The floor that is fitted to the lower part of the panorama."""

    up_to_m: float = _value(
        0.1, 'Height over the fitted floor up to which a point is floor [m]; leave a tenth of the '
        'camera height.', 0, 5)


@dataclass(frozen=True)
class ScanConfig:
    """The laser scan: the nearest obstacle of a level height band per beam."""

    beams: int = _value(720, 'Beams of a full turn.', 36, 7200)
    min_height_m: float = _value(
        -0.2, 'Lower edge of the height band [m], relative to the camera, or to the floor when '
        'camera_height_m > 0.', -50, 50)
    max_height_m: float = _value(
        0.2, 'Upper edge of the height band [m], relative as the lower edge.', -50, 50)
    too_near: str = _value(
        'range_min', 'What is closer than min_range_m: a beam of exactly min_range_m, or -inf, '
        'which consumers drop.', choices=('range_min', 'minus_inf'))
    floor: str = _value(
        'keep', 'drop = the fitted floor (floor.up_to_m) is no obstacle even where a tilt lifts '
        'it into the band.', choices=('keep', 'drop'))


@dataclass(frozen=True)
class CliffConfig:
    """A scan of drops: beams in which the floor ends though nothing stands there."""

    enabled: bool = _value(False, 'Publish cliff.', runtime=False)
    least_drop_m: float = _value(0.15, 'A drop of less [m] is none.', 0.03, 5)
    reach_m: float = _value(3.0, 'Farthest edge of interest [m].', 0.5, 20)
    steepest_deg: float = _value(
        10.0, 'Slope of a ramp that is no drop [deg]; drops are told from it up to where the '
        'camera looks down more steeply.', 1, 40)


@dataclass(frozen=True)
class MemoryConfig:
    """Memory between frames, in scan and clouds; depth image and mask are of one frame."""

    source: str = _value(
        'none', 'Motion: none = no memory, odometry = memory.odometry_topic with base_from_camera,'
        ' tf = camera body in memory.frame.', choices=('none', 'odometry', 'tf'), runtime=False)
    odometry_topic: str = _value('odometry', 'Topic of nav_msgs/Odometry.', runtime=False)
    frame: str = _value('odom', 'Frame that moves without jumps, for tf.', runtime=False)
    wait_s: float = _value(0.05, 'How long a frame waits for the pose of its stamp [s].', 0, 1)
    warped: bool = _value(True, 'Two frames before steady the ranges and outvote a bad frame.')
    near_s: float = _value(
        0.0, 'How long what left the view within 1 m is kept unseen [s]; 0 = off.', 0, 120)


@dataclass(frozen=True)
class FramesConfig:
    """Names of frames; empty = derived from the camera's frame_id."""

    image_axes: str = _value(
        'optical', "Axes of the camera's frame_id: optical (z forward) or body (x forward).",
        choices=('optical', 'body'), runtime=False)
    body: str = _value('', "Frame of the clouds (x forward); empty = the camera's frame_id with "
                       '_optical_frame or _frame replaced by _link.', runtime=False)
    scan: str = _value('', 'Gravity-aligned frame of the scan; empty = frames.body.',
                       runtime=False)
    base: str = _value('base_link', "The robot's frame, in which body_mask.boxes are given, for "
                       'levelling.source tf.', runtime=False)
    camera: str = _value('', 'frame_id that images must have to fit the published mounting; '
                         'another one is warned about; empty = any.', runtime=False)


@dataclass(frozen=True)
class Config:
    """All parameters of the node; a prefix of '' means no prefix in the parameter's name."""

    estimator: EstimatorConfig = EstimatorConfig()
    rule: RangeRule = RangeRule()
    scale: ScaleConfig = ScaleConfig()
    input: InputConfig = InputConfig()
    image_health: ImageHealthConfig = ImageHealthConfig()
    erp: ErpConfig = ErpConfig()
    fisheye: FisheyeConfig = FisheyeConfig()
    mounting: MountingConfig = MountingConfig()
    levelling: LevellingConfig = LevellingConfig()
    body_mask: BodyMaskConfig = BodyMaskConfig()
    views: ViewsConfig = ViewsConfig()
    depth: DepthConfig = DepthConfig()
    points: PointsConfig = PointsConfig()
    edges: EdgesConfig = EdgesConfig()
    floor: FloorConfig = FloorConfig()
    scan: ScanConfig = ScanConfig()
    cliff: CliffConfig = CliffConfig()
    memory: MemoryConfig = MemoryConfig()
    frames: FramesConfig = FramesConfig()


UNPREFIXED = ('estimator', 'rule', 'input', 'mounting', 'views')
PREFIXES = {item.name: '' if item.name in UNPREFIXED else f'{item.name}.'
            for item in fields(Config)}


def height_band(camera_height_m: float) -> tuple[float, float]:
    """
    Return the height band of the scan [m] that belongs to a camera height, 0 = unknown.

    Above the floor the margin grows with the height, because a floor that is predicted a tenth too
    near must not become an obstacle; seen from high up that leaves a band of a metre.
    """
    if camera_height_m <= 0:
        return ScanConfig().min_height_m, ScanConfig().max_height_m
    low = round(0.05 + 0.1 * camera_height_m, 3)
    return low, max(1.5, low + 1)


def check_values(group: Any, prefix: str = '') -> None:
    """
    Check every field of one of the dataclasses above against its own range.

    :raises ConfigError: naming the parameter, the value and what is allowed
    """
    for item in fields(group):
        value, meta = getattr(group, item.name), item.metadata
        name = prefix + item.name
        if meta['choices'] and value not in meta['choices']:
            raise ConfigError(f'{name} {value!r} is none of {", ".join(meta["choices"])}')
        if meta['minimum'] is not None and not meta['minimum'] <= value <= meta['maximum']:
            raise ConfigError(f'{name} {value:g} is outside '
                              f'{meta["minimum"]:g} to {meta["maximum"]:g}')
