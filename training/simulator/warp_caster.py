# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Ray casting with NVIDIA Warp meshes: on a GPU, and on the CPU for comparison.

Warp is optional: `pip install warp-lang`. Only hits travel back to the host, 20 bytes a ray.
"""

from __future__ import annotations

import numpy as np

from training.simulator.casters import Hits
from training.simulator.textures import SimulatorError

try:
    import warp as wp
except ImportError as error:
    raise SimulatorError('a GPU device needs NVIDIA Warp: pip install warp-lang') from error

FAR_M = 1e6
wp.config.quiet = True


@wp.kernel
def _first_hits(mesh: wp.uint64, origins: wp.array(dtype=wp.vec3), rays: wp.array(dtype=wp.vec3),
                far: float, range_m: wp.array(dtype=float), triangle: wp.array(dtype=int),
                bary: wp.array(dtype=wp.vec2)):
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[i], rays[i], far)
    if hit.result:
        range_m[i] = hit.t
        triangle[i] = hit.face
        # Warp weighs the first two corners, Embree the last two
        bary[i] = wp.vec2(hit.v, 1.0 - hit.u - hit.v)
    else:
        range_m[i] = wp.inf
        triangle[i] = -1


@wp.kernel
def _any_hits(mesh: wp.uint64, origins: wp.array(dtype=wp.vec3), spans: wp.array(dtype=wp.vec3),
              blocked: wp.array(dtype=wp.bool)):
    i = wp.tid()
    length = wp.length(spans[i])
    blocked[i] = wp.mesh_query_ray_anyhit(mesh, origins[i], spans[i] / length, length)


def has_cuda() -> bool:
    """Return whether Warp finds a CUDA device."""
    wp.init()
    return wp.is_cuda_available()


class WarpCaster:
    """See `casters.Caster`. The hierarchy is built anew when a ray follows an addition."""

    def __init__(self, device: str = 'cuda:0') -> None:
        """
        :param device: 'cuda:0', ... or 'cpu'
        :raises SimulatorError: if there is no such device
        """
        wp.init()
        try:
            self._device = wp.get_device(device)
        except (ValueError, RuntimeError) as error:
            raise SimulatorError(f'no CUDA device {device} for ray casting; use --device cpu'
                                 ) from error
        self._corners: list[np.ndarray] = []
        self._mesh: wp.Mesh | None = None

    def add(self, corners: np.ndarray) -> None:
        """See `casters.Caster`."""
        self._corners.append(corners.astype(np.float32))
        self._mesh = None

    def _ready(self) -> wp.Mesh | None:
        if self._mesh is None and self._corners:
            self._corners = [np.concatenate(self._corners)]
            points = self._corners[0].reshape(-1, 3)
            self._mesh = wp.Mesh(self._array(points, wp.vec3), self._array(
                np.arange(len(points), dtype=np.int32), wp.int32))
        return self._mesh

    def _array(self, values: np.ndarray, dtype) -> wp.array:
        return wp.array(np.ascontiguousarray(values), dtype=dtype, device=self._device)

    def cast(self, origins: np.ndarray, rays: np.ndarray) -> Hits:
        """See `casters.Caster`."""
        count, mesh = len(rays), self._ready()
        if mesh is None or not count:
            return (np.full(count, np.inf, np.float32), np.full(count, -1),
                    np.zeros((count, 2), np.float32))
        found = [wp.zeros(count, dtype=t, device=self._device) for t in (float, int, wp.vec2)]
        wp.launch(_first_hits, count, [mesh.id, *self._vectors(origins, rays), FAR_M],
                  found, device=self._device)
        range_m, triangle, bary = (a.numpy() for a in found)
        return range_m, triangle.astype(np.int64), bary

    def occluded(self, origins: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """See `casters.Caster`."""
        mesh = self._ready()
        if mesh is None or not len(spans):
            return np.zeros(len(spans), bool)
        blocked = wp.zeros(len(spans), dtype=wp.bool, device=self._device)
        wp.launch(_any_hits, len(spans), [mesh.id, *self._vectors(origins, spans)], [blocked],
                  device=self._device)
        return blocked.numpy()

    def _vectors(self, *arrays: np.ndarray) -> list[wp.array]:
        return [self._array(a.astype(np.float32), wp.vec3) for a in arrays]
