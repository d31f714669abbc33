# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Panoramas of a bag, a folder or a file, estimated when they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Protocol

from da_ros import files
from da_ros.bags.bag import BagReader, COMPRESSED, IMAGE
from da_ros.bags.frames import pictures_of
from da_ros.commands.view_page import Shown
from da_ros.config import Config, ConfigError, PointsConfig
from da_ros.derived.frame import Derivation
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.legend import colour_limit_m, with_legend
from da_ros.pixels import Picture, picture_of
from da_ros.range_map import colour

MOST_FRAMES = 300              # of a bag, spread over it; they are kept as they were recorded


class Pictures(Protocol):
    """Panoramas in order."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[str, Picture]:
        """Return name and picture."""


class FolderPictures:
    """The JPEG and PNG files of a folder, or one file."""

    def __init__(self, path: Path):
        """:raises BagError: if there is none"""
        self._paths = pictures_of(path)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._paths)

    def __getitem__(self, index: int) -> tuple[str, Picture]:
        """Return name and picture."""
        return self._paths[index].name, files.read_panorama(self._paths[index])


class BagPictures:
    """Images of a bag's topic, at most 300 spread over it."""

    def __init__(self, path: Path, topic: str = ''):
        """:raises BagError: if the bag or the topic cannot be read"""
        with BagReader(path) as bag:
            topic = bag.find_topic(topic, (IMAGE, COMPRESSED), 'image')
            every = -(-bag.counts[topic] // MOST_FRAMES)
            first_ns, self._msgs = None, []
            for number, message in enumerate(bag.messages([topic])):
                first_ns = message.log_ns if first_ns is None else first_ns
                if number % every == 0:
                    self._msgs.append(((message.log_ns - first_ns) * 1e-9, message.decode()))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._msgs)

    def __getitem__(self, index: int) -> tuple[str, Picture]:
        """Return the time and the picture."""
        seconds, msg = self._msgs[index]
        return f'{seconds:.1f} s', picture_of(msg)


def pictures_at(path: Path, topic: str) -> Pictures:
    """
    Return the panoramas of a bag, a folder of pictures or one picture.

    :raises BagError: if there is nothing of the kind
    """
    if path.is_file() and path.suffix.lower() not in ('.bag', '.mcap', '.db3'):
        return FolderPictures(path)
    if path.is_dir() and not list(path.glob('metadata.yaml')) and not [
            *path.glob('*.mcap'), *path.glob('*.db3')]:
        return FolderPictures(path)
    return BagPictures(path, topic)


class Recorded:
    """Shows one moment of pictures; the rule may change, and acts on what is shown at once."""

    def __init__(self, pictures: Pictures, estimator: RangeEstimator,
                 show: Callable[[Shown], None]):
        """Take what is shown, what estimates it, and where it goes."""
        self._pictures, self._estimator, self._show = pictures, estimator, show
        self._derivation, self._index = Derivation(), 0
        self._busy = RLock()           # the page calls from threads of its own

    def choose(self, index: int) -> None:
        """Show another moment."""
        with self._busy:
            self._index = index
            self._show(self.shown())

    def change(self, name: str, value: float) -> str:
        """Change a number of the rule; return '' or why not."""
        with self._busy:
            try:
                self._estimator.rule = replace(self._estimator.rule, **{name: value})
            except (ConfigError, DaRosError) as error:
                return str(error)
            self.choose(self._index)
        return ''

    def shown(self) -> Shown:
        """Estimate the present moment; a picture that cannot be used is told instead."""
        try:
            name, picture = self._pictures[self._index]
            range_map = self._estimator.predict(picture.image, picture.extent)
        except (DaRosError, ValueError) as error:
            return Shown(text=f'**frame {self._index}**: {error}')
        config = replace(Config(), rule=self._estimator.rule,
                         points=PointsConfig(rgb=True, max_points=60000))
        height_m = config.rule.camera_height_m
        if height_m:
            low = round(0.05 + 0.1 * height_m, 3)
            config = replace(config, scan=replace(config.scan, min_height_m=low,
                                                  max_height_m=max(1.5, low + 1)))
        derived = self._derivation.of(range_map, config)
        records, scan = derived.points(), derived.scan()
        rgb = records[:, 3].copy().view('uint8').reshape(-1, 4)[:, 2::-1].copy()
        floor = derived.floor()
        return Shown(
            picture.image, with_legend(colour(range_map), colour_limit_m(range_map)),
            records[:, :3].copy(), rgb, scan,
            f'**{name}** ({self._index + 1} of {len(self._pictures)}), '
            f'{self._estimator.bundle.name} on {self._estimator.backend}, limit '
            f'{self._estimator.limit_m:g} m. Floor: {self._derivation.tracker}',
            floor.height if floor is not None else 0.0)
