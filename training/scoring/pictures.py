"""Pictures of one evaluated frame: input, prediction, truth, error map, scan from above."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.range_map import colour, RangeMap, resample_nearest
from training.obstacles import nearest_per_col

Array = NDArray[np.floating]
WIDTH = 400
_AWAY = np.abs(np.arange(256) - 128)[:, None] / 128
_ERROR_COLOURS = (255 * (1 - _AWAY) + _AWAY * np.where(
    np.arange(256)[:, None] > 128, (40, 40, 230), (230, 110, 30))).astype(np.uint8)
TITLES = ('input', 'prediction', 'truth', 'error', 'nearest obstacle from above')


def frame_strip(image: NDArray[np.uint8], pred: Array, target: Array,
                camera_height_m: float) -> NDArray[np.uint8]:
    """
    Return the five pictures of TITLES side by side.

    Ranges share one colour scale (warm = near); the error is log2(prediction / truth), red = too
    far (dangerous), blue = too near, grey = unknown. From above: forward is up, white = truth,
    orange = prediction, circles at 1, 2 and 5 m.

    :param image: (H, W, 3) BGR
    :param pred: range [m], (H, W), aligned
    :param target: true range [m], (H, W)
    :param camera_height_m: 0 = unknown: height band taken from 0.4 m below to 0.4 m above
    :return: (200, 4 * 400 + 200, 3) BGR
    """
    limit_m = _far(target, pred)
    overlay = scan_overlay(pred, target, camera_height_m, WIDTH // 2)
    picture = cv2.resize(image, (WIDTH, WIDTH // 2), interpolation=cv2.INTER_AREA)
    pred, target = (resample_nearest(a.astype(np.float32), WIDTH // 2, WIDTH)
                    for a in (pred, target))
    return np.hstack([picture, painted(pred, limit_m), painted(target, limit_m),
                      error_map(pred, target), overlay])


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
    middle, metre = size_px // 2, size_px / 11
    for radius in (1, 2, 5):
        cv2.circle(picture, (middle, middle), round(radius * metre), (80, 80, 80), 1)
    cv2.line(picture, (middle, middle), (middle, middle - 8), (80, 200, 80), 1)
    for range_m, dot in ((target, (255, 255, 255)), (pred, (40, 150, 255))):
        distance = _nearest(range_m, camera_height_m)
        azimuth = np.pi * (1 - 2 * (np.arange(distance.size) + 0.5) / distance.size)
        seen = np.isfinite(distance) & (distance < 5.5)
        row = (middle - metre * distance[seen] * np.cos(azimuth[seen])).astype(int)
        col = (middle - metre * distance[seen] * np.sin(azimuth[seen])).astype(int)
        inside = (row >= 0) & (row < size_px) & (col >= 0) & (col < size_px)
        picture[row[inside], col[inside]] = dot
    return picture


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
