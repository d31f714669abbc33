# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Triangles of simple solids, with texture coordinates in metres.

Every function returns (corners, uv): (M, 3, 3) float32 in metres, z up, standing on z = 0 and
centred in x and y unless said otherwise, and (M, 3, 2) float32 in metres along the surface.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

Shape = tuple[np.ndarray, np.ndarray]


def quad(origin, along_u, along_v) -> Shape:
    """Return a parallelogram from one corner and its two edge vectors [m]."""
    origin, u, v = (np.asarray(a, np.float32) for a in (origin, along_u, along_v))
    p = np.stack([origin, origin + u, origin + u + v, origin + v])
    lu, lv = np.linalg.norm(u), np.linalg.norm(v)
    t = np.array([[0, 0], [lu, 0], [lu, lv], [0, lv]], np.float32)
    index = np.array([[0, 1, 2], [0, 2, 3]])
    return p[index], t[index]


def merge(*shapes: Shape) -> Shape:
    """Return all the triangles of several shapes."""
    return (np.concatenate([s[0] for s in shapes]), np.concatenate([s[1] for s in shapes]))


def _unit_box() -> Shape:
    """Return the box of half side 1 in x and y and of height 1, and its uv in sides."""
    return merge(
        quad((-1, -1, 0), (2, 0, 0), (0, 0, 1)), quad((1, -1, 0), (0, 2, 0), (0, 0, 1)),
        quad((1, 1, 0), (-2, 0, 0), (0, 0, 1)), quad((-1, 1, 0), (0, -2, 0), (0, 0, 1)),
        quad((-1, -1, 1), (2, 0, 0), (0, 2, 0)), quad((-1, 1, 0), (2, 0, 0), (0, -2, 0)))


UNIT_BOX = _unit_box()
# the sizes (x, y, z) along which u and v of its twelve triangles run
BOX_UV_SIDES = np.repeat([(0, 2), (1, 2), (0, 2), (1, 2), (0, 1), (0, 1)], 2, axis=0)[:, None]


def box(size_x: float, size_y: float, size_z: float, bottom: float = 0.0) -> Shape:
    """Return a box whose lower face lies at z = bottom."""
    scale = np.array([size_x / 2, size_y / 2, size_z], np.float32)
    corners = UNIT_BOX[0] * scale
    corners[..., 2] += np.float32(bottom)
    return corners, UNIT_BOX[1] * scale[BOX_UV_SIDES]


def lathe(radii, heights, sides: int = 14) -> Shape:
    """Return a body of revolution about z through the points (radius, height), bottom to top."""
    radii, heights = np.asarray(radii, np.float32), np.asarray(heights, np.float32)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], -1).astype(np.float32)
    p = np.concatenate([radii[:, None, None] * ring[None],
                        np.broadcast_to(heights[:, None, None], (len(radii), sides + 1, 1))], -1)
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(radii), np.diff(heights)))])
    t = np.stack(np.broadcast_arrays(angle[None] * max(radii.max(), 1e-3), along[:, None]), -1)
    a, b = np.meshgrid(np.arange(len(radii) - 1), np.arange(sides), indexing='ij')
    a, b = a.ravel(), b.ravel()
    index = [np.stack([(a, b), (a, b + 1), (a + 1, b + 1)]).transpose(2, 0, 1),
             np.stack([(a, b), (a + 1, b + 1), (a + 1, b)]).transpose(2, 0, 1)]
    index = np.concatenate(index)
    return (p[index[..., 0], index[..., 1]].astype(np.float32),
            t[index[..., 0], index[..., 1]].astype(np.float32))


def cylinder(radius: float, height: float, sides: int = 14) -> Shape:
    """Return a closed cylinder."""
    return lathe([0, radius, radius, 0], [0, 0, height, height], sides)


def ellipsoid(radius_x: float, radius_y: float, radius_z: float) -> Shape:
    """Return an ellipsoid standing on z = 0."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 8)
    corners, uv = lathe(np.cos(angle), np.sin(angle) + 1)
    return (corners * np.array([radius_x, radius_y, radius_z], np.float32),
            uv * np.float32(max(radius_x, radius_z)))


def grid(height_of, x0: float, y0: float, x1: float, y1: float, cells: int) -> Shape:
    """Return a terrain; `height_of(x, y)` gives z [m] for arrays of positions."""
    x, y = np.meshgrid(np.linspace(x0, x1, cells + 1), np.linspace(y0, y1, cells + 1))
    p = np.stack([x, y, height_of(x, y)], -1).astype(np.float32)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    corners = np.concatenate([np.stack([a, b, c], 2).reshape(-1, 3, 3),
                              np.stack([a, c, d], 2).reshape(-1, 3, 3)])
    return corners, np.ascontiguousarray(corners[..., :2])


def moved(shape: Shape, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0,
          scale=1.0) -> Shape:
    """Return the shape scaled, turned about z [rad], then shifted [m]."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    corners = (shape[0] * np.asarray(scale, np.float32)) @ turn.T
    return corners + np.array([x, y, z], np.float32), shape[1]


def turned(shape: Shape, rotation) -> Shape:
    """Return the shape turned about the origin by a (3, 3) rotation matrix."""
    return shape[0] @ np.asarray(rotation, np.float32).T, shape[1]


def rod(start, end, radius: float, end_radius: float | None = None, sides: int = 7) -> Shape:
    """Return a closed, tapered rod between two points [m]."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    length = float(np.linalg.norm(end - start))
    along = (end - start) / max(length, 1e-6)
    helper = np.array([1.0, 0, 0]) if abs(along[0]) < 0.7 else np.array([0, 1.0, 0])
    side = np.cross(along, helper)
    side /= np.linalg.norm(side)
    last = radius if end_radius is None else end_radius
    shape = lathe([0, radius, last, 0], [0, 0, length, length], sides)
    shape = turned(shape, np.stack([side, np.cross(along, side), along], axis=1))
    return moved(shape, *start)


def tube(points, radius: float, sides: int = 5) -> Shape:
    """Return rods from point to point: a bent pipe or a cable."""
    return merge(*(rod(a, b, radius, sides=sides) for a, b in pairwise(points)))


def ring(radius: float, thickness: float, sides: int = 18) -> Shape:
    """Return an upright ring about the y axis, standing on z = 0."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    zero = np.zeros_like(angle)
    points = np.stack([radius * np.cos(angle), zero, radius * np.sin(angle) + radius], -1)
    return tube(points, thickness, 5)
