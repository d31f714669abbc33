# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The scale over time: an exponential mean that frames without a floor do not move.

A network that sees one panorama at a time finds the same room a little larger or smaller in every
frame; the floor below the camera, whose distance a robot does not change, tells by how much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.scale import floor_below, LEAST_SHARE

GATE = 0.1              # log scale: farther from the mean than this is no noise of the fit
NEW_SHARE = 0.1         # of a frame in the mean
JUMP_FRAMES = 5         # as many in a row beyond the gate that agree: the scale has changed


class ScaleTrack:
    """
    The gated exponential mean of a log scale; `state` says in words what it does.

    One measurement beyond the gate (a table below the camera, a ramp) is left out and the mean
    stays; `JUMP_FRAMES` in a row that agree among themselves start it anew.
    """

    def __init__(self) -> None:
        """Start without a scale."""
        self.log_scale = float('nan')   # the mean; NaN before the first measurement
        self.state = 'no floor seen yet'
        self._odd: list[float] = []

    def reset(self, why: str) -> None:
        """Forget the scale, as after a change of bundle or mounting."""
        self.log_scale, self._odd = float('nan'), []
        self.state = f'no floor seen yet: {why}'

    def update(self, log_scale: float) -> bool:
        """
        Take in the log scale of a frame.

        :param log_scale: NaN where the frame does not tell
        :return: whether it agrees with the mean, so that the frame may be held to it
        """
        if not np.isfinite(log_scale):
            self._odd = []
            if np.isfinite(self.log_scale):
                self.state = f'frozen at {self._factor()}: no floor in this frame'
            return False
        if not np.isfinite(self.log_scale):
            return self._start(log_scale, 'started')
        if abs(log_scale - self.log_scale) <= GATE:
            self._odd = []
            self.log_scale += NEW_SHARE * (log_scale - self.log_scale)
            self.state = f'{self._factor()}, this frame {np.exp(log_scale):.3f}'
            return True
        self._odd.append(log_scale)
        if max(self._odd) - min(self._odd) > GATE:
            self._odd = [log_scale]
        if len(self._odd) >= JUMP_FRAMES:
            return self._start(float(np.median(self._odd)), 'started again after a jump')
        self.state = f'frozen at {self._factor()}: this frame says {np.exp(log_scale):.3f}'
        return False

    def _start(self, log_scale: float, how: str) -> bool:
        self.log_scale, self._odd = log_scale, []
        self.state = f'{self._factor()}, {how}'
        return True

    def _factor(self) -> str:
        return f'{np.exp(self.log_scale):.3f}'


def log_floor_depth(range_units: NDArray[np.floating]) -> float:
    """Return the log of the depth of the floor below a level camera; NaN without a clear floor."""
    depth, share = floor_below(range_units)
    return float(np.log(depth)) if share >= LEAST_SHARE and depth > 0 else float('nan')


def held_to_floor(range_m: NDArray[np.float32], track: ScaleTrack) -> NDArray[np.float32]:
    """
    Return a metric prediction scaled so that its floor lies where it did in the frames before.

    :param range_m: (H, W) m, a level camera at a height that does not change
    :param track: of the log depth of the floor; updated
    :return: the prediction itself where the frame has no floor, or one that jumped
    """
    log_depth = log_floor_depth(range_m)
    if not track.update(log_depth):
        return range_m
    return range_m * np.float32(np.exp(track.log_scale - log_depth))


def tracked_metres_per_unit(range_units: NDArray[np.float32], camera_height_m: float,
                            track: ScaleTrack) -> float:
    """
    Return the factor that makes a scale-invariant prediction metric.

    The scale of such a network is another one in every frame, so a floor that agrees with the
    mean tells it best, and the mean stands in where there is none, or one that jumped.

    :param camera_height_m: above the floor [m], > 0
    :param track: of the log depth of the floor; updated, and frozen where there is no floor
    :return: NaN before the first floor was seen
    """
    log_depth = log_floor_depth(range_units)
    agrees = track.update(log_depth)
    return float(camera_height_m / np.exp(log_depth if agrees else track.log_scale))
