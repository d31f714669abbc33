# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Ray casters behind one interface: Open3D (Embree) on the CPU, NVIDIA Warp meshes on a GPU.

Both find the first triangle along a ray and answer whether anything lies before its end.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

Hits = tuple[np.ndarray, np.ndarray, np.ndarray]


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


class OverlaidCaster:
    """A finished caster with more triangles on top, which the next overlay replaces."""

    def __init__(self, below: Caster, count: int, own: Caster) -> None:
        """
        Put an empty caster over a finished one.

        :param below: stays as it is
        :param count: its number of triangles
        """
        self._below, self._count, self._own, self._empty = below, count, own, True

    def add(self, corners: np.ndarray) -> None:
        """See :class:`Caster`; numbers go on behind those below."""
        self._own.add(corners)
        self._empty = False

    def cast(self, origins: np.ndarray, rays: np.ndarray) -> Hits:
        """See :class:`Caster`."""
        range_m, triangle, bary = self._below.cast(origins, rays)
        if self._empty:
            return range_m, triangle, bary
        own_m, own, own_bary = self._own.cast(origins, rays)
        nearer = own_m < range_m
        return (np.where(nearer, own_m, range_m), np.where(nearer, own + self._count, triangle),
                np.where(nearer[:, None], own_bary, bary))

    def occluded(self, origins: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """See :class:`Caster`."""
        below = self._below.occluded(origins, spans)
        return below if self._empty else below | self._own.occluded(origins, spans)
