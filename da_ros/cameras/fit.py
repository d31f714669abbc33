# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Fit two back-to-back fisheye lenses from what both see: circles, then patches of the overlap.

The circle's rim gives each lens's centre and radius. Around the camera runs a belt that both
lenses show; patches of the one are found again in the other, and field of view, centres and the
turn of the rear lens are moved until both lenses send each patch along the same ray. A shift of
both centres the same way looks almost like a tilt of the rear lens; the rim decides between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.calibration import CalibrationError, check_camera
from da_ros.cameras.models import FisheyeCamera, Lens

LEAST_RIM = 120              # of 720 spokes must end on the rim
DARK = 20                    # levels; the image outside the circles is darker in every frame
RIM_PX = 1.0                 # how well the rim gives a centre; the weight of that prior
MATCH_PX = 0.3               # how well a patch is found
LEAST_MATCHES = 12, 40       # in a round, in the last
ALIKE = 0.85                 # normalised correlation from which a patch counts as found
ROUNDS = ((150.0, 8), (300.0, 4), (600.0, 3))    # finest belt [px/rad] and search [px] of each
LEAST_ALIKE = 0.4            # of whole belts, else they are not of one scene
COARSE = 60.0                # px/rad of the first, rough comparison
FIELD_RANGE_DEG = 15.0       # how far the field of view may be off to begin with
BELT_PX = 45                 # least height of a belt, where the lens resolves it
PATCH, LOWEST = 21, 7        # px
REMEDY = ('give more frames of a place with texture all around, nothing nearer than 2 m, or '
          'another field of view (--fov)')
PARAMETERS = 8               # field, two centres, roll, pitch and yaw of the rear lens
Array = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Fit:
    """A fitted camera and how well the lenses agree in the overlap."""

    camera: FisheyeCamera
    matches: int
    error_deg: float          # median angle between the two rays of a patch


@dataclass(frozen=True)
class Matches:
    """Patches found in both circles: (n, 2) col and row in the image [px] each."""

    front: Array
    rear: Array


def find_circles(frames: Sequence[Image]) -> tuple[tuple[float, float, float], ...]:
    """
    Find the two bright discs on a dark ground, one in each half of the image.

    :param frames: (h, w, 3) uint8 of one size; their brightest pixels count
    :return: (col, row, radius) [px] of the left and the right one
    :raises CalibrationError: if a half has no round rim
    """
    brightest = np.max([frame.max(2) for frame in frames], 0)
    half = brightest.shape[1] // 2
    left, right = _circle(brightest[:, :half], 'left'), _circle(brightest[:, half:], 'right')
    return left, (right[0] + half, *right[1:])


def _circle(brightness: NDArray[np.uint8], name: str) -> tuple[float, float, float]:
    height, width = brightness.shape
    bright = np.asarray(cv2.medianBlur(brightness, 5), np.uint8) > DARK
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    reach = np.arange(0, np.hypot(height, width) / 2, 0.5)
    col = width / 2 + np.cos(angle)[:, None] * reach
    row = height / 2 + np.sin(angle)[:, None] * reach
    inside = (col >= 0) & (col < width) & (row >= 0) & (row < height)
    lit = np.zeros(col.shape, bool)
    lit[inside] = bright[row[inside].astype(int), col[inside].astype(int)]
    last = lit.shape[1] - 1 - lit[:, ::-1].argmax(1)
    which = np.arange(len(angle))
    # A rim at the edge of the image may be the image's end and not the lens's.
    margin = np.minimum.reduce([col[which, last], width - col[which, last], row[which, last],
                                height - row[which, last]])
    rim = np.stack([col[which, last], row[which, last]], 1)[lit.any(1) & (margin > 3)]
    best = _most_agreed(rim)
    if len(best) < LEAST_RIM:
        raise CalibrationError(
            f'the {name} half of the image shows no round rim on black; give frames of two '
            'fisheye circles side by side in a bright place, or write the calibration by hand')
    x, y, radius = _circle_through(best)
    return x, y, radius + 0.25                  # half the step along the spokes


def _most_agreed(rim: Array) -> Array:
    """Return the points on the circle that most points share; dark places lie inside of it."""
    best = rim[:0]
    rng = np.random.default_rng(0)
    for _ in range(300 if len(rim) >= LEAST_RIM else 0):
        x, y, radius = _circle_through(rim[rng.choice(len(rim), 3, replace=False)])
        agreed = rim[np.abs(np.hypot(rim[:, 0] - x, rim[:, 1] - y) - radius) < 1.5]
        best = agreed if len(agreed) > len(best) else best
    return best


def _circle_through(points: Array) -> tuple[float, float, float]:
    """Return centre and radius of the circle nearest to three or more points."""
    x, y, c = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points ** 2).sum(1),
                              rcond=None)[0]
    return float(x), float(y), float(np.sqrt(max(c + x * x + y * y, 0)))


def fit(frames: Sequence[Image], fov_deg: float = 200.0, front_roll_deg: float = 0.0,
        blend_deg: float = 4.0) -> Fit:
    """
    Fit a dual-fisheye camera.

    :param frames: (h, w, 3) uint8 of one size, two circles side by side, the left one forward
    :param fov_deg: of each lens, to begin with: 15 degrees off is near enough
    :param front_roll_deg: roll of the front lens; the overlap says nothing about it
    :param blend_deg: of the result; narrowed where the lenses overlap less
    :raises CalibrationError: no circles, frames of several sizes, or too little to match
    """
    sizes = sorted({frame.shape[:2] for frame in frames})
    if len(sizes) != 1:
        raise CalibrationError(f'frames are of {len(sizes)} sizes; give frames of one camera '
                               'setting')
    circles = find_circles(frames)
    lenses = (Lens(circles[0][:2], circles[0][2], fov_deg, front_roll_deg),
              Lens(circles[1][:2], circles[1][2], fov_deg, yaw_deg=180.0))
    camera = FisheyeCamera(sizes[0], lenses, 0.0)
    camera = _roughly(frames, camera)
    for finest, search in ROUNDS:
        for _ in range(3):
            found = _matches(frames, camera, finest, search)
            _check_enough(len(found.front), LEAST_MATCHES[finest == ROUNDS[-1][0]])
            camera = _solved(camera, circles, found)
    error = _angles(camera, found)
    overlap = sum(lens.fov_deg for lens in camera.lenses) / 2 - 180
    camera = replace(camera, blend_deg=max(0.0, min(blend_deg, overlap)))
    return Fit(check_camera(camera), len(error), float(np.degrees(np.median(error))))


def belts(frame: Image, camera: FisheyeCamera, pitch_rad: float) -> tuple[Image, Image, Array]:
    """
    Return how each lens shows the belt that both see, around the axis of the front one.

    :param pitch_rad: angle of a pixel
    :return: two (h, w) grey images, and the unit rays (h, w, 3) of their pixels
    """
    front = camera.lenses[0]
    half = _belt_half(camera)
    count = max(int(2 * half / pitch_rad), 3)
    from_axis = np.pi / 2 + (np.arange(count) + 0.5 - count / 2) * pitch_rad
    around = np.arange(0, 2 * np.pi, pitch_rad)
    # The front axis is +x up to the lens's own turn, which is a roll: around x as well.
    angle, turn = np.meshgrid(from_axis, around, indexing='ij')
    rays = np.stack([np.cos(angle), np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn)],
                    -1) @ front.camera_from_lens.T
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    views = []
    for lens in camera.lenses:
        col, row, _ = lens.project(rays)
        # As many source pixels as a belt pixel covers are averaged, or coarse belts alias.
        sigma = 0.35 * pitch_rad * lens.pixels_per_rad
        blurred = cv2.GaussianBlur(grey, (0, 0), sigma) if sigma > 0.4 else grey
        views.append(np.asarray(cv2.remap(blurred, (col - 0.5).astype(np.float32), (
            row - 0.5).astype(np.float32), cv2.INTER_LINEAR), np.uint8))
    return views[0], views[1], rays


def _belt_half(camera: FisheyeCamera) -> float:
    """Return half the width of the belt [rad], half a degree inside the circles."""
    return float(np.deg2rad(max(min(lens.fov_deg for lens in camera.lenses) / 2 - 90.5, 0.5)))


def _roughly(frames: Sequence[Image], camera: FisheyeCamera) -> FisheyeCamera:
    """
    Return the camera with the field of view and the rear roll at which the belts are most alike.

    A roll of the rear lens shifts its belt around the camera; all shifts are tried by Fourier
    transform.
    """
    shrink = max(1, int(camera.pixels_per_rad(camera.size_hw[1]) / COARSE))
    small = [np.asarray(cv2.resize(frame, None, fx=1 / shrink, fy=1 / shrink,
                                   interpolation=cv2.INTER_AREA), np.uint8)
             for frame in frames[:4]]
    best, choice = -1.0, camera
    for change in np.arange(-FIELD_RANGE_DEG, FIELD_RANGE_DEG + 1, 2.5):
        front, rear = (replace(lens, fov_deg=lens.fov_deg + float(change))
                       for lens in camera.lenses)
        if front.fov_deg < 185:
            continue
        tiny = replace(camera, lenses=tuple(replace(
            lens, centre_px=(lens.centre_px[0] / shrink, lens.centre_px[1] / shrink),
            radius_px=lens.radius_px / shrink) for lens in (front, rear)))
        score = np.mean([_alike(*belts(frame, tiny, 1 / COARSE)[:2]) for frame in small], 0)
        if score.max() > best:
            best = float(score.max())
            roll_deg = float(score.argmax() * np.degrees(1 / COARSE))
            choice = replace(camera, lenses=(front, replace(rear, roll_deg=roll_deg)))
    if best < LEAST_ALIKE:
        raise CalibrationError(f'the circles show nothing alike where they overlap; {REMEDY}')
    return choice


def _alike(one: Image, two: Image) -> Array:
    """Return the correlation of two belts for each shift of the second to the left."""
    spectra = []
    for view in (one, two):
        smooth = np.asarray(cv2.GaussianBlur(view, (0, 0), 1.5), np.float64)
        smooth -= smooth.mean(1, keepdims=True)
        spectra.append(np.fft.rfft(smooth / (np.linalg.norm(smooth) + 1e-9), axis=1))
    return np.fft.irfft((spectra[0].conj() * spectra[1]).sum(0), n=one.shape[1])


def _matches(frames: Sequence[Image], camera: FisheyeCamera, finest: float,
             search: int) -> Matches:
    """Find patches of the front lens's belt in that of the rear one."""
    resolution = min(max(finest, BELT_PX / _belt_half(camera) / 2),
                     camera.pixels_per_rad(camera.size_hw[1]))
    search, pitch = round(search * max(resolution / finest, 1)), 1 / resolution
    pairs = []
    for frame in frames:
        front, rear, rays = belts(frame, camera, pitch)
        height, width = front.shape
        # A narrow belt leaves room for the search by lower patches, which are wider in return.
        tall = max(LOWEST, min(PATCH, (height - 2 * search - 1) // 2 * 2 + 1))
        reach = min(search, (height - tall) // 2)
        if reach < 2:
            raise CalibrationError(
                f'the lenses overlap by {np.degrees(height * pitch):.1f} deg, too little to '
                'calibrate by; give the field of view (--fov), or write the file by hand')
        size = tall // 2, (2 * PATCH - tall) // 2
        for row in np.unique(np.linspace(size[0] + reach, height - size[0] - reach - 1, 3
                                         ).astype(int)):
            for col in range(size[1] + search, width - size[1] - search, 2 * size[1]):
                shift = _found(front, rear, (row, col), size, (reach, search))
                if shift is not None:
                    pairs.append((rays[row, col], _between(rays, row + shift[0], col + shift[1])))
    _check_enough(len(pairs), 1)
    front_rays, rear_rays = map(np.array, zip(*pairs))
    return Matches(*(np.stack(lens.project(rays)[:2], 1) for lens, rays in zip(
        camera.lenses, (front_rays, rear_rays))))


def _check_enough(matches: int, least: int) -> None:
    if matches < least:
        raise CalibrationError(f'{matches} patches of the overlap are found in both circles, '
                               f'needs {least}; {REMEDY}')


def _found(front: Image, rear: Image, at: tuple[int, int], half: tuple[int, int],
           reach: tuple[int, int]) -> tuple[float, float] | None:
    """Return by how many rows and columns a patch is shifted; None if it is not found for sure."""
    row, col = at
    patch = front[row - half[0]:row + half[0] + 1, col - half[1]:col + half[1] + 1]
    if patch.std() < 4:
        return None
    window = rear[row - half[0] - reach[0]:row + half[0] + reach[0] + 1,
                  col - half[1] - reach[1]:col + half[1] + reach[1] + 1]
    score = np.asarray(cv2.matchTemplate(window, patch, cv2.TM_CCOEFF_NORMED), np.float64)
    r, c = np.unravel_index(score.argmax(), score.shape)
    if score[r, c] < ALIKE:
        return None
    shifts = []
    for line, peak in ((score[:, c], r), (score[r], c)):
        if not 0 < peak < len(line) - 1:         # the true peak may lie beyond the window
            return None
        before, top, after = line[peak - 1:peak + 2]
        shifts.append(float(peak - len(line) // 2
                            + 0.5 * (before - after) / (before - 2 * top + after - 1e-12)))
    return shifts[0], shifts[1]


def _between(rays: Array, row: float, col: float) -> Array:
    """Return the ray at fractional indices of a belt; bilinear is exact to a thousandth of it."""
    r, c = int(np.clip(row, 0, rays.shape[0] - 2)), int(np.clip(col, 0, rays.shape[1] - 2))
    dr, dc = row - r, col - c
    mixed = ((1 - dr) * ((1 - dc) * rays[r, c] + dc * rays[r, c + 1])
             + dr * ((1 - dc) * rays[r + 1, c] + dc * rays[r + 1, c + 1]))
    return np.asarray(mixed / np.linalg.norm(mixed))


def _solved(camera: FisheyeCamera, circles, found: Matches) -> FisheyeCamera:
    """Return the camera moved by Gauss-Newton until both rays of each match agree (Huber)."""
    noise = MATCH_PX / camera.pixels_per_rad(camera.size_hw[1])
    rims = np.array([circle[:2] for circle in circles]).ravel()

    def residuals(values: Array) -> tuple[Array, Array]:
        moved = _moved(camera, values)
        front, rear = moved.lenses
        apart = (front.rays(*found.front.T) - rear.rays(*found.rear.T)) / noise
        centres = np.array([front.centre_px, rear.centre_px]).ravel()
        return apart, (centres - rims) / RIM_PX

    values = np.zeros(PARAMETERS)
    steps = np.full(PARAMETERS, 1e-4)
    for _ in range(8):
        apart, prior = residuals(values)
        length = np.linalg.norm(apart, axis=1)
        weight = np.sqrt(np.minimum(1, 2 / np.maximum(length, 1e-9)))[:, None]
        columns = []
        for k in range(PARAMETERS):
            more_apart, more_prior = residuals(values + steps * (np.arange(PARAMETERS) == k))
            columns.append(np.concatenate([
                ((more_apart - apart) * weight).ravel(), more_prior - prior]) / steps[k])
        both = np.concatenate([(apart * weight).ravel(), prior])
        change = np.linalg.lstsq(np.stack(columns, 1), -both, rcond=None)[0]
        values = values + change
        if np.abs(change).max() < 1e-6:
            break
    return _moved(camera, values)


def _moved(camera: FisheyeCamera, values: Array) -> FisheyeCamera:
    """Return the camera changed by: field [deg], centres [px], turn of the rear lens [deg]."""
    front, rear = camera.lenses
    field = float(front.fov_deg + values[0])
    return replace(camera, lenses=(
        replace(front, fov_deg=field, centre_px=_shifted(front, values[1:3])),
        replace(rear, fov_deg=field, centre_px=_shifted(rear, values[3:5]),
                roll_deg=float(rear.roll_deg + values[5]),
                pitch_deg=float(rear.pitch_deg + values[6]),
                yaw_deg=float(rear.yaw_deg + values[7]))))


def _shifted(lens: Lens, by: Array) -> tuple[float, float]:
    return float(lens.centre_px[0] + by[0]), float(lens.centre_px[1] + by[1])


def _angles(camera: FisheyeCamera, found: Matches) -> Array:
    """Return the angle between the two rays of each match [rad]."""
    front, rear = camera.lenses
    apart = np.linalg.norm(front.rays(*found.front.T) - rear.rays(*found.rear.T), axis=1)
    return np.asarray(2 * np.arcsin(np.clip(apart / 2, 0, 1)))
