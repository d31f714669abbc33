# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Metres for scale-invariant bundles, and a check on metric ones: the floor and the mounting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.config import ConfigError, ScaleConfig
from da_ros.derived.floor import floor_below, LEAST_SHARE
from da_ros.errors import DaRosError


class ScaleError(DaRosError):
    """A frame whose scale cannot be told."""


def metres_per_unit(range_units: NDArray[np.floating], scale: ScaleConfig,
                    camera_height_m: float) -> float:
    """
    Return the factor that turns a scale-invariant prediction into metres.

    :param scale: source `fixed` or `camera_height`
    :raises ScaleError: if the source is `camera_height` and no floor is seen
    """
    if scale.source == 'fixed':
        return scale.metres_per_unit
    depth, share = floor_below(range_units)
    if not share >= LEAST_SHARE:
        raise ScaleError(f'no floor to take the scale from: one plane fills {share:.0%} of the '
                         f'downward view, needs {LEAST_SHARE:.0%}; set scale.source fixed, or '
                         'check that the camera is level')
    return camera_height_m / depth


def check_scale(kind: str, name: str, scale: ScaleConfig, camera_height_m: float) -> None:
    """
    Refuse to publish metres that nothing vouches for.

    :param kind: of the bundle, metric or scale_invariant
    :raises ConfigError: naming the bundle and the remedy
    """
    if kind == 'scale_invariant' and scale.source == 'none':
        raise ConfigError(
            f'bundle {name!r} is scale_invariant: it gives no metres by itself; set scale.source '
            'to camera_height (with camera_height_m) or fixed (with scale.metres_per_unit)')
    if kind == 'scale_invariant' and scale.source == 'camera_height' and not camera_height_m:
        raise ConfigError('scale.source camera_height needs camera_height_m above 0; set the '
                          'height of the camera above the floor')
