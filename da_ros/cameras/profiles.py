# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Camera profiles: defaults of the node's parameters for one camera and driver, one file each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import os
from pathlib import Path
import sys
from typing import Any

from da_ros.config import ConfigError
from da_ros.documents import DocumentError, read_yaml

Value = str | bool | int | float


def folders() -> list[Path]:
    """Return where profiles may lie: in a checkout, or the share of a prefix."""
    share = Path('share/da_ros/config/cameras')
    prefixes = [Path(sys.prefix), *map(Path, filter(None, os.environ.get(
        'AMENT_PREFIX_PATH', '').split(os.pathsep)))]
    return [Path(__file__).resolve().parents[2] / 'config/cameras',
            *(prefix / share for prefix in prefixes)]


def profile_path(name: str) -> Path:
    """
    Return the file of a profile: a name such as `theta`, or a path.

    :raises ConfigError: if there is none; lists those there are
    """
    if name.endswith('.yaml'):
        if os.path.isfile(name):
            return Path(name)
        raise ConfigError(f'camera {name!r} is no file; give a profile or a path to one')
    for folder in folders():
        if os.path.isfile(folder / f'{name}.yaml'):         # False for a name of any kind
            return folder / f'{name}.yaml'
    known = sorted({path.stem for folder in folders() for path in folder.glob('*.yaml')})
    raise ConfigError(f'camera {name!r} has no profile; known are {", ".join(known) or "none"}; '
                      'or give the path of a YAML file')


def read_profile(name: str) -> dict[str, Value]:
    """
    Return what a profile sets: values by parameter name. '' sets nothing.

    :raises ConfigError: no such profile, or a file that is no parameter file
    """
    if not name:
        return {}
    path = profile_path(name)
    try:
        tree = read_yaml(path)
        parts = [entry['ros__parameters'] for entry in tree.values()]
        return {key: value for part in parts for key, value in _flat(part)}
    except (DocumentError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f'camera profile {path} is no parameter file ({type(error).__name__}); '
                          'it holds NODE: ros__parameters: NAME: VALUE') from error


def _flat(tree: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Value]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f'{prefix}{key}.')
        elif isinstance(value, (str, float)) or (
                isinstance(value, int) and abs(value) < 1 << 63):      # as far as ROS counts
            yield f'{prefix}{key}', value
        else:
            raise TypeError(f'{prefix}{key}')
