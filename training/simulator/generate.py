# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From a seed to samples: the mixture of scenes."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.sample import Sample
from training.simulator.enrich import Enricher
from training.simulator.furniture_catalogue import FurnitureCatalogue
from training.simulator.halls import make_hall
from training.simulator.inserts import Inserter, load_photographs
from training.simulator.library import ObjectLibrary
from training.simulator.marks import add_stripe_textures
from training.simulator.rooms import make_home
from training.simulator.scene import Scene
from training.simulator.sequences.drive import drive, DriveConfig
from training.simulator.skies import BENCHMARK_SKIES, load_skies, OPEN_SKIES
from training.simulator.streets import make_outdoor
from training.simulator.textures import load_texture_folder, SimulatorError, TextureStore
from training.simulator.views import take_pictures, ViewConfig
from training.simulator.worlds import HELD_OUT_WORLD, make_world, WorldLibrary, WORLDS


@dataclass(frozen=True)
class MixConfig:
    """
    Shares of scene kinds; `only` replaces the mixture by one world shown as it is.

    `held_out` lets the world that training never sees into the mixture, shown as it is.
    `benchmark` draws as the benchmarks always have: their skies, and nothing that came later.
    """

    shares: tuple[tuple[str, float], ...] = (
        ('home', 0.36), ('hall', 0.22), ('outdoor', 0.16), ('aws_small_house', 0.09),
        ('aws_hospital_f1', 0.08), ('aws_racetrack', 0.035), ('gz_street', 0.055))
    only: str = ''
    held_out: bool = False
    benchmark: bool = False
    views_per_scene: int = 3
    view: ViewConfig = field(default_factory=ViewConfig)

    @property
    def plain(self) -> bool:
        """Whether scenes are left as their makers make them."""
        return self.benchmark or bool(self.only)


def check_mix(mix: MixConfig) -> MixConfig:
    """Return the mixture; raises SimulatorError for unknown kinds and the held-out world."""
    known = {'home', 'hall', 'outdoor', HELD_OUT_WORLD, *WORLDS}
    unknown = {k for k, _ in mix.shares} | ({mix.only} - {''})
    if unknown - known:
        raise SimulatorError(f'unknown scene kinds {sorted(unknown - known)}; '
                             f'choose from {sorted(known)}')
    if HELD_OUT_WORLD in dict(mix.shares) and not mix.held_out:
        raise SimulatorError(f'{HELD_OUT_WORLD} is held out of the mixture; use --only')
    return mix


class Simulator:
    """
    Scenes of an asset folder.

    It holds `textures`, `scenes`, the skies in `panoramas_more` (training) and `panoramas`
    (benchmarks), and, if one likes, furniture libraries (*.sh3f) somewhere in `furniture`.
    """

    def __init__(self, assets: str | Path, mix: MixConfig | None = None,
                 device: str = 'cpu') -> None:
        """
        :param device: of the ray caster, see `scene.make_caster`
        :raises SimulatorError: if the folder lacks textures, objects or worlds
        """
        assets = Path(assets)
        self.mix, self._device = check_mix(mix or MixConfig()), device
        self._store = TextureStore()
        load_texture_folder(self._store, assets / 'textures')
        add_stripe_textures(self._store)
        self._objects = ObjectLibrary(assets / 'scenes', self._store)
        self._enricher = Enricher(FurnitureCatalogue(assets / 'furniture', self._store))
        self._worlds = WorldLibrary(assets / 'scenes', self._store)
        self._skies = {False: load_skies(assets / 'panoramas_more', OPEN_SKIES),
                       True: load_skies(assets / 'panoramas', BENCHMARK_SKIES)}

    def with_mix(self, mix: MixConfig) -> Simulator:
        """Return a simulator of another mixture that shares the assets."""
        other = copy(self)
        other.mix = check_mix(mix)
        return other

    def samples(self, seed: tuple[int, ...], count: int) -> Iterator[Sample]:
        """Yield `count` samples that depend on the seed, the assets and the mixture alone."""
        rng = np.random.default_rng(seed)
        done = 0
        while done < count:
            scene = self._scene(rng)
            wanted = min(self.mix.views_per_scene, count - done)
            enricher = None if self.mix.plain else self._enricher
            for image, range_m, height in take_pictures(
                    rng, scene, self._objects, wanted, self.mix.view, enricher):
                yield Sample(image, range_m, np.isfinite(range_m), scene.kind, height,
                             {'environment': 'indoor' if scene.indoor else 'outdoor'})
                done += 1

    def sequence(self, seed: tuple[int, ...], config: DriveConfig) -> Iterator[Sample]:
        """
        Yield the frames of one drive that depends on the seed, the assets and the mixture alone.

        :raises SimulatorError: if ten scenes in a row had no free place
        """
        rng = np.random.default_rng(seed)
        for _ in range(10):
            frames = drive(rng, self._scene(rng), self._objects, self.mix.view, config)
            first = next(frames, None)
            if first is not None:
                yield first
                yield from frames
                return
        raise SimulatorError('no free place for a robot in ten scenes; give another --mix')

    def inserts(self, folder: str | Path, labels: Path | None = None) -> Inserter:
        """
        Return what puts things of the assets into the labelled photographs below a folder.

        :param labels: see `inserts.load_photographs`
        :raises DaRosError: see `inserts.load_photographs`
        """
        return Inserter(load_photographs(folder, labels), self._store, self._objects,
                        self._enricher, self._device)

    def _scene(self, rng: np.random.Generator) -> Scene:
        scene = Scene(self._store, device=self._device)
        skies = self._skies[self.mix.benchmark]
        kinds, shares = zip(*self.mix.shares)
        kind = self.mix.only or str(rng.choice(kinds, p=np.array(shares) / sum(shares)))
        if kind == 'home':
            make_home(rng, scene, self._objects, skies)
        elif kind == 'hall':
            make_hall(rng, scene, self._objects, skies)
        elif kind == 'outdoor':
            make_outdoor(rng, scene, self._objects, skies)
        else:
            make_world(rng, scene, self._worlds, kind, skies,
                       vary=not self.mix.only and kind != HELD_OUT_WORLD)
        if not self.mix.plain:
            self._enricher.furnish(rng, scene)
        return scene
