# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Counters and latencies of the node, what they mean, and the diagnostic message made of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
import time

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
import numpy as np

from da_ros.config import RangeRule
from da_ros.estimator import RangeEstimator
from da_ros.range_map import RangeMap, seam_ratio
from da_ros.scale import floor_below

WINDOW = 600                      # frames, of p50 and p99
RATE_WINDOW_S = 10.0
SILENCE_S, SILENCE_PERIODS = 2.0, 3       # without an image: the longer of the two
UNKNOWN_PERIOD_S = 2.0            # taken for the period before two images have come
PERIODS = 11                      # last images, of the median period
BLIND_S = 5.0                     # images arrive, but none is finished
AGE_WINDOW_S = 2.0
LOSS_WINDOW_S = 5.0
EARLIEST_AGE_S = -0.1      # of data when published; before it, they warn
VIDEO = 'decode'
STAGES = (VIDEO, 'convert', 'inference', 'memory', 'messages', 'total')


def _window() -> deque:
    return deque(maxlen=WINDOW)


@dataclass
class Statistics:
    """
    What happened since the node was activated; written by the worker, read by the timer.

    Times are those of `time.perf_counter` [s].
    """

    wanted_since: float | None = None     # since when outputs have subscribers; None = idle
    received: int = 0
    published: int = 0
    dropped: int = 0              # replaced by a newer frame before their turn came
    lost: int = 0                 # reported lost by the middleware
    refused: int = 0              # bad input
    failed: int = 0               # inference errors, and outputs that could not be made
    last_error: str = ''
    last_error_time: float = -np.inf
    unknown_share: float = 0.0    # pixels made NaN because mask and range disagree, last frame
    age_s: deque[float] = field(default_factory=_window)
    arrivals: deque[float] = field(default_factory=_window)
    finished: deque[tuple[float, float]] = field(default_factory=_window)     # time, age
    losses: deque[tuple[float, int]] = field(default_factory=_window)         # time, images
    stages: dict[str, deque[float]] = field(
        default_factory=lambda: {name: _window() for name in STAGES})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record how long a stage of one frame takes."""
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Record how long a stage of one frame took."""
        self.stages[stage].append(seconds)

    def want(self, wanted: bool, now: float) -> None:
        """
        Say whether anybody takes an output.

        A spell without takers is neither silence nor a low rate, so what rates and silences are
        made of begins anew after it; latencies and counts go on.
        """
        if wanted and self.wanted_since is None:
            self.arrivals.clear()
            self.finished.clear()
            self.wanted_since = now
        elif not wanted:
            self.wanted_since = None

    def arrived(self, now: float) -> None:
        """Count an image."""
        self.received += 1
        self.arrivals.append(now)

    def lose(self, count: int, now: float) -> None:
        """Count images that the middleware has lost."""
        self.lost += count
        self.losses.append((now, count))

    def finish(self, age_s: float, now: float) -> None:
        """Count a frame that was published, and how old its data was then."""
        self.published += 1
        self.age_s.append(age_s)
        self.finished.append((now, age_s))

    def go_wrong(self, text: str, now: float) -> None:
        """Keep the last error; its kind is counted by the caller."""
        self.last_error, self.last_error_time = text, now

    def period_s(self) -> float:
        """Return the median time between the last images, a guess before the second one."""
        times = list(self.arrivals)[-PERIODS:]
        return float(np.median(np.diff(times))) if len(times) > 1 else UNKNOWN_PERIOD_S

    def silence_limit_s(self) -> float:
        """Return how long a camera of this rate may be silent."""
        return max(SILENCE_S, SILENCE_PERIODS * self.period_s())

    def rate_hz(self, now: float) -> float:
        """Return the rate of finished frames over the last 10 s, 0 in silence."""
        window_s = max(RATE_WINDOW_S, self.silence_limit_s())
        times = [t for t, _ in list(self.finished) if now - t < window_s]
        if len(times) < 2 or now - times[-1] > self.silence_limit_s():
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])

    def recent_losses(self, now: float) -> int:
        """Return how many images were lost within the last 5 s, or since one has arrived."""
        since = min(max(list(self.arrivals), default=-np.inf), now - LOSS_WINDOW_S)
        return sum(count for t, count in list(self.losses)
                   if t > since and t >= (self.wanted_since or 0))

    def worst_age_s(self, now: float, timeout_s: float) -> float:
        """Return the least credible age of the frames of the last 2 s, or the last frame's."""
        frames = list(self.finished)
        ages = [age for t, age in frames if now - t < AGE_WINDOW_S] or [a for _, a in frames[-1:]]
        return max(ages, default=0.0, key=lambda age: max(age - timeout_s,
                                                          EARLIEST_AGE_S - age))

    def values(self, now: float) -> dict[str, str]:
        """Return everything as text for a diagnostic status."""
        values = {'rate': f'{self.rate_hz(now):.1f} Hz'}
        values |= {name: str(getattr(self, name)) for name in
                   ('received', 'published', 'dropped', 'lost', 'refused', 'failed')}
        for name, samples in self.stages.items():
            if name == VIDEO and not samples:
                continue
            values[f'latency {name} p50 / p99'] = _milliseconds(samples)
        values['data age p50 / p99'] = _milliseconds(self.age_s)
        values['mask and range disagree'] = f'{100 * self.unknown_share:.2f} % of pixels'
        if self.last_error:
            values['last error'] = self.last_error
        return values


def _milliseconds(samples: Iterable[float]) -> str:
    samples = list(samples)
    if not samples:
        return 'no frame yet'
    p50, p99 = np.quantile(np.array(samples), (0.5, 0.99)) * 1e3
    return f'{p50:.1f} / {p99:.1f} ms'


def estimator_values(estimator: RangeEstimator, rule: RangeRule, reason: str) -> dict[str, str]:
    """Return what runs, and the reason for it if it was not named, as text for a status."""
    values = {'bundle': estimator.bundle.name, 'backend': estimator.backend,
              'self-check': str(estimator.report), 'limit': f'{estimator.resolve(rule)[1]:g} m'}
    return values | {name: text for name, text in (
        ('bundle taken because', reason),
        ('backends refused', '; '.join(estimator.refused)),
        ('backend warning', estimator.warning)) if text}


def map_values(range_map: RangeMap | None, oddities: Sequence[str],
               camera_height_m: float) -> dict[str, str]:
    """Return what camera image and range map tell of themselves, as text for a status."""
    values = {'camera image': '; '.join(oddities)} if oddities else {}
    if range_map is None:
        return values
    depth_m, share = floor_below(range_map.range_m)
    known = f', camera_height_m {camera_height_m:g}' if camera_height_m else ''
    return values | {
        'scale': f'floor {depth_m:.2f} m below the camera in {share:.0%} of the downward '
                 f'view{known}',
        'seam step over other steps': f'{seam_ratio(range_map.range_m):.2f}'}


@dataclass(frozen=True)
class State:
    """What the node is doing, as far as `health` looks at it."""

    active: bool = False
    building: str = ''            # what is being built and how far it is
    failure: str = ''             # why the last transition failed
    topic: str = ''               # of the camera
    unseen: str = ''              # what the graph shows of why no image can come; '' = nothing
    remedy: str = ''              # of lost images
    backend: str = ''
    fallback: str = ''            # why the runtime in use is not the one that comes first
    twins: str = ''               # which cameras say that they are at one place
    floor: str = ''               # why heights over the floor are not to be trusted
    levelling: str = ''           # what is wrong with the tilt
    memory: str = ''              # why there is no memory though it is switched on
    blind: str = ''               # why the camera's pictures do not show the world
    dirt: str = ''                # and where its lens does not
    waiting: int = 0              # messages of a video without a key frame
    timeout_s: float = 1.0        # of the consumers


def health(statistics: Statistics, state: State, now: float) -> tuple[str, str]:
    """
    Return level (ok, warn, error) and text of the diagnostic status.

    What a consumer must know first comes first: nothing comes out, then wrong data, then the rest.
    """
    if state.building:
        return 'warn', state.building
    if state.failure:
        return 'error', state.failure
    if not state.active:
        return 'ok', 'not active'
    if statistics.wanted_since is None:
        return 'ok', 'idle: no subscriber'
    return (_errors(statistics, now) or _losses(statistics, state, now)
            or _silence(statistics, state, now) or _blindness(statistics, state, now)
            or (('error', f'{state.topic}: {state.blind}') if state.blind else None)
            or (('warn', state.twins or state.levelling or state.memory)
                if state.twins or state.levelling or state.memory else None)
            or (('warn', f'{state.topic}: {state.dirt}') if state.dirt else None)
            or _age(statistics, state.timeout_s, now) or _service(statistics, state, now))


Finding = tuple[str, str] | None


def _since(statistics: Statistics) -> float:
    # The node may become idle between the first look of `health` and this one.
    return np.inf if statistics.wanted_since is None else statistics.wanted_since


def _silent_s(statistics: Statistics, now: float) -> float:
    return now - max(list(statistics.arrivals), default=_since(statistics))


def _last_finished(statistics: Statistics) -> float:
    return max((t for t, _ in list(statistics.finished)), default=-np.inf)


def _errors(statistics: Statistics, now: float) -> Finding:
    wrong = statistics.last_error_time
    # At one image in some seconds the last word counts, else an error that keeps coming back.
    if wrong >= _since(statistics) and (
            wrong > _last_finished(statistics) or now - wrong < SILENCE_S):
        return 'error', statistics.last_error
    return None


def _losses(statistics: Statistics, state: State, now: float) -> Finding:
    count = statistics.recent_losses(now)
    if not count:
        return None
    none_left = _silent_s(statistics, now) > statistics.silence_limit_s()
    return 'error' if none_left else 'warn', loss_text(count, state.topic, state.remedy)


def _service(statistics: Statistics, state: State, now: float) -> tuple[str, str]:
    if not statistics.finished:
        return 'ok', ('the first image is under way' if statistics.arrivals else
                      f'waiting for the first image on {state.topic}')
    served = f'{statistics.rate_hz(now):.1f} Hz on {state.backend}'
    if state.fallback:
        return 'warn', f'{served}, a fall-back: {state.fallback}'
    return ('warn', state.floor) if state.floor else ('ok', served)


def loss_text(count: int, topic: str, remedy: str) -> str:
    """Say that images were lost, and what to do."""
    were = 'image was' if count == 1 else 'images were'
    return f'{count} {were} lost on the way to {topic}: {remedy}'


def _silence(statistics: Statistics, state: State, now: float) -> Finding:
    silent_s = _silent_s(statistics, now)
    # What the graph shows needs no waiting, but for discovery.
    limit_s = SILENCE_S if state.unseen and not statistics.arrivals else \
        statistics.silence_limit_s()
    if silent_s <= limit_s:
        return None
    # The middleware counts lost images only when a later one is complete.
    why = state.unseen or ('it is published, so either nothing is sent, or all of it is lost on '
                           f'the way; then {state.remedy}')
    return 'warn', f'no image on {state.topic} for {silent_s:.0f} s: {why}'


def _blindness(statistics: Statistics, state: State, now: float) -> Finding:
    finished = _last_finished(statistics)
    # Counted from the first image that waits: after a pause of the camera the last finished frame
    # is old, and nothing is wrong.
    first = next((t for t in list(statistics.arrivals) if t > finished), now)
    if now - first <= BLIND_S:
        return None
    why = (f': {state.waiting} h264 messages came without a key frame; let the camera send one '
           'each second' if state.waiting else '')
    return 'error', f'images arrive, but none was finished for {now - first:.0f} s{why}'


def _age(statistics: Statistics, timeout_s: float, now: float) -> Finding:
    age_s = statistics.worst_age_s(now, timeout_s)
    if EARLIEST_AGE_S < age_s < timeout_s:
        return None
    return 'warn', (f'data is {age_s:.1f} s old when published, consumer_timeout_s is '
                    f'{timeout_s:g}; check the stamps of the camera, the clock and stamp_offset_s')


LEVELS = {'ok': DiagnosticStatus.OK, 'warn': DiagnosticStatus.WARN,
          'error': DiagnosticStatus.ERROR}


def status_msg(node: str, camera: str, level: str, message: str,
               values: dict[str, str]) -> DiagnosticStatus:
    """
    Return the status of one camera as a message.

    :param node: its full name
    :param camera: '' = the only one
    :param level: ok, warn or error
    """
    return DiagnosticStatus(
        level=LEVELS[level], message=message, hardware_id=f'{node}/{camera}'.rstrip('/'),
        name=f'{node}: panoramic depth' + (f' of {camera}' if camera else ''),
        values=[KeyValue(key=key, value=value) for key, value in values.items()])
