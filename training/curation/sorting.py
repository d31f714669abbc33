# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Sorting panoramas into indoor and outdoor.

A classifier is a function image -> P(outdoor). DAP asks a vision-language model; any such model
fits the interface. The default is a logistic regression on three numbers of colour and light,
fitted on rendered panoramas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol as Interface

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.sphere import elevation_from_row
from training.curation.outpaint import CurationError

Array = NDArray[np.float64]
ROWS = 64
TOP_DEG, MIDDLE_DEG, LOW_DEG = (90, 45), (10, -20), (-20, -90)     # bands of elevation


class Classifier(Interface):
    """What tells outdoor from indoor."""

    def __call__(self, image: NDArray[np.uint8]) -> float:
        """Return P(outdoor) of a panorama (H, W, 3) RGB."""


def load_classifier(name: str) -> Classifier:
    """
    Return the classifier of 'module:function'.

    :raises CurationError: if it cannot be imported
    """
    module, _, function = name.partition(':')
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise CurationError(f'no classifier {name!r}: {error}; give MODULE:FUNCTION') from error


def features(image: NDArray[np.uint8]) -> Array:
    """
    Return the three numbers that the default classifier looks at.

    How much bluer the top is than the ground (share of blue in the colour, so that exposure does
    not matter), how blue the top is, and how dark the middle is (log brightness over the mean).
    """
    small = cv2.resize(image, (2 * ROWS, ROWS), interpolation=cv2.INTER_AREA).astype(np.float64)
    blue = small[..., 2] / small.sum(-1).clip(1)
    light = np.log(small.mean(-1) + 1)
    top, middle, low = (_band(deg) for deg in (TOP_DEG, MIDDLE_DEG, LOW_DEG))
    return np.array([blue[top].mean() - blue[low].mean(), blue[top].mean(),
                     light[middle].mean() - light.mean()])


def _band(deg: tuple[float, float]) -> NDArray[np.bool_]:
    elevation = np.degrees(elevation_from_row(np.arange(ROWS) + 0.5, ROWS))
    return (elevation <= deg[0]) & (elevation > deg[1])


@dataclass(frozen=True)
class LinearClassifier:
    """Logistic regression on standardised features."""

    mean: Sequence[float]
    scale: Sequence[float]
    weights: Sequence[float]
    bias: float

    def __call__(self, image: NDArray[np.uint8]) -> float:
        """Return P(outdoor)."""
        logit = (features(image) - self.mean) / self.scale @ np.array(self.weights) + self.bias
        return float(1 / (1 + np.exp(-logit)))


def fit(images: Iterable[Array], outdoor: Iterable[bool],
        strength: float = 0.01) -> LinearClassifier:
    """
    Return the classifier of the least weighted log loss + strength |weights|^2 (Newton's method).

    :param images: features of each image
    :param outdoor: truth; both classes weigh the same
    """
    x, y = np.array(list(images)), np.array(list(outdoor), float)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    design = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    # Both classes weigh the same: the sets at hand are mostly indoors, and always saying so
    # would fit them best.
    share = np.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean())) / len(y)
    ridge = strength * np.diag([1.0] * x.shape[1] + [0.0])
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (share * (p - y)) + ridge @ weights
        hessian = design.T @ (design * (share * p * (1 - p))[:, None]) + ridge
        weights -= np.linalg.solve(hessian + 1e-9 * np.eye(len(weights)), gradient)
    return LinearClassifier(mean.round(4).tolist(), scale.round(4).tolist(),
                            weights[:-1].round(3).tolist(), round(float(weights[-1]), 3))


# fit() on 768 rendered panoramas (every second of 16 shards of training.simulate, 196 outdoor)
DEFAULT = LinearClassifier(mean=(0.0389, 0.3309, -0.0779), scale=(0.0725, 0.0424, 0.1864),
                           weights=(0.445, 1.149, -0.435), bias=-0.446)
