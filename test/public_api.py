# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What users build on, one line each: `python test/public_api.py` writes docs/public_api.txt anew.

The change policy stands in QUALITY_DECLARATION.md.
"""

from __future__ import annotations

import ast
from dataclasses import fields
from importlib import import_module
import inspect
from pathlib import Path
import re

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / 'docs' / 'public_api.txt'
PYTHON = {'da_ros.estimator': ('RangeEstimator', 'FrameError'),
          'da_ros.range_map': ('RangeMap', 'colour', 'millimetres', 'resample_nearest'),
          'da_ros.bundle': ('Bundle', 'BundleError', 'load_bundle', 'write_manifest',
                            'shipped_bundles'),
          'da_ros.config': ('RangeRule', 'ScaleConfig', 'ConfigError'),
          'da_ros.errors': ('DaRosError',), 'da_ros.files': ('read_panorama',),
          'da_ros.points': ('PointProjector',), 'da_ros.scan': ('Scan', 'ScanProjector'),
          'da_ros.sphere': ('erp_rays', 'azimuth_from_col', 'elevation_from_row',
                            'ray_from_angles', 'angles_from_ray', 'solid_angles')}


def _python() -> list[str]:
    lines = []
    for module, names in PYTHON.items():
        for name in names:
            thing = getattr(import_module(module), name)
            lines.append(f'python {module}.{name}{_signature(thing)}')
            if not inspect.isclass(thing):
                continue
            for member, value in sorted(vars(thing).items()):
                if not member.startswith('_') and (callable(value) or isinstance(value, property)):
                    lines.append(f'python {module}.{name}.{member}'
                                 f'{"" if isinstance(value, property) else _signature(value)}')
    return lines


def _signature(thing) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return ''
    taken = inspect.signature(thing).parameters.values()
    return '(' + ', '.join(
        one.name + ('' if one.default is one.empty else f'={one.default!r:.40}') for one in taken
        if one.name != 'self') + ')'


def _parameters() -> list[str]:
    from da_ros.config import Config, PREFIXES
    return [f'parameter {prefix}{item.name} {type(item.default).__name__} {item.default!r} '
            f'{"runtime" if item.metadata["runtime"] else "configure"}'
            for group, prefix in PREFIXES.items() for item in fields(getattr(Config(), group))]


def _topics() -> list[str]:
    """Return the outputs, read from the source, because ROS may not be installed."""
    tree = ast.parse((ROOT / 'da_ros/ros/outputs.py').read_text())
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
                'TOPICS', 'VIEW_TOPICS'):
            prefix = 'views/NAME/' if 'VIEW' in ast.unparse(node.targets[0]) else ''
            assert isinstance(node.value, ast.Dict)
            found |= {prefix + ast.literal_eval(key): ast.unparse(kind)
                      for key, kind in zip(node.value.keys, node.value.values) if key}
    return [f'topic {name} {kind}' for name, kind in sorted(found.items())]


def _commands() -> list[str]:
    setup = (ROOT / 'setup.py').read_text()
    return [f'command {name}' for name in sorted(
        re.findall(r"^    '(\w+)': '[\w.]+:main'", setup, re.MULTILINE))]


def _launch() -> list[str]:
    lines = []
    for path in sorted((ROOT / 'launch').glob('*.launch.py')):
        tree = ast.parse(path.read_text())
        lines += [f'launch {path.name} {ast.literal_eval(key)}' for node in ast.walk(tree)
                  if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'ARGUMENTS'
                  and isinstance(node.value, ast.Dict) for key in node.value.keys if key]
    return lines


def public_api() -> list[str]:
    """Return all that is public, one line each."""
    from da_ros.bundle import FORMAT
    return [*_commands(), *_topics(), *_parameters(), *_launch(), f'bundle format {FORMAT}',
            *_python()]


if __name__ == '__main__':
    FILE.write_text('\n'.join(public_api()) + '\n')
