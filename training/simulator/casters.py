"""
Ray casters behind one interface: Open3D (Embree) on the CPU, NVIDIA Warp meshes on a GPU.

Both find the first triangle along a ray and answer whether anything lies before its end.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from training.simulator.textures import SimulatorError

Hits = tuple[np.ndarray, np.ndarray, np.ndarray]
DEVICES = ('cpu', 'cuda', 'auto')


class Caster(Protocol):
    """Triangles are numbered in the order in which they were added."""

    def add(self, corners: np.ndarray) -> None:
        """Add (M, 3, 3) float32 triangles [m]."""

    def cast(self, origins: np.ndarray, rays: np.ndarray) -> Hits:
        """
        Return the first hit along unit rays.

        :param origins: (N, 3) m
        :param rays: (N, 3)
        :return: range [m] (N,) float32, +inf = none; triangle (N,) int64, -1 = none; weights of
            its second and third corner (N, 2) float32
        """

    def occluded(self, origins: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """Return (N,) bool: something lies between origins and origins + spans [m]."""


class Open3DCaster:
    """Embree through Open3D, on one thread: processes share the cores instead."""

    def __init__(self) -> None:
        """Start without triangles."""
        import open3d

        self._open3d = open3d
        self._scene = open3d.t.geometry.RaycastingScene(nthreads=1)
        self._starts = np.zeros(0, np.int64)
        self._count = 0

    def add(self, corners: np.ndarray) -> None:
        """See :class:`Caster`; earlier triangles stay as they are."""
        tensor = self._open3d.core.Tensor
        index = np.arange(3 * len(corners), dtype=np.uint32).reshape(-1, 3)
        self._scene.add_triangles(tensor(corners.reshape(-1, 3)), tensor(index))
        self._starts = np.append(self._starts, self._count)
        self._count += len(corners)

    def cast(self, origins: np.ndarray, rays: np.ndarray) -> Hits:
        """See :class:`Caster`."""
        both = np.concatenate([origins, rays], 1).astype(np.float32)
        hit = self._scene.cast_rays(self._open3d.core.Tensor(both), nthreads=1)
        range_m = hit['t_hit'].numpy()
        seen = np.isfinite(range_m)
        mesh = np.where(seen, hit['geometry_ids'].numpy(), 0).astype(np.int64)
        first = self._starts[mesh] if self._count else mesh
        triangle = np.where(seen, first + hit['primitive_ids'].numpy(), -1)
        return range_m, triangle, hit['primitive_uvs'].numpy()

    def occluded(self, origins: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """See :class:`Caster`."""
        both = np.concatenate([origins, spans], 1).astype(np.float32)
        return self._scene.test_occlusions(
            self._open3d.core.Tensor(both), tfar=1.0, nthreads=1).numpy()


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
