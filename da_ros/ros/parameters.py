"""One ROS parameter per configuration field: declared, described, ranged, validated as a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from da_ros.config import check_config, Config, ConfigError, PREFIXES

# Declared by rclpy itself or by its QoS overrides.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
WHOLE_SET = 'the set of parameters'


def declare(node: Node) -> tuple[Config, dict[str, str]]:
    """
    Declare every parameter and return the configuration that the overrides give.

    An override that cannot be taken leaves the default in place and is reported, so that the node
    lives on to say so. Misspelt overrides, which ROS ignores in silence, are logged.

    :return: configuration; error texts by parameter name
    """
    config, errors = Config(), {}
    names = []
    for group, prefix in PREFIXES.items():
        for item in fields(getattr(config, group)):
            names.append(prefix + item.name)
            try:
                declared = _declare_one(node, names[-1], item)
                config = with_changes(config, [declared], check=False)
            except (ParameterException, ConfigError) as error:
                errors[names[-1]] = f'parameter {names[-1]}: {error}'
                if not node.has_parameter(names[-1]):
                    _declare_one(node, names[-1], item, ignore_override=True)
    try:
        check_config(config)
    except ConfigError as error:
        errors[WHOLE_SET] = str(error)
    _warn_of_unknown(node, names)
    return config, errors


def _declare_one(node: Node, name: str, item: Any, ignore_override: bool = False) -> Parameter:
    return node.declare_parameter(name, item.default, _descriptor(item), ignore_override)


def with_changes(config: Config, parameters: Sequence[Parameter],
                 configured: bool = False, check: bool = True) -> Config:
    """
    Return the configuration with some parameters changed, checked as a set.

    :param configured: True if what is read at configure may not change any more
    :param check: False to leave the check of the whole set to the caller
    :raises ConfigError: naming the parameter, the value and the remedy
    """
    changes: dict[str, dict[str, Any]] = {}
    for parameter in parameters:
        place = _place(parameter.name)
        if place is None:
            continue
        group, item = place
        if configured and not item.metadata['runtime']:
            raise ConfigError(f'{parameter.name} is read at configure only; '
                              'deactivate and clean up the node first')
        changes.setdefault(group, {})[item.name] = _typed(parameter, type(item.default))
    changed = replace(config, **{group: replace(getattr(config, group), **values)
                                 for group, values in changes.items()})
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
    # Floats accept whole numbers without a decimal point; their type is checked by us.
    described.dynamic_typing = type(item.default) is float
    if meta['minimum'] is not None:
        low, high = meta['minimum'], meta['maximum']
        if type(item.default) is int:
            described.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            described.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))]
    return described


def _warn_of_unknown(node: Node, known: Sequence[str]) -> None:
    from difflib import get_close_matches
    for name in node._parameter_overrides:
        if name in known or name.startswith(FOREIGN):
            continue
        near = get_close_matches(name, known, 1)
        hint = f'; did you mean {near[0]!r}?' if near else ''
        node.get_logger().warning(f'parameter {name!r} is not known and has no effect{hint}')
