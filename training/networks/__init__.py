# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The networks by name: `build_network('dap', {...})` gives an untrained nn.Module."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

from da_ros.errors import DaRosError

# name -> (module, network class, frozen config dataclass); imported when the name is asked for
NETWORKS = {
    'dap': ('training.networks.dap', 'Dap', 'DapConfig'),
    'dap_mask_head': ('training.networks.dap', 'MaskHead', 'MaskHeadConfig'),
    'da2': ('training.networks.spherevit', 'SphereVit', 'SphereVitConfig'),
    'pano_tiny': ('training.networks.pano_tiny', 'PanoTiny', 'PanoTinyConfig'),
    'pano_base': ('training.networks.pano_base', 'PanoBase', 'PanoBaseConfig'),
    'discriminator': ('training.networks.discriminator', 'PatchDiscriminator',
                      'PatchDiscriminatorConfig'),
}


class NetworkError(DaRosError):
    """A network name or configuration that does not exist."""


def network_classes(name: str) -> tuple[type, type]:
    """
    Return the network class and its config class.

    :raises NetworkError: if no network has this name
    """
    if name not in NETWORKS:
        raise NetworkError(f'no network {name!r}; there are: {", ".join(NETWORKS)}')
    module_name, network, config = NETWORKS[name]
    module = import_module(module_name)
    return getattr(module, network), getattr(module, config)


def build_network(name: str, config: dict | None = None):
    """
    Return an untrained network.

    :param name: a key of NETWORKS
    :param config: fields of its config dataclass, JSON types (lists for tuples); rest: defaults
    :raises NetworkError: if the name or a field does not exist, or a value is impossible
    """
    network_class, config_class = network_classes(name)
    made = make_config(config_class, config or {})
    try:
        return network_class(made)
    except (ValueError, KeyError, RuntimeError) as error:
        raise NetworkError(f'no network {name!r} of {made}: {error}') from error


def make_config(config_class: type, values: dict):
    """
    Return the frozen config from JSON values: lists become tuples.

    :raises NetworkError: if a field does not exist
    """
    known = {field.name for field in fields(config_class)}
    if unknown := sorted(set(values) - known):
        raise NetworkError(
            f'{config_class.__name__} has no field {unknown[0]!r}; it has: '
            f'{", ".join(sorted(known))}')
    return config_class(**{
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()})
