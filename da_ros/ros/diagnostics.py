"""Counters and latencies of the node, and the diagnostic message made of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np

WINDOW = 600                      # frames
RATE_WINDOW_S = 10.0
STAGES = ('convert', 'inference', 'messages', 'total')


@dataclass
class Statistics:
    """What happened since the node was activated; written by the worker, read by the timer."""

    started: float = field(default_factory=time.perf_counter)
    received: int = 0
    published: int = 0
    dropped: int = 0              # replaced by a newer frame before their turn came
    lost: int = 0                 # reported lost by the middleware
    refused: int = 0              # bad input
    failed: int = 0               # inference errors
    last_error: str = ''
    unknown_share: float = 0.0    # pixels made NaN because mask and range disagree, last frame
    age_s: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    finished: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    stages: dict[str, deque[float]] = field(
        default_factory=lambda: {name: deque(maxlen=WINDOW) for name in STAGES})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Record how long a stage of one frame takes."""
        start = time.perf_counter()
        yield
        self.stages[stage].append(time.perf_counter() - start)

    def rate_hz(self) -> float:
        """Return the rate of finished frames over the last 10 s, 0 after 2 s of silence."""
        now = time.perf_counter()
        times = [t for t in list(self.finished) if now - t < RATE_WINDOW_S]
        if len(times) < 2 or now - times[-1] > 2:
            return 0.0
        return (len(times) - 1) / (times[-1] - times[0])

    def silent_s(self) -> float:
        """Return the time since the last finished frame, or since the start [s]."""
        last = self.finished[-1] if self.finished else self.started
        return time.perf_counter() - last

    def median_age_s(self) -> float:
        """Return the median age of the data when published [s]; 0 before the first frame."""
        return float(np.median(list(self.age_s))) if self.age_s else 0.0

    def values(self) -> dict[str, str]:
        """Return everything as text for a diagnostic status."""
        values = {'rate': f'{self.rate_hz():.1f} Hz'}
        values |= {name: str(getattr(self, name)) for name in
                   ('received', 'published', 'dropped', 'lost', 'refused', 'failed')}
        for name, samples in self.stages.items():
            values[f'latency {name} p50 / p99'] = _milliseconds(samples)
        values['data age p50 / p99'] = _milliseconds(self.age_s)
        values['mask and range disagree'] = f'{100 * self.unknown_share:.2f} % of pixels'
        if self.last_error:
            values['last error'] = self.last_error
        return values


def _milliseconds(samples: deque[float]) -> str:
    if not samples:
        return 'no frame yet'
    p50, p99 = np.quantile(np.array(list(samples)), (0.5, 0.99)) * 1e3
    return f'{p50:.1f} / {p99:.1f} ms'


LEVELS = {'ok': DiagnosticStatus.OK, 'warn': DiagnosticStatus.WARN,
          'error': DiagnosticStatus.ERROR}


def diagnostic_msg(stamp, name: str, level: str, message: str,
                   values: dict[str, str]) -> DiagnosticArray:
    """Return one status as a message; `level` is ok, warn or error."""
    status = DiagnosticStatus(
        level=LEVELS[level], name=f'{name}: panoramic depth', hardware_id=name,
        message=message,
        values=[KeyValue(key=key, value=value) for key, value in values.items()])
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
