# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A picture of one scored photograph: what is labelled, what was predicted, what was missed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.free_space import BINS, elevation_deg, Truth
from training.data.obstacles import FALSE_ALARM_RATIO, PHOTOGRAPH, SECTORS, verdicts
from training.scoring.free_space import PhotographScore

Array = NDArray[np.floating]
WIDTH = 800
ABOVE_H = 4.0           # half the width of the view from above
RED, BLUE, ORANGE, WHITE = (40, 40, 235), (235, 120, 30), (40, 150, 255), (255, 255, 255)
# BGR: foot seen, thin, overhang, not judged
KINDS = {'clear': (80, 220, 80), 'thin': (60, 230, 230), 'overhang': (230, 200, 40),
         'unsure': (150, 150, 150)}
LEGEND = ('labelled: green = foot seen, yellow = thin, cyan = below an overhang, grey = not '
          'judged; predicted: orange; red = missed, blue = false alarm')


def photograph_strip(image: NDArray[np.uint8], truth: Truth, score: PhotographScore
                     ) -> NDArray[np.uint8]:
    """
    Return label, prediction and the view from above side by side, (400, 2000, 3) BGR.

    From above: forward is up, circles at 1, 2 and 3 h, white = labelled, orange = predicted.

    :param image: (H, W, 3) RGB
    """
    photo = cv2.resize(np.ascontiguousarray(image[..., ::-1]), (WIDTH, WIDTH // 2),
                       interpolation=cv2.INTER_AREA)
    missed, alarms = wrong_degrees(truth, score)
    labelled, predicted = photo.copy(), photo.copy()
    for kind, paint in KINDS.items():
        _line(labelled, getattr(truth, kind), paint)
    _shade(predicted, missed, np.minimum.reduce([truth.clear, truth.thin, truth.overhang]), RED)
    _shade(predicted, alarms, score.boundary, BLUE)
    _line(predicted, score.boundary, ORANGE)
    return np.hstack([labelled, predicted, _above(truth, score, missed, alarms)])


def wrong_degrees(truth: Truth, score: PhotographScore
                  ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (360,) where something within R is predicted too far, or within R and not there."""
    rows = np.repeat(score.sectors, BINS // SECTORS)
    pred = score.boundary
    obstacle = (rows['kind'] == 'obstacle') & (truth.clear <= PHOTOGRAPH.within)
    missed = obstacle & verdicts(rows['true'], rows['pred'], PHOTOGRAPH)[1]
    for kind in ('thin', 'overhang'):
        late = verdicts(rows[kind], rows[f'{kind}_pred'], PHOTOGRAPH)[1]
        missed |= late & (getattr(truth, kind) <= PHOTOGRAPH.within)
    alarms = ((rows['kind'] == 'free') & (pred < PHOTOGRAPH.within)
              & (pred < FALSE_ALARM_RATIO * rows['true']))
    return missed, alarms


def _cols(degree: int, width: int) -> slice:
    """Return the columns of a degree; degree 0 begins at azimuth -180, at the right border."""
    return slice(width - (degree + 1) * width // BINS, width - degree * width // BINS)


def _line(picture: NDArray[np.uint8], distance: Array, paint: tuple[int, int, int]) -> None:
    height, width = picture.shape[:2]
    for degree in np.flatnonzero(np.isfinite(distance)):
        row = round((0.5 - float(elevation_deg(distance[degree])) / 180) * height)
        picture[max(row - 1, 0):row + 2, _cols(degree, width)] = paint


def _shade(picture: NDArray[np.uint8], where: NDArray[np.bool_], distance: Array,
           paint: tuple[int, int, int]) -> None:
    """Tint the upright surface at a distance, from the floor to the top of the obstacle band."""
    height, width = picture.shape[:2]
    for degree in np.flatnonzero(where & np.isfinite(distance)):
        rise = np.degrees(np.arctan((PHOTOGRAPH.highest - 1) / distance[degree]))
        top, foot = (round((0.5 - angle / 180) * height)
                     for angle in (rise, float(elevation_deg(distance[degree]))))
        area = picture[top:foot + 1, _cols(degree, width)]
        area[:] = (0.45 * area + 0.55 * np.array(paint)).astype(np.uint8)


def _above(truth: Truth, score: PhotographScore, missed: NDArray[np.bool_],
           alarms: NDArray[np.bool_]) -> NDArray[np.uint8]:
    size = WIDTH // 2
    picture = np.full((size, size, 3), 30, np.uint8)
    middle, unit = size // 2, size / (2 * ABOVE_H)
    for radius in (1, 2, 3):
        cv2.circle(picture, (middle, middle), round(radius * unit), (80, 80, 80), 1)
    cv2.line(picture, (middle, middle), (middle, middle - 8), (80, 200, 80), 1)
    nearest = np.minimum.reduce([truth.clear, truth.thin, truth.overhang])
    azimuth = np.radians(-180 + np.arange(BINS) + .5)
    every = np.ones(BINS, bool)
    for distance, where, paint, dot in (
            (truth.unsure, every, KINDS['unsure'], 1), (nearest, every, WHITE, 1),
            (score.boundary, every, ORANGE, 1), (nearest, missed, RED, 2),
            (score.boundary, alarms, BLUE, 2)):
        for degree in np.flatnonzero(where & (distance < 1.4 * ABOVE_H)):
            away = unit * distance[degree]
            centre = (round(middle - away * np.sin(azimuth[degree])),
                      round(middle - away * np.cos(azimuth[degree])))
            cv2.circle(picture, centre, dot, paint, -1)
    return picture
