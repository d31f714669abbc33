# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The metres of a picture of ranges: a colour bar below it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.range_map import colour, RangeMap

TICKS_M = (0.3, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500, 1000)
NEAR_M = 0.3
FONT = cv2.FONT_HERSHEY_SIMPLEX
LEAST_PX_OF_VALUES = 320      # narrower pictures have room for the bar alone
VALUES = (('nearer', 255), ('empty', 0), ('unknown', 128))


def with_legend(picture: NDArray[np.uint8], far_m: float, values: bool = True,
                unit: str = 'm') -> NDArray[np.uint8]:
    """
    Return a picture of `range_map.colour` with its colour bar below.

    :param picture: (H, W, 3) BGR
    :param far_m: range of the coolest colour, as `colour_limit_m` tells it
    :param values: also show the colours of what has no range
    :return: (H + bar, W, 3) BGR
    """
    far_m = max(far_m, 1.1 * NEAR_M)
    ranges = NEAR_M * (far_m / NEAR_M) ** np.linspace(0, 1, 256)
    blank = np.zeros((1, 256, 3), np.uint8)
    row = colour(RangeMap(ranges[None].astype(np.float32), far_m, 0.0, blank), NEAR_M)
    ticks = [(float(np.log(tick / NEAR_M) / np.log(far_m / NEAR_M)), f'{tick:g}')
             for tick in TICKS_M if tick < 0.93 * far_m]
    return colour_bar(picture, row, [*ticks, (1.0, f'{far_m:.3g} {unit}')],
                      VALUES if values else ())


def colour_bar(picture: NDArray[np.uint8], row: NDArray[np.uint8],
               ticks: Sequence[tuple[float, str]],
               values: Sequence[tuple[str, int]] = ()) -> NDArray[np.uint8]:
    """
    Return a picture with a bar of colours below.

    :param row: (1, N, 3) BGR, from the left end of the bar to the right one
    :param ticks: place on the bar, 0 to 1 and rising, and text; what would overlap is left out
    :param values: text and grey level of single fields beside the bar
    """
    width = picture.shape[1]
    scale = float(np.clip(width / 560, 0.6, 1.2))
    values = values if width >= LEAST_PX_OF_VALUES else ()
    side, margin = round(16 * scale), round(min(22 * scale, width / 8))
    bar = np.full((side + round(24 * scale), width, 3), 255, np.uint8)
    end = round(width * (0.62 if values else 1)) - margin
    bar[4:4 + side, margin:end] = cv2.resize(row, (end - margin, side))
    free, last = 0, len(ticks) - 1
    reserved = end - _text_px(ticks[last][1], scale) // 2 - 6
    for number, (place, text) in enumerate(ticks):
        col, half = margin + round(place * (end - margin)), _text_px(text, scale) // 2
        if number < last and (col - half < free or col + half > reserved):
            continue
        cv2.line(bar, (col, 4 + side), (col, 6 + side), (90, 90, 90), 1)
        _write(bar, text, col - half, scale)
        free = col + half + 6
    for number, (text, level) in enumerate(values):
        left = end + 2 * margin + number * (width - end - 2 * margin) // len(values)
        for thickness, shade in ((-1, level), (1, 90)):
            cv2.rectangle(bar, (left, 4), (left + side, 3 + side), (shade,) * 3, thickness)
        _write(bar, text, left, scale)
    return np.vstack([picture, bar])


def colour_limit_m(range_map: RangeMap) -> float:
    """Return the range that `range_map.colour` paints in the coolest colour [m]."""
    if np.isfinite(range_map.limit_m):
        return range_map.limit_m
    known = range_map.range_m[range_map.valid]
    return float(known.max()) if known.size else 10 * NEAR_M


def _text_px(text: str, scale: float) -> int:
    return int(cv2.getTextSize(text, FONT, 0.5 * scale, 1)[0][0])


def _write(bar: NDArray[np.uint8], text: str, left: int, scale: float) -> None:
    left = int(np.clip(left, 1, max(bar.shape[1] - _text_px(text, scale) - 1, 1)))
    cv2.putText(bar, text, (left, bar.shape[0] - 4), FONT, 0.5 * scale, (40, 40, 40), 1,
                cv2.LINE_AA)
