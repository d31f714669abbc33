# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What stood near and left the view stays where it was, until its place is seen empty."""

import numpy as np
from odometry_msg import odometry
import pytest

from da_ros.bags.odometry import OdometryTrack
from da_ros.bags.transforms import TransformError
from da_ros.memory.near import MOST_VOXELS, NearMemory, NOTHING, scan_with, VOXEL_M
from da_ros.memory.warped import WarpedMemory
from da_ros.range_map import RangeMap
from da_ros.scan import Scan
from da_ros.sphere import erp_rays, rotation_from_rpy

HW = (128, 256)
MIN_M, HIGH_M = 0.3, 0.5        # camera height
STEP_NS = 100_000_000
DECAY_S = 10.0


def pose(x=0.0, y=0.0, yaw=0.0, pitch=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_rpy(0, pitch, yaw)
    matrix[:3, 3] = x, y, HIGH_M
    return matrix


def seen_from(where, box=None, min_range_m=MIN_M):
    """Return the exact map of a floor and a box ((x0, y0, z0), (x1, y1, z1)) in odom."""
    rays = erp_rays(*HW) @ where[:3, :3].T
    with np.errstate(divide='ignore', invalid='ignore'):
        range_m = np.where(rays[..., 2] < 0, -where[2, 3] / rays[..., 2], np.inf)
        if box is not None:
            low, high = ((np.array(corner) - where[:3, 3]) / rays for corner in box)
            enter = np.minimum(low, high).max(-1)
            leave = np.maximum(low, high).min(-1)
            range_m = np.where((enter <= leave) & (leave > 0),
                               np.minimum(range_m, np.maximum(enter, 1e-3)), range_m)
    range_m = np.where(range_m > 20, np.inf, range_m).astype(np.float32)
    range_m[range_m < min_range_m] = -np.inf
    return RangeMap(range_m, 20.0, min_range_m, np.zeros((1, 1, 3), np.uint8))


def drive(memory, places, box, first=0, lowest_m=-HIGH_M + 0.05, edit=None):
    told = NOTHING
    for n, where in enumerate(places, first):
        view = seen_from(where, box(n) if callable(box) else box)
        told = memory.update(edit(view) if edit else view, n * STEP_NS, where, DECAY_S, lowest_m)
    return told


BAG = ((0.75, -0.1, 0.0), (0.95, 0.1, 0.35))
OVER = [pose(x=0.05 * n) for n in range(17)]        # until the camera is above its front


def test_what_slips_below_the_minimum_range_stays_where_it_was():
    told = drive(NearMemory(), OVER, BAG)
    assert len(told.points) > 5
    in_odom = told.points + OVER[-1][:3, 3]
    low, high = np.array(BAG[0]) - VOXEL_M, np.array(BAG[1]) + VOXEL_M
    assert ((in_odom >= low) & (in_odom <= high)).all()
    assert (np.linalg.norm(told.points, axis=1) < 0.5).all()
    assert (told.age_s > 0).all() and told.age_s.max() < 1.7


def test_what_is_in_view_is_not_told_twice():
    memory = NearMemory()
    assert not len(drive(memory, [pose()] * 5, BAG).points)
    assert memory.state.startswith('0 of ')


def test_the_floor_is_not_remembered():
    memory = NearMemory()
    drive(memory, OVER, None)
    assert memory.state == '0 of 0 voxels out of view'


def test_a_place_seen_empty_is_cleared():
    memory = NearMemory()
    assert len(drive(memory, OVER, BAG).points) > 5
    back = [pose(x=0.8 - 0.05 * n) for n in range(12)]
    assert not len(drive(memory, back, None, first=len(OVER)).points)


def test_what_is_taken_away_in_the_blind_zone_decays():
    memory = NearMemory()
    drive(memory, OVER, BAG)
    stands = [OVER[-1]] * 110
    assert len(drive(memory, stands[:80], None, first=len(OVER)).points)
    assert not len(drive(memory, stands[80:], None, first=len(OVER) + 80).points)


@pytest.mark.parametrize('speed_m_s', [0.5, 1.5])
@pytest.mark.parametrize('warped', [False, True])
def test_a_person_who_walks_by_within_a_metre_leaves_nothing_behind(speed_m_s, warped):
    memory, before = NearMemory(), WarpedMemory()
    for n in range(40):
        y = -2 + speed_m_s * n / 10
        view = seen_from(pose(), ((0.6, y, 0.0), (0.85, y + 0.4, 1.7)))
        view = before.fuse(view, n * STEP_NS, pose()) if warped else view
        told = memory.update(view, n * STEP_NS, pose(), DECAY_S, -HIGH_M + 0.05)
        left = told.points[told.points[:, 1] < y - 0.1]     # where nobody is any more
        assert left.size == 0 or told.age_s.max() <= 0.5
    assert not len(told.points) or speed_m_s == 0.5


def test_what_the_robots_body_hides_stays():
    """A deck below the camera covers what stands beside it; its pixels are NaN (a body mask)."""
    def mask(view):
        range_m = view.range_m.copy()
        range_m[HW[0] // 2 + 20:] = np.nan
        return RangeMap(range_m, view.limit_m, view.min_range_m, view.image)
    low_box = ((0.9, -0.1, 0.0), (1.0, 0.1, 0.25))
    approach = [pose(x=0.05 * n) for n in range(12)]
    told = drive(NearMemory(), approach, low_box, edit=mask)
    assert len(told.points) > 3
    assert (told.points[:, 2] < 0).all()


def test_a_turn_moves_them_with_the_odometry():
    memory = NearMemory()
    drive(memory, OVER, BAG)
    turns = [pose(x=0.8, yaw=0.1 * n) for n in range(1, 9)]
    told = drive(memory, turns, BAG, first=len(OVER))
    in_odom = told.points @ turns[-1][:3, :3].T + turns[-1][:3, 3]
    assert len(told.points) > 5
    assert (in_odom[:, 0] > 0.7).all() and (np.abs(in_odom[:, 1]) < 0.16).all()


def test_remembered_pixels_are_neither_seen_nor_seen_past():
    memory = NearMemory()
    drive(memory, OVER, BAG)
    view = seen_from(pose(x=0.4), None)
    old = RangeMap(view.range_m, view.limit_m, view.min_range_m, view.image,
                   age_s=np.full(HW, 0.1, np.float32))
    for n in range(8):
        kept = memory.update(old, (17 + n) * STEP_NS, pose(x=0.8 - 0.05 * n), DECAY_S)
    assert len(kept.points) > 5


def test_the_number_of_voxels_is_bounded_and_the_newest_stay():
    memory, rng = NearMemory(), np.random.default_rng(0)
    for n in range(40):
        where = pose(x=0.04 * n)
        range_m = rng.uniform(0.3, 1.0, HW).astype(np.float32)
        memory.update(RangeMap(range_m, 20.0, MIN_M, np.zeros((1, 1, 3), np.uint8)),
                      n * STEP_NS, where, DECAY_S)
    assert int(memory.state.split()[2]) <= MOST_VOXELS


@pytest.mark.parametrize('stamp, where, said', [
    (3, OVER[-1], 'time went back'), (40, OVER[-1], 'no frame with a pose for 2.40 s'),
    (17, pose(x=3.0), 'odometry jumped by 2.20 m'), (16, OVER[-1], 'the same stamp')])
def test_memory_starts_anew_and_says_why(stamp, where, said):
    memory, states = NearMemory(), []
    drive(memory, OVER, BAG)
    original, memory.reset = memory.reset, lambda why: (states.append(why), original(why))
    view = seen_from(OVER[-1], BAG)
    assert not len(memory.update(view, stamp * STEP_NS, where, DECAY_S).points)
    assert said in states[0]


@pytest.mark.parametrize('rate_hz', [5, 20, 100])
def test_at_any_rate_of_odometry_what_slipped_below_is_told_in_every_frame(rate_hz):
    """Slow odometry leaves every second frame without a pose; a fast one has many per frame."""
    memory, track, sent, told = NearMemory(), OdometryTrack(), 0, []
    for n in range(30):
        time_s, x = n / 10 + 0.05, min(0.05 * n, 0.8)
        while sent / rate_hz <= time_s:
            at_s = sent / rate_hz
            track.add(odometry(round(at_s * 1e9), x=min(0.5 * at_s, 0.8)))
            sent += 1
        try:
            where = track.odom_from_base(round(time_s * 1e9)) @ pose()
        except TransformError:
            where = None
        told.append(len(memory.update(seen_from(pose(x=x), BAG), round(time_s * 1e9), where,
                                      DECAY_S, -HIGH_M + 0.05).points))
    assert min(told[18:]) > 5
    assert memory.resets == 0


def test_far_from_the_origin_of_odom_nothing_changes():
    memory, far_memory = NearMemory(), NearMemory()
    for n, where in enumerate(OVER):
        view, far = seen_from(where, BAG), where.copy()
        far[:3, 3] += 5.5e6, 4.2e5, 1e3             # UTM
        here = memory.update(view, n * STEP_NS, where, DECAY_S, -HIGH_M + 0.05)
        there = far_memory.update(view, n * STEP_NS, far, DECAY_S, -HIGH_M + 0.05)
    assert abs(len(here.points) - len(there.points)) <= 0.2 * len(here.points)   # other cells
    assert there.points.min(0) == pytest.approx(here.points.min(0), abs=VOXEL_M)
    assert there.points.max(0) == pytest.approx(here.points.max(0), abs=VOXEL_M)


@pytest.mark.parametrize('with_frames', [False, True])
def test_a_pause_of_a_second_in_frames_or_poses_forgets_nothing(with_frames):
    memory = NearMemory()
    before = drive(memory, OVER, BAG)
    for n in range(17, 27) if with_frames else ():
        told = memory.update(seen_from(OVER[-1], BAG), n * STEP_NS, None, DECAY_S)
        # For half a second where they were, or a place that is not free would look it.
        assert len(told.points) == (len(before.points) if n <= 21 else 0)
        assert n > 21 or told.age_s == pytest.approx(before.age_s + (n - 16) / 10)
        assert memory.state == f'no pose; {memory.state.split()[2]} voxels'
    after = drive(memory, OVER[-1:], BAG, first=27, lowest_m=-HIGH_M + 0.05)
    assert after.points == pytest.approx(before.points, abs=VOXEL_M)
    assert after.age_s.min() > 1.0


def a_scan(value, beams=360):
    step = 2 * np.pi / beams
    return Scan(np.full(beams, value, np.float32), -np.pi + step / 2, step, MIN_M, 20.0)


@pytest.mark.parametrize('value', [np.nan, np.inf, 5.0])
def test_a_scan_reports_remembered_points_in_their_beams(value):
    points = np.array([[0.4, 0.0, 0.0], [-0.5, -0.001, 0.1], [0.0, 0.5, 0.9]], np.float32)
    ranges = scan_with(a_scan(value), points, (-0.2, 0.2)).ranges
    changed = np.flatnonzero(~((ranges == value) | np.isnan(ranges)))
    assert ranges[[179, 180]] == pytest.approx([0.4, 0.4], rel=1e-5)
    assert ranges[[0, 359]] == pytest.approx([0.5, 0.5], rel=1e-5)      # behind, across the end
    width = 2 * np.degrees(np.arctan2(VOXEL_M / 2, 0.4)) + 2 * np.degrees(
        np.arctan2(VOXEL_M / 2, 0.5))
    assert abs(len(changed) - width) <= 4                       # the third is above the band


def test_a_remembered_point_within_the_minimum_range_is_too_near_and_hides_nothing_nearer():
    points = np.array([[0.1, 0.0, 0.0], [0.0, 0.5, 0.0]], np.float32)
    ranges = scan_with(a_scan(0.4), points, (-0.2, 0.2)).ranges
    assert ranges[180] == np.float32(MIN_M)
    ranges = scan_with(a_scan(0.4), points, (-0.2, 0.2), 'minus_inf').ranges
    assert ranges[180] == -np.inf and ranges[270] == pytest.approx(0.4)
    assert scan_with(a_scan(1.0), points[:0], (-0.2, 0.2)).ranges == pytest.approx(1.0)
