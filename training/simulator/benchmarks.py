# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Rendered evaluation sets that never change: fixed seed, level cameras, one shard per part.

* outdoor: streets, yards, open ground and the varied outdoor worlds; the second part looks from 2
  to 30 m height, as a drone does.
* obstacles: rooms, halls and indoor worlds with obstacles close by; the second part is the world
  that training never sees, as it is, with obstacles added. No camera is under a table or a shelf.

Another `--size` gives other views of the same kinds: pictures and scenes share random numbers.
Training draws from (seed, shard); these from (seed, part, MARK), which never coincide.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.simulator.generate import MixConfig
from training.simulator.views import ViewConfig
from training.simulator.worlds import HELD_OUT_WORLD

SEED, MARK = 2026, 77


@dataclass(frozen=True)
class Part:
    count: int
    mix: MixConfig


def _outdoor(count: int, **view) -> Part:
    return Part(count, MixConfig(
        shares=(('outdoor', 0.7), ('gz_street', 0.15), ('aws_racetrack', 0.15)),
        views_per_scene=2, benchmark=True, view=ViewConfig(tilted=0.0, **view)))


def _obstacles(count: int, shares, **mix) -> Part:
    view = ViewConfig(tilted=0.0, near_things=4.0, marked=0.3, headroom_m=1.8)
    return Part(count, MixConfig(shares=shares, views_per_scene=2, benchmark=True, view=view,
                                 **mix))


BENCHMARKS: dict[str, tuple[Part, ...]] = {
    'outdoor': (_outdoor(40), _outdoor(20, min_height_m=2.0, max_height_m=30.0, near_things=0.0,
                                       marked=0.0)),
    'obstacles': (
        _obstacles(40, (('home', 0.5), ('hall', 0.3), ('aws_small_house', 0.1),
                        ('aws_hospital_f1', 0.1))),
        _obstacles(24, ((HELD_OUT_WORLD, 1.0),), held_out=True)),
}


def seed_of(part: int) -> tuple[int, int, int]:
    """Return the seed of a part."""
    return SEED, part, MARK
