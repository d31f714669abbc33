# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How long a call takes."""

from __future__ import annotations

from collections.abc import Callable
import time


def seconds_of(work: Callable[[], object], repeats: int,
               warm_up: int | None = None) -> list[float]:
    """Return the duration of each call after some that are not counted."""
    for _ in range(min(repeats // 10, 10) if warm_up is None else warm_up):
        work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times
