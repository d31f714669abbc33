# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A tree of frames over time (TF) as matrices: look-up, interpolation, clear errors; no ROS."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from da_ros.errors import DaRosError

Array = NDArray[np.float64]
MAX_GAP_NS = 500_000_000       # a pose is not interpolated over a longer hole
MAX_EXTRAPOLATION_NS = 100_000_000


class TransformError(DaRosError):
    """A transform that the tree does not hold."""


@dataclass
class _Edge:
    """Poses of a child in its parent, sorted by time; one pose without time if static."""

    parent: str
    static: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[tuple[Array, Array]] = field(default_factory=list)  # translation, quaternion xyzw


class NoPoseError(TransformError):
    """Connected frames, but no pose near the time asked for."""


class TransformTree:
    """Poses of child frames in their parents, as /tf and /tf_static tell them."""

    def __init__(self) -> None:
        """Start without frames."""
        self._edges: dict[str, _Edge] = {}
        self.left_out: Counter[str] = Counter()      # 'parent -> child', poses that are none

    @property
    def frames(self) -> list[str]:
        """Names of all frames."""
        return sorted(set(self._edges) | {edge.parent for edge in self._edges.values()})

    def add(self, parent: str, child: str, translation: ArrayLike, quaternion: ArrayLike,
            stamp_ns: int | None = None) -> None:
        """
        Add the pose of `child` in `parent`; a rotation of norm zero, NaN, infinities, a frame in
        itself and one without a name are left out and counted.

        :param translation: x y z [m]
        :param quaternion: x y z w
        :param stamp_ns: time of the pose; None = static
        """
        parent, child = parent.lstrip('/'), child.lstrip('/')
        translation = np.asarray(translation, np.float64)
        quaternion = np.asarray(quaternion, np.float64)
        norm = float(np.linalg.norm(quaternion))
        # As tf2 does: one careless publisher must not cost the frames of all others.
        if (not np.isfinite([norm, *translation]).all() or norm < 1e-6 or parent == child
                or not (parent and child)):
            self.left_out[f'{parent} -> {child}'] += 1
            return
        pose = translation, quaternion / norm
        edge = self._edges.get(child)
        if edge is None or edge.parent != parent or stamp_ns is None:
            edge = self._edges[child] = _Edge(parent, stamp_ns is None)
        time_ns = stamp_ns or 0
        if not edge.stamps_ns or time_ns > edge.stamps_ns[-1]:
            edge.stamps_ns.append(time_ns)
            edge.poses.append(pose)
            return
        index = bisect_left(edge.stamps_ns, time_ns)
        if edge.stamps_ns[index] != time_ns:
            edge.stamps_ns.insert(index, time_ns)
            edge.poses.insert(index, pose)

    def forget_before(self, stamp_ns: int) -> None:
        """Drop poses older than a time, but the last of each link: a live tree must not grow."""
        for edge in self._edges.values():
            old = 0 if edge.static else min(bisect_left(edge.stamps_ns, stamp_ns),
                                            len(edge.stamps_ns) - 1)
            del edge.stamps_ns[:old], edge.poses[:old]

    def forget_moving(self) -> None:
        """Drop all poses that have a time, as when the clock goes back; static ones stay."""
        self._edges = {name: edge for name, edge in self._edges.items() if edge.static}

    def newest_ns(self, frame: str) -> int | None:
        """Return the time up to which all moving links above a frame are known; None = static."""
        return min((self._edges[name].stamps_ns[-1] for name in self._chain(frame)[:-1]
                    if not self._edges[name].static), default=None)

    def root(self, frame: str) -> str:
        """Return the frame at the top of a frame's tree; the frame itself if it has no parent."""
        return self._chain(frame)[-1]

    def is_moving(self, frame: str) -> bool:
        """Return whether any link between a frame and its root changes over time."""
        return any(not self._edges[name].static for name in self._chain(frame)[:-1])

    def between(self, target: str, target_ns: int, source: str, source_ns: int) -> Array:
        """
        Return what carries points seen in `source` at one time into `target` at another.

        :return: (4, 4), `points_target = T @ points_source`; the root of the tree stands still
        :raises TransformError: if the frames are not connected, or have no pose at that time
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        to_root, from_root = self._chain(target), self._chain(source)
        if to_root[-1] != from_root[-1]:
            roots = to_root[-1], from_root[-1]
            raise TransformError(
                f'no transform from {source!r} to {target!r}: {target!r} hangs on {roots[0]!r}, '
                f'{source!r} on {roots[1]!r}, and no link joins the two; publish '
                f'{roots[0]!r} -> {roots[1]!r} (or the other way), or give the extrinsic. '
                f'Frames of the bag: {", ".join(self.frames) or "none"}')
        shared = next(name for name in to_root if name in from_root)
        return (np.linalg.inv(self._up(to_root, shared, target_ns))
                @ self._motion(shared, target_ns, source_ns)
                @ self._up(from_root, shared, source_ns))

    def _up(self, chain: list[str], top: str, stamp_ns: int) -> Array:
        """Return the pose of the first frame of a chain in one above it."""
        matrix = np.eye(4)
        for name in chain[:chain.index(top)]:
            matrix = self._at(name, stamp_ns) @ matrix
        return matrix

    def _motion(self, frame: str, target_ns: int, source_ns: int) -> Array:
        """Return what carries points in a frame at one time into the same frame at another."""
        then, now, moves = np.eye(4), np.eye(4), False
        if target_ns == source_ns:         # links above the frame need not exist then
            return now
        for name in self._chain(frame)[:-1]:
            try:
                steps = self._at(name, target_ns), self._at(name, source_ns)
            except NoPoseError:
                if not moves:
                    raise
                break       # odometry tells the motion; what corrects it above may be sparse
            now, then = steps[0] @ now, steps[1] @ then
            moves |= not self._edges[name].static
        return np.linalg.inv(now) @ then

    def _chain(self, frame: str) -> list[str]:
        chain = [frame.lstrip('/')]
        while chain[-1] in self._edges:
            parent = self._edges[chain[-1]].parent
            if parent in chain:
                raise TransformError(f'frames go round in a circle: {" -> ".join(chain)}')
            chain.append(parent)
        return chain

    def _at(self, child: str, stamp_ns: int) -> Array:
        edge = self._edges[child]
        if edge.static:
            return matrix_from(*edge.poses[0])
        stamps = edge.stamps_ns
        after = bisect_left(stamps, stamp_ns)
        if after < len(stamps) and stamps[after] == stamp_ns:
            return matrix_from(*edge.poses[after])
        # Over a hole of odometry a straight line is a lie, and beyond its ends even more so.
        inside = 0 < after < len(stamps)
        near = min(max(after, 1), len(stamps) - 1) if len(stamps) > 1 else 0
        nearest = min(abs(stamps[i] - stamp_ns) for i in {max(near - 1, 0), near})
        limit = MAX_GAP_NS if inside else MAX_EXTRAPOLATION_NS
        if nearest > limit:
            raise NoPoseError(
                f'transform {edge.parent} -> {child} has no pose within {limit / 1e9:g} s of '
                f'{stamp_ns / 1e9:.3f} s; it covers {stamps[0] / 1e9:.3f} to '
                f'{stamps[-1] / 1e9:.3f} s')
        if not inside:
            return matrix_from(*edge.poses[0 if after == 0 else -1])
        share = (stamp_ns - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        return _interpolated(edge.poses[after - 1], edge.poses[after], share)


def matrix_from(translation: ArrayLike, quaternion: ArrayLike) -> Array:
    """Return the (4, 4) pose of a translation [m] and a unit quaternion x y z w."""
    x, y, z, w = np.asarray(quaternion, np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    matrix[:3, 3] = translation
    return matrix


def quaternion_from(rotation: ArrayLike) -> Array:
    """Return the unit quaternion x y z w (w >= 0) of a rotation matrix (3, 3)."""
    m = np.asarray(rotation, np.float64)
    squares = 1 + np.array([m[0, 0] - m[1, 1] - m[2, 2], m[1, 1] - m[0, 0] - m[2, 2],
                            m[2, 2] - m[0, 0] - m[1, 1], np.trace(m)])
    largest = int(np.argmax(squares))
    big = np.sqrt(squares[largest]) / 2
    signed = np.array([
        [4 * big * big, m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], 4 * big * big, m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 4 * big * big, m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 4 * big * big]])
    quaternion: Array = signed[largest] / (4 * big)
    return -quaternion if quaternion[3] < 0 else quaternion


def _interpolated(before: tuple[Array, Array], after: tuple[Array, Array], share: float) -> Array:
    """Return the pose between two: linear translation, shortest great-circle rotation."""
    start, end = before[1], after[1]
    cosine = float(start @ end)
    if cosine < 0:
        end, cosine = -end, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        mixed = start + share * (end - start)
    else:
        mixed = (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)
    return matrix_from(before[0] + share * (after[0] - before[0]), mixed / np.linalg.norm(mixed))
