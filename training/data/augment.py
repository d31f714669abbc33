# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Augmentations of a Sample: range follows the geometry exactly; colours change the image only.

Every function takes and returns a Sample or an image and draws from a numpy Generator.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from da_ros.sphere import rotation_from_rpy
from training.data.rotation import sample_image, sample_range, source_pixels
from training.data.sample import Sample

VERSION = 2             # raised when `augment` gives other samples: kept features are then stale
TILT_RAD = 0.07         # standard deviation of roll and pitch: 4 degrees
SEAM_SHARE, BODY_SHARE, TILT_SHARE, BURNT_SHARE = 0.15, 0.15, 0.25, 0.06


def roll_azimuth(sample: Sample, cols: int) -> Sample:
    """Turn the camera about the vertical by a number of columns."""
    return replace(sample, image=np.roll(sample.image, cols, 1),
                   range_m=np.roll(sample.range_m, cols, 1), valid=np.roll(sample.valid, cols, 1))


def mirror(sample: Sample) -> Sample:
    """Swap left and right."""
    return replace(sample, image=sample.image[:, ::-1], range_m=sample.range_m[:, ::-1],
                   valid=sample.valid[:, ::-1])


def tilt(sample: Sample, roll: float, pitch: float) -> Sample:
    """
    Turn the camera in place by roll and pitch [rad, REP 103]: the range along a ray stays.

    Bilinear on smooth surfaces, nearest at edges; unknown and empty pixels spread nowhere.
    """
    rotation = rotation_from_rpy(roll, pitch, 0.0)
    row, col = source_pixels(rotation, *sample.range_m.shape)
    range_m = sample_range(sample.range_m, row, col)
    return replace(sample, image=sample_image(sample.image, row, col), range_m=range_m,
                   valid=np.isfinite(range_m))


def stitch(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """
    Return the image as two fisheye lenses see it: seams at azimuth +-90 degrees.

    The rear half has its own exposure and white balance and does not quite meet the front half
    (parallax: a shift by up to 1 degree); a narrow blend shows both, as ghosts.
    """
    height, width = image.shape[:2]
    gain = np.exp(rng.normal(0, 0.05) + rng.normal(0, 0.02, 3))
    levels = np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)
    reach = max(1, round(height / 180))
    # Rolled, not warped: what stands at the seam is shown twice or cut, as real stitching does.
    rear = np.roll(cv2.LUT(np.ascontiguousarray(image), levels[None]),
                   rng.integers(-reach, reach + 1, 2), (0, 1))
    stitched = rear.copy()
    stitched[:, width // 4:3 * width // 4] = image[:, width // 4:3 * width // 4]
    band = int(rng.integers(1, max(2, width // 48)))
    ramp = ((np.arange(2 * band) + 0.5) / (2 * band))[None, :, None]
    for middle, front in ((width // 4, ramp), (3 * width // 4, 1 - ramp)):
        cols = slice(middle - band, middle + band)
        stitched[:, cols] = front * image[:, cols] + (1 - front) * rear[:, cols]
    return stitched


def add_body(sample: Sample, rng: np.random.Generator) -> Sample:
    """Cover a part below the camera with a robot's body, sometimes a post; NaN range there."""
    height, width = sample.range_m.shape
    azimuth = np.linspace(-np.pi, np.pi, width, endpoint=False)
    top = rng.uniform(-80, -45)         # degrees of elevation
    # A smooth outline of low frequency: a ruler-straight one is learned as "here ends the floor".
    for wave in (1, 2, 3, 4):
        top = top + rng.normal(0, 9 / wave) * np.cos(wave * azimuth + rng.uniform(0, 6.3))
    top = np.clip(top, -90, -20)
    if rng.uniform() < 0.3:             # a post, an antenna, an arm
        start, thickness = rng.integers(width), int(rng.integers(1, max(2, width // 40)))
        top[(start + np.arange(thickness)) % width] = rng.uniform(-40, 30)
    covered = np.arange(height)[:, None] + 0.5 > (90 - top) / 180 * height
    grain = (rng.integers(-20, 21, (height // 8, width // 8, 1)) + rng.integers(5, 200)
             + rng.normal(0, 12, 3))
    paint = cv2.resize(np.clip(grain, 0, 255).astype(np.uint8), (width, height))
    image, range_m = sample.image.copy(), sample.range_m.copy()
    cv2.copyTo(paint, covered.view(np.uint8), image)
    range_m[covered] = np.nan
    return replace(sample, image=image, range_m=range_m, valid=sample.valid & ~covered)


def jitter_colour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image (uint8) with random gain, colour cast, gamma, contrast and saturation."""
    levels = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.2))
    pivot, contrast = rng.uniform(0.3, 0.6), np.exp(rng.normal(0, 0.15))
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.05, 3))
    curve = ((levels - pivot) * contrast + pivot)[:, None] * gain
    table = (np.clip(curve, 0, 1) * 255).astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), table[None])
    if rng.uniform() < 0.5:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = rng.uniform(0, 1) if rng.uniform() < 0.8 else 1.0
        image = cv2.addWeighted(image, 1 - share, grey, share, 0)
    return image


def burn_out(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image (uint8) over-exposed by up to 1.5 stops: its lights are white."""
    gain = 2 ** rng.uniform(0.4, 1.5)
    linear = gain * np.linspace(0, 1, 256) ** 2.2
    table = (np.clip(linear, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table)


def degrade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the image blurred, sharpened, noisy or JPEG-compressed, or as it is."""
    kind = rng.uniform()
    if kind < 0.25:
        wrapped = cv2.copyMakeBorder(image, 0, 0, 8, 8, cv2.BORDER_WRAP)
        image = cv2.GaussianBlur(wrapped, (0, 0), rng.uniform(0.3, 1.1))[:, 8:-8]
    elif kind < 0.35:
        wrapped = cv2.copyMakeBorder(image, 0, 0, 8, 8, cv2.BORDER_WRAP)
        soft = cv2.GaussianBlur(wrapped, (0, 0), 1.0)
        amount = rng.uniform(0.2, 0.8)
        image = cv2.addWeighted(wrapped, 1 + amount, soft, -amount, 0)[:, 8:-8]
    if rng.uniform() < 0.2:
        quality = int(rng.integers(35, 95))
        data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(image)


def augment(sample: Sample, rng: np.random.Generator) -> Sample:
    """
    Return the sample as another camera on another robot might have taken it.

    Rolled, perhaps mirrored, tilted, stitched from two lenses, with the robot's own body in view,
    and with other colours and quality. About 3 ms for 256 x 512 px.
    """
    if rng.uniform() < SEAM_SHARE:
        sample = replace(sample, image=stitch(sample.image, rng))
    if rng.uniform() < BODY_SHARE:
        sample = add_body(sample, rng)
    if rng.uniform() < TILT_SHARE:
        sample = tilt(sample, *rng.normal(0, TILT_RAD, 2))
    sample = roll_azimuth(sample, int(rng.integers(sample.image.shape[1])))
    if rng.uniform() < 0.5:
        sample = mirror(sample)
    image = sample.image
    if rng.uniform() < 0.85:
        image = jitter_colour(image, rng)
    if rng.uniform() < BURNT_SHARE:
        image = burn_out(image, rng)
    return replace(sample, image=degrade(image, rng))
