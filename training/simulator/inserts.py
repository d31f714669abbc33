# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Things put into photographs whose free floor is labelled: real floors with obstacles of all kinds.

The labels (`training.data.readers.free_floor`) say where the floor of a photograph is free and
hence, for a level camera, where it is in space. Things are stood on it and rendered into the
picture: lit about as the floor is, with their shade on it, in front of what was there; through a
pane one sees the photograph. The range of a thing is exact, that of a pane, too, unlike in
rendered scenes: whoever finds its frame should stop there. It is in the same camera heights as the
label; what no thing covers keeps the range of the label, NaN where neither that nor a network
(`backgrounds`) says anything. Some floors are painted or covered before (`floor_paint`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
import json
from pathlib import Path

import cv2
import numpy as np

from da_ros.sphere import col_from_azimuth, elevation_from_row, erp_rays
from training.data.files import DataError
from training.data.readers import free_floor
from training.data.sample import Sample
from training.simulator.backgrounds import filled, load_backgrounds
from training.simulator.enrich import Enricher, NEAR_SHARE
from training.simulator.floor_paint import FLOOR_M, GAMMA, halved, painted
from training.simulator.library import ObjectLibrary
from training.simulator.makers.low import low_thing
from training.simulator.makers.things import Thing
from training.simulator.near import near_thing
from training.simulator.render import render, SURFACE_GAP_M
from training.simulator.scene import Light, Material, Scene, Sky
from training.simulator.shapes import quad
from training.simulator.textures import TextureStore

HEIGHT_M = free_floor.HEIGHT_M
LEAST_M, MOST_M = 0.35, 4.5     # ground distance of the near side of a thing
MARGIN = 0.97                   # of the free distance that a thing may take up
TRIES = 14                      # places looked for in a picture, at most; many are taken
FLOOR_TINT = 0.5                # of the floor that takes the shade
SAME_FLOOR = 0.004              # of the range, within which a hit is the floor
PAINTED_SHARE = 0.4             # of the photographs
LOW_SHARE = 0.25                # of the things, beside those among all others
LEAST_FREE = 0.02               # of a picture, below which its floor is left as it is
PANES = 6                       # surfaces of glass that one looks through, at most


@dataclass(frozen=True)
class Photograph:
    """A labelled photograph with the floor that is free in it."""

    sample: Sample
    free_m: np.ndarray          # (W,) ground distance [m] up to which the floor is free


def load_photographs(folder: str | Path, labels: Path | None = None) -> list[Photograph]:
    """
    Return the labelled photographs that lie below a folder.

    :param labels: folder of what `training.label` says of them, which fills in what the hand
        leaves open
    :raises DaRosError: if there is none, or one is damaged or belongs to an evaluation
    """
    found = free_floor.samples(folder)
    backgrounds = load_backgrounds(labels) if labels else {}
    if labels and not backgrounds.keys() & {pair.image.stem for pair in found.pairs}:
        raise DataError(f'no label in {labels} is of a photograph below {folder}; label those '
                        'with training.label')
    photographs = []
    for pair, sample in zip(found.pairs, found):
        label = json.loads(pair.depth.read_text(encoding='utf-8'))
        if (predicted := backgrounds.get(pair.image.stem)) is not None:
            range_m = filled(sample.range_m, predicted)
            sample = replace(sample, range_m=range_m, valid=np.isfinite(range_m))
        free_m = HEIGHT_M * free_floor.free_distance(label, sample.image.shape[1])
        photographs.append(Photograph(sample, free_m))
    return photographs


class Inserter:
    """Draws photographs and things, and puts the things into them."""

    def __init__(self, photographs: list[Photograph], store: TextureStore, library: ObjectLibrary,
                 enricher: Enricher, device: str = 'cpu') -> None:
        """Take what the things are made of."""
        self._photographs, self._store = photographs, store
        self._library, self._enricher, self._device = library, enricher, device

    def samples(self, seed: tuple[int, ...], count: int) -> Iterator[Sample]:
        """Yield `count` samples that depend on the seed, the photographs and the assets alone."""
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield self.insert(rng, self._photographs[rng.integers(len(self._photographs))])

    def insert(self, rng, photograph: Photograph) -> Sample:
        """Return a photograph with things in it; as it was where none finds a place."""
        photograph = self._paint(rng, photograph)
        image = photograph.sample.image
        scene = _empty_scene(rng, self._store, self._device, image)
        bare = _shades(scene, image.shape[:2], rng)
        if not self._stand_things(rng, scene, photograph.free_m):
            return replace(photograph.sample, source='photograph')
        drawn = _composite(rng, scene, bare, photograph)
        range_m, thing = _cast(scene, image.shape[:2])
        range_m = np.where(thing, range_m, photograph.sample.range_m)
        return replace(photograph.sample, image=drawn, range_m=range_m,
                       valid=np.isfinite(range_m), source='photograph')

    def _paint(self, rng, photograph: Photograph) -> Photograph:
        """Return a photograph, in a share of cases with marks or a covering on its floor."""
        sample = photograph.sample
        if rng.uniform() >= PAINTED_SHARE:
            return photograph
        free = free_floor_pixels(photograph)
        if free.mean() < LEAST_FREE:
            return photograph
        image = painted(rng, sample.image, free, HEIGHT_M, self._store, self._device)
        return replace(photograph, sample=replace(sample, image=image))

    def _stand_things(self, rng, scene: Scene, free_m: np.ndarray) -> int:
        """Return how many things found a place on the free floor."""
        names = self._library.names(0.3, 2.6)
        taken: list[tuple[float, float, float]] = []
        for _ in range(rng.integers(TRIES + 1)):     # some stay empty, or all floors mean things
            thing = self._draw(rng, scene, names)
            azimuth, yaw = rng.uniform(-np.pi, np.pi, 2)
            near = float(np.exp(rng.uniform(np.log(LEAST_M), np.log(MOST_M))))
            reach = float(np.hypot(*thing.size)) / 2
            x, y = (near + reach) * np.cos(azimuth), (near + reach) * np.sin(azimuth)
            apart = all(np.hypot(x - u, y - v) > 0.8 * (reach + r) for u, v, r in taken)
            if apart and reach < 2.5 and stands_free(thing, x, y, yaw, free_m):
                thing.place(scene, x, y, yaw)
                taken.append((x, y, reach))
        return len(taken)

    def _draw(self, rng, scene: Scene, names: list[str]) -> Thing:
        if rng.uniform() < LOW_SHARE:
            return low_thing(rng, self._store)
        if rng.uniform() < NEAR_SHARE:
            return self._enricher.near_thing(rng, scene)
        return near_thing(rng, self._store, self._library, names)[0]


def stands_free(thing: Thing, x: float, y: float, yaw: float, free_m: np.ndarray) -> bool:
    """
    Return whether the footprint of a thing lies on free floor, and not around the camera.

    :param x, y: its middle [m] from the foot of the camera; yaw: its turn [rad]
    :param free_m: (W,) ground distance up to which the floor is free, per column
    """
    side = np.linspace(-0.5, 0.5, 33)
    ends = np.repeat([-0.5, 0.5], len(side))
    u = np.concatenate([np.tile(side, 2), ends]) * thing.size[0]
    v = np.concatenate([ends, np.tile(side, 2)]) * thing.size[1]
    at_x = x + np.cos(yaw) * u - np.sin(yaw) * v
    at_y = y + np.sin(yaw) * u + np.cos(yaw) * v
    distance, azimuth = np.hypot(at_x, at_y), np.arctan2(at_y, at_x)
    col = np.floor(col_from_azimuth(azimuth, len(free_m))).astype(int) % len(free_m)
    return bool(distance.min() > LEAST_M and (distance < MARGIN * free_m[col]).all())


def _empty_scene(rng, store: TextureStore, device: str, image: np.ndarray) -> Scene:
    """Return a floor under lamps or a sun, with the photograph around it for mirrors to show."""
    lamps = [Light((*rng.uniform(-4, 4, 2), rng.uniform(2.2, 5.0)), rng.uniform(2, 8))
             for _ in range(rng.integers(1, 4))]
    sun, power = None, 0.0
    if rng.uniform() < 0.35:
        lamps, power = [], rng.uniform(0.3, 1.5)
        sun = (*rng.normal(0, 1, 2), rng.uniform(0.5, 2.5))
        sun = tuple(np.array(sun) / np.linalg.norm(sun))
    small = cv2.resize(image, (512, 256), interpolation=cv2.INTER_AREA)
    scene = Scene(store, kind='photograph', indoor=bool(rng.uniform() < 0.6), lights=lamps,
                  sky=Sky(small, gain=1.0, sun=sun, sun_power=power),
                  ambient=rng.uniform(0.25, 0.7), device=device)
    half = FLOOR_M / 2
    scene.add(quad((-half, -half, 0), (FLOOR_M, 0, 0), (0, FLOOR_M, 0)),
              Material(tint=(FLOOR_TINT,) * 3))
    return scene


def _shades(scene: Scene, size_hw: tuple[int, int], rng) -> np.ndarray:
    """Return the radiance (H, W, 3) of a scene."""
    return render(scene, (0, 0, HEIGHT_M), size_hw, rng)[0]


def free_floor_pixels(photograph: Photograph) -> np.ndarray:
    """Return (H, W) bool: where free floor is seen."""
    height = photograph.sample.image.shape[0]
    elevation = elevation_from_row(np.arange(height) + 0.5, height)[:, None]
    distance = -HEIGHT_M / np.tan(np.minimum(elevation, -1e-3))
    return (elevation < -1e-3) & (distance < photograph.free_m)


def _cast(scene: Scene, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return range [m] (H, W), NaN on mirrors, and where a thing is seen."""
    rays = erp_rays(*size_hw).reshape(-1, 3).astype(np.float32)
    range_m, triangle, _ = scene.cast(np.array([0, 0, HEIGHT_M], np.float32), rays)
    range_m, triangle = range_m.reshape(size_hw), triangle.reshape(size_hw)
    elevation = elevation_from_row(np.arange(size_hw[0]) + 0.5, size_hw[0])[:, None]
    with np.errstate(divide='ignore', invalid='ignore'):
        floor = np.where(elevation < 0, HEIGHT_M / np.sin(-elevation), np.inf)
    thing = (triangle >= 0) & (range_m < floor * (1 - SAME_FLOOR))
    look, material = scene.looks(), scene.material_of[np.maximum(triangle, 0)]
    unknown = (look['unknown'] & ~look['clear'])[material]
    return np.where(unknown, np.nan, range_m).astype(np.float32), thing


def _panes(scene: Scene, linear: np.ndarray, size_hw: tuple[int, int]
           ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return what panes show of a photograph whose surroundings they stand in.

    :param linear: the photograph, linear, (h, w, 3)
    :return: where the photograph is seen through panes (H, W), which share of it (H, W, 3), and
        what they reflect (H, W, 3), in the light of the photograph
    """
    shape = (*size_hw, 3)
    look = scene.looks()
    if not look['clear'].any():
        return np.zeros(size_hw, bool), np.ones(shape, np.float32), np.zeros(shape, np.float32)
    rays = erp_rays(*size_hw).reshape(-1, 3).astype(np.float32)
    origin = np.tile(np.array([0, 0, HEIGHT_M], np.float32), (len(rays), 1))
    share, reflected = np.ones_like(rays), np.zeros_like(rays)
    behind = np.zeros(len(rays), bool)
    left = np.arange(len(rays))
    for surface in range(PANES):
        range_m, triangle, _ = scene.cast(origin[left], rays[left])
        material = scene.material_of[np.maximum(triangle, 0)]
        clear = (triangle >= 0) & look['clear'][material]
        if surface:                     # the first material of the scene is that of the floor
            behind[left] = ~clear & ((triangle < 0) | (material == 0))
        left, range_m, triangle, material = (a[clear] for a in (left, range_m, triangle, material))
        if not len(left):
            break
        normal, ray = scene.normals[triangle], rays[left]
        facing = np.abs(np.einsum('ij,ij->i', normal, ray))
        bright = look['mirror'][material]
        bright = (bright + (1 - bright) * (1 - facing) ** 5)[:, None]
        if not surface:
            away = ray - 2 * np.einsum('ij,ij->i', normal, ray)[:, None] * normal
            reflected[left] = bright * _seen_along(linear, away)
        share[left] *= look['tint'][material] * (1 - bright)
        origin[left] += ray * (range_m[:, None] + SURFACE_GAP_M)
    return behind.reshape(size_hw), share.reshape(shape), reflected.reshape(shape)


def _seen_along(picture: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Return (N, 3): what a panorama shows along unit rays."""
    height, width = picture.shape[:2]
    row = (0.5 - np.arcsin(np.clip(rays[:, 2], -1, 1)) / np.pi) * height
    col = col_from_azimuth(np.arctan2(rays[:, 1], rays[:, 0]), width)
    return picture[np.clip(row.astype(int), 0, height - 1), np.floor(col).astype(int) % width]


def _composite(rng, scene: Scene, bare: np.ndarray, photograph: Photograph) -> np.ndarray:
    """Return the picture (H, W, 3) uint8: things drawn at twice its size, floor with shade."""
    image = photograph.sample.image
    height, width = image.shape[:2]
    double = (2 * height, 2 * width)
    linear = (image.astype(np.float32) / 255) ** GAMMA
    free = free_floor_pixels(photograph)
    light = np.median(linear[free], 0) / rng.uniform(0.15, 0.6)     # on a white thing on the floor
    tone = (light / light.mean()) ** 0.5
    gain = light.mean() / (np.median(bare[free]) / FLOOR_TINT) * tone
    radiance = _shades(scene, double, rng)
    thing = _cast(scene, double)[1][..., None]
    behind, share, reflected = _panes(scene, linear, double)
    pane = behind[..., None] & thing
    open_share = halved((~thing).astype(np.float32))
    passed = open_share + halved(share * pane)
    colour = halved(radiance * (thing & ~pane)) * gain + halved(reflected * pane)
    shade = halved(np.where(thing, 0, radiance).mean(-1, keepdims=True))
    shade = shade / np.maximum(open_share * bare.mean(-1, keepdims=True), 1e-6)
    shade = np.where(free[..., None] & (open_share > 0.05), np.clip(shade, 0.1, 1.0), 1.0)
    mixed = linear * shade * passed + colour
    return (np.clip(mixed, 0, 1) ** (1 / GAMMA) * 255 + 0.5).astype(np.uint8)
