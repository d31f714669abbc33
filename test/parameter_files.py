# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a parameter file says, as the node would take it."""

from __future__ import annotations

from dataclasses import fields, replace

from da_ros.config import Config, PREFIXES
from da_ros.config_checks import check_config


def flatten(tree: dict, prefix: str = '') -> dict:
    """Return values by their dotted names."""
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f'{prefix}{key}.') if isinstance(value, dict) else {
            prefix + key: value}
    return flat


def node_config(file: dict) -> Config:
    """Return the node's configuration under a file; names and types that it has not fail."""
    given, config = flatten(file['/**/pano_depth']['ros__parameters']), Config()
    for group, prefix in PREFIXES.items():
        values = {item.name: given.pop(prefix + item.name)
                  for item in fields(getattr(config, group)) if prefix + item.name in given}
        for name, value in values.items():
            assert type(value) is type(getattr(getattr(config, group), name)), name
        config = replace(config, **{group: replace(getattr(config, group), **values)})
    assert not given, f'the node has no parameters {sorted(given)}'
    check_config(config)
    return config
