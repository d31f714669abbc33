# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The public data sets of both papers in one table, and how to open one by its name.

Fields of view and sampling probabilities are those of DA² table 4; the readers take the exact
camera from the files where the set has one. Evaluation sets have no probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
import inspect
from typing import Any

from training.data.files import DataError


@dataclass(frozen=True)
class DataSet:
    """One row; the reader is the module training.data.readers.NAME."""

    place: str                                      # indoor, outdoor or mixed
    field_deg: tuple[float, float] | None = None    # horizontal, least and most; None = panorama
    probability: float = 0.0                        # of being drawn in DA²'s training

    @property
    def panoramic(self) -> bool:
        """Whether the set holds panoramas; the others are placed by training.curate."""
        return self.field_deg is None


CATALOGUE = {
    'hypersim': DataSet('indoor', (60, 60), 0.1659),
    'virtual_kitti2': DataSet('outdoor', (80, 80), 0.1405),
    'mvs_synth': DataSet('outdoor', (80, 80), 0.0502),
    'unreal_stereo4k': DataSet('mixed', (90, 90), 0.0686),
    'ken_burns': DataSet('mixed', (60, 90), 0.1591),
    'dynamic_replica': DataSet('indoor', (85, 85), 0.1516),
    'structured3d': DataSet('indoor', None, 0.2641),
    'dap2m': DataSet('outdoor'),
    'matterport3d': DataSet('indoor'),
    'stanford2d3d': DataSet('indoor'),
    'panosuncg': DataSet('indoor'),
    'deep360': DataSet('outdoor'),
    'free_floor': DataSet('mixed'),
    'rgbd_folder': DataSet('mixed', (0, 180)),
}


def open_set(name: str, root, **options: Any):
    """
    Return a data set of the table: Panoramas or Views.

    :param options: arguments of the reader's `samples`; text, as a command line gives it, is
        turned into numbers where the reader wants one
    :raises DataError: if there is no such set or option, or no file in it
    """
    if name not in CATALOGUE:
        raise DataError(f'no data set {name!r}; there are {", ".join(CATALOGUE)}')
    reader = import_module(f'training.data.readers.{name}').samples
    known = inspect.signature(reader).parameters
    for key, value in options.items():
        if key not in known or key == 'root':
            raise DataError(f'{name} has no option {key!r}; it has '
                            f'{", ".join(list(known)[1:]) or "none"}')
        if isinstance(value, str) and 'float' in str(known[key].annotation):
            options[key] = _number(name, key, value)
    return reader(root, **options)


def _number(name: str, key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f'{name} option {key}={text!r} is no number') from None
