"""A tree of frames over time (TF) as matrices: look-up, interpolation, clear errors; no ROS."""

from __future__ import annotations

from bisect import bisect_left
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

    @property
    def frames(self) -> list[str]:
        """Names of all frames."""
        return sorted(set(self._edges) | {edge.parent for edge in self._edges.values()})

    def add(self, parent: str, child: str, translation: ArrayLike, quaternion: ArrayLike,
            stamp_ns: int | None = None) -> None:
        """
        Add the pose of `child` in `parent`.

        :param translation: x y z [m]
        :param quaternion: x y z w
        :param stamp_ns: time of the pose; None = static
        """
        parent, child = parent.lstrip('/'), child.lstrip('/')
        quaternion = np.asarray(quaternion, np.float64)
        norm = float(np.linalg.norm(quaternion))
        if not np.isfinite(norm) or norm < 1e-6:
            raise TransformError(f'transform {parent} -> {child} has no rotation: quaternion '
                                 f'{quaternion.tolist()}; check its publisher')
        pose = np.asarray(translation, np.float64), quaternion / norm
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

    def root(self, frame: str) -> str:
        """Return the frame at the top of a frame's tree; the frame itself if it has no parent."""
        return self._chain(frame)[-1]

    def is_moving(self, frame: str) -> bool:
        """Return whether any link between a frame and its root changes over time."""
        return any(not self._edges[name].static for name in self._chain(frame)[:-1])

    def root_from(self, frame: str, stamp_ns: int) -> Array:
        """
        Return the pose of a frame in its root.

        :return: (4, 4), `points_root = T @ points_frame`
        :raises NoPoseError: if a link has no pose at that time
        """
        matrix = np.eye(4)
        for name in self._chain(frame)[:-1]:
            matrix = self._at(name, stamp_ns) @ matrix
        return matrix

    def between(self, target: str, target_ns: int, source: str, source_ns: int) -> Array:
        """
        Return what carries points seen in `source` at one time into `target` at another.

        :return: (4, 4), `points_target = T @ points_source`; the root of the tree stands still
        :raises TransformError: if the frames are not connected, or have no pose at that time
        """
        target, source = target.lstrip('/'), source.lstrip('/')
        if target == source and target not in self._edges:
            return np.eye(4)
        roots = self.root(target), self.root(source)
        if roots[0] != roots[1]:
            raise TransformError(
                f'no transform from {source!r} to {target!r}: {target!r} hangs on {roots[0]!r}, '
                f'{source!r} on {roots[1]!r}, and no link joins the two; publish '
                f'{roots[0]!r} -> {roots[1]!r} (or the other way), or give the extrinsic. '
                f'Frames of the bag: {", ".join(self.frames) or "none"}')
        return np.linalg.inv(self.root_from(target, target_ns)) @ self.root_from(source, source_ns)

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
