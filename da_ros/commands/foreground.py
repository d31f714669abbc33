# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Engines that a command needs are built before it goes on, with a bar on the terminal."""

from __future__ import annotations

from collections.abc import Callable
import sys
import time

from tqdm import tqdm

from da_ros.backends.base import EngineMissing
from da_ros.backends.chain import Attempt
from da_ros.engines.building import Building
from da_ros.engines.worker import EngineBuild
from da_ros.estimator import RangeEstimator

LOOK_EVERY_S = 0.1


def open_in_foreground(make: Callable[[dict[Attempt, str]], RangeEstimator]) -> RangeEstimator:
    """
    Make an estimator; build the engines that it lacks. What cannot be built is told and passed.

    :param make: takes what was given up (`RangeEstimator`, `given_up`)
    :raises DaRosError: as `RangeEstimator`, but never EngineMissing
    """
    building = Building()
    try:
        while True:
            try:
                return building.open(make)
            except EngineMissing:
                with Bar() as bar:
                    while not (ended := building.ended()):
                        bar.show(building.share, building.text)
                        time.sleep(LOOK_EVERY_S)
                print(ended, file=sys.stderr)
    finally:
        building.cancel()


def build_in_foreground(build: EngineBuild) -> str:
    """Run a build to its end; return '' or why it failed. Ctrl-C ends it."""
    build.start()
    try:
        with Bar() as bar:
            while build.poll() == 'running':
                bar.show(*build.progress)
                time.sleep(LOOK_EVERY_S)
    finally:
        build.cancel()
    return build.error


class Bar:
    """A bar on a terminal, nothing elsewhere."""

    def __enter__(self) -> Bar:
        self._bar = tqdm(total=100, disable=None, leave=False,
                         bar_format='{desc} |{bar}| {percentage:3.0f} % [{elapsed}]')
        return self

    def show(self, share: float, text: str) -> None:
        """Show how far something is, 0 to 1."""
        self._bar.set_description_str(text.split(': ', 1)[-1], refresh=False)
        self._bar.n = round(100 * share)
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        self._bar.close()
