# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Furniture of Sweet Home 3D libraries (.sh3f): metric models, placed as their catalogue says.

The Debian package sweethome3d-furniture holds five of them. A library is a zip of OBJ models and
of PluginFurnitureCatalog.properties, which gives width, depth, height and elevation in
centimetres. In our frame a model's front looks along +x, its width lies along y.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import io
from pathlib import Path
import zipfile

import numpy as np

from training.simulator.library import box_uv
from training.simulator.makers.things import Thing
from training.simulator.materials import glass, random_colour
from training.simulator.scene import Material
from training.simulator.shapes import moved
from training.simulator.textures import SimulatorError, TextureStore

PROPERTIES = 'PluginFurnitureCatalog.properties'
MAX_OBJ_BYTES = 1_200_000       # larger ones cost seconds to read and a scene of rays to build
CLEAR_BELOW = 0.5               # opacity of a material that is taken for glass
CUT_OUT = 0.1                   # share of see-through texels that makes a picture unusable here
INDOOR = ('Bedroom', 'Living room', 'Kitchen', 'Office', 'Bathroom', 'Miscellaneous', 'Lights')
OUTDOOR = ('Exterior', 'Vehicles')
PEOPLE = ('Characters',)
# of an OBJ, x to the right, y up, z to the front: our x, y, z
AXES = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)


@dataclass(frozen=True)
class Entry:
    """One model of a catalogue."""

    library: Path
    model: str                              # name in the zip
    category: str
    size: tuple[float, float, float]        # depth, width, height: our x, y, z [m]
    elevation_m: float                      # of its lower side
    top_m: float                            # height at which things stand on it, 0 = none may
    rotation: tuple[float, ...]             # 3 x 3, of the OBJ; () = none


class FurnitureCatalogue:
    """The usable models of all libraries under a folder, loaded when first used."""

    def __init__(self, folder: Path, store: TextureStore) -> None:
        """
        :param folder: searched for *.sh3f; an absent one is an empty catalogue
        :raises SimulatorError: if a library cannot be read
        """
        self._store = store
        self._parts: dict[str, list] = {}
        self.entries: list[Entry] = []
        for file in sorted(folder.rglob('*.sh3f')):
            self.entries += read_library(file)

    def of(self, *categories: str) -> list[Entry]:
        """Return the entries of some categories."""
        return [e for e in self.entries if e.category in categories]

    def thing(self, rng, entry: Entry) -> Thing | None:
        """Return a copy, a little scaled, sometimes recoloured; None if the model is unusable."""
        key = f'{entry.library.name}:{entry.model}'
        if key not in self._parts:
            self._parts[key] = load_model(entry, self._store)
        if not self._parts[key]:
            return None
        scale = rng.uniform(0.9, 1.12, 3) if rng.uniform() < 0.4 else np.ones(3)
        tint = 0.4 + 0.9 * np.array(random_colour(rng)) if rng.uniform() < 0.25 else np.ones(3)
        parts = [(moved(shape, scale=scale), m if m.clear else Material(
            m.texture, m.tile_m, tuple(np.array(m.tint) * tint))) for shape, m in self._parts[key]]
        return Thing(parts, (entry.size[0] * scale[0], entry.size[1] * scale[1]))


def read_library(file: Path) -> list[Entry]:
    """
    Return the usable models of one library: no doors, windows or stairs, none too large.

    :raises SimulatorError: if it is no furniture library
    """
    try:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(PROPERTIES).decode('latin-1')
            bytes_of = {info.filename: info.file_size for info in archive.infolist()}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SimulatorError(f'{file} is no furniture library ({error}); give the files of the '
                             'package sweethome3d-furniture') from error
    values = dict(line.split('=', 1) for line in text.splitlines()
                  if '=' in line and not line.startswith('#'))
    values = {key.strip(): value.strip() for key, value in values.items()}
    entries = []
    for number in sorted(int(key[6:]) for key in values if key.startswith('model#')):
        entry = _entry(file, values, number)
        if (bytes_of.get(entry.model, MAX_OBJ_BYTES + 1) <= MAX_OBJ_BYTES
                and entry.category in (*INDOOR, *OUTDOOR, *PEOPLE)):
            entries.append(entry)
    return entries


def _entry(file: Path, values: dict[str, str], number: int) -> Entry:
    def metres(name: str, default: str = '0') -> float:
        return float(values.get(f'{name}#{number}', default)) / 100

    height = metres('height')
    top = metres('dropOnTopElevation', '-1')
    category = values.get(f'category#{number}', '')
    if values.get(f'doorOrWindow#{number}') == 'true':
        category = 'Doors and windows'
    return Entry(
        file, values[f'model#{number}'].lstrip('/'), category,
        (metres('depth'), metres('width'), height), metres('elevation'), max(0.0, top),
        tuple(float(v) for v in values.get(f'modelRotation#{number}', '').split()))


@lru_cache(maxsize=8)
def opened(library: Path) -> zipfile.ZipFile:
    """Return a library, open: reading the directory of one takes as long as reading a model."""
    return zipfile.ZipFile(library)


def load_model(entry: Entry, store: TextureStore) -> list:
    """Return the (shape, Material) parts of a model at its catalogue size; [] if unusable."""
    import trimesh
    rng = np.random.default_rng(0)      # not the scene's: which model is read first would matter
    archive = opened(entry.library)
    data = archive.read(entry.model)
    try:
        loaded = trimesh.load(io.BytesIO(data), file_type='obj',
                              resolver=_Files(archive, entry.model))
        meshes = loaded.dump() if hasattr(loaded, 'dump') else [loaded]
        looks = [_material(rng, mesh, store) for mesh in meshes]
    except (ValueError, KeyError, OSError, AttributeError, IndexError, TypeError):
        return []               # a model that the reader does not understand
    if not meshes or None in looks:
        return []
    turn = np.array(entry.rotation or np.eye(3).ravel(), np.float32).reshape(3, 3)
    corners = [np.asarray(mesh.triangles, np.float32) @ turn.T @ AXES.T for mesh in meshes]
    low = np.min([c.reshape(-1, 3).min(0) for c in corners], 0)
    high = np.max([c.reshape(-1, 3).max(0) for c in corners], 0)
    scale = np.array(entry.size, np.float32) / np.maximum(high - low, 1e-4)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
    parts = []
    for mesh, shape, (material, has_picture) in zip(meshes, corners, looks):
        placed = (shape - origin) * scale
        uv = getattr(mesh.visual, 'uv', None)
        textured = has_picture and uv is not None and len(uv) == len(mesh.vertices)
        parts.append(((placed, np.asarray(uv, np.float32)[mesh.faces] if textured
                       else box_uv(placed)), material))
    return parts


def _material(rng, mesh, store: TextureStore) -> tuple[Material, bool] | None:
    """Return a mesh's material and whether it shows a picture; None if that has holes."""
    look = getattr(mesh.visual, 'material', None)
    colour = np.asarray(getattr(look, 'diffuse', (180, 180, 180, 255)), float) / 255
    picture = getattr(look, 'image', None)
    if picture is not None:
        if picture.mode in ('RGBA', 'LA', 'P'):
            alpha = np.asarray(picture.convert('RGBA'))[..., 3]
            if (alpha < 128).mean() > CUT_OUT:
                return None
        return Material(store.add(np.asarray(picture.convert('RGB')), 'embedded')), True
    if len(colour) > 3 and colour[3] < CLEAR_BELOW:
        return glass(rng), False
    return Material(tint=tuple(float(c) ** 2 for c in colour[:3])), False


class _Files:
    """What a model in a zip refers to, for trimesh."""

    def __init__(self, archive: zipfile.ZipFile, model: str) -> None:
        self._archive, self._folder = archive, model.rpartition('/')[0]

    def get(self, name: str) -> bytes:
        return self._archive.read(f'{self._folder}/{name}')

    def get_base_url(self) -> str:
        return ''
