# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A scene: triangles with materials, lights and a sky, ready for ray casting."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import numpy as np

from training.simulator.casters import Caster, Hits, Open3DCaster, OverlaidCaster
from training.simulator.shapes import Shape
from training.simulator.textures import SimulatorError, TextureStore

LOOKS = {'texture': np.int64, 'tint': np.float32, 'emission': np.float32, 'mirror': np.float32,
         'clear': bool, 'unknown': bool}
DEVICES = ('cpu', 'cuda', 'auto')
MIN_AREA_M2 = 1e-10     # twice the area; smaller triangles are dropped


@dataclass(frozen=True)
class Material:
    texture: int = 0                                # index in the TextureStore; 0 = plain
    tile_m: float = 1.0                             # length of one repeat
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear colour that multiplies the texture
    emission: float = 0.0                           # radiance it emits, times its colour
    mirror: float = 0.0                             # share of light it reflects, seen head on
    clear: bool = False                             # see-through; casts no shadow

    @property
    def unknown(self) -> bool:
        """Whether its range is left out of the truth: glass and mirrors."""
        return self.clear or self.mirror >= 0.5


@dataclass(frozen=True)
class Light:
    position: tuple[float, float, float]            # m
    power: float = 1.0                              # irradiance at one metre
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass
class Sky:
    image: np.ndarray | None = None                 # (H, W, 3) uint8 RGB panorama; None: gradient
    zenith: tuple[float, float, float] = (0.25, 0.45, 0.85)
    horizon: tuple[float, float, float] = (0.8, 0.85, 0.9)
    gain: float = 1.2                               # radiance of white in the image
    yaw: float = 0.0                                # rad
    lift: float = 0.0                               # rad; elevation of the image at the horizon
    sun: tuple[float, float, float] | None = None   # unit vector to the sun
    sun_power: float = 0.0


@dataclass
class Scene:
    """
    A growing list of shapes, turned into ray-casting geometry when a ray is cast.

    `regions` are the rectangles (x0, y0, x1, y1) [m] in which a camera may stand. Attributes of
    the triangles met: uv (M, 3, 2) repeats, normals (M, 3), material_of (M,), density (M,)
    repeats per metre.
    """

    store: TextureStore
    kind: str = ''
    indoor: bool = True
    regions: list[tuple[float, float, float, float]] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    sky: Sky = field(default_factory=Sky)
    ambient: float = 0.35
    occlusion: bool = True
    device: str = 'cpu'                             # see `make_caster`
    materials: list[Material] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._new: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._solid, self._clear = make_caster(self.device), make_caster(self.device)
        self._solid_ids, self._clear_ids = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._looks: dict[str, np.ndarray] = {}
        self._looked = 0
        self.uv = np.zeros((0, 3, 2), np.float32)
        self.normals = np.zeros((0, 3), np.float32)
        self.material_of = np.zeros(0, np.int32)
        self.density = np.zeros(0, np.float32)

    def overlaid(self) -> Scene:
        """
        Return this scene for one moment: what is added to it is not added here.

        Glass that moves would stay, so only opaque things may be added.
        """
        self._commit()
        moment = copy(self)
        moment._solid = OverlaidCaster(self._solid, len(self._solid_ids), make_caster(self.device))
        moment.materials, moment._new, moment._looked = list(self.materials), [], -1
        return moment

    def material(self, material: Material) -> int:
        """Append a material and return its index."""
        self.materials.append(material)
        return len(self.materials) - 1

    def looks(self) -> dict[str, np.ndarray]:
        """Return the fields of Material, and `unknown`, by material index."""
        if self._looked != len(self.materials):
            self._looked = len(self.materials)
            self._looks = {name: np.array([getattr(m, name) for m in self.materials], dtype)
                           for name, dtype in LOOKS.items()}
        return self._looks

    def add(self, shape: Shape, material: int | Material) -> None:
        """Append triangles of one material (a Material or an index from :meth:`material`)."""
        index = self.material(material) if isinstance(material, Material) else material
        corners, uv = shape
        self._new.append((corners.astype(np.float32), uv.astype(np.float32),
                          np.full(len(corners), index, np.int32)))

    def _commit(self) -> None:
        if not self._new:
            return
        corners, uv, material = (np.concatenate(a) for a in zip(*self._new))
        self._new = []
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(cross, axis=1)
        # A triangle without area has no normal; NaN light would spread through every reflection.
        keep = area > MIN_AREA_M2
        corners, uv, material, cross, area = (
            a[keep] for a in (corners, uv, material, cross, area))
        uv = uv / np.array([m.tile_m for m in self.materials], np.float32)[material][:, None, None]
        du, dv = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        uv_area = np.abs(du[:, 0] * dv[:, 1] - du[:, 1] * dv[:, 0])
        ids = len(self.uv) + np.arange(len(uv))
        self.uv = np.concatenate([self.uv, uv])
        self.normals = np.concatenate([self.normals, (cross / area[:, None]).astype(np.float32)])
        self.material_of = np.concatenate([self.material_of, material])
        self.density = np.concatenate([self.density, np.sqrt(uv_area / area).astype(np.float32)])
        # Glass has a caster of its own: in that of the solids it would cast the shadow of a wall.
        clear = np.array([m.clear for m in self.materials])[material]
        if not clear.all():
            self._solid.add(corners[~clear])
            self._solid_ids = np.concatenate([self._solid_ids, ids[~clear]])
        if clear.any():
            self._clear.add(corners[clear])
            self._clear_ids = np.concatenate([self._clear_ids, ids[clear]])

    def cast(self, origins: np.ndarray, rays: np.ndarray) -> Hits:
        """
        Return (range_m, triangle, barycentric) of the first hit along unit rays.

        :param origins: (3,) or (N, 3) m
        :param rays: (N, 3)
        :return: as :meth:`casters.Caster.cast`
        """
        self._commit()
        origins = np.broadcast_to(origins, rays.shape)
        range_m, triangle, bary = self._solid.cast(origins, rays)
        if len(self._solid_ids):
            triangle = np.where(triangle >= 0, self._solid_ids[triangle], -1)
        if len(self._clear_ids):
            pane_m, pane, pane_bary = self._clear.cast(origins, rays)
            nearer = pane_m < range_m
            range_m = np.where(nearer, pane_m, range_m)
            triangle = np.where(nearer, self._clear_ids[pane], triangle)
            bary = np.where(nearer[:, None], pane_bary, bary)
        return range_m, triangle, bary

    def occluded(self, origins: np.ndarray, rays: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Return (N,) bool: something opaque lies within `reach` [m] along the unit rays."""
        self._commit()
        return self._solid.occluded(origins, rays * reach[:, None])


def make_caster(device: str) -> Caster:
    """
    Return an empty caster for 'cpu', 'cuda', or 'auto' (a GPU where one is present).

    :raises SimulatorError: if the device is unknown, absent, or its library is not installed
    """
    if device not in DEVICES:
        raise SimulatorError(f'device {device} is not one of {", ".join(DEVICES)}')
    if device == 'cpu':
        return Open3DCaster()
    from training.simulator.warp_caster import has_cuda, WarpCaster
    if device == 'auto':
        return WarpCaster('cuda:0') if has_cuda() else Open3DCaster()
    return WarpCaster('cuda:0')
