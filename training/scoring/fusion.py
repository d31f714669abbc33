# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The baseline of both papers: a perspective depth network on overlapping views, merged on a sphere.

Views of one network disagree in scale; their log scales are set by least squares over the
overlaps, then log ranges are averaged with weights that fall to zero at the border of a view.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from pathlib import Path
import time

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.sphere import angles_from_ray, col_from_azimuth, erp_rays, row_from_elevation

Array = NDArray[np.floating]
FIELD_DEG = 90.0
# azimuth, elevation [deg]: a belt at the horizon, four views each up and down
VIEWS_DEG = (*((a, 0.0) for a in range(0, 360, 60)),
             *((a, e) for e in (55.0, -55.0) for a in range(45, 405, 90)))


class FusionError(DaRosError):
    """A perspective network that cannot be used."""


class FusionPredictor:
    """A perspective depth ONNX on 14 views; a `predictors.Predictor`."""

    uses_camera_height = False
    range_masks_m: tuple[float, ...] = ()
    backend = 'onnxruntime, 14 views'

    def __init__(self, path: str | Path, threads: int = 0):
        """
        Open the network.

        :param path: ONNX file, in: float32 (1, 3, h, w) RGB in 0..1, h = w; out: z-depth
            (1, h, w) or (1, 1, h, w), metres or of one unknown scale
        :raises FusionError: if it is missing or of another shape
        """
        import onnxruntime
        if not Path(path).is_file():
            raise FusionError(f'no perspective network {path}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider'])
        except Exception as error:
            raise FusionError(f'{path} cannot be opened: {str(error).splitlines()[0]}') from error
        entry = self._session.get_inputs()[0]
        shape = entry.shape
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or isinstance(shape[2], str):
            raise FusionError(f'{path} takes {shape}; fixed (1, 3, n, n) is needed')
        self._input, self._side = entry.name, int(shape[2])
        self.name = f'fusion {Path(path).stem}'
        self.times_ms: list[float] = []

    def range_m(self, image: NDArray[np.uint8], camera_height_m: float) -> NDArray[np.float32]:
        """Return the range of a BGR panorama in the unit of the network, (h, w) float32."""
        started = time.perf_counter()
        views = [self._view(image, *angles) for angles in VIEWS_DEG]
        fused = merge(views, *image.shape[:2])
        self.times_ms.append(1000 * (time.perf_counter() - started))
        return fused

    def within(self, image: NDArray[np.uint8], mask_m: float) -> NDArray[np.bool_]:
        """Return where the range is within a mask; such networks have no mask of their own."""
        return self.range_m(image, 0.0) <= mask_m

    def _view(self, image: NDArray[np.uint8], azimuth_deg: float,
              elevation_deg: float) -> NDArray[np.float32]:
        """Return the range along the ray of each pixel of a view, (n, n)."""
        rays = view_rays(self._side) @ view_rotation(azimuth_deg, elevation_deg).T
        azimuth, elevation = angles_from_ray(rays)
        height, width = image.shape[:2]
        wrapped = np.pad(image, ((0, 0), (1, 1), (0, 0)), mode='wrap')
        col = col_from_azimuth(azimuth, width) + 0.5
        row = np.clip(row_from_elevation(elevation, height) - 0.5, 0, height - 1)
        view = cv2.remap(wrapped, col.astype(np.float32), row.astype(np.float32),
                         cv2.INTER_LINEAR)
        tensor = np.ascontiguousarray(view[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        depth = self._session.run(None, {self._input: tensor})[0].reshape(self._side, -1)
        return np.maximum(depth, 1e-3).astype(np.float32) / view_rays(self._side)[..., 0]


@lru_cache(maxsize=4)
def view_rays(side: int) -> Array:
    """Return the unit rays (n, n, 3) of a square view along +x, FIELD_DEG wide."""
    step = np.tan(np.radians(FIELD_DEG / 2)) * (1 - 2 * (np.arange(side) + 0.5) / side)
    rays = np.stack(np.broadcast_arrays(1.0, step[None, :], step[:, None]), axis=-1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def view_rotation(azimuth_deg: float, elevation_deg: float) -> Array:
    """Return (3, 3) body from view: the view's +x axis looks along the given direction."""
    azimuth, elevation = np.radians([azimuth_deg, elevation_deg])
    ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
    return np.array([[ca * ce, -sa, -ca * se], [sa * ce, ca, -sa * se], [se, 0.0, ce]])


def merge(views: list[NDArray[np.float32]], height: int, width: int) -> NDArray[np.float32]:
    """
    Merge the ranges of VIEWS_DEG into a panorama.

    :param views: one (n, n) range map per view, > 0
    :return: (height, width) float32
    """
    rays = erp_rays(height, width)
    logs = np.full((len(views), height, width), np.nan, np.float32)
    weights = np.zeros((len(views), height, width), np.float32)
    for index, (view, angles) in enumerate(zip(views, VIEWS_DEG)):
        logs[index], weights[index] = _on_sphere(np.log(view), rays @ view_rotation(*angles))
    logs -= _log_scales(logs)[:, None, None]
    total = weights.sum(axis=0)
    mean = np.nansum(np.where(weights > 0, logs, 0) * weights, axis=0) / np.maximum(total, 1e-6)
    return np.where(total > 0, np.exp(mean), np.nan).astype(np.float32)


def _on_sphere(log_range: Array, rays: Array) -> tuple[Array, Array]:
    """Sample a view at panorama rays given in the view's frame; weight 0 outside."""
    side = log_range.shape[0]
    half = np.tan(np.radians(FIELD_DEG / 2))
    ahead = rays[..., 0] > 1e-3
    forward = np.where(ahead, rays[..., 0], 1.0)
    across, up = rays[..., 1] / forward / half, rays[..., 2] / forward / half
    inside = ahead & (np.abs(across) < 1) & (np.abs(up) < 1)
    col, row = ((1 - a) / 2 * side - 0.5 for a in (across, up))
    sampled = cv2.remap(log_range.astype(np.float32), col.astype(np.float32),
                        row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # Falls to 0 at the border of a view, so that no edge of a view shows up in the fusion.
    weight = np.where(inside, (1 - np.abs(across)) * (1 - np.abs(up)), 0.0)
    return np.where(inside, sampled, np.nan), weight


def _log_scales(logs: Array) -> Array:
    """Return each view's log scale from the median differences in its overlaps; mean 0."""
    rows, values = [np.ones(len(logs))], [0.0]
    for a, b in combinations(range(len(logs)), 2):
        difference = (logs[a, ::4, ::4] - logs[b, ::4, ::4]).ravel()
        difference = difference[np.isfinite(difference)]
        if difference.size > 20:
            row = np.zeros(len(logs))
            row[a], row[b] = 1.0, -1.0
            rows.append(row)
            values.append(float(np.median(difference)))
    return np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
