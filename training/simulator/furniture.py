"""
Things a robot meets, made of boxes, cylinders and ellipsoids, and those of the asset folder.

Every maker takes (rng, store) and returns a Thing that stands on z = 0, centred in x and y.
"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np

from training.simulator.materials import random_colour, random_material
from training.simulator.scene import Material, Scene
from training.simulator.shapes import box, cylinder, ellipsoid, lathe, moved
from training.simulator.textures import HELD_OUT, SimulatorError, TextureStore


@dataclass
class Thing:
    parts: list                 # (shape, Material)
    size: tuple[float, float]   # footprint x, y [m]

    def place(self, scene: Scene, x: float, y: float, yaw: float, z: float = 0.0) -> None:
        """Add the thing to a scene; equal materials are shared."""
        for shape, material in self.parts:
            scene.add(moved(shape, x, y, z, yaw), material)


def _thing(parts) -> Thing:
    low = np.min([s[0].reshape(-1, 3).min(0) for s, _ in parts], 0)
    high = np.max([s[0].reshape(-1, 3).max(0) for s, _ in parts], 0)
    return Thing(parts, (float(high[0] - low[0]), float(high[1] - low[1])))


def _legs(rng, x, y, height, material, bottom=0.0):
    thick = rng.uniform(0.015, 0.035)
    is_round = rng.uniform() < 0.5
    shape = cylinder(thick, height, 8) if is_round else box(2 * thick, 2 * thick, height)
    dx, dy = x / 2 - thick, y / 2 - thick
    return [(moved(shape, sx * dx, sy * dy, bottom), material)
            for sx in (-1, 1) for sy in (-1, 1)]


def table(rng, store) -> Thing:
    x, y, z = rng.uniform(0.5, 2.2), rng.uniform(0.4, 1.1), rng.uniform(0.35, 1.05)
    top = random_material(rng, store, 'furniture')
    leg = top if rng.uniform() < 0.5 else random_material(rng, store, 'metal')
    slab = rng.uniform(0.02, 0.06)
    if rng.uniform() < 0.25:
        radius = min(x, 1.2) / 2
        return _thing([(moved(cylinder(radius, slab, 20), z=z - slab), top),
                       (cylinder(0.04, z), leg), (cylinder(radius * 0.5, 0.03), leg)])
    return _thing([(box(x, y, slab, z - slab), top)] + _legs(rng, x, y, z - slab, leg))


def chair(rng, store) -> Thing:
    x, seat = rng.uniform(0.38, 0.55), rng.uniform(0.4, 0.5)
    material = random_material(rng, store, 'furniture')
    leg = material if rng.uniform() < 0.4 else random_material(rng, store, 'metal')
    back = rng.uniform(0.75, 1.1)
    parts = [(box(x, x, 0.04, seat - 0.04), material),
             (moved(box(0.03, x, back - seat - 0.1), -x / 2 + 0.02, 0, seat + 0.1), material)]
    if rng.uniform() < 0.3:   # office chair
        return _thing(parts + [(cylinder(0.03, seat - 0.04), leg), (cylinder(0.28, 0.05), leg)])
    return _thing(parts + _legs(rng, x, x, seat - 0.04, leg) + [
        (moved(box(0.03, 0.03, back - seat), -x / 2 + 0.02, s * (x / 2 - 0.02), seat), leg)
        for s in (-1, 1)])


def cabinet(rng, store) -> Thing:
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.4, 2.4)
    z = rng.choice([rng.uniform(0.4, 0.95), rng.uniform(1.2, 2.3)])
    body, front = (random_material(rng, store, 'furniture') for _ in range(2))
    front = body if rng.uniform() < 0.5 else front
    parts = [(box(x, y, z), body)]
    doors = max(1, round(y / rng.uniform(0.4, 0.8)))
    for i in range(doors):
        width = y / doors
        parts.append((moved(box(0.02, width - 0.02, z - 0.1, 0.06), x / 2,
                            -y / 2 + (i + 0.5) * width), front))
    if rng.uniform() < 0.5:
        parts.append((box(x + 0.06, y + 0.04, 0.03, z), random_material(rng, store, 'furniture')))
    return _thing(parts)


def shelf(rng, store) -> Thing:
    x, y, z = rng.uniform(0.25, 0.5), rng.uniform(0.6, 1.8), rng.uniform(0.9, 2.3)
    material = random_material(rng, store, 'furniture')
    levels = int(rng.integers(3, 7))
    heights = np.linspace(0.05, z - 0.03, levels)
    parts = [(box(x, y, 0.025, float(h)), material) for h in heights]
    parts += [(moved(box(x, 0.025, z), 0, s * y / 2), material) for s in (-1, 1)]
    if rng.uniform() < 0.6:
        parts.append((moved(box(0.02, y, z), -x / 2), material))
    for h in heights[:-1]:
        at = -y / 2 + 0.05
        while at < y / 2 - 0.15:
            width = rng.uniform(0.03, 0.35)
            if rng.uniform() < 0.75:
                tall = rng.uniform(0.3, 0.9) * (z / levels)
                parts.append((moved(box(x * rng.uniform(0.4, 0.9), width * 0.9, tall), 0,
                                    at + width / 2, float(h) + 0.025),
                              Material(tint=random_colour(rng, 0.9))))
            at += width
    return _thing(parts)


def rack(rng, store) -> Thing:
    """A warehouse rack of posts, beams and pallets of boxes."""
    x, y = rng.uniform(0.8, 1.2), rng.uniform(1.8, 3.6)
    levels, step = int(rng.integers(2, 5)), rng.uniform(0.7, 1.6)
    post = Material(tint=random_colour(rng, 0.95))
    beam = Material(tint=random_colour(rng, 0.95))
    deck = random_material(rng, store, 'furniture')
    z = levels * step
    parts = _legs(rng, x, y, z, post)
    for level in range(levels):
        height = level * step + 0.1
        parts += [(moved(box(0.05, y, 0.1, height), s * (x / 2 - 0.03)), beam) for s in (-1, 1)]
        parts.append((box(x, y, 0.02, height + 0.1), deck))
        at = -y / 2 + 0.05
        while at < y / 2 - 0.3:
            width = rng.uniform(0.25, 1.1)
            if rng.uniform() < 0.8 and at + width < y / 2:
                parts.append((moved(box(x * rng.uniform(0.5, 0.95), width * 0.95,
                                        rng.uniform(0.2, 0.8) * step, height + 0.12), 0,
                                    at + width / 2), random_material(rng, store, 'carton')))
            at += width
    return _thing(parts)


def sofa(rng, store) -> Thing:
    x, y = rng.uniform(0.75, 1.0), rng.uniform(0.8, 2.4)
    material = random_material(rng, store, 'fabric')
    seat, back, arm = rng.uniform(0.35, 0.48), rng.uniform(0.7, 1.0), rng.uniform(0.1, 0.25)
    foot = rng.uniform(0.0, 0.12)
    return _thing([(box(x, y, seat - foot, foot), material),
                   (moved(box(0.2, y, back - foot, foot), -x / 2 + 0.1), material)]
                  + [(moved(box(x, arm, seat + 0.2 - foot, foot), 0, s * (y - arm) / 2), material)
                     for s in (-1, 1)])


def bed(rng, store) -> Thing:
    x, y, z = rng.uniform(1.9, 2.15), rng.uniform(0.9, 1.9), rng.uniform(0.35, 0.6)
    frame, cover = random_material(rng, store, 'furniture'), random_material(rng, store, 'fabric')
    return _thing([(box(x, y, z * 0.5, z * 0.15), frame), (box(x - 0.05, y - 0.05, z * 0.4,
                                                              z * 0.6), cover),
                   (moved(box(0.06, y, z + rng.uniform(0.2, 0.7)), -x / 2), frame),
                   (moved(box(0.45, y * 0.8, 0.12), -x / 2 + 0.35, 0, z),
                    Material(tint=(0.8, 0.8, 0.8)))])


def carton(rng, store) -> Thing:
    sizes = np.exp(rng.uniform(np.log(0.15), np.log(1.1), 3))
    return _thing([(box(*sizes), random_material(rng, store, 'carton'))])


def stack(rng, store) -> Thing:
    """A pallet with boxes on it."""
    wood = random_material(rng, store, 'furniture')
    parts = [(moved(box(1.2, 0.1, 0.09), 0, dy), wood) for dy in (-0.35, 0, 0.35)]
    parts.append((box(1.2, 0.8, 0.03, 0.09), wood))
    nx, ny, nz = (int(rng.integers(1, 4)) for _ in range(3))
    height = rng.uniform(0.2, 0.5)
    material = random_material(rng, store, 'carton')
    for i, j, k in np.ndindex(nx, ny, nz):
        if rng.uniform() < 0.9 or k == 0:
            parts.append((moved(box(1.15 / nx - 0.02, 0.75 / ny - 0.02, height - 0.01),
                                (i + 0.5) * 1.15 / nx - 0.575, (j + 0.5) * 0.75 / ny - 0.375,
                                0.12 + k * height), material))
    return _thing(parts)


def person(rng, store) -> Thing:
    """A standing or walking figure of ellipsoids."""
    tall = rng.uniform(1.0, 1.95)
    shirt, legs = (random_material(rng, store, 'fabric') for _ in range(2))
    skin = Material(tint=tuple(np.array([0.75, 0.5, 0.38]) * rng.uniform(0.25, 1.1)))
    stride, wide = rng.uniform(0, 0.2) * tall, rng.uniform(0.09, 0.14) * tall
    parts = [(moved(ellipsoid(0.13 * tall * 0.6, wide, 0.19 * tall), 0, 0, 0.45 * tall), shirt),
             (moved(ellipsoid(0.055 * tall, 0.05 * tall, 0.07 * tall), 0, 0, 0.86 * tall), skin)]
    for side in (-1, 1):
        parts.append((moved(lathe([0.03 * tall, 0.055 * tall, 0.05 * tall],
                                  [0, 0.3 * tall, 0.52 * tall], 8), side * stride / 2,
                            side * 0.05 * tall), legs))
        parts.append((moved(ellipsoid(0.03 * tall, 0.03 * tall, 0.19 * tall), -side * stride * 0.4,
                            side * (wide + 0.01), 0.44 * tall), shirt))
        parts.append((moved(box(0.15 * tall, 0.05 * tall, 0.04 * tall), side * stride / 2 + 0.03,
                            side * 0.05 * tall), legs))
    return _thing(parts)


def pole(rng, store) -> Thing:
    """A post, a stand with a foot, or a cordon post."""
    height = rng.choice([rng.uniform(0.5, 1.3), rng.uniform(1.3, 3.0)])
    radius = float(np.exp(rng.uniform(np.log(0.012), np.log(0.09))))
    material = random_material(rng, store, 'metal')
    parts = [(cylinder(radius, height, 10), material)]
    if rng.uniform() < 0.6:
        parts.append((cylinder(radius + rng.uniform(0.08, 0.22), 0.03, 16), material))
    if rng.uniform() < 0.25:
        parts.append((moved(ellipsoid(0.18, 0.18, 0.15), z=height),
                      Material(tint=(1, 0.95, 0.85), emission=1.0)))
    return _thing(parts)


def column(rng, store) -> Thing:
    size, height = rng.uniform(0.2, 0.7), rng.uniform(2.4, 6.0)
    shape = cylinder(size / 2, height, 18) if rng.uniform() < 0.5 else box(size, size, height)
    return _thing([(shape, random_material(rng, store, 'wall'))])


def barrel(rng, store) -> Thing:
    radius, height = rng.uniform(0.12, 0.4), rng.uniform(0.3, 1.1)
    bulge = radius * rng.uniform(0.7, 1.0)
    material = random_material(rng, store, 'furniture')
    return _thing([(lathe([0, bulge, radius, bulge, 0], [0, 0, height / 2, height, height]),
                    material)])


def plant(rng, store) -> Thing:
    pot, leaf = random_material(rng, store, 'furniture'), random_material(
        rng, store, 'foliage')
    height, radius = rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.2)
    parts = [(lathe([0, radius * 0.7, radius, 0], [0, 0, height, height]), pot)]
    green = Material(leaf.texture, leaf.tile_m, (0.35, rng.uniform(0.5, 0.9), 0.25))
    for _ in range(int(rng.integers(3, 9))):
        r = rng.uniform(0.06, 0.25)
        parts.append((moved(ellipsoid(r, r * rng.uniform(0.4, 1), r * rng.uniform(0.5, 2)),
                            rng.normal(0, 0.12), rng.normal(0, 0.12),
                            height + rng.uniform(0, 0.6)), green))
    return _thing(parts)


def counter(rng, store) -> Thing:
    """A bar, a reception desk or a kitchen block: large, at hand height."""
    x, y, z = rng.uniform(0.5, 1.0), rng.uniform(1.2, 4.0), rng.uniform(0.8, 1.25)
    body, top = (random_material(rng, store, 'furniture') for _ in range(2))
    parts = [(box(x, y, z), body), (box(x + 0.1, y + 0.06, 0.04, z), top)]
    for _ in range(int(rng.integers(0, 5))):
        parts.append((moved(box(*rng.uniform(0.08, 0.35, 3)), rng.uniform(-0.3, 0.3) * x,
                            rng.uniform(-0.45, 0.45) * y, z + 0.04),
                      Material(tint=random_colour(rng, 0.9))))
    return _thing(parts)


def panel(rng, store) -> Thing:
    """A partition, a screen on feet, or a cart's side."""
    y, z = rng.uniform(0.5, 2.5), rng.uniform(0.6, 2.2)
    lift = rng.uniform(0.0, 0.3)
    frame = random_material(rng, store, 'metal')
    return _thing([(box(0.04, y, z - lift, lift), random_material(rng, store, 'furniture'))]
                  + [(moved(box(0.4, 0.04, 0.04), 0, s * y / 2), frame) for s in (-1, 1)]
                  + [(moved(box(0.04, 0.04, z), 0, s * y / 2), frame) for s in (-1, 1)])


def ladder(rng, store) -> Thing:
    z, y = rng.uniform(1.2, 2.6), rng.uniform(0.35, 0.5)
    metal = random_material(rng, store, 'metal')
    parts = [(moved(box(0.05, 0.03, z), 0, s * y / 2), metal) for s in (-1, 1)]
    return _thing(parts + [(box(0.04, y, 0.025, h), metal) for h in np.arange(0.25, z, 0.28)])


HOME = (table, chair, chair, cabinet, shelf, sofa, bed, plant, counter, pole)
OFFICE = (table, table, chair, chair, cabinet, shelf, panel, plant, carton, counter)
DEPOT = (rack, rack, stack, stack, carton, barrel, column, ladder, panel, table)
NEAR = (table, chair, chair, cabinet, cabinet, shelf, counter, counter, carton, carton, person,
        person, pole, pole, barrel, panel, plant, stack, sofa, rack, column, ladder)
YARD = (stack, carton, barrel, barrel, pole, person, person, column, panel)


class ObjectLibrary:
    """The single objects of an asset folder, loaded when first used."""

    def __init__(self, folder: Path, store: TextureStore) -> None:
        """
        :param folder: with objects.json and objects/*.glb (metres, z up)
        :raises SimulatorError: if objects.json is missing
        """
        listing = folder / 'objects.json'
        if not listing.is_file():
            raise SimulatorError(f'{listing} does not exist; give the asset folder')
        self._folder, self._store = folder, store
        self._files = {o['name']: (o['file'], o['extent_xyz_m'])
                       for o in json.loads(listing.read_text())
                       if not o['name'].startswith(HELD_OUT) and o['triangles'] < 13000}
        self._loaded: dict[str, list] = {}

    def names(self, low_m: float, high_m: float, prefix: str = '') -> list[str]:
        """Return the objects whose longest side lies between two lengths [m]."""
        return [n for n, (_, extent) in self._files.items()
                if low_m <= max(extent) <= high_m and extent[2] > 0.2 and n.startswith(prefix)]

    def thing(self, rng, name: str) -> Thing:
        """Return a copy, a little scaled, sometimes recoloured."""
        if name not in self._loaded:
            self._loaded[name] = load_glb(self._folder / self._files[name][0], self._store)
        scale = rng.uniform(0.85, 1.15, 3) if rng.uniform() < 0.5 else np.ones(3)
        tint = 0.4 + 0.9 * np.array(random_colour(rng)) if rng.uniform() < 0.3 else np.ones(3)
        return _thing([(moved(shape, scale=scale), Material(
            m.texture, m.tile_m, tuple(np.array(m.tint) * tint))) for shape, m in
            self._loaded[name]])


def load_glb(file: Path, store: TextureStore) -> list:
    """
    Return the (shape, Material) parts of a GLB in metres, z up; uv in repeats.

    :raises SimulatorError: if it cannot be read
    """
    import trimesh

    try:
        meshes = trimesh.load(str(file)).dump()
    except (ValueError, OSError) as error:
        raise SimulatorError(f'{file} cannot be read: {error}') from error
    parts = []
    for mesh in meshes:
        corners = np.asarray(mesh.triangles, np.float32)
        uv = getattr(mesh.visual, 'uv', None)
        look = getattr(mesh.visual, 'material', None)
        picture = getattr(look, 'baseColorTexture', None)
        factor = getattr(look, 'baseColorFactor', None)
        tint = (0.8,) * 3 if factor is None else tuple(
            float(c) ** 2 for c in np.asarray(factor[:3], float) / 255)
        texture = 0
        if picture is not None:
            texture = store.add(np.asarray(picture.convert('RGB')), 'embedded')
        if uv is None or picture is None:
            uv = box_uv(corners)
        else:
            uv = np.asarray(uv, np.float32)[mesh.faces]
        parts.append(((corners, uv), Material(texture, 1.0, tint)))
    return parts


def box_uv(corners: np.ndarray) -> np.ndarray:
    """Return (M, 3, 2) texture coordinates in metres: each triangle seen along its main axis."""
    normal = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    axes = np.array([[1, 2], [0, 2], [0, 1]])[normal.argmax(1)]
    return np.take_along_axis(corners, axes[:, None, :].repeat(3, 1), axis=2)
