"""Metres for scale-invariant bundles, and a check on metric ones: the floor and the mounting."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from da_ros.config import ConfigError, ScaleConfig
from da_ros.errors import DaRosError
from da_ros.sphere import erp_rays, solid_angles

STEEPEST_RAD, FLATTEST_RAD = np.deg2rad(80.0), np.deg2rad(15.0)   # below the horizon
BIN = 0.02                     # of the logarithm of the depth below the camera: 2 %
SPAN = 8.0                     # of that logarithm: a factor of 3000
LEAST_SHARE = 0.2              # of the downward view that must lie in one horizontal plane


class ScaleError(DaRosError):
    """A frame whose scale cannot be told."""


def floor_below(range_m: NDArray[np.floating]) -> tuple[float, float]:
    """
    Return how far the floor lies below the camera, in units of the range.

    The floor is the horizontal plane that fills most of the downward view: the fullest bin of
    the logarithm of each pixel's depth below the camera, weighted by solid angle. Needs a level
    camera.

    :param range_m: (H, W), any unit; only finite positive values count
    :return: depth in the range's unit (NaN without data), and the share of the view in the plane
    """
    pixel, drop, weight = _downward(*range_m.shape)
    below = range_m.reshape(-1)[pixel] * drop
    usable = np.isfinite(below) & (below > 0)
    if not usable.any():
        return float('nan'), 0.0
    level, weight = np.log(below[usable]), weight[usable]
    bins = np.clip(((level + SPAN / 2) / BIN).astype(np.intp), 0, round(SPAN / BIN) - 1)
    mass = np.bincount(bins, weight, minlength=round(SPAN / BIN))
    smooth = np.convolve(mass, np.ones(5), 'same')              # a plane within +- 5 %
    best = int(smooth.argmax())
    inside = np.abs(bins - best) <= 2
    depth = np.exp(np.average(level[inside], weights=weight[inside]))
    return float(depth), float(smooth[best] / _downward(*range_m.shape)[2].sum())


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


@lru_cache(maxsize=4)
def _downward(height: int, width: int) -> tuple[NDArray, NDArray, NDArray]:
    drop = -erp_rays(height, width)[..., 2].reshape(-1)
    chosen = (drop > np.sin(FLATTEST_RAD)) & (drop < np.sin(STEEPEST_RAD))
    pixel = np.flatnonzero(chosen)
    return pixel, drop[pixel].astype(np.float32), solid_angles(height, width).reshape(-1)[pixel]
