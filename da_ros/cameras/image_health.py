# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Whether a camera still shows the world: frozen, black, over-exposed, or a lens with dirt on it.

A network gives ranges for any picture, also for one that shows nothing, so pictures are judged by
themselves. What sticks to a lens is out of focus, hides or blurs what is behind it, and turns with
the camera: so detail of the world is lost wherever it enters that place, and is back when it has
left. A plain wall or the sky has no detail that could be lost. While the camera moves past near
things nothing is said of the lens: they hide what is behind them just so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.rig import View
from da_ros.range_map import RangeMap

LOOK_NS = 100_000_000         # between two looks: ten a second tell as much as thirty
GAP_NS = 2_000_000_000        # after a longer pause all begins anew
MEMORY_NS = 4_000_000_000     # how slowly a camera may turn by TURN_DEG
LENS_NS = 200_000_000         # between two looks at the lens
SAMPLES = 96                  # rows of what is compared bit by bit
BLACK, WHITE = 12, 250        # grey levels of a sensor that sees nothing, and too much
ALL_BLACK, MOST_WHITE = 0.99, 0.8     # share of the picture; an overcast sky fills half of it
STEADY = 3                    # looks in a row, because one flash is no fault
LENS_HW = (128, 256)          # px of the panorama in which the lens is judged
TILE = 8                      # of those px: 11 degrees
LOWEST_DEG, HIGHEST_DEG = -60, 60     # near the poles columns are stretched
TURN_DEG = 20.0               # by which the camera must have turned
# Correlation of two pictures of which one is the other one turned: 0.8 and more where the camera
# only turns, 0.3 and less at 1.7 m/s in a small room, where near things hide far ones like dirt.
TRUSTED = 0.5
DETAIL = 40.0                 # mean squared step [grey level^2] that can be lost
LOST = 0.1                    # share of it that is left where it is lost
LEAST_TILES = 2               # side by side

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Health:
    """What is wrong with the camera's pictures; all well where nothing is given."""

    blind: str = ''                              # why the whole picture says nothing
    dirt: str = ''                               # where the lens is covered or dirty
    tiles: NDArray[np.bool_] | None = None       # there, in a coarse panorama of the camera


@dataclass(frozen=True)
class _Look:
    time_ns: int
    spectrum: NDArray[np.complex64]      # of the steps of the rows around the horizon
    detail: Array            # energy of the steps between columns, half LENS_HW


class ImageHealth:
    """Judges the pictures of one camera, one after the other."""

    def __init__(self) -> None:
        """Begin with a healthy camera."""
        self.health = Health()
        self._forget()

    def _forget(self) -> None:
        self._sample: NDArray[np.uint8] | None = None
        self._same_since_ns = self._last_ns = 0
        self._black = self._white = 0
        self._looks: deque[_Look] = deque()
        self._evidence = np.zeros((LENS_HW[0] // TILE, LENS_HW[1] // TILE), np.intp)

    def judge(self, image: NDArray[np.uint8], net_image: NDArray[np.uint8], view: View,
              time_ns: int, frozen_s: float) -> None:
        """
        Take the next picture; `health` then says what is known of the camera.

        :param image: (h, w, 3) BGR as it comes from the camera
        :param net_image: (H, W, 3) BGR, what `view` makes of it
        :param time_ns: its stamp
        :param frozen_s: for how long the same picture may come; 0 = for ever
        """
        if 0 <= time_ns - self._last_ns < LOOK_NS:
            return
        self.look(image, time_ns, frozen_s)
        if not self._looks or time_ns - self._looks[-1].time_ns >= LENS_NS:
            self.look_at_lens(view.in_camera(net_image, LENS_HW),
                              view.unknown_in_camera(LENS_HW), time_ns)

    def forget_blind(self, range_map: RangeMap) -> None:
        """Make unknown, in place, what the last picture does not show."""
        if self.health.blind:
            range_map.range_m[:] = np.nan
        elif self.health.tiles is not None:
            assert range_map.view is not None
            range_map.range_m[range_map.view.in_map(self.health.tiles)] = np.nan

    def look(self, image: NDArray[np.uint8], time_ns: int, frozen_s: float) -> None:
        """
        Judge a picture as a whole.

        :param image: (h, w, 3) BGR as it comes from the camera
        :param time_ns: its stamp
        :param frozen_s: for how long the same picture may come; 0 = for ever
        """
        if not 0 <= time_ns - self._last_ns < GAP_NS:     # a pause, or a clock that was set
            self._forget()
        self._last_ns = time_ns
        # From pixels as they are: a mean hides the last bit, by which a living camera differs.
        step = max(1, image.shape[0] // SAMPLES)
        sample = np.ascontiguousarray(image[step // 2::step, step // 2::step])
        if self._sample is None or not np.array_equal(sample, self._sample):
            self._same_since_ns = time_ns
        self._sample = sample
        self._black = self._black + 1 if np.mean(sample.max(axis=2) < BLACK) > ALL_BLACK else 0
        self._white = self._white + 1 if np.mean(sample.min(axis=2) >= WHITE) > MOST_WHITE else 0
        self.health = Health(self._blindness(time_ns, frozen_s), self.health.dirt,
                             self.health.tiles)

    def _blindness(self, time_ns: int, frozen_s: float) -> str:
        same_s = (time_ns - self._same_since_ns) * 1e-9
        if frozen_s and same_s >= frozen_s:
            return (f'the same picture for {same_s:.0f} s, though the stamps go on: restart the '
                    'camera, or, in a simulation that stands still, set image_health.frozen_s 0')
        if self._black >= STEADY:
            return 'the picture is black: uncover or light the camera'
        if self._white >= STEADY:
            return 'the picture is over-exposed: lower the exposure of the camera'
        return ''

    def look_at_lens(self, panorama: NDArray[np.uint8], unknown: NDArray[np.bool_],
                     time_ns: int) -> None:
        """
        Judge what sticks to the lens; before the camera has turned, nothing new is known of it.

        :param panorama: (*LENS_HW, 3) BGR in the frame of the camera
        :param unknown: (*LENS_HW) bool, the robot itself and what the camera does not see
        :param time_ns: stamp of the picture
        """
        self._looks.append(_look(panorama, time_ns))
        while time_ns - self._looks[0].time_ns > MEMORY_NS:
            self._looks.popleft()
        first, shift_px = self._since_turned()
        if first is None:
            return
        found = _loses_detail(self._looks[first], self._looks[-1], shift_px) & _judged(unknown)
        # Something near that hides something far looks the same, but not for long in one place.
        self._evidence = np.where(found, self._evidence + 1, self._evidence // 2)
        tiles = _filled(self._evidence >= STEADY)
        self.health = Health(self.health.blind, _where(tiles), tiles if tiles.any() else None)

    def _since_turned(self) -> tuple[int | None, int]:
        """Return the last look since which the camera has turned far enough, and by how much."""
        *before, now = self._looks
        if not before:
            return None, 0
        products = np.array([(now.spectrum * np.conj(look.spectrum)).sum(axis=0)
                             for look in before])
        match = np.fft.irfft(products, axis=1)
        shift = np.argmax(match, axis=1)
        width = match.shape[1]
        own = 2 / width * float((np.abs(now.spectrum[:, 1:]) ** 2).sum())
        turn_deg = np.minimum(shift, width - shift) * 360 / width
        turned = np.flatnonzero((match.max(axis=1) > TRUSTED * own) & (turn_deg >= TURN_DEG))
        return (int(turned[-1]), int(shift[turned[-1]])) if turned.size else (None, 0)


def _look(panorama: NDArray[np.uint8], time_ns: int) -> _Look:
    fine = cv2.cvtColor(panorama, cv2.COLOR_BGR2GRAY).astype(np.float32)
    grey = _blocks(fine, 2)
    quarter = grey.shape[0] // 4
    band = _steps(grey)[quarter:3 * quarter]            # 45 degrees about the horizon
    return _Look(time_ns, np.fft.rfft(band, axis=1).astype(np.complex64),
                 _blocks(_steps(fine) ** 2, 2))


def _steps(grey: Array) -> Array:
    """Return the step to the next column; those along columns stay the same in a turn."""
    return np.roll(grey, -1, axis=-1) - grey


def _blocks(values: Array, side: int) -> Array:
    height, width = values.shape
    return values.reshape(height // side, side, width // side, side).mean(axis=(1, 3))


def _loses_detail(then: _Look, now: _Look, shift_px: int) -> NDArray[np.bool_]:
    """Return the tiles in which detail is lost that is there before it enters or after it left."""
    entering = _blocks(np.roll(then.detail, shift_px, axis=1), TILE // 2)
    leaving = _blocks(np.roll(now.detail, -shift_px, axis=1), TILE // 2)
    here_now, here_then = _blocks(now.detail, TILE // 2), _blocks(then.detail, TILE // 2)
    lost = (entering > DETAIL) & (here_now < LOST * entering)
    # One of both will do: behind a cover wider than the turn something covered enters or leaves.
    return lost | ((leaving > DETAIL) & (here_then < LOST * leaving))


def _judged(unknown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the tiles that are judged: away from the poles and from what the camera masks."""
    tiled = unknown.reshape(LENS_HW[0] // TILE, TILE, LENS_HW[1] // TILE, TILE)
    free = np.logical_not(tiled.any(axis=(1, 3)))
    elevation_deg = 90 - 180 * (np.arange(free.shape[0]) + 0.5) / free.shape[0]
    free[(elevation_deg < LOWEST_DEG) | (elevation_deg > HIGHEST_DEG)] = False
    return free


def _filled(tiles: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the tiles with the inside of rings, and without single ones; across the seam."""
    if not tiles.any():
        return tiles
    width = tiles.shape[1]
    wide = np.concatenate([tiles, tiles, tiles], axis=1).astype(np.uint8)
    wide = np.asarray(cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    outlines, _ = cv2.findContours(wide, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(wide, outlines, -1, 1, cv2.FILLED)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(wide)
    small = np.flatnonzero(statistics[:, cv2.CC_STAT_AREA] < LEAST_TILES)
    wide[np.isin(labels, small)] = 0
    return wide[:, width:2 * width] > 0


def _where(tiles: NDArray[np.bool_]) -> str:
    """Return where the largest patch of tiles is, for people; '' if there is none."""
    if not tiles.any():
        return ''
    rows, cols = np.nonzero(tiles)
    azimuth = np.pi * (1 - 2 * (cols + 0.5) / tiles.shape[1])
    elevation_deg = 90 - 180 * (rows.mean() + 0.5) / tiles.shape[0]
    azimuth_deg = np.rad2deg(np.arctan2(np.sin(azimuth).mean(), np.cos(azimuth).mean()))
    solid = np.cos(np.pi * (0.5 - (np.arange(tiles.shape[0]) + 0.5) / tiles.shape[0]))
    share = float((tiles * solid[:, None]).sum() / (solid.sum() * tiles.shape[1]))
    return (f'no detail is seen in {share:.0%} of the view, about azimuth {azimuth_deg:.0f} and '
            f'elevation {elevation_deg:.0f} deg, wherever the camera turns: clean the lens, or '
            'mask the robot (body_mask)')
