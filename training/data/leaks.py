# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
No picture that a model is judged on may be in its training, under whatever name.

A fingerprint is the sign of the band-passed brightness on a grid of 24 x 64 cells (the poles left
out): what is brighter than its surroundings, which exposure, size and JPEG leave alone. It is
compared at every turn about the vertical and mirrored. Whole panoramas are recognised, not views
cut out of them, nor panoramas tilted by more than 4 degrees.

`benchmarks/evaluation_pictures.json` holds the fingerprints of the photographs of the benchmarks,
of the samples and of the real pairs, also of those whose licence does not let them ship.
"""

from __future__ import annotations

from functools import cache
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError

Array = NDArray[np.floating]
PRINTS = Path(__file__).resolve().parent.parent / 'benchmarks' / 'evaluation_pictures.json'
ROWS, COLS, POLE_ROWS = 32, 64, 4
PHASES = 4          # turns between two cells that are tried
SURROUNDINGS = 2.0  # cells: the size of what counts as detail
FLAT = 3.0          # grey levels: weaker detail is noise
# Of 7565 pairs of different pictures none agree by more than .44; of 1280 copies (turned,
# mirrored, 256 to 1500 px wide, JPEG 25 to 95, gain .5 to 1.8, gamma .6 to 1.6) all by .52.
AGREEMENT = 0.5


class LeakError(DaRosError):
    """A training picture that a model is judged on."""


def refuse_evaluation_picture(image: NDArray[np.uint8], name: str) -> None:
    """
    Refuse a training picture that is an evaluation picture.

    :param image: panorama, (H, W, 3) uint8 RGB
    :param name: what to call it
    :raises LeakError: if it is near one
    """
    if near := near_evaluation_picture(image):
        raise LeakError(f'{name} is the evaluation picture {near}, or hardly differs from it; '
                        'leave it out of the training')


def near_evaluation_picture(image: NDArray[np.uint8]) -> str:
    """
    Return the name of the evaluation picture that a panorama is, or ''.

    :param image: panorama, (H, W, 3) uint8 RGB, any size
    """
    names, prints = _prints()
    agreement = agreements(image, prints)
    best = int(np.argmax(agreement))
    return names[best] if agreement[best] > AGREEMENT else ''


def agreements(image: NDArray[np.uint8], prints: Array) -> Array:
    """
    Return how far a panorama agrees with each fingerprint, (N,), 1 = wholly.

    The best over all turns, mirrored or not; weighted by how strong the detail is.

    :param prints: (N, 24, 64) of +1 and -1
    """
    both = np.stack([prints, prints[..., ::-1]])
    spectrum = np.fft.rfft(both, axis=-1).conj()
    best = np.full(len(prints), -1.0)
    for detail in _details(image):
        turned = np.fft.irfft((np.fft.rfft(detail, axis=-1) * spectrum).sum(axis=-2), n=COLS)
        weight = max(float(np.abs(detail).sum()), 1e-6)
        best = np.maximum(best, turned.max(axis=(0, -1)) / weight)
    return best


def fingerprint(image: NDArray[np.uint8]) -> str:
    """
    Return the fingerprint of a panorama as hexadecimal text.

    :param image: (H, W, 3) uint8 RGB, any size
    """
    return np.packbits(_details(image)[0] > 0).tobytes().hex()


def read_print(text: str) -> Array:
    """Return a fingerprint as (24, 64) of +1 and -1."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))
    return np.where(bits, 1.0, -1.0).reshape(ROWS - 2 * POLE_ROWS, COLS)


@cache
def _prints() -> tuple[list[str], Array]:
    listed = json.loads(PRINTS.read_text(encoding='utf-8'))
    return list(listed), np.stack([read_print(text) for text in listed.values()])


def _details(image: NDArray[np.uint8]) -> list[Array]:
    """Return the band-passed brightness at PHASES turns between two cells, (24, 64) each."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = cv2.resize(grey, (COLS * PHASES, ROWS), interpolation=cv2.INTER_AREA)
    found = []
    for phase in range(PHASES):
        cells = np.roll(fine, -phase, axis=1).reshape(ROWS, COLS, PHASES).mean(axis=2)
        detail = cells - _around(cells)
        detail /= np.sqrt(_around(detail ** 2)) + FLAT
        found.append(detail[POLE_ROWS:-POLE_ROWS].astype(np.float64))
    return found


def _around(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the surroundings, closed over the seam."""
    edge = int(4 * SURROUNDINGS)
    padded = np.pad(np.pad(cells, ((0, 0), (edge, edge)), mode='wrap'),
                    ((edge, edge), (0, 0)), mode='edge')
    return cv2.GaussianBlur(padded, (0, 0), SURROUNDINGS)[edge:-edge, edge:-edge]
