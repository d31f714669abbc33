"""A scene: triangles with materials, lights and a sky, ready for ray casting."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.simulator.shapes import Shape
from training.simulator.textures import TextureStore


@dataclass(frozen=True)
class Material:
    texture: int = 0                                # index in the TextureStore; 0 = plain
    tile_m: float = 1.0                             # length of one repeat
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # linear colour that multiplies the texture
    emission: float = 0.0                           # radiance it emits, times its colour


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
    yaw: float = 0.0                                # rad
    lift: float = 0.0                               # rad; elevation of the image at the horizon
    sun: tuple[float, float, float] | None = None   # unit vector to the sun
    sun_power: float = 0.0


@dataclass
class Scene:
    """
    A growing list of shapes; :meth:`caster` turns the new ones into ray-casting geometry.

    `regions` are the rectangles (x0, y0, x1, y1) [m] in which a camera may stand.
    """

    store: TextureStore
    kind: str = ''
    indoor: bool = True
    regions: list[tuple[float, float, float, float]] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    sky: Sky = field(default_factory=Sky)
    ambient: float = 0.35
    occlusion: bool = True
    materials: list[Material] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._new: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._starts: list[int] = []
        self._count = 0
        self._caster = None

    def material(self, material: Material) -> int:
        """Append a material and return its index."""
        self.materials.append(material)
        return len(self.materials) - 1

    def add(self, shape: Shape, material: int | Material) -> None:
        """Append triangles of one material (a Material or an index from :meth:`material`)."""
        index = self.material(material) if isinstance(material, Material) else material
        corners, uv = shape
        self._new.append((corners.astype(np.float32), uv.astype(np.float32),
                          np.full(len(corners), index, np.int32)))

    def caster(self):
        """
        Return the open3d RaycastingScene of everything added so far.

        Attributes of triangle `starts[geometry] + primitive`: corners, uv (repeats), normals,
        material_of and texel_density (repeats per metre).
        """
        import open3d

        if self._caster is None:
            self._caster = open3d.t.geometry.RaycastingScene(nthreads=1)
            self.uv = np.zeros((0, 3, 2), np.float32)
            self.normals = np.zeros((0, 3), np.float32)
            self.material_of = np.zeros(0, np.int32)
            self.density = np.zeros(0, np.float32)
        if self._new:
            self._commit(open3d)
        return self._caster

    def _commit(self, open3d) -> None:
        corners, uv, material = (np.concatenate(a) for a in zip(*self._new))
        self._new = []
        tile = np.array([m.tile_m for m in self.materials], np.float32)[material]
        uv = uv / tile[:, None, None]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(cross, axis=1)
        du, dv = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
        uv_area = np.abs(du[:, 0] * dv[:, 1] - du[:, 1] * dv[:, 0])
        keep = area > 1e-10
        self._caster.add_triangles(
            open3d.core.Tensor(corners[keep].reshape(-1, 3)),
            open3d.core.Tensor(np.arange(3 * keep.sum(), dtype=np.uint32).reshape(-1, 3)))
        self._starts.append(self._count)
        self._count += int(keep.sum())
        self.uv = np.concatenate([self.uv, uv[keep]])
        normal = (cross / area.clip(1e-10)[:, None])[keep].astype(np.float32)
        self.normals = np.concatenate([self.normals, normal])
        self.material_of = np.concatenate([self.material_of, material[keep]])
        density = np.sqrt(uv_area[keep] / area[keep])
        self.density = np.concatenate([self.density, density.astype(np.float32)])

    def cast(self, origin: np.ndarray, rays: np.ndarray):
        """
        Return (range_m, triangle, barycentric) of the first hit along unit rays.

        :param origin: (3,) or (N, 3) m
        :param rays: (N, 3)
        :return: (N,) float32 with +inf for no hit; (N,) int64, -1 for no hit; (N, 2)
        """
        import open3d

        caster = self.caster()
        both = np.empty((len(rays), 6), np.float32)
        both[:, :3], both[:, 3:] = origin, rays
        hit = caster.cast_rays(open3d.core.Tensor(both), nthreads=1)
        range_m = hit['t_hit'].numpy()
        geometry = hit['geometry_ids'].numpy().astype(np.int64)
        seen = np.isfinite(range_m)
        starts = np.array(self._starts, np.int64)[np.where(seen, geometry, 0)]
        triangle = np.where(seen, starts + hit['primitive_ids'].numpy(), -1)
        return range_m, triangle, hit['primitive_uvs'].numpy()

    def occluded(self, origins: np.ndarray, rays: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Return (N,) bool: something lies within `reach` [m] along the unit rays."""
        import open3d

        both = np.concatenate([origins, rays * reach[:, None]], 1).astype(np.float32)
        return self.caster().test_occlusions(
            open3d.core.Tensor(both), tfar=1.0, nthreads=1).numpy()
