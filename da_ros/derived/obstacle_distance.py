# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Obstacle distances for flight controllers: 72 beams clockwise, as MAVLink takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.scan import Scan

BEAMS = 72
STEP_RAD = 2 * np.pi / BEAMS
# One more centimetre after the limit means "empty" in MAVLink, and its converters cut off
# fractions in float32: the limit + 0.01 of 40.01 m becomes 4000 cm, an obstacle at the limit.
EMPTY_MARGIN_M = 0.015
MOST_RANGE_M = 650.0            # distances are uint16 centimetres, and the last one is "unknown"
CM_UNKNOWN = 65535
# The smallest float32 whose value in degrees is not below 5 in float32 either: a consumer that
# rounds (bin angle / increment) up must not skip to the next beam.
INCREMENT_RAD = np.float32(np.deg2rad(5.0))


class ObstacleDistance:
    """
    Turns level scans of one layout into 72 beams of 5 degrees, beam 0 straight ahead, clockwise.

    Beam k is the nearest of all within 5 degrees of 5 k degrees to the right of ahead, so that
    neighbours overlap and a consumer that reads every second beam misses nothing.
    """

    def __init__(self, beams: int):
        """
        Find the scan beams of each sector.

        :param beams: number of beams of the scans; these begin at -pi + half a beam
        """
        step = 2 * np.pi / beams
        centre = -np.pi + step / 2 + step * np.arange(beams)
        right = -centre[None, :] - STEP_RAD * np.arange(BEAMS)[:, None]
        off = np.abs((right + np.pi) % (2 * np.pi) - np.pi)
        sector, beam = np.nonzero(off < STEP_RAD + step / 2 - 1e-9)   # all that touch it
        self._beam, self._starts = beam, np.unique(sector, return_index=True)[1]

    def project(self, scan: Scan) -> Scan:
        """
        Return the beams, to be published in a frame of x forward, y right, z down.

        :return: `ranges` finite = nearest obstacle [m], never below `range_min`; `range_max` +
            0.015 = all seen and empty (the one place where empty is not +inf: MAVLink has no
            infinity); NaN = unknown
        """
        limit = _whole_centimetres(min(scan.range_max, MOST_RANGE_M))
        ranges = scan.ranges[self._beam]
        nearest = np.fmin.reduceat(ranges, self._starts)      # NaN only where all are NaN
        nearest = np.maximum(nearest, np.float32(scan.range_min))                # -inf
        unknown = np.logical_or.reduceat(np.isnan(ranges), self._starts)
        beyond = ~(nearest < limit)
        nearest[beyond] = np.where(unknown[beyond], np.float32(np.nan),
                                   np.float32(limit + EMPTY_MARGIN_M))
        return Scan(nearest, 0.0, float(INCREMENT_RAD), scan.range_min, limit)


def centimetres(beams: Scan) -> NDArray[np.uint16]:
    """Return what MAVLink's `distances` holds: cm, max + 1 = empty, 65535 = unknown."""
    scaled = np.where(np.isfinite(beams.ranges), beams.ranges, 0) * np.float32(100)
    return np.where(np.isfinite(beams.ranges), scaled.astype(np.uint16), CM_UNKNOWN
                    ).astype(np.uint16)


def _whole_centimetres(limit_m: float) -> float:
    """Return the limit cut to whole centimetres, so that limit + 0.015 is exactly one more."""
    return float(np.floor(limit_m * 100 + 1e-6) / 100)
