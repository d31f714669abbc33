# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Flying pixels: ranges between a near thing and what is behind it, where nothing is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class EdgeFilter:
    """
    Finds the steps of the range between neighbouring pixels, across the seam as elsewhere.

    A surface that makes the angle g with the ray changes its range from one pixel to the next by
    the factor 1 + pitch / tan(g), pitch being the angle between the pixels. What changes faster
    than a surface at `grazing_deg` is an edge. A pixel *between* two such steps, both up or both
    down, lies on no surface: a network has smeared the edge over it. The near side of an edge, a
    leg one pixel wide included, has a step on one side only or a valley of the range, and stays:
    to drop it would hide an obstacle.
    """

    def __init__(self, size_hw: tuple[int, int], grazing_deg: float):
        """
        Prepare the buffers.

        :param size_hw: height and width of the range maps [px]
        :param grazing_deg: flattest angle [deg] between ray and surface that is believed
        """
        height, width = size_hw
        # Rows are pi / height apart; columns never more, so no surface is taken for an edge.
        self._factor = np.float32(1 + np.pi / height / np.tan(np.deg2rad(grazing_deg)))
        self._raised = np.empty(size_hw, np.float32)
        self._edges = Edges(height, width)

    def find(self, range_m: NDArray[np.float32]) -> Edges:
        """
        Compare every pixel with its neighbours.

        :param range_m: (height, width) float32; any of the four kinds of value. NaN makes no step
        :return: the edges, in buffers that the next call overwrites
        """
        raised, edges = np.multiply(range_m, self._factor, out=self._raised), self._edges
        np.greater(range_m[:, 1:], raised[:, :-1], out=edges.up[:, 1:-1])
        np.greater(range_m[:, :-1], raised[:, 1:], out=edges.down[:, 1:-1])
        edges.up[:, 0] = edges.up[:, -1] = range_m[:, 0] > raised[:, -1]
        edges.down[:, 0] = edges.down[:, -1] = range_m[:, -1] > raised[:, 0]
        np.greater(range_m[1:], raised[:-1], out=edges.rise[1:-1])
        np.greater(range_m[:-1], raised[1:], out=edges.fall[1:-1])
        return edges


class Edges:
    """Steps between neighbouring pixels; column k of `up` is the step from column k - 1 to k."""

    def __init__(self, height: int, width: int):
        """Begin without a step; there is none beyond the poles."""
        self.up, self.down = np.zeros((2, height, width + 1), bool)
        self.rise, self.fall = np.zeros((2, height + 1, width), bool)

    def flying(self) -> NDArray[np.bool_]:
        """Return (height, width) bool, where a pixel lies between near and far, and on neither."""
        flying = self.up[:, :-1] & self.up[:, 1:]
        flying |= self.down[:, :-1] & self.down[:, 1:]
        flying |= self.rise[:-1] & self.rise[1:]
        flying |= self.fall[:-1] & self.fall[1:]
        return flying

    def steps(self) -> NDArray[np.bool_]:
        """Return (height, width) bool, True on both sides of every edge."""
        across, along = self.up | self.down, self.rise | self.fall
        return across[:, :-1] | across[:, 1:] | along[:-1] | along[1:]
