# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Engines that a runtime still lacks, built meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
import time
from typing import TypeVar

from da_ros.backends.base import EngineMissing
from da_ros.backends.chain import Attempt
from da_ros.engines.worker import EngineBuild

Opened = TypeVar('Opened')
MOST_BUILDS = 2          # of the same engines; a plan that does not load is built once again


class Building:
    """
    At most one build at a time, in a child process.

    Its owner calls `open`, after an `EngineMissing` looks at `ended` from time to time, and then
    calls `open` again. The engine cache remembers what cannot be built; `given_up` holds only
    what it could not keep (a full disk) or does not count as a failure (a plan that does not
    load, a child that was killed), so that no owner builds for ever.
    """

    def __init__(self) -> None:
        """Begin with nothing given up."""
        self.given_up: dict[Attempt, str] = {}
        self._build: EngineBuild | None = None
        self._attempt: Attempt = ('', '')
        self._jobs: list = []
        self._counts: Counter[Attempt] = Counter()
        self._began = 0.0
        self._unwanted = False
        self._error = ''         # of the last build

    def open(self, make: Callable[[dict[Attempt, str]], Opened]) -> Opened:
        """
        Return what needs a runtime, or begin to build the engines that it lacks.

        :param make: makes it, mostly a RangeEstimator; takes `given_up`
        :raises EngineMissing: if engines are being built now
        """
        while True:
            try:
                return make(self.given_up)
            except EngineMissing as missing:
                if self._start(missing):
                    raise

    def _start(self, missing: EngineMissing) -> bool:
        if self._build is not None and missing.jobs == self._jobs:
            self._unwanted = False
            return True
        self.cancel()
        self._jobs, self._attempt = missing.jobs, missing.attempt
        if self._counts[self._attempt] == MOST_BUILDS:
            last = f' ({self._error})' if self._error else ''
            self.given_up[self._attempt] = (
                f'{missing}, but {MOST_BUILDS} builds were in vain{last}')
            return False
        self._counts[self._attempt] += 1
        self._began = time.monotonic()
        self._build = EngineBuild(self._jobs)
        self._build.start()
        return True

    @property
    def text(self) -> str:
        """What is being built and how far it is, '' while nothing is."""
        if self._build is None:
            return ''
        share, what = self._build.progress
        return (f'building engine, {100 * share:.0f} % after {self._seconds():.0f} s: '
                f'{what.removeprefix("building ")}')

    @property
    def share(self) -> float:
        """How far the build is, 0 to 1."""
        return self._build.progress[0] if self._build else 0.0

    def ended(self) -> str:
        """Return once how a build ended, else ''."""
        who = ' '.join(self._attempt)
        if self._build is not None and self._unwanted:
            self.cancel()
            return f'{who}: build ended, because something else is wanted now'
        if self._build is None or self._build.poll() == 'running':
            return ''
        build, self._build = self._build, None
        self._error = build.error
        if build.poll() == 'failed':
            return f'{who}: engine not built: {build.error}'
        return f'{who}: engine built in {self._seconds():.0f} s'

    def cancel(self) -> None:
        """End a build within a second; nothing half-written stays."""
        if self._build is not None:
            self._build.cancel()
        self._build, self._unwanted = None, False

    def forget(self) -> None:
        """
        Try again what was given up: the owner wants something else now.

        A build under way ends with the next `ended`, unless `open` has asked for the same again.
        """
        self.given_up.clear()
        self._counts.clear()
        self._unwanted = self._build is not None

    def _seconds(self) -> float:
        return time.monotonic() - self._began
