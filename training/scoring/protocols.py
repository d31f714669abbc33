# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation counts: which pixels, which alignment, which weights; numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.sphere import solid_angles
from training.scoring.alignment import alignment

Array = NDArray[np.floating]


class ProtocolError(DaRosError):
    """A protocol that does not exist."""


@dataclass(frozen=True)
class Protocol:
    """How prediction and truth are compared; truth outside (min_m, max_m] is left out."""

    name: str
    align: str = 'none'          # none | median | scale_shift
    min_m: float = 0.0           # m, exclusive
    max_m: float = 100.0         # m
    max_inclusive: bool = True
    clip: bool = False           # clip the aligned prediction to [min_m, max_m]
    solid_angle: bool = True     # weigh every pixel by its solid angle; False: plain
    black_is_unknown: bool = False  # leave black pixels out of the alignment
    per_image: bool = False      # headline = mean over images instead of sums over the set
    truncations_m: tuple[float, ...] = ()  # further tables with truth up to each of these


PROTOCOLS = {
    # ours: every direction counts alike
    'sphere': Protocol('sphere'),
    # DAP's released evaluation: no alignment, 0 < truth <= 100 m, means per image; its table 6
    # truncates the truth at each range mask. Its 'RMSE' is our mae_m (in units of 100 m).
    'dap': Protocol('dap', solid_angle=False, per_image=True,
                    truncations_m=(10.0, 20.0, 50.0, 100.0)),
    # DA²'s released evaluation: median alignment, 1e-3 < truth < 5 m, prediction clipped to that
    'da2': Protocol('da2', align='median', min_m=1e-3, max_m=5.0, max_inclusive=False, clip=True,
                    solid_angle=False, black_is_unknown=True, per_image=True),
}


def get_protocol(name: str) -> Protocol:
    """
    Return a protocol by name.

    :raises ProtocolError: if there is none of this name
    """
    if name not in PROTOCOLS:
        raise ProtocolError(f'no protocol {name!r}; there are: {", ".join(PROTOCOLS)}')
    return PROTOCOLS[name]


def aligned_with(protocol: Protocol, align: str) -> Protocol:
    """Return the protocol with another alignment."""
    return replace(protocol, align=align)


@dataclass(frozen=True)
class Compared:
    """What the metrics take: flat arrays of the pixels that count, and what was done to them."""

    pred: Array      # m, aligned, finite
    target: Array    # m
    weight: Array    # sr, or 1
    scale: float
    shift: float
    pixels: NDArray[np.intp]  # flat index of each in the panorama
    coverage: float  # share of the weight of the valid truth at which there is a prediction


def valid_truth(target: Array, protocol: Protocol) -> NDArray[np.bool_]:
    """Return where the truth counts; NaN (unknown) and +inf (empty) never do."""
    with np.errstate(invalid='ignore'):
        below = target <= protocol.max_m if protocol.max_inclusive else target < protocol.max_m
        return np.isfinite(target) & (target > protocol.min_m) & below


def compare(
        pred: Array, target: Array, protocol: Protocol,
        image: NDArray[np.uint8] | None = None) -> Compared:
    """
    Select, align and clip.

    A prediction of +inf (nothing there) counts as `max_m`, -inf as 1 cm; NaN (unknown) lowers
    the coverage and is left out.

    :param pred: predicted range [m], (H, W)
    :param target: true range [m], (H, W); NaN unknown, +inf empty
    :param image: (H, W, 3) uint8, only for protocols that leave black pixels out of the alignment
    :raises ValueError: if the shapes differ
    """
    if pred.shape != target.shape:
        raise ValueError(f'prediction {pred.shape} and truth {target.shape} differ in size')
    valid = valid_truth(target, protocol)
    weight = solid_angles(*target.shape) if protocol.solid_angle else np.ones(target.shape)
    total = weight[valid].sum()
    used = valid & ~np.isnan(pred)
    values = np.nan_to_num(
        pred[used].astype(np.float64), posinf=protocol.max_m, neginf=max(protocol.min_m, 0.01))
    truth, weight_used = target[used].astype(np.float64), weight[used]
    fit = _fit_pixels(used, image, protocol)
    scale, shift = alignment(protocol.align, values[fit], truth[fit],
                             weight_used[fit] if protocol.solid_angle else None)
    values = values * scale + shift
    if protocol.clip:
        values = np.clip(values, protocol.min_m, protocol.max_m)
    positive = values > 0  # a shift may push below zero, where no logarithm exists
    return Compared(
        values[positive], truth[positive], weight_used[positive], scale, shift,
        np.flatnonzero(used)[positive],
        float(weight_used[positive].sum() / total) if total > 0 else float('nan'))


def _fit_pixels(
        used: NDArray[np.bool_], image: NDArray[np.uint8] | None,
        protocol: Protocol) -> NDArray[np.bool_]:
    """Return which of the used pixels take part in the alignment."""
    if not protocol.black_is_unknown or image is None:
        return np.ones(int(used.sum()), dtype=bool)
    return image.any(axis=-1)[used]
