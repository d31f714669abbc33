# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Completing the colours of a panorama of which only a part is seen; range is never completed.

An out-painter is a function (image, seen, rng) -> image, all of one size. Two exist:
:class:`PyramidFill`, without any dependency, and :class:`training.curation.flux.FluxFill`.
"""

from __future__ import annotations

from typing import Protocol as Interface

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.sphere import check_erp_size


class CurationError(DaRosError):
    """Something that curation cannot use."""


class Outpainter(Interface):
    """What fills the unseen part of a panorama."""

    def __call__(self, image: NDArray[np.uint8], seen: NDArray[np.bool_],
                 rng: np.random.Generator) -> NDArray[np.uint8]:
        """
        Return the image (H, W, 3) RGB with the unseen part filled; the seen part as it was.

        :param seen: (H, W), True where the image is given
        :param rng: what chance decides, so that a seed decides the result
        """


class PyramidFill:
    """
    Push-pull: unseen pixels take the mean of what coarser levels of a pyramid know.

    The pyramid closes at the seam. The view's detail, mirrored sideways, is laid over it and
    fades, so that sharpness alone does not betray the border of the view.
    """

    def __call__(self, image, seen, rng) -> NDArray[np.uint8]:
        """:raises CurationError: if nothing is seen."""
        check_erp_size(*seen.shape)
        if not seen.any():
            raise CurationError('nothing of the panorama is seen, nothing can be filled from it')
        smooth = push_pull(image.astype(np.float32), seen.astype(np.float32))
        filled = np.clip(smooth + _mirrored_detail(image, smooth, seen), 0, 255)
        return np.where(seen[..., None], image, np.rint(filled).astype(np.uint8))


def push_pull(colour: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Return the colours with those of weight 0 interpolated; closed in azimuth.

    :param colour: (h, w, 3); what lies under weight 0 does not matter
    :param weight: (h, w) in 0..1, not all 0
    """
    height, width = weight.shape
    if weight.min() > 0 or height < 2 or height % 2 or width % 2:
        mean = (colour * weight[..., None]).sum((0, 1)) / weight.sum()
        return np.where(weight[..., None] > 0, colour, mean)
    size = width // 2, height // 2
    coarse_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(colour * weight[..., None], size, interpolation=cv2.INTER_AREA)
    coarse = push_pull(coarse / np.maximum(coarse_weight, 1e-6)[..., None],
                       np.minimum(coarse_weight * 4, 1))
    wrapped = cv2.copyMakeBorder(coarse, 0, 0, 1, 1, cv2.BORDER_WRAP)
    fine = cv2.resize(wrapped, (width + 4, height), interpolation=cv2.INTER_LINEAR)[:, 2:-2]
    return weight[..., None] * colour + (1 - weight[..., None]) * fine


def _mirrored_detail(image, smooth, seen) -> NDArray[np.float32]:
    """Return what mirroring the view sideways adds to a smooth fill; it fades away from it."""
    width = seen.shape[1]
    cols = np.flatnonzero(seen.any(0))
    if len(cols) == width:
        return np.zeros_like(smooth)
    # The view may lie across the border: it begins after the widest gap between its columns.
    after_gap = np.argmax(np.diff(cols, append=cols[0] + width)) + 1
    first, count = int(cols[after_gap % len(cols)]), len(cols)
    detail = np.where(seen[..., None], image - _blur(image, seen), 0)
    beyond = np.arange(width)                   # columns right of the first one of the view
    tile = beyond % (2 * count)
    source = np.where(tile < count, tile, 2 * count - 1 - tile)
    away = np.where(beyond < count, 0, np.minimum(beyond - count, width - 1 - beyond))
    mirrored = detail[:, (first + source) % width] * np.exp(-8 * away / width)[:, None]
    return np.roll(mirrored, first, 1).astype(np.float32)


def _blur(image, seen) -> NDArray[np.float32]:
    """Return the image blurred by 3 degrees over the seen part alone."""
    sigma = seen.shape[0] / 60
    weight = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), sigma)
    blurred = cv2.GaussianBlur(image.astype(np.float32) * seen[..., None], (0, 0), sigma)
    return blurred / np.maximum(weight, 1e-3)[..., None]
