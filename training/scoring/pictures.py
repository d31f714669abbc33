# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pictures of one evaluated frame: input, prediction, truth, error map, scan from above."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.legend import colour_bar, with_legend
from da_ros.range_map import colour, RangeMap, resample_nearest
from training.data.obstacles import nearest_per_col

Array = NDArray[np.floating]
WIDTH, STRIP_PX = 640, 400
_AWAY = np.abs(np.arange(256) - 128)[:, None] / 128
_ERROR_COLOURS = (255 * (1 - _AWAY) + _AWAY * np.where(
    np.arange(256)[:, None] > 128, (40, 40, 230), (230, 110, 30))).astype(np.uint8)
TITLES = ('camera', 'prediction: range along the ray', 'truth (grey: not measured)',
          'error: red = published too far, blue = too near',
          'nearest obstacle from above: white = truth, orange = prediction')
TRUTH, PREDICTION = (255, 255, 255), (40, 150, 255)


def frame_strip(image: NDArray[np.uint8], pred: Array, target: Array,
                camera_height_m: float) -> NDArray[np.uint8]:
    """
    Return the five pictures of `frame_pictures` side by side.

    :return: (228, 4 * 400 + 228, 3) BGR
    """
    pictures = [picture for _, picture in frame_pictures(image, pred, target, camera_height_m,
                                                         STRIP_PX)]
    side = pictures[0].shape[0]
    pictures[-1] = np.asarray(cv2.resize(pictures[-1], (side, side), interpolation=cv2.INTER_AREA))
    return np.hstack(pictures)


def frame_pictures(image: NDArray[np.uint8], pred: Array, target: Array, camera_height_m: float,
                   width: int = WIDTH) -> list[tuple[str, NDArray[np.uint8]]]:
    """
    Return what TITLES name, each with its scale.

    Ranges share one colour scale (warm = near); the error is log2(prediction / truth), red = too
    far (dangerous), blue = too near, grey = unknown. From above: forward is up.

    :param image: (H, W, 3) BGR
    :param pred: range [m], (H, W), aligned
    :param target: true range [m], (H, W)
    :param camera_height_m: 0 = unknown: height band taken from 0.4 m below to 0.4 m above
    :return: (title, BGR picture): four of (width / 2 + bar, width), one of (width, width)
    """
    limit_m = _far(target, pred)
    overlay = scan_overlay(pred, target, camera_height_m, width)
    camera = np.asarray(cv2.resize(image, (width, width // 2), interpolation=cv2.INTER_AREA))
    pred, target = (resample_nearest(a.astype(np.float32), width // 2, width)
                    for a in (pred, target))
    shown = [with_legend(painted(r, limit_m), limit_m, values=False) for r in (pred, target)]
    error = _with_error_legend(error_map(pred, target))
    blank = np.full((shown[0].shape[0] - width // 2, width, 3), 255, np.uint8)
    return list(zip(TITLES, [np.vstack([camera, blank]), *shown, error, overlay]))


def painted(range_m: Array, limit_m: float) -> NDArray[np.uint8]:
    """Return a range in colour (BGR): warm = near, cool = limit, black = empty, grey = unknown."""
    blank = np.zeros((*range_m.shape, 3), np.uint8)
    return colour(RangeMap(np.maximum(range_m, 0.01).astype(np.float32), limit_m, 0.0, blank))


def error_map(pred: Array, target: Array) -> NDArray[np.uint8]:
    """Return log2(pred / target) in colour (BGR); full red or blue at a factor of two."""
    known = np.isfinite(pred) & np.isfinite(target) & (pred > 0) & (target > 0)
    octaves = np.log2(np.where(known, pred, 1) / np.where(known, target, 1))
    level = np.rint(128 + 127 * np.clip(octaves, -1, 1)).astype(np.uint8)
    picture = _ERROR_COLOURS[level]
    picture[~known] = 128
    return picture


def scan_overlay(pred: Array, target: Array, camera_height_m: float,
                 size_px: int) -> NDArray[np.uint8]:
    """Return the nearest obstacle of every column from above, forward up, 5.5 m half width."""
    picture = np.full((size_px, size_px, 3), 30, np.uint8)
    middle, metre, dot = size_px // 2, size_px / 11, max(1, size_px // 200)
    for radius in (1, 2, 3, 5):
        cv2.circle(picture, (middle, middle), round(radius * metre), (85, 85, 85), 1, cv2.LINE_AA)
        cv2.putText(picture, f'{radius} m', (middle + 4, middle + round(radius * metre) - 4),
                    cv2.FONT_HERSHEY_SIMPLEX, size_px / 1000, (170, 170, 170), 1, cv2.LINE_AA)
    cv2.arrowedLine(picture, (middle, middle + 6), (middle, middle - 10), (80, 200, 80), 2)
    for range_m, shade in ((target, TRUTH), (pred, PREDICTION)):
        distance = _nearest(range_m, camera_height_m)
        azimuth = np.pi * (1 - 2 * (np.arange(distance.size) + 0.5) / distance.size)
        seen = np.isfinite(distance) & (distance < 5.5)
        for row, col in zip((middle - metre * distance[seen] * np.cos(azimuth[seen])).astype(int),
                            (middle - metre * distance[seen] * np.sin(azimuth[seen])).astype(int)):
            cv2.circle(picture, (int(col), int(row)), dot, shade, -1)
    return picture


def _with_error_legend(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    ratios = 2.0 ** np.linspace(-1, 1, 256)
    ticks = ((0.5, 'half'), (0.71, '0.7'), (1.0, 'right'), (1.41, '1.4'), (2.0, 'double'))
    return colour_bar(picture, error_map(ratios[None], np.ones((1, 256))),
                      [(0.5 + 0.5 * np.log2(ratio), text) for ratio, text in ticks])


def data_uri(picture: NDArray[np.uint8], quality: int = 80) -> str:
    """Return a BGR picture as a JPEG data URI for a self-contained page."""
    encoded = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return 'data:image/jpeg;base64,' + base64.b64encode(encoded.tobytes()).decode()


def _nearest(range_m: Array, camera_height_m: float) -> Array:
    if camera_height_m > 0:
        return nearest_per_col(range_m, camera_height_m)
    rows = range_m.shape[0]
    band = np.zeros(rows, bool)
    band[int(0.45 * rows):int(0.55 * rows)] = True          # 9 degrees up and down
    return np.where(np.isfinite(range_m) & band[:, None], range_m, np.inf).min(axis=0)


def _far(target: Array, pred: Array) -> float:
    known = target[np.isfinite(target)]
    known = known if known.size else pred[np.isfinite(pred)]
    return float(np.clip(np.percentile(known, 99), 2, 100)) if known.size else 10.0
