# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Homes and offices: a rectangle divided into rooms with doors, windows and furniture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from training.simulator.library import ObjectLibrary
from training.simulator.materials import glass, mirror, polished, random_colour, random_material
from training.simulator.near import HOME, OFFICE, WARD
from training.simulator.scene import Light, Material, Scene
from training.simulator.shapes import box, moved, quad
from training.simulator.skies import backdrop

Rect = tuple[float, float, float, float]
MIRROR_SHARE = 0.08      # of what hangs on walls


@dataclass
class Wall:
    """One side of a room: from `start` along `along` (unit, xy), the room to its left."""

    start: np.ndarray
    along: np.ndarray
    length: float
    holes: list = field(default_factory=list)   # (from, to, bottom, top) [m]


def divide(rng, rect: Rect, smallest: float) -> list[Rect]:
    """Return rooms of a binary space partition; the walls between them are drawn by the rooms."""
    x0, y0, x1, y1 = rect
    wide, deep = x1 - x0, y1 - y0
    if max(wide, deep) < 2 * smallest or (max(wide, deep) < 6 and rng.uniform() < 0.35):
        return [rect]
    if wide > deep:
        cut = rng.uniform(x0 + smallest, x1 - smallest)
        return divide(rng, (x0, y0, cut, y1), smallest) + divide(rng, (cut, y0, x1, y1), smallest)
    cut = rng.uniform(y0 + smallest, y1 - smallest)
    return divide(rng, (x0, y0, x1, cut), smallest) + divide(rng, (x0, cut, x1, y1), smallest)


def make_walls(rect: Rect) -> list[Wall]:
    """Return the four sides of a room, counter-clockwise from the south-west corner."""
    x0, y0, x1, y1 = rect
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    edges = np.roll(corners, -1, 0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    return [Wall(c, e / n, float(n)) for c, e, n in zip(corners, edges, lengths)]


def add_wall(scene: Scene, wall: Wall, height: float, material: int) -> None:
    """Add the wall's face around its holes."""
    cuts = sorted({0.0, wall.length, *(c for h in wall.holes for c in h[:2])})
    for a, b in pairwise(cuts):
        hole = next((h for h in wall.holes if h[0] <= a and b <= h[1]), None)
        spans = [(0.0, height)] if hole is None else [(0.0, hole[2]), (hole[3], height)]
        for low, high in spans:
            if high - low > 1e-3 and b - a > 1e-3:
                shape = quad((*(wall.start + wall.along * a), low),
                             (*(wall.along * (b - a)), 0), (0, 0, high - low))
                shape[1][..., 0] += np.float32(a)
                scene.add(shape, material)


def connect(rng, scene: Scene, rooms: list[Rect], walls: list[list[Wall]], thick: float,
            height: float) -> None:
    """Cut door openings between neighbouring rooms and line them."""
    frame = scene.material(random_material(rng, scene.store, 'furniture'))
    for i, a in enumerate(rooms):
        for j, b in enumerate(rooms[:i]):
            for axis in (0, 1):
                other = 1 - axis
                low, high = max(a[other], b[other]), min(a[other + 2], b[other + 2])
                gap = max(a[axis], b[axis]) - min(a[axis + 2], b[axis + 2])
                # Neighbours share a wall, not a corner, with room for a door and its jambs.
                if not (0 < gap < 2 * thick + 1e-6) or high - low < 1.3 or rng.uniform() < 0.15:
                    continue
                width = rng.uniform(0.75, 1.1) if rng.uniform() < 0.7 else rng.uniform(1.1, 3.0)
                width = min(width, high - low - 0.31)
                top = min(rng.uniform(1.95, 2.3), height - 0.1)
                at = rng.uniform(low + 0.15, high - 0.15 - width)
                at_gap = (min(a[axis + 2], b[axis + 2]) + max(a[axis], b[axis])) / 2
                for room in (i, j):
                    _cut(walls[room], rooms[room], axis, at_gap, at, at + width, 0.0, top)
                _line_opening(scene, frame, axis, at_gap, gap, at, width, top)
                if rng.uniform() < 0.35:
                    _door_leaf(rng, scene, axis, at_gap, at, width, top)


def _cut(walls, rect, axis, at_gap, start, end, bottom, top) -> None:
    centre = (rect[axis] + rect[axis + 2]) / 2
    low_side = at_gap < centre
    index = {(0, True): 3, (0, False): 1, (1, True): 0, (1, False): 2}[(axis, low_side)]
    wall, other = walls[index], 1 - axis
    along = sorted(abs(c - wall.start[other]) for c in (start, end))
    wall.holes.append((along[0], along[1], bottom, top))


def _line_opening(scene, material, axis, at_gap, gap, at, width, top) -> None:
    def part(size_along, size_z, along, bottom):
        sizes = (gap + 0.04, size_along) if axis == 0 else (size_along, gap + 0.04)
        centre = (at_gap, along) if axis == 0 else (along, at_gap)
        scene.add(moved(box(*sizes, size_z, bottom), *centre), material)
    part(0.06, top, at, 0.0)
    part(0.06, top, at + width, 0.0)
    part(width, 0.06, at + width / 2, top - 0.03)
    sizes = (gap, width) if axis == 0 else (width, gap)
    centre = (at_gap, at + width / 2) if axis == 0 else (at + width / 2, at_gap)
    scene.add(moved(box(*sizes, 0.012, -0.01), *centre), material)


def _door_leaf(rng, scene, axis, at_gap, at, width, top) -> None:
    leaf = box(0.04, min(width, 1.1), top - 0.05, 0.02)
    leaf = moved(leaf, y=min(width, 1.1) / 2)
    yaw = rng.uniform(0.2, 1.7) * rng.choice([-1, 1]) - (0 if axis == 0 else np.pi / 2)
    x, y = (at_gap, at) if axis == 0 else (at, at_gap)
    scene.add(moved(leaf, x, y, 0, yaw), random_material(rng, scene.store, 'furniture'))


def add_windows(rng, scene: Scene, wall: Wall, height: float) -> None:
    """
    Put windows with frames into an outer wall, before :func:`add_wall`.

    Half of the walls get clear panes in holes, through which the sky of the scene is seen, the
    other half bright opaque ones: blinds, frosted glass, or a day too bright for the exposure.
    """
    at, see_through = rng.uniform(0.3, 1.0), rng.uniform() < 0.5
    bottom, top = rng.choice([0.05, 0.9, 1.2]), min(rng.uniform(1.8, 2.3), height - 0.15)
    glow = rng.uniform(0.5, 3.0)
    pane = scene.material(
        glass(rng) if see_through else Material(tint=(0.8, 0.9, 1.0), emission=glow))
    frame = scene.material(random_material(rng, scene.store, 'furniture'))
    inward = np.array([-wall.along[1], wall.along[0]])
    while at + 0.6 < wall.length:
        width = min(rng.uniform(0.6, 2.2), wall.length - at - 0.1)
        if see_through:
            wall.holes.append((at, at + width, bottom, top))
        start = wall.start + wall.along * at + inward * (-0.03 if see_through else 0.015)
        scene.add(quad((*start, bottom), (*(wall.along * width), 0), (0, 0, top - bottom)), pane)
        middle = start + wall.along * width / 2
        yaw = np.arctan2(wall.along[1], wall.along[0])
        for x, size in ((-width / 2, 0.06), (0, 0.04), (width / 2, 0.06)):
            x, y = middle + wall.along * x
            scene.add(moved(box(size, 0.06, top - bottom, bottom), x, y, 0, yaw), frame)
        for z in (bottom, top):
            scene.add(moved(box(width, 0.08, 0.06, z - 0.03), *middle, 0, yaw), frame)
        scene.lights.append(Light((*(middle + inward * 0.3), (top + bottom) / 2), glow * 0.5,
                                  (0.9, 0.95, 1.0)))
        at += width + rng.uniform(0.3, 2.0)


def add_pictures(rng, scene: Scene, wall: Wall, height: float) -> None:
    """Hang framed pictures, boards, switches and vents on free parts of a wall."""
    inward = np.array([-wall.along[1], wall.along[0]])
    yaw = np.arctan2(wall.along[1], wall.along[0])
    for _ in range(int(rng.integers(0, 4))):
        width, tall = rng.uniform(0.1, 1.4), rng.uniform(0.1, 0.9)
        if width > wall.length - 0.4:
            continue
        at = rng.uniform(0.2, wall.length - 0.2 - width)
        if any(h[0] < at + width and at < h[1] for h in wall.holes):
            continue
        bottom = rng.uniform(0.2, max(0.3, height - tall - 0.3))
        x, y = wall.start + wall.along * (at + width / 2) + inward * 0.01
        scene.add(moved(box(width, 0.02, tall, bottom), x, y, 0, yaw),
                  Material(tint=random_colour(rng)))
        purpose = 'picture' if rng.uniform() < 0.7 else 'furniture'
        material = (mirror(rng) if rng.uniform() < MIRROR_SHARE
                    else random_material(rng, scene.store, purpose))
        start = (wall.start + wall.along * (at + 0.02) + inward * 0.022)
        scene.add(quad((*start, bottom + 0.02), (*(wall.along * (width - 0.04)), 0),
                       (0, 0, tall - 0.04)),
                  replace(material, tile_m=width))


def furnish(rng, scene: Scene, room: Rect, walls: list[Wall], makers, library: ObjectLibrary,
            density: float, names: list[str]) -> None:
    """Put things along the walls and into the room without overlap."""
    x0, y0, x1, y1 = room
    area = (x1 - x0) * (y1 - y0)
    taken: list[tuple[float, float, float]] = []
    for wall in walls:
        for low, high, bottom, _ in wall.holes:
            if bottom == 0:
                middle = wall.start + wall.along * (low + high) / 2
                taken.append((*middle, (high - low) / 2 + 0.25))
    for _ in range(int(rng.poisson(density * area))):
        if names and rng.uniform() < 0.4:
            thing = library.thing(rng, str(rng.choice(names)))
        else:
            thing = makers[rng.integers(len(makers))](rng, scene.store)
        sx, sy = thing.size
        for _ in range(4):
            if rng.uniform() < 0.65:    # its back (-x) against a wall
                wall = walls[rng.integers(4)]
                inward = np.array([-wall.along[1], wall.along[0]])
                if wall.length < sy + 0.1:
                    continue
                at = rng.uniform(sy / 2, wall.length - sy / 2)
                x, y = wall.start + wall.along * at + inward * (sx / 2 + rng.uniform(0.01, 0.06))
                yaw = np.arctan2(inward[1], inward[0])
            else:
                margin = max(sx, sy) / 2
                if x1 - x0 < 2 * margin + 0.2 or y1 - y0 < 2 * margin + 0.2:
                    continue
                x, y = rng.uniform(x0 + margin, x1 - margin), rng.uniform(y0 + margin, y1 - margin)
                yaw = rng.uniform(-np.pi, np.pi)
            reach = 0.42 * (sx + sy)
            if all(np.hypot(x - a, y - b) > reach + c for a, b, c in taken):
                thing.place(scene, x, y, yaw)
                taken.append((x, y, reach))
                break


def add_lamps(rng, scene: Scene, room: Rect, height: float, spacing: float) -> None:
    """Hang lamps from the ceiling, on a grid."""
    x0, y0, x1, y1 = room
    nx, ny = (max(1, round((b - a) / spacing)) for a, b in ((x0, x1), (y0, y1)))
    warm = rng.uniform(0.35, 1.0)
    colour = (1.0, 0.5 + 0.5 * warm, warm)
    if rng.uniform() < 0.08:        # shop and stage light
        colour = random_colour(rng, 1.0)
    power = rng.uniform(0.4, 1.8) * (height / 2.6) ** 1.5
    size = rng.uniform(0.1, 0.6, 2)
    drop = rng.choice([0.02, 0.05, rng.uniform(0.2, 0.8)]) * (height > 2.5) + 0.02
    bulb = scene.material(Material(tint=colour, emission=rng.uniform(2, 6)))
    for i, j in np.ndindex(nx, ny):
        x, y = x0 + (i + 0.5) * (x1 - x0) / nx, y0 + (j + 0.5) * (y1 - y0) / ny
        scene.add(moved(box(*size, 0.05, height - drop - 0.05), x, y), bulb)
        if drop > 0.1:
            scene.add(moved(box(0.01, 0.01, drop, height - drop), x, y), bulb)
        if i * ny + j < 4:
            scene.lights.append(Light((x, y, height - drop - 0.15), power, colour))


def add_shell(rng, scene: Scene, room: Rect, height: float, floor: int, ceiling: int) -> None:
    """Add the floor and the ceiling of a room."""
    x0, y0, x1, y1 = room
    scene.add(quad((x0, y0, 0), (x1 - x0, 0, 0), (0, y1 - y0, 0)), floor)
    scene.add(quad((x0, y0, height), (x1 - x0, 0, 0), (0, y1 - y0, 0)), ceiling)


def make_home(rng, scene: Scene, library: ObjectLibrary, panoramas: list[tuple]) -> None:
    """Fill the scene with a furnished flat, an office floor or a corridor with rooms."""
    scene.sky = backdrop(rng, panoramas)
    style = str(rng.choice(['home', 'office', 'corridor'], p=[0.6, 0.25, 0.15]))
    scene.kind = style
    height, thick = rng.uniform(2.25, 3.3), rng.uniform(0.04, 0.15)
    if style == 'corridor':
        rects = _corridor(rng)
    else:
        wide, deep = rng.uniform(4, 13), rng.uniform(4, 11)
        rects = divide(rng, (0, 0, wide, deep), rng.uniform(1.8, 3.2))
    outer = (min(r[0] for r in rects), min(r[1] for r in rects),
             max(r[2] for r in rects), max(r[3] for r in rects))
    rooms = [(x0 + thick / 2, y0 + thick / 2, x1 - thick / 2, y1 - thick / 2)
             for x0, y0, x1, y1 in rects]
    walls = [make_walls(room) for room in rooms]
    connect(rng, scene, rooms, walls, thick, height)
    shared = {p: _shell_material(rng, scene, p) for p in ('wall', 'floor', 'ceiling')}
    skirting = scene.material(random_material(rng, scene.store, 'furniture'))
    names = library.names(0.3, 3.0, 'aws_residential') + library.names(0.3, 2.7, 'gz_')[:6]
    makers = {'home': HOME, 'office': OFFICE, 'corridor': (OFFICE, WARD)[rng.integers(2)]}[style]
    density = rng.uniform(0.15, 0.85) * (0.4 if style == 'corridor' else 1)
    for rect, room, sides in zip(rects, rooms, walls):
        own = {p: _shell_material(rng, scene, p) if rng.uniform() < 0.4 else shared[p]
               for p in shared}
        add_shell(rng, scene, room, height, own['floor'], own['ceiling'])
        add_lamps(rng, scene, room, height, rng.uniform(2.5, 5))
        for index, wall in enumerate(sides):
            edge = (rect[1] == outer[1], rect[2] == outer[2],
                    rect[3] == outer[3], rect[0] == outer[0])[index]
            if edge and rng.uniform() < 0.55:
                add_windows(rng, scene, wall, height)
            else:
                add_pictures(rng, scene, wall, height)
            add_wall(scene, wall, height, own['wall'])
            _skirting(scene, wall, skirting)
        furnish(rng, scene, room, sides, makers, library, density, names)
    scene.regions = rooms
    scene.ambient = float(rng.uniform(0.15, 0.5))


def _shell_material(rng, scene: Scene, purpose: str) -> int:
    material = random_material(rng, scene.store, purpose)
    return scene.material(polished(rng, material) if purpose == 'floor' else material)


def _skirting(scene: Scene, wall: Wall, material: int) -> None:
    yaw = np.arctan2(wall.along[1], wall.along[0])
    cuts = [0.0] + [c for h in sorted(wall.holes) if h[2] == 0 for c in h[:2]] + [wall.length]
    for a, b in zip(cuts[::2], cuts[1::2]):
        if b - a > 0.05:
            x, y = wall.start + wall.along * (a + b) / 2
            scene.add(moved(box(b - a, 0.024, 0.08), x, y, 0, yaw), material)


def _corridor(rng) -> list[Rect]:
    """Return a long corridor with rooms on both sides."""
    length, wide = rng.uniform(8, 30), rng.uniform(1.2, 2.8)
    rects = [(0.0, 0.0, length, wide)]
    for low in (True, False):
        at = 0.0
        while at < length - 2.2:
            size = min(rng.uniform(2.2, 6), length - at)
            deep = rng.uniform(2.5, 5)
            side = (-deep, 0.0) if low else (wide, wide + deep)
            rects.append((at, side[0], at + size, side[1]))
            at += size
    return rects
