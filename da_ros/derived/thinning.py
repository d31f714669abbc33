# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which pixels of a panorama become points: cells of the sphere, and what each of them keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import elevation_from_row

# Bits of float32 values: of non-negative ones they have the order of the values, and NaN is last.
INFINITY_BITS = np.uint32(0x7F800000)
NOTHING = np.uint32(0xFFFFFFFF)


class NearestCells:
    """
    Cells of about equal size that tile the sphere; each keeps its nearest pixel.

    A mean, or one pixel chosen beforehand, would lose a chair leg between two samples; the
    nearest pixel of every cell loses nothing that a robot could touch first.
    """

    def __init__(self, size_hw: tuple[int, int], max_cells: int):
        """
        Cut the panorama: bands of rows, and each band into as many cells as its parallel is long.

        :param size_hw: height and width of the range maps [px]
        :param max_cells: most cells, >= 1
        """
        height, width = size_hw
        side = np.sqrt(4 * np.pi / max_cells)
        self._rows = rows = min(max(1, round(side / (np.pi / height))), height)
        bands = -(-height // rows)
        middle = np.minimum((np.arange(bands) + 0.5) * rows, height)
        counts = counts_within_budget(
            np.cos(elevation_from_row(middle, height)), width, max_cells, least=1)
        starts = [(np.arange(count) * width / count).astype(np.intp) for count in counts]
        self._starts = np.concatenate([band * width + s for band, s in enumerate(starts)])
        self._first = np.concatenate([band * rows * width + s for band, s in enumerate(starts)])
        lengths = np.diff(self._starts, append=bands * width)
        self._number_pixels(size_hw, int(lengths.max()), lengths)
        self._keys = np.full((bands * rows, width), NOTHING)      # also below the last row
        self._flags = np.ones((bands * rows, width), bool)
        band_rows = np.minimum(rows, height - self._first // width)
        self.centre = self._first + band_rows // 2 * width + lengths // 2   # pixel of each cell

    def _number_pixels(self, size_hw: tuple[int, int], widest: int,
                       lengths: NDArray[np.intp]) -> None:
        """Number the pixels of a cell; the number goes into the low bits of the range."""
        height, width = size_hw
        local = np.arange(widest * self._rows)
        self._offset = local // widest * width + local % widest
        low_bits = np.uint32((1 << int(len(local) - 1).bit_length()) - 1)
        self._low, self._high = low_bits, ~low_bits
        col = np.arange(self._starts[-1] + lengths[-1]) - np.repeat(self._starts, lengths)
        col = np.repeat(col.reshape(-1, width), self._rows, axis=0)[:height]
        row = np.arange(height)[:, None] % self._rows
        self._local = (row * widest + col).astype(np.uint32)

    def nearest(self, range_m: NDArray[np.float32]) -> NDArray[np.intp]:
        """
        Return the flat index of the nearest pixel of every cell that has a finite range.

        Ranges that differ by less than the bits of a cell's pixel numbers leave (some 0.1 % for
        30,000 cells) count as equal.

        :param range_m: (height, width) float32, >= 0, +inf, -inf or NaN; -inf counts as nothing
        """
        height, width = self._local.shape
        bits = self._keys[:height]
        np.bitwise_and(np.ascontiguousarray(range_m).view(np.uint32), self._high, out=bits)
        np.bitwise_or(bits, self._local, out=bits)
        bands = np.minimum.reduce(self._keys.reshape(-1, self._rows, width), axis=1)
        keys = np.minimum.reduceat(bands.reshape(-1), self._starts)
        finite = keys < INFINITY_BITS
        return self._first[finite] + self._offset[keys[finite] & self._low]

    def empty(self, range_m: NDArray[np.float32]) -> NDArray[np.bool_]:
        """
        Return bool (cells,), True where every pixel of the cell is +inf.

        One unknown pixel is enough to keep a cell from being called empty.
        """
        height, width = self._local.shape
        np.equal(range_m, np.float32(np.inf), out=self._flags[:height])
        bands = np.logical_and.reduce(self._flags.reshape(-1, self._rows, width), axis=1)
        return np.asarray(np.logical_and.reduceat(bands.reshape(-1), self._starts))


def sphere_uniform_index(size_hw: tuple[int, int], max_points: int) -> NDArray[np.intp]:
    """
    Return the flat indices of exactly `max_points` pixels, spread evenly over the sphere.

    A row at elevation e keeps a share of its pixels proportional to cos(e), evenly spaced from a
    start that differs from row to row, so that no meridian is preferred.

    :param max_points: at least 1; more than there are pixels = every pixel
    """
    height, width = size_hw
    if max_points >= height * width:
        return np.arange(height * width)
    weight = np.cos(elevation_from_row(np.arange(height) + 0.5, height))
    per_row = counts_within_budget(weight, width, max_points)
    start = np.arange(height) * 0.6180339887498949 % 1      # golden ratio: no two rows alike
    rows = [row * width + ((np.arange(count) + start[row]) * width / count).astype(np.intp)
            for row, count in enumerate(per_row) if count]
    return np.concatenate(rows)


def counts_within_budget(weight: NDArray[np.float64], width: int, budget: int,
                         least: int = 0) -> NDArray[np.intp]:
    """
    Return how many samples each row gets: in proportion to its weight, `budget` in all.

    :param weight: (rows,) positive
    :param width: most samples of a row
    :param least: fewest samples of a row; `least` times the rows must be within the budget
    """
    low, high = 0.0, width / weight.min()
    for _ in range(60):                   # bisect the density: rows saturate at their width
        middle = (low + high) / 2
        if np.clip(np.floor(middle * weight), least, width).sum() <= budget:
            low = middle
        else:
            high = middle
    exact = np.clip(low * weight, least, width)
    counts = np.floor(exact).astype(np.intp)
    # Rows of equal elevation reach their next whole number together, north and south, so what is
    # left of the budget goes to the rows that have lost most by rounding, the level ones first:
    # otherwise a budget of 1 would be an empty cloud.
    lost = np.where(counts < width, exact - counts, -1.0)
    order = np.lexsort((-weight, -np.round(lost, 9)))
    counts[order[:budget - counts.sum()]] += 1
    return np.minimum(counts, width)
