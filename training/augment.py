"""
Augmentations of a Sample: range follows the geometry exactly; colours change the image only.

Every function takes and returns a Sample and draws from a numpy Generator.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from training.sample import Sample


def roll_azimuth(sample: Sample, cols: int) -> Sample:
    """Turn the camera about the vertical by a number of columns."""
    return replace(sample, image=np.roll(sample.image, cols, 1),
                   range_m=np.roll(sample.range_m, cols, 1), valid=np.roll(sample.valid, cols, 1))


def mirror(sample: Sample) -> Sample:
    """Swap left and right."""
    return replace(sample, image=sample.image[:, ::-1], range_m=sample.range_m[:, ::-1],
                   valid=sample.valid[:, ::-1])


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
    """Return the sample rolled, perhaps mirrored, with other colours and quality."""
    sample = roll_azimuth(sample, int(rng.integers(sample.image.shape[1])))
    if rng.uniform() < 0.5:
        sample = mirror(sample)
    image = sample.image
    if rng.uniform() < 0.85:
        image = jitter_colour(image, rng)
    return replace(sample, image=degrade(image, rng))
