# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the parameters say of the node, and of each camera: CAMERA.PARAMETER is a camera's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
import re

from rclpy.node import Node
from rclpy.parameter import Parameter

from da_ros.config import Config, ConfigError, PREFIXES
from da_ros.ros import parameters

NAME = re.compile('[A-Za-z][A-Za-z0-9_]*')
GROUPS = {prefix.rstrip('.') for prefix in PREFIXES.values()} | {'qos_overrides'}
ONLY = ''                # the name of a camera that has none: its topics are the node's


@dataclass(frozen=True)
class Settings:
    """All parameters: those of all cameras, and what single ones have of their own."""

    shared: Config
    own: Mapping[str, Mapping[str, Parameter]]       # by camera, by parameter
    band_follows: bool           # the scan's height band follows the camera height

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the order in which they are served."""
        return tuple(self.own)

    def of(self, camera: str) -> Config:
        """
        Return the configuration of one camera.

        :raises ConfigError: naming the camera, if its own values do not go with the shared ones
        """
        if not self.own[camera]:
            return self.shared
        try:
            return parameters.with_changes(self.shared, list(self.own[camera].values()),
                                           follow_floor=self.band_follows)
        except ConfigError as error:
            raise ConfigError(f'camera {camera}: {error}') from error

    def with_changes(self, changed: Sequence[Parameter], configured: bool) -> Settings:
        """
        Return the settings with some parameters changed, checked as a set.

        :param configured: True if what is read at configure may not change any more
        :raises ConfigError: naming the parameter, the value and the remedy
        """
        parameters.check_start(self.shared, changed)
        own = {camera: dict(given) for camera, given in self.own.items()}
        shared = []
        for parameter in changed:
            camera, _, name = parameter.name.partition('.')
            if camera == ONLY or camera not in own:
                shared.append(parameter)
                continue
            own[camera][name] = Parameter(name, parameter.type_, parameter.value)
            if configured:
                parameters.check_runtime(parameter.name, name)
        config = parameters.with_changes(self.shared, shared, configured,
                                         follow_floor=self.band_follows)
        given = config.scan != self.shared.scan and any(
            parameter.name in parameters.EDGES for parameter in shared)
        settings = replace(self, shared=config, own=own,
                           band_follows=self.band_follows and not given)
        for camera in settings.cameras:
            settings.of(camera)
        return settings


def declare(node: Node) -> tuple[Settings, dict[str, str]]:
    """
    Declare every parameter and return the settings that the overrides give.

    What a camera has of its own is declared where it is given, and only there.

    :return: settings; error texts by parameter name, of overrides that cannot be taken
    """
    config, errors = parameters.declare(node)
    own: dict[str, dict[str, Parameter]] = {ONLY: {}}
    try:
        check_names(config.input.cameras)
    except ConfigError as error:
        errors['cameras'] = f'parameter cameras: {error}'
    else:
        own = {camera: _declare_own(node, camera, errors)
               for camera in config.input.cameras} or own
    parameters.warn_of_unknown(node, list(own))
    settings = Settings(config, own, not parameters.band_given(node))
    for camera in settings.cameras:
        try:
            settings.of(camera)
        except ConfigError as error:
            errors.setdefault(parameters.WHOLE_SET, str(error))
    return settings, errors


def check_names(cameras: Sequence[str]) -> None:
    """
    Check what cameras are called.

    :raises ConfigError: naming what is no name of a namespace, comes twice or means something else
    """
    for number, camera in enumerate(cameras):
        if not NAME.fullmatch(camera):
            raise ConfigError(f'{camera!r} is no name of a camera; use letters, digits and _, and '
                              'a letter first')
        if camera in cameras[:number]:
            raise ConfigError(f'{camera!r} comes twice; give each camera a name of its own')
        if camera in GROUPS or parameters.is_known(camera):
            raise ConfigError(f'{camera!r} is what parameters are called; call the camera '
                              'otherwise')


def _declare_own(node: Node, camera: str, errors: dict[str, str]) -> dict[str, Parameter]:
    """Declare what was given as CAMERA.PARAMETER; texts of errors are added to `errors`."""
    own = {}
    for full in [name for name in node._parameter_overrides if name.startswith(f'{camera}.')]:
        name = full.removeprefix(f'{camera}.')
        if not parameters.is_known(name):
            continue                                   # and told as unknown
        try:
            if name in parameters.OF_NODE:
                raise ConfigError(f'all cameras have the same; set {name} instead')
            declared = parameters.declare_one(node, full, name)
            own[name] = Parameter(name, declared.type_, declared.value)
            parameters.with_changes(Config(), [own[name]], check=False)
        except (parameters.ParameterException, ConfigError) as error:
            own.pop(name, None)
            errors[full] = f'parameter {full}: {error}'
            if not node.has_parameter(full):
                parameters.declare_one(node, full, name, ignore_override=True)
    return own
