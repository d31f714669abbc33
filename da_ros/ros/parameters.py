# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One ROS parameter per configuration field: declared, described, ranged, validated as a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from da_ros.cameras.profiles import read_profile
from da_ros.config import (
    Config,
    ConfigError,
    EstimatorConfig,
    height_band,
    PREFIXES,
    ScanConfig,
)
from da_ros.config_checks import check_config

# Declared by rclpy itself or by its QoS overrides.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
WHOLE_SET = 'the set of parameters'
CAMERA = 'camera'
AT_START = (CAMERA, 'cameras')        # read when the node starts, and never again
# There is one runtime, and one life, for all cameras.
OF_NODE = (*(item.name for item in fields(EstimatorConfig)), 'autostart', *AT_START)
EDGES = ('scan.min_height_m', 'scan.max_height_m')      # of the height band


def declare(node: Node) -> tuple[Config, dict[str, str]]:
    """
    Declare every parameter and return the configuration that the overrides give.

    An override that cannot be taken leaves the default in place and is reported, so that the node
    lives on to say so.

    :return: configuration; error texts by parameter name
    """
    # One by one, so that every wrong override is told, not only the first.
    config = Config()
    errors: dict[str, str] = {}
    profile = _profile(node, errors)
    for group, prefix in PREFIXES.items():
        for item in fields(getattr(config, group)):
            name = prefix + item.name
            try:
                declared = declare_one(node, name, name, profile.pop(name, None))
                config = with_changes(config, [declared], check=False)
            except (ParameterException, ConfigError) as error:
                errors[name] = f'parameter {name}: {error}'
                if not node.has_parameter(name):
                    declare_one(node, name, name, ignore_override=True)
    for name in profile:
        errors[name] = f'camera profile {node.get_parameter(CAMERA).value!r} sets {name!r}, ' \
                       'which is no parameter; correct the file'
    if not band_given(node):
        config = with_band(config)
        show_band(node, config.scan)
    try:
        check_config(config)
    except ConfigError as error:
        errors[WHOLE_SET] = str(error)
    return config, errors


def topic_of(node: Node, name: str, topic: str) -> str:
    """
    Return the full name of a topic that a parameter names.

    :raises ConfigError: if no topic can be called so; rclpy would name places in C sources
    """
    try:
        return str(node.resolve_topic_name(topic))
    except Exception as error:
        raise ConfigError(f'{name} {topic!r} is no name of a topic; use letters, digits, _ and '
                          '/, none of them empty and no digit first') from error


def band_given(node: Node) -> bool:
    """Return whether the user has set an edge of the scan's height band at the start."""
    return any(edge in node._parameter_overrides for edge in EDGES)


def with_band(config: Config) -> Config:
    """Return the configuration with the height band that belongs to its camera height."""
    low, high = height_band(config.rule.camera_height_m)
    return replace(config, scan=replace(config.scan, min_height_m=low, max_height_m=high))


def show_band(node: Node, scan: ScanConfig) -> None:
    """Let the node's parameters say which height band is in use."""
    for name, value in zip(EDGES, (scan.min_height_m, scan.max_height_m)):
        if node.get_parameter(name).value != value:
            node.set_parameters([Parameter(name, value=value)])


def _profile(node: Node, errors: dict[str, str]) -> dict[str, Any]:
    """Return the values of the camera profile, which stand between overrides and defaults."""
    given = node._parameter_overrides.get(CAMERA)
    try:
        return dict(read_profile(given.value)) if given is not None and isinstance(
            given.value, str) else {}
    except ConfigError as error:
        errors[CAMERA] = f'parameter {CAMERA}: {error}'
        return {}


def check_start(config: Config, changed: Sequence[Parameter]) -> None:
    """Raise ConfigError if what is read when the node starts is to change."""
    for parameter in changed:
        if parameter.name in AT_START and _typed(parameter, type(getattr(
                config.input, parameter.name))) != getattr(config.input, parameter.name):
            raise ConfigError(f'{parameter.name} {parameter.value!r}: it is read when the node '
                              'starts; start it anew')


def check_runtime(full: str, name: str) -> None:
    """Raise ConfigError if a parameter is read at configure only; `full` is for the text."""
    place = _place(name)
    if place is not None and not place[1].metadata['runtime']:
        raise ConfigError(f'{full} is read at configure only; deactivate and clean up the node '
                          'first')


def is_known(name: str) -> bool:
    """Return whether there is such a parameter."""
    return _place(name) is not None


def declare_one(node: Node, full: str, name: str, profile: Any = None,
                ignore_override: bool = False) -> Parameter:
    """
    Declare a parameter under its full name; return it.

    :param profile: its value in the camera profile, None = not there
    """
    place = _place(name)
    assert place is not None
    _, item = place
    default = list(item.default) if isinstance(item.default, tuple) else item.default
    return node.declare_parameter(full, default if profile is None else profile,
                                  _descriptor(item), ignore_override)


def with_changes(config: Config, parameters: Sequence[Parameter],
                 configured: bool = False, check: bool = True,
                 follow_floor: bool = False) -> Config:
    """
    Return the configuration with some parameters changed, checked as a set.

    :param configured: True if what is read at configure may not change any more
    :param follow_floor: True if the scan's height band follows the camera height, unless it is
        changed itself
    :param check: False to leave the check of the whole set to the caller
    :raises ConfigError: naming the parameter, the value and the remedy
    """
    changes: dict[str, dict[str, Any]] = {}
    for parameter in parameters:
        place = _place(parameter.name)
        if place is None:
            if not parameter.name.startswith(FOREIGN):
                raise ConfigError(f'parameter {parameter.name!r} is not known')
            continue
        if configured:
            check_runtime(parameter.name, parameter.name)
        group, item = place
        changes.setdefault(group, {})[item.name] = _typed(parameter, type(item.default))
    changed = replace(config, **{group: replace(getattr(config, group), **values)
                                 for group, values in changes.items()})
    if follow_floor and changed.scan == config.scan and (
            changed.rule.camera_height_m != config.rule.camera_height_m):
        changed = with_band(changed)
    if check:
        check_config(changed)
    return changed


def _place(name: str) -> tuple[str, Any] | None:
    for group, prefix in PREFIXES.items():
        for item in fields(getattr(Config(), group)):
            if prefix + item.name == name:
                return group, item
    return None


def _typed(parameter: Parameter, kind: type) -> Any:
    value = parameter.value
    if kind is tuple:           # an empty list has no type, and comes as none or as bytes
        if value and parameter.type_ != Parameter.Type.STRING_ARRAY:
            raise ConfigError(f'{parameter.name} is {value!r}; needs a list of names, as in '
                              '[front, rear]')
        return tuple(value or ())
    if kind is float and type(value) is int:        # 20 is as good as 20.0
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f'{parameter.name} is {value!r}, a {type(value).__name__}; '
                          f'needs a {kind.__name__}')
    return value


def _descriptor(item: Any) -> ParameterDescriptor:
    meta = item.metadata
    described = ParameterDescriptor(description=meta['text'])
    if meta['choices']:
        described.additional_constraints = 'one of ' + ', '.join(meta['choices'])
    if not meta['runtime']:
        described.additional_constraints += (
            ('; ' if meta['choices'] else '') + 'read at configure only')
    # Floats accept whole numbers without a decimal point, and an empty list has no type; both are
    # checked by us.
    described.dynamic_typing = type(item.default) in (float, tuple)
    if meta['minimum'] is not None:
        low, high = meta['minimum'], meta['maximum']
        if type(item.default) is int:
            described.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            described.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))]
    return described


def warn_of_unknown(node: Node, cameras: Sequence[str]) -> None:
    """Log overrides that are no parameter, also of one of the cameras; ROS ignores them."""
    from difflib import get_close_matches
    known = [name for name in node._parameters if not name.startswith(FOREIGN)]
    for name in node._parameter_overrides:
        if name in known or name.startswith(FOREIGN):
            continue
        camera = name.partition('.')[0]
        own = [f'{camera}.{other}' for other in known] if camera in cameras else []
        near = get_close_matches(name, [*known, *own], 1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        node.get_logger().warning(f'parameter {name!r} is not known and has no effect{hint}')
