# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What memory between frames is worth on rendered drives, and what it costs.

    python -m training.simulate --assets ASSETS --out drives --sequence 60 --count 720 --seed 171
    python -m bench.memory drives --bundle pano_tiny
    python -m bench.memory --cost               # ms per frame; wants two idle cores
    python -m bench.memory --bound              # 18,000 frames: is it bounded?

Every drive is predicted once and then scored without memory, with the scale track, with the warped
memory, and with both. Obstacles are scored in the level frame of the true pose: the camera shakes,
and a floor tilted by a degree is an obstacle 3 m away. Wrong odometry: the same with the poses of
`ERRORS`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import os
from pathlib import Path
import time
from types import SimpleNamespace as Namespace

import cv2
import numpy as np
from tqdm import tqdm

from da_ros.bags.odometry import OdometryTrack
from da_ros.bags.transforms import quaternion_from
from da_ros.config import Config, MemoryConfig, RangeRule
from da_ros.estimator import RangeEstimator
from da_ros.memory.near import NearMemory
from da_ros.memory.scale_track import held_to_floor, ScaleTrack
from da_ros.memory.stages import Memory
from da_ros.memory.warped import NEW_SHARE, SAME, WarpedMemory
from da_ros.range_map import RangeMap
from da_ros.sphere import (
    angles_from_ray,
    col_from_azimuth,
    erp_rays,
    rotation_from_rpy,
    row_from_elevation,
)
from training.data.obstacles import floor_below
from training.data.shards import ShardSet
from training.scoring.bags.checks import flicker
from training.scoring.obstacles import obstacle_metrics, sector_table
from training.scoring.protocols import get_protocol
from training.scoring.scores import FrameScores, row_metrics, score_frame

WITHIN_M = 3.0
RATE_HZ = 10.0


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a drive, predicted."""

    range_map: RangeMap
    target: np.ndarray
    height_m: float
    stamp_ns: int
    odom_from_camera: np.ndarray


Fuse = Callable[[RangeMap, int, np.ndarray | None], RangeMap]


def plain() -> Fuse:
    """Return no memory at all."""
    return lambda range_map, _stamp_ns, _pose: range_map


def scale() -> Fuse:
    """Return the scale track of a metric bundle; the maps' floor is held, nothing else."""
    track = ScaleTrack()
    return lambda range_map, _stamp_ns, _pose: replace(
        range_map, range_m=held_to_floor(range_map.range_m, track))


def warped() -> Fuse:
    """Return the warped memory."""
    return WarpedMemory().fuse


def both() -> Fuse:
    """Return the scale track before the warped memory."""
    first, second = scale(), warped()
    return lambda range_map, stamp_ns, pose: second(
        first(range_map, stamp_ns, pose), stamp_ns, pose)


KINDS = {'without': plain, 'scale': scale, 'warped': warped, 'scale and warped': both}


def _scaled(poses: list[np.ndarray]) -> list[np.ndarray | None]:
    return [np.vstack([np.c_[p[:3, :3], 1.02 * p[:3, 3]], p[3]]) for p in poses]


def _drifting(poses: list[np.ndarray]) -> list[np.ndarray | None]:
    turned: list[np.ndarray | None] = []
    for number, pose in enumerate(poses):
        angle = np.radians(number / RATE_HZ)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turned.append(turn @ pose)
    return turned


def _of_wheels(poses: list[np.ndarray]) -> list[np.ndarray | None]:
    flat: list[np.ndarray | None] = []
    for pose in poses:
        wheels = np.eye(4)
        wheels[:3, :3] = rotation_from_rpy(0, 0, np.arctan2(pose[1, 0], pose[0, 0]))
        wheels[:2, 3] = pose[:2, 3]
        flat.append(wheels)
    return flat


def _jumping(poses: list[np.ndarray]) -> list[np.ndarray | None]:
    move = np.eye(4)
    move[0, 3] = 0.4
    return [move @ pose if number >= len(poses) // 2 else pose
            for number, pose in enumerate(poses)]


ERRORS: dict[str, Callable[[list[np.ndarray]], Sequence[np.ndarray | None]]] = {
    '2 % too far': _scaled, 'drift of 1 deg/s': _drifting,
    '100 ms late': lambda poses: [poses[0], *poses[:-1]],
    'absent for 1 s': lambda poses: [*poses[:20], *[None] * 10, *poses[30:]],
    'a jump of 0.4 m': _jumping, 'of wheels: no tilt': _of_wheels}


def predict(folder: Path, bundle: str) -> list[list[Frame]]:
    """Return the drives of a folder, one a shard; the network is told the camera height."""
    return [predict_shard(shard, bundle) for shard in tqdm(
        sorted(folder.glob('*.tar')), unit='drive', disable=None)]


def predict_shard(shard: Path, bundle: str) -> list[Frame]:
    """Return the frames of one drive."""
    estimator, frames = RangeEstimator(bundle or None), []
    for sample in ShardSet([shard]):
        estimator.rule = RangeRule(camera_height_m=sample.camera_height_m)
        range_map = estimator.predict(np.ascontiguousarray(sample.image[..., ::-1]))
        frames.append(Frame(
            replace(range_map, image=np.zeros((1, 1, 3), np.uint8), probability=None),
            sample.range_m, sample.camera_height_m, round(sample.meta['stamp_s'] * 1e9),
            np.array(sample.meta['odom_from_camera'])))
    estimator.close()
    return frames


def level(range_m: np.ndarray, odom_from_camera: np.ndarray) -> np.ndarray:
    """Return a range map as a level camera of the same azimuth would hold it."""
    height, width = range_m.shape
    forward = odom_from_camera[:3, 0] * (1, 1, 0)
    forward /= np.linalg.norm(forward)
    upright = np.stack([forward, np.cross((0, 0, 1), forward), (0, 0, 1)], axis=1)
    azimuth, elevation = angles_from_ray(
        erp_rays(height, width) @ (odom_from_camera[:3, :3].T @ upright).T)
    row = np.minimum(row_from_elevation(elevation, height).astype(np.intp), height - 1)
    return range_m[row, col_from_azimuth(azimuth, width).astype(np.intp)]


def score(drives: list[list[Frame]], make: Callable[[], Fuse],
          wrong: Callable[..., Sequence[np.ndarray | None]] = list) -> dict[str, float]:
    """Return the row of one kind of memory."""
    scores: list[FrameScores] = []
    tables, steps, remembered, hidden = [], [], [], 0
    for frames in tqdm(drives, unit='drive', leave=False, disable=None):
        memory, past = make(), None
        for frame, pose in zip(frames, wrong([f.odom_from_camera for f in frames])):
            fused = memory(frame.range_map, frame.stamp_ns, pose)
            pred = np.where(np.isneginf(fused.range_m), fused.min_range_m, fused.range_m)
            scores.append(score_frame('', (), pred, frame.target, get_protocol('sphere'),
                                      outlines=False))
            truth = level(frame.target, frame.odom_from_camera)
            tables.append(sector_table(level(pred, frame.odom_from_camera), truth,
                                       floor_below(truth, frame.height_m)))
            remembered.append(0.0 if fused.age_s is None else float((fused.age_s > 0).mean()))
            hidden += hidden_pixels(frame.range_map.range_m, fused.range_m)
            if past is not None:
                motion = np.linalg.inv(frame.odom_from_camera) @ past[0].odom_from_camera
                steps.append(flicker(past[1], pred, motion, past[0].target, frame.target))
            past = frame, pred
    obstacles = obstacle_metrics(np.concatenate(tables), WITHIN_M)
    return {'flicker': float(np.nanmedian(steps)), 'flicker_mean': float(np.nanmean(steps)),
            'abs_rel': row_metrics(scores, get_protocol('sphere'))['abs_rel'],
            'recall': 1 - obstacles['miss_rate'], 'alarms': obstacles['false_alarm_rate'],
            'thin': 1 - obstacles['thin_miss_rate'], 'remembered': float(np.mean(remembered)),
            'hidden': hidden, 'obstacles': obstacles['obstacles'],
            'thin_obstacles': obstacles['thin_obstacles']}


def hidden_pixels(seen_m: np.ndarray, shown_m: np.ndarray) -> int:
    """Return at how many pixels a hit of the frame is lost, or farther than averaging makes it."""
    hit = seen_m < np.inf               # -inf, too near, included
    kept = shown_m <= seen_m * np.float32(np.exp((1 - NEW_SHARE) * SAME) * (1 + 1e-5))
    return int(np.count_nonzero(hit & ~kept))


def show(name: str, row: dict[str, float]) -> None:
    """Print a row of the table."""
    print(f'| {name} | {row["flicker"]:.4f} | {row["flicker_mean"]:.4f} | {row["abs_rel"]:.4f} | '
          f'{row["recall"]:.1%} | {row["alarms"]:.1%} | {row["thin"]:.1%} | '
          f'{row["remembered"]:.2%} | {row["hidden"]:.0f} |', flush=True)


def cost() -> None:
    """Print the time of a frame at both sizes."""
    print(f'load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
    for height in (256, 512):
        maps = [_room(height, _driven(number), number) for number in range(60)]
        for name, make in (('warped', WarpedMemory), ('warped and near', None)):
            fuse, near = (make or WarpedMemory)().fuse, NearMemory()
            times = []
            for number in range(60):
                stamp_ns, pose = number * 10**8, _driven(number)
                started = time.perf_counter()
                fused = fuse(maps[number], stamp_ns, pose)
                if make is None:
                    near.update(fused, stamp_ns, pose, 10.0)
                times.append(1000 * (time.perf_counter() - started))
            p50, p99 = np.percentile(times[5:], [50, 99])
            print(f'{name}, {height} x {2 * height}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, '
                  f'least {min(times[5:]):.1f} ms')


def bound(minutes: float) -> None:
    """
    Print the size of the process over many frames.

    With all that is kept: small maps of a drive in circles, twenty seconds in a hall and twenty
    in a closet where all is near, and odometry of 50 Hz.
    """
    maps = [_room(64, _driven(number), number) for number in range(200)]
    maps += [replace(room, range_m=room.range_m / 6) for room in maps]
    memory, track = Memory(), OdometryTrack()
    config = Config(memory=MemoryConfig('odometry', near_s=10.0))
    frames = round(minutes * 60 * RATE_HZ)
    for number in range(frames + 1):
        stamp_ns = number * 10**8
        for step in range(5):
            track.add(_odometry(stamp_ns + step * 2 * 10**7, _driven(number + step / 5)))
        memory.take(maps[number % 400], stamp_ns, track.odom_from_base(stamp_ns), config)
        if number in (0, frames // 30, frames // 3, 2 * frames // 3, frames):
            pages = int(Path('/proc/self/statm').read_text().split()[1])
            print(f'after {number / RATE_HZ / 60:4.1f} min, {number} frames: '
                  f'{pages * os.sysconf("SC_PAGE_SIZE") / 2**20:.1f} MiB; {memory.state}',
                  flush=True)


def _odometry(stamp_ns: int, pose: np.ndarray) -> Namespace:
    x, y, z, w = quaternion_from(pose[:3, :3])
    stamp = Namespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return Namespace(
        header=Namespace(frame_id='odom', stamp=stamp), child_frame_id='base_link',
        pose=Namespace(pose=Namespace(position=Namespace(**dict(zip('xyz', pose[:3, 3]))),
                                      orientation=Namespace(x=x, y=y, z=z, w=w))))


def _room(height: int, odom_from_camera: np.ndarray, seed: int) -> RangeMap:
    """Return what a noisy network would see in a room of 10 x 8 x 3 m."""
    rng = np.random.default_rng(seed)
    rays = erp_rays(height, 2 * height) @ odom_from_camera[:3, :3].T
    walls = np.where(rays > 0, (5, 4, 2), (-5, -4, -1)) - odom_from_camera[:3, 3]
    with np.errstate(divide='ignore', invalid='ignore'):
        range_m = np.nanmin(np.where(rays == 0, np.inf, walls / rays), axis=-1)
    range_m = (range_m * np.exp(rng.normal(0, 0.03, range_m.shape))).astype(np.float32)
    unknown = cv2.resize(rng.uniform(size=(32, 64)), (2 * height, height)) < 0.1
    return RangeMap(np.where(unknown, np.float32(np.nan), range_m), 100.0, 0.3,
                    np.zeros((1, 1, 3), np.uint8))


def _driven(number: float) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, 3] = 2 * np.cos(np.pi / 100 * number), 2 * np.sin(np.pi / 100 * number)
    return pose


def main() -> None:
    """Print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('drives', type=Path, nargs='?', help='folder of --sequence')
    parser.add_argument('--bundle', default='', help='folder or name; default: pano_tiny')
    parser.add_argument('--cost', action='store_true', help='time per frame instead')
    parser.add_argument('--bound', action='store_true', help='size of the process instead')
    parser.add_argument('--minutes', type=float, default=30.0, help='of frames, for --bound')
    args = parser.parse_args()
    if args.cost:
        return cost()
    if args.bound:
        return bound(args.minutes)
    if args.drives is None:
        parser.error('give the folder of the drives, --cost or --bound')
    drives = predict(args.drives, args.bundle)
    print('| | flicker (median) | flicker (mean) | AbsRel | recall | false alarms | thin recall | '
          'remembered | hidden pixels |\n|---|---|---|---|---|---|---|---|---|')
    for name, make in KINDS.items():
        row = score(drives, make)
        show(name, row)
    for name, wrong in ERRORS.items():
        show(f'warped, odometry {name}', score(drives, warped, wrong))
    print(f'\n{sum(map(len, drives))} frames of {len(drives)} drives; within {WITHIN_M:g} m '
          f'{row["obstacles"]:.0f} sectors with obstacles, {row["thin_obstacles"]:.0f} with thin')


if __name__ == '__main__':
    main()
