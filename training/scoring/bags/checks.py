# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checks over time: flicker under known motion, drop-outs, and when the camera really looked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from da_ros.bags.transforms import TransformError
from da_ros.derived.thinning import sphere_uniform_index
from da_ros.range_map import resample_nearest
from da_ros.sphere import erp_rays
from training.scoring.bags.truth import Observation, TruthSource
from training.scoring.projection import project_points

Array = NDArray[np.floating]
COARSE_HW = (128, 256)
OFFSETS_S = np.round(np.arange(-0.5, 0.501, 0.02), 3)
STATIC_WITHIN = 0.05     # truth that agrees this well with its own past stands still


def flicker(before: Array, now: Array, now_from_before: Array, truth_before: Array | None = None,
            truth_now: Array | None = None, points: int = 4000) -> float:
    """
    Return how much static points change their place: median |log(range / expected range)|.

    Points of the frame before are carried along the known motion and compared with the range now
    in their direction. Where truth is known for both frames, points whose truth does not agree
    with its own past (moving, or now hidden) are left out; elsewhere the median bears them.

    :param before: range of the frame before [m], (H, W)
    :param now: range of this frame [m], (H, W)
    :param now_from_before: (4, 4) motion of the camera's body frame
    :return: NaN without common points
    """
    index = sphere_uniform_index(before.shape, points)
    found, expected = _carried(before, index, now_from_before)
    ratio = np.ravel(now)[found] / expected
    good = np.isfinite(ratio) & (ratio > 0)
    # Without truth, what moves is a minority that the median bears; with it, a person who fills
    # the view must not be taken for flicker.
    if truth_before is not None and truth_now is not None:
        where, distance = _carried(truth_before, index, now_from_before)
        change = np.ravel(truth_now)[where] / distance
        with np.errstate(invalid='ignore', divide='ignore'):
            good &= ~(np.abs(np.log(change)) > STATIC_WITHIN)
    return float(np.median(np.abs(np.log(ratio[good])))) if good.any() else float('nan')


def _carried(range_m: Array, index: NDArray[np.intp], motion: Array) -> tuple[NDArray, Array]:
    """Return the pixel where each chosen point is seen after a motion, and its range there."""
    height, width = range_m.shape
    with np.errstate(invalid='ignore'):
        points = erp_rays(height, width).reshape(-1, 3)[index] * np.ravel(range_m)[index][:, None]
        points = points @ motion[:3, :3].T + motion[:3, 3]
        distance = np.linalg.norm(points, axis=1)
    known = np.isfinite(distance)
    x, y, z = np.where(known[:, None], points, 1.0).T
    row = (0.5 - np.arctan2(z, np.hypot(x, y)) / np.pi) * height
    col = (0.5 - np.arctan2(y, x) / (2 * np.pi)) * width
    pixel = np.minimum(row.astype(int), height - 1) * width + col.astype(int) % width
    return pixel, np.where(known, distance, np.nan)


@dataclass
class OffsetScan:
    """
    When did the camera look? Compares predictions with the truth of other moments.

    A stamp that is late by d fits the truth of d earlier best: `stamp_offset_s` = -d.
    """

    frames: int = 40                 # how many are kept, evenly over the bag
    samples: list[tuple[int, str, Array, list[tuple[Observation, Array]]]] = field(
        default_factory=list)

    def add(self, stamp_ns: int, camera: str, pred: Array, source: TruthSource) -> None:
        """Keep a frame and the truth around it, both coarse."""
        seen = [(o, o.sparse_points(source.body_from_frame)) for o in source.around(stamp_ns)]
        # Points of one moment serve for all offsets where TF carries them: three are enough, and
        # a drive of an hour stays in memory.
        if source.tree.is_moving(camera) and source.body_from_sensor is None:
            seen = sorted(seen, key=lambda s: abs(s[0].stamp_ns - stamp_ns))[:3]
        slim = [(Observation(o.stamp_ns, o.frame), points) for o, points in seen]
        self.samples.append((stamp_ns, camera, resample_nearest(
            pred.astype(np.float32), *COARSE_HW).astype(np.float16), slim))

    def run(self, source: TruthSource) -> tuple[Array, Array]:
        """
        Return the candidate offsets [s] and the error of each.

        :return: offsets (K,), mean clipped |log(pred / truth)| after removing each frame's scale
            (K,); NaN where no frame has truth
        """
        moving = [source.tree.is_moving(camera) for _, camera, _, _ in self.samples]
        errors = np.full((len(self.samples), len(OFFSETS_S)), np.nan)
        for row, (sample, moves) in enumerate(zip(self.samples, moving)):
            for column, offset in enumerate(OFFSETS_S):
                errors[row, column] = self._error(sample, offset, source, moves)
        # Frames that lack truth at some offsets would shift the mean there and fake a minimum.
        complete = np.isfinite(errors).all(axis=1)
        if not complete.any():
            return OFFSETS_S, np.full(len(OFFSETS_S), np.nan)
        return OFFSETS_S, errors[complete].mean(axis=0)

    def _error(self, sample, offset_s: float, source: TruthSource, moves: bool) -> float:
        stamp_ns, camera, pred, seen = sample
        looked_ns = stamp_ns + round(offset_s * 1e9)
        if not seen:
            return float('nan')
        nearest, points = min(seen, key=lambda s: abs(s[0].stamp_ns - looked_ns))
        motion = moves and source.body_from_sensor is None
        if not motion and abs(nearest.stamp_ns - looked_ns) > source.tolerance_ns:
            return float('nan')
        try:
            moved = source.in_body(points, nearest, camera, looked_ns)
        except TransformError:
            return float('nan')
        target = project_points(moved, *COARSE_HW)
        known = np.isfinite(target) & np.isfinite(pred) & (pred > 0)
        if known.sum() < 50:
            return float('nan')
        # Scale is not the question here, and a clip keeps the edges of near things, which are
        # wrong by factors at any offset, from drowning the rest.
        log_ratio = np.log(pred[known].astype(np.float32) / target[known])
        return float(np.minimum(np.abs(log_ratio - np.median(log_ratio)), 0.5).mean())


def suggest_offset(offsets_s: Array, errors: Array) -> tuple[float, str]:
    """
    Return the offset of least error, refined by a parabola, and a sentence about it.

    :return: offset [s] or NaN when the scan does not tell
    """
    if not np.isfinite(errors).all():
        return float('nan'), 'no time-offset scan: too few frames with truth on all sides'
    best = int(np.argmin(errors))
    now = errors[int(np.argmin(np.abs(offsets_s)))]
    # Below some per cent the minimum is where the noise is lowest, and advice would be a guess.
    contrast = float(errors.max() / max(errors[best], 1e-9))
    if contrast < 1.03:
        return float('nan'), ('the time-offset scan is flat: too little motion, or a prediction '
                              'too coarse to tell')
    if best in (0, len(errors) - 1):
        return float('nan'), (f'the error still falls at {offsets_s[best]:+.2f} s, the end of the '
                              'scan: check the clocks')
    left, middle, right = errors[best - 1:best + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    offset = float(offsets_s[best] + shift * (offsets_s[1] - offsets_s[0]))
    if abs(offset) < 0.01 or errors[best] > 0.99 * now:
        return 0.0, 'stamps fit the truth: no stamp offset needed'
    return offset, (f'predictions fit the truth {abs(offset):.3f} s '
                    f'{"earlier" if offset < 0 else "later"} best')


def drop_outs(stamps_ns: Sequence[int]) -> dict[str, float]:
    """
    Return the rate of a stream and its holes (steps above 1.5 x the median period).

    :return: rate_hz, missing (frames that would fill the holes), longest_gap_s, backward (stamps
        that do not rise)
    """
    steps = np.diff(np.asarray(stamps_ns, np.int64)) / 1e9
    rising = steps[steps > 0]
    if not rising.size:
        return dict.fromkeys(('rate_hz', 'missing', 'longest_gap_s'), float('nan')) | {
            'backward': float(len(steps))}
    period = float(np.median(rising))
    holes = rising[rising > 1.5 * period]
    return {'rate_hz': 1 / period, 'missing': float(np.sum(np.rint(holes / period) - 1)),
            'longest_gap_s': float(rising.max()), 'backward': float((steps <= 0).sum())}


def percentiles(values: Sequence[float], of: Callable[[float], float] = float) -> dict[str, float]:
    """Return p50 and p99 of values; NaN without any."""
    known = [of(v) for v in values if np.isfinite(v)]
    if not known:
        return {'p50': float('nan'), 'p99': float('nan')}
    return {'p50': float(np.percentile(known, 50)), 'p99': float(np.percentile(known, 99))}
