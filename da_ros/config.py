"""
Every parameter once: name, default, unit, range and description.

The node declares one ROS parameter per field (`parameters.py`), grouped by the class's prefix;
commands and training read the same defaults. `runtime=False` marks what is read at configure only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from da_ros.backends.base import BACKEND_CHOICES


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

    model: str = _value('', 'Bundle folder, or a name: pano_tiny, pano_small; empty = pano_tiny.',
                        runtime=False)
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


@dataclass(frozen=True)
class InputConfig:
    """How camera messages arrive."""

    autostart: bool = _value(True, 'Configure and activate without a lifecycle manager.',
                             runtime=False)
    image_transport: str = _value(
        'raw', 'raw subscribes to `image`, compressed to `image/compressed`.',
        choices=('raw', 'compressed'), runtime=False)
    stamp_offset_s: float = _value(
        0.0, 'Added to every stamp [s]; negative for cameras that stamp late.', -5, 5)


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


@dataclass(frozen=True)
class ScanConfig:
    """The laser scan: the nearest obstacle of a level height band per beam."""

    beams: int = _value(720, 'Beams of a full turn.', 36, 7200)
    min_height_m: float = _value(
        -0.2, 'Lower edge of the height band [m], relative to the camera, or to the floor when '
        'camera_height_m > 0.', -50, 50)
    max_height_m: float = _value(
        0.2, 'Upper edge of the height band [m], relative as the lower edge.', -50, 50)


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


@dataclass(frozen=True)
class Config:
    """All parameters of the node; a prefix of '' means no prefix in the parameter's name."""

    estimator: EstimatorConfig = EstimatorConfig()
    rule: RangeRule = RangeRule()
    scale: ScaleConfig = ScaleConfig()
    input: InputConfig = InputConfig()
    erp: ErpConfig = ErpConfig()
    depth: DepthConfig = DepthConfig()
    points: PointsConfig = PointsConfig()
    scan: ScanConfig = ScanConfig()
    frames: FramesConfig = FramesConfig()


PREFIXES = {'estimator': '', 'rule': '', 'scale': 'scale.', 'input': '', 'erp': 'erp.',
            'depth': 'depth.', 'points': 'points.', 'scan': 'scan.', 'frames': 'frames.'}


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


def check_config(config: Config) -> None:
    """
    Check all values, alone and together; bundle-dependent rules are the estimator's.

    :raises ConfigError: naming the parameters, the values and the remedy
    """
    for group, prefix in PREFIXES.items():
        check_values(getattr(config, group), prefix)
    rule, erp, scan = config.rule, config.erp, config.scan
    if rule.range_mask_m < 0 and rule.range_mask_m != -1:
        raise ConfigError(f'range_mask_m {rule.range_mask_m:g} is negative; use -1 for the '
                          'largest mask of the bundle, 0 for off')
    if rule.min_range_m >= rule.max_range_m:
        raise ConfigError(f'min_range_m {rule.min_range_m:g} must be below max_range_m '
                          f'{rule.max_range_m:g}')
    if erp.elevation_min_deg >= erp.elevation_max_deg:
        raise ConfigError(f'erp.elevation_min_deg {erp.elevation_min_deg:g} must be below '
                          f'erp.elevation_max_deg {erp.elevation_max_deg:g}')
    if rule.camera_height_m > 0 >= scan.min_height_m:
        raise ConfigError(f'scan.min_height_m {scan.min_height_m:g} takes the floor for an '
                          'obstacle, because heights count from the floor when camera_height_m '
                          'is known; set, for instance, scan.min_height_m '
                          f'{0.05 + 0.1 * rule.camera_height_m:.2f} and scan.max_height_m 1.5')
    if scan.min_height_m >= scan.max_height_m:
        raise ConfigError(f'scan.min_height_m {scan.min_height_m:g} must be below '
                          f'scan.max_height_m {scan.max_height_m:g}')
