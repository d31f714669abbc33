# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Which directions show the robot itself: a picture, an elevation, boxes, or learned from a drive.

What is masked is never taken for empty or for an obstacle: its range is NaN (unknown). The robot
is rigid in the camera's body frame, so a mask is computed once per camera size and pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.models import Camera
from da_ros.config import ConfigError
from da_ros.errors import DaRosError
from da_ros.jpeg_png import check_still, StillError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
COVERED = 128                  # levels of the picture from which a pixel is the robot
STILL_LEVELS = 10.0            # by which the colour of the robot may vary in a drive
STILL_RANGE = 0.15             # by which its range may, relative
PATTERN_PX, PATTERN_LEVELS = 5, 6.0     # window and contrast of a pattern that stays
LEAST_PRESENT = 0.8            # share of the frames in which its range must be near
MOST_COVERED = 0.6             # of the sphere; more, and the robot did not move
LEAST_PART = 2e-4              # of the sphere; smaller spots are chance
LEAST_FRAMES = 8


class BodyMaskError(DaRosError):
    """A body mask that cannot be read, cannot be true, or cannot be learned."""


@dataclass(frozen=True, eq=False)
class BodyMask:
    """What is known of the robot's shape; all parts count together."""

    picture: NDArray[np.uint8] | None = None       # as the camera's image; white = robot
    below_deg: float = -90.0                       # all below this elevation in the body frame
    boxes: tuple[tuple[float, ...], ...] = ()      # x0 y0 z0 x1 y1 z1 [m] in the base frame
    base_from_body: Array = field(default_factory=lambda: np.eye(4))

    def __bool__(self) -> bool:
        """Return whether anything is masked."""
        return self.picture is not None or self.below_deg > -90 or bool(self.boxes)

    def covers(self, rays: Array, camera: Camera, camera_from_body: Array | None = None) -> Mask:
        """
        Return whether rays show the robot.

        :param rays: (h, w, 3) unit, body frame
        :param camera: model of the image of which `picture` is a copy
        :param camera_from_body: (3, 3) rotation; None = identity
        :return: (h, w) bool
        """
        covered = rays[..., 2] < np.sin(np.deg2rad(self.below_deg))
        for box in self.boxes:
            covered |= _hits(box, rays @ self.base_from_body[:3, :3].T,
                             self.base_from_body[:3, 3])
        if self.picture is not None:
            in_camera = rays if camera_from_body is None else rays @ camera_from_body.T
            covered |= _painted(self.picture, in_camera, camera)
        return np.asarray(covered)


def read_picture(path: str | Path, camera: Camera) -> NDArray[np.uint8]:
    """
    Read a mask picture: the camera's image painted white where the robot is.

    :return: (height, width) uint8
    :raises BodyMaskError: if it is no image, or of a size that the camera's images cannot have
    """
    try:
        data = Path(path).read_bytes()
        check_still(data)                # before a decoder takes the memory that it asks for
        picture = cv2.imdecode(np.frombuffer(data, np.uint8),
                               cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise StillError('damaged')
    except (OSError, ValueError, StillError) as error:
        reason = getattr(error, 'strerror', None) or error
        raise BodyMaskError(f'body_mask.picture {str(path)!r} is not a readable image; give a PNG '
                            f'of the camera image, white where the robot is ({reason})'
                            ) from error
    try:
        camera.check_size(*picture.shape)
    except ValueError as error:
        raise BodyMaskError(f'body_mask.picture {str(path)!r} does not fit the camera: {error}'
                            ) from error
    return np.asarray(picture, np.uint8)


def boxes_from(text: str, name: str = 'body_mask.boxes') -> tuple[tuple[float, ...], ...]:
    """
    Read boxes "x0 y0 z0 x1 y1 z1; ..." [m] in the base frame.

    :raises ConfigError: naming the box and what is needed
    """
    boxes = []
    for part in filter(str.strip, text.split(';')):
        try:
            numbers = [float(word) for word in part.replace(',', ' ').split()]
        except ValueError:
            numbers = []
        if len(numbers) != 6 or not np.isfinite(numbers).all() or not all(
                low < high for low, high in zip(numbers, numbers[3:])):
            raise ConfigError(f'{name} {part.strip()!r} is no box; give x0 y0 z0 x1 y1 z1 [m] in '
                              'the base frame, each first number below its second, boxes parted '
                              'by ;')
        boxes.append(tuple(numbers))
    return tuple(boxes)


def check_boxes(mask: BodyMask) -> None:
    """
    Refuse a box around the camera, which would hide everything.

    :raises ConfigError: naming the box and the place of the camera
    """
    at = mask.base_from_body[:3, 3]
    for box in mask.boxes:
        if (at >= box[:3]).all() and (at <= box[3:]).all():
            raise ConfigError(
                f'body_mask.boxes: the camera, at {" ".join(f"{v:g}" for v in at)} m in the base '
                f'frame, is inside {" ".join(f"{v:g}" for v in box)}; correct the box, or give '
                'base_from_camera')


def _hits(box: tuple[float, ...], rays: Array, origin: Array) -> Mask:
    """Return which rays from a point meet an axis-aligned box (slabs)."""
    with np.errstate(divide='ignore', invalid='ignore'):
        first, second = ((np.asarray(corner) - origin) / rays for corner in (box[:3], box[3:]))
    # A ray within a face (0 / 0) does not leave its slab.
    first = np.where(np.isnan(first), -np.inf, first)
    second = np.where(np.isnan(second), np.inf, second)
    enter, leave = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
    return np.asarray((enter <= leave) & (leave > 0))


def _painted(picture: NDArray[np.uint8], rays: Array, camera: Camera) -> Mask:
    """Return which rays fall on white; a network's pixel with any white in it is covered."""
    height, width = picture.shape
    covered = (picture >= COVERED).astype(np.uint8)
    # Thin parts lie between the rays: grow them by half the distance of two rays.
    apart = camera.pixels_per_rad(width) * np.pi / rays.shape[0]
    reach = max(int(np.ceil(apart / 2)), 0)
    if reach:
        grown = cv2.copyMakeBorder(covered, 0, 0, reach, reach, camera.border)
        covered = np.asarray(cv2.dilate(grown, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
                             [:, reach:-reach], np.uint8)
    samples = camera.samples(rays, height, width)
    cols = np.minimum(samples.cols.astype(np.intp), width - 1)
    rows = np.minimum(samples.rows.astype(np.intp), height - 1)
    return np.asarray(((covered[rows, cols] > 0) & (samples.weights > 0)).any(0))


def learn(images: Sequence[NDArray[np.uint8]], ranges: Sequence[NDArray[np.float32]],
          reach_m: float, grow_px: int = 2) -> tuple[Mask, Mask]:
    """
    Return what stays in place while the robot drives: near and of one colour, or with a pattern.

    :param images: (h, w, 3) uint8 panoramas in the camera's frame, spread over the drive
    :param ranges: their ranges (h, w) [m]; -inf counts as near
    :param reach_m: the robot is nearer than this
    :param grow_px: the mask is grown by so much, for its soft rim
    :return: the mask (h, w); and what stays in colour alone, for the picture
    :raises BodyMaskError: too few frames, or nothing moves
    """
    if len(images) < LEAST_FRAMES:
        raise BodyMaskError(f'{len(images)} usable frames, needs {LEAST_FRAMES}; record a longer '
                            'drive')
    still = _still_colour(np.stack(images))
    if still.mean() > MOST_COVERED:
        raise BodyMaskError(f'{still.mean():.0%} of the picture stay as they are: the robot '
                            'hardly moves; record a drive that turns and goes through rooms')
    range_m = np.stack(ranges)
    near = range_m < reach_m                                   # -inf too, NaN not
    level = np.log(np.clip(np.where(near, range_m, reach_m), 0.05, reach_m))
    spread = np.median(np.abs(level - np.median(level, 0)), 0)
    body = still & (((near.mean(0) >= LEAST_PRESENT) & (spread < STILL_RANGE))
                    | _textured(np.stack(images), still))
    return _cleaned(body, grow_px), still


def _still_colour(images: NDArray[np.uint8]) -> Mask:
    """Return where the colour stays, up to the brightness of whole frames."""
    frames = images.astype(np.float32)
    gain = frames.mean((1, 2, 3)) / max(float(frames.mean()), 1)
    frames /= np.maximum(gain, 0.1)[:, None, None, None]
    off = np.abs(frames - np.median(frames, 0))
    # Not the median alone: what changes only in a third of the frames is not the robot.
    return np.asarray(np.quantile(off.max(3), 0.8, axis=0) < STILL_LEVELS)


def _textured(images: NDArray[np.uint8], still: Mask) -> Mask:
    """
    Return where a still pattern is seen: only the robot's parts keep one while the rest blurs.

    Networks take a painted mast for a wall behind it, so its range tells nothing; a sky or a
    ceiling, whose colour stays as well, shows no pattern.
    """
    grey = np.median(images.mean(3), 0).astype(np.float32)
    window = (PATTERN_PX, PATTERN_PX)
    spread = cv2.blur(grey * grey, window) - cv2.blur(grey, window) ** 2
    # Only windows that are still all over: at its rim even a sky meets something else.
    inner = cv2.erode(still.astype(np.uint8), np.ones(window, np.uint8))
    pattern = ((np.asarray(spread) > PATTERN_LEVELS ** 2) & (np.asarray(inner) > 0))
    grown = cv2.dilate(pattern.astype(np.uint8), np.ones(window, np.uint8))
    return np.asarray((np.asarray(grown) > 0) & still)


def _cleaned(body: Mask, grow_px: int) -> Mask:
    """Return the mask without specks and holes, grown at its rim; closed at the seam."""
    height, width = body.shape
    wide = cv2.copyMakeBorder(body.astype(np.uint8), 0, 0, width // 4, width // 4, cv2.BORDER_WRAP)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    wide = cv2.morphologyEx(cv2.morphologyEx(wide, cv2.MORPH_OPEN, disc), cv2.MORPH_CLOSE, disc)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(np.asarray(wide, np.uint8))
    large = [part for part in range(1, count)
             if stats[part, cv2.CC_STAT_AREA] >= LEAST_PART * height * width]
    kept = np.isin(labels, large).astype(np.uint8)
    if grow_px:
        kept = np.asarray(cv2.dilate(kept, np.ones((2 * grow_px + 1,) * 2, np.uint8)), np.uint8)
    return np.asarray(kept[:, width // 4:width // 4 + width] > 0)
