# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory between frames: what is moved, averaged, kept, forgotten; nothing is hidden."""

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from da_ros.memory.warped import AGREE, FARTHER, NEW_SHARE, SAME, splat, WarpedMemory
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy

HW = (32, 64)
LIMIT_M, MIN_M = 50.0, 0.3
STEP_NS = 100_000_000
HERE = np.eye(4)
ALL, FAR = np.ones(HW, bool), np.full(HW, np.inf, np.float32)
MOST_FARTHER = np.exp((1 - NEW_SHARE) * SAME) * (1 + 1e-5)


def a_map(range_m, limit_m=LIMIT_M, min_range_m=MIN_M):
    range_m = np.broadcast_to(np.asarray(range_m, np.float32), HW).copy()
    return RangeMap(range_m, limit_m, min_range_m, np.zeros((*HW, 3), np.uint8))


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0, roll=0.0, pitch=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_rpy(roll, pitch, yaw)
    matrix[:3, 3] = x, y, z
    return matrix


def ball(radius_m, odom_from_body, size_hw=HW):
    """Return the range inside a sphere about the origin of odom: exact from everywhere."""
    rays = erp_rays(*size_hw) @ odom_from_body[:3, :3].T
    along = rays @ odom_from_body[:3, 3]
    return np.sqrt(along ** 2 + radius_m ** 2 - odom_from_body[:3, 3] @ odom_from_body[:3, 3]) \
        - along


def fuse_all(maps, poses=None, step_ns=STEP_NS, memory=None):
    memory = memory or WarpedMemory()
    poses = [HERE] * len(maps) if poses is None else poses
    return [memory.fuse(a_map(m) if not isinstance(m, RangeMap) else m, n * step_ns, p)
            for n, (m, p) in enumerate(zip(maps, poses))]


# ---- moving ----

def test_points_moved_by_a_turn_of_whole_columns_are_the_rolled_map():
    range_m = np.random.default_rng(0).uniform(1, 9, HW).astype(np.float32)
    points = erp_rays(*HW).astype(np.float32) * range_m[..., None]
    for columns in (1, 5, 63):
        turn = pose(yaw=columns * 2 * np.pi / HW[1])
        moved = splat(points, turn, ALL, FAR)
        inner = slice(1, -1)            # at the poles OpenCV's angles round to a neighbour
        assert moved[inner] == pytest.approx(np.roll(range_m, -columns, 1)[inner], rel=1e-5)


@pytest.mark.parametrize('move', [(0.3, 0, 0), (0, -0.4, 0.1), (0.2, 0.2, -0.3, 0.7, 0.05, -0.1)])
def test_points_moved_inside_a_ball_are_what_is_seen_there(move):
    size_hw, there = (128, 256), pose(*move)
    points = erp_rays(*size_hw) * ball(4.0, HERE, size_hw)[..., None]
    moved = splat(points.astype(np.float32), np.linalg.inv(there), np.ones(size_hw, bool),
                  np.full(size_hw, np.inf, np.float32))
    exact = ball(4.0, there, size_hw)
    known = np.isfinite(moved)
    assert known.mean() > 0.85          # holes where it comes nearer and at the poles
    assert moved[known] == pytest.approx(exact[known], rel=0.01)


def test_of_points_in_one_pixel_the_nearest_counts_and_what_lay_behind_stays_unknown():
    range_m = np.full(HW, 8.0, np.float32)
    range_m[:, 28:36] = 1.0                                     # a post straight ahead
    points = erp_rays(*HW).astype(np.float32) * range_m[..., None]
    moved = splat(points, np.linalg.inv(pose(y=0.5)), ALL, FAR)
    row = moved[16]
    assert row[31:43].min() > 0.8
    assert np.isinf(row[28:31]).any()           # seen by neither: not filled by what is beside it
    assert ((row < 1.4) | (row > 7) | np.isinf(row)).all()      # and nothing in between


def test_unknown_pixels_are_moved_nowhere():
    points = np.ones((*HW, 3), np.float32)
    assert np.isinf(splat(points, pose(x=1.0), ~ALL, FAR)).all()
    assert np.isinf(splat(points, HERE, ALL, np.zeros(HW, np.float32))).all()


# ---- what stays as it is ----

def test_a_world_that_stands_still_is_not_changed():
    range_m = np.random.default_rng(1).uniform(0.5, 40, HW).astype(np.float32)
    range_m[3, 4:9], range_m[20, 5:9], range_m[9, 1:5] = np.inf, np.nan, -np.inf
    for fused in fuse_all([range_m] * 5):
        np.testing.assert_allclose(fused.range_m, range_m, rtol=2e-6)
        assert fused.age_s is None or not fused.age_s.any()


@pytest.mark.parametrize('climbs', [0.0, 0.1, -0.1])
def test_a_robot_that_drives_sees_the_exact_world_as_exactly(climbs):
    poses = [pose(x=0.05 * n, yaw=0.03 * n, roll=0.01 * (-1) ** n, z=climbs * n)
             for n in range(8)]
    maps = [ball(4.0, p, (128, 256)).astype(np.float32) for p in poses]
    memory = WarpedMemory()
    for n, (range_m, where) in enumerate(zip(maps, poses)):
        fused = memory.fuse(RangeMap(range_m, LIMIT_M, MIN_M, np.zeros((1, 1, 3), np.uint8)),
                            n * STEP_NS, where)
        error = np.abs(np.log(fused.range_m / range_m))
        assert np.median(error) < 1e-4 and error.max() < 0.01


values = st.sampled_from([np.nan, np.inf, -np.inf, 0.3, 0.31, 0.5, 1.0, 1.05, 2.0, 8.0, 49.9])
patches = st.lists(st.tuples(values, *[st.integers(0, n) for n in (31, 63, 31, 63)]), max_size=6)
moves = st.tuples(*[st.floats(-0.45, 0.45)] * 3, st.floats(-0.6, 0.6), *[st.floats(-0.1, 0.1)] * 2)


def patched(base, rectangles):
    range_m = np.full(HW, base, np.float32)
    for value, r0, c0, r1, c1 in rectangles:
        range_m[min(r0, r1):max(r0, r1) + 1, min(c0, c1):max(c0, c1) + 1] = value
    return range_m


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(values, patches, moves), min_size=2, max_size=5), st.integers(0, 10**6))
def test_no_odometry_however_wrong_hides_what_the_present_frame_sees(frames, seed):
    """Poses have nothing to do with the maps: any error of the odometry is among them."""
    memory, rng = WarpedMemory(), np.random.default_rng(seed)
    for n, (base, rectangles, move) in enumerate(frames):
        range_m = patched(base, rectangles) * rng.choice(
            np.float32([1, 1, 0.97, 1.04, 1.2]), HW)
        range_m[(range_m < MIN_M)] = -np.inf
        range_m[(range_m >= LIMIT_M)] = np.inf
        fused = memory.fuse(a_map(range_m), n * STEP_NS, pose(*move)).range_m
        assert (fused[np.isneginf(range_m)] == -np.inf).all()
        hit = np.isfinite(range_m)
        assert (fused[hit] <= range_m[hit] * MOST_FARTHER).all()
        assert (fused[np.isfinite(fused)] >= MIN_M).all()
        assert (fused[np.isfinite(fused)] < LIMIT_M).all()
        # and memory never says that a place is empty, or that it is unknown
        assert not np.isposinf(fused[~np.isposinf(range_m)]).any()
        assert not np.isnan(fused[~np.isnan(range_m)]).any()


ERRORS = {
    '2 % too long a way': lambda n, p: pose(1.02 * p[0, 3], yaw=0.05 * n),
    'a drift of 1 deg/s': lambda n, p: pose(p[0, 3], yaw=0.05 * n + np.radians(0.1) * n),
    '100 ms late': lambda n, p: pose(0.1 * (n - 1), yaw=0.05 * (n - 1)),
    'a jump': lambda n, p: pose(p[0, 3] + 0.4 * (n >= 4), yaw=0.05 * n),
    'absent for 1 s': lambda n, p: None if 3 <= n < 13 else p,
}


@pytest.mark.parametrize('name', ERRORS)
def test_a_post_that_appears_is_seen_at_once_and_where_it_is_under_wrong_odometry(name):
    memory = WarpedMemory()
    for n in range(18):
        true = pose(0.1 * n, yaw=0.05 * n)
        range_m = ball(6.0, true).astype(np.float32)
        if n % 3 == 2:
            range_m[10:24, 30:33] = 1.0 + 0.05 * n
        fused = memory.fuse(a_map(range_m), n * STEP_NS, ERRORS[name](n, true)).range_m
        assert (fused <= range_m * MOST_FARTHER).all()


# ---- averaging ----

def flicker_of(maps):
    logs = np.log([m.range_m if isinstance(m, RangeMap) else m for m in maps])
    return float(np.median(np.abs(np.diff(logs[6:], axis=0))))


def test_a_robot_that_stands_for_a_minute_sees_no_drift():
    rng = np.random.default_rng(4)
    memory, errors = WarpedMemory(), []
    for n in range(600):
        range_m = (5 * np.exp(rng.normal(0, 0.02, HW))).astype(np.float32)
        errors.append(np.log(memory.fuse(a_map(range_m), n * STEP_NS, HERE).range_m / 5))
    assert abs(np.mean(errors[500:]) - np.mean(errors[50:150])) < 5e-4
    assert -0.01 < np.mean(errors[500:]) < 0.002


@pytest.mark.parametrize('drives', [False, True])
def test_flicker_of_noisy_ranges_is_less_than_half(drives):
    rng = np.random.default_rng(2)
    poses = [pose(x=0.03 * n * drives, yaw=0.02 * n * drives) for n in range(30)]
    exact = [ball(4.0, p) for p in poses]
    noisy = [(m * np.exp(rng.normal(0, 0.02, HW))).astype(np.float32) for m in exact]
    fused = fuse_all(noisy, poses)
    steady = [f.range_m / m for f, m in zip(fused, exact)]
    raw = [f / m for f, m in zip(noisy, exact)]
    assert flicker_of(steady) < 0.5 * flicker_of(raw)
    assert np.std(np.log(steady[10:])) < 0.8 * np.std(np.log(raw[10:]))
    # nearer by trend is believed at once, farther is not: a small shift to the near side
    assert -0.01 < np.mean(np.log(steady[10:])) < 0.002


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.0, 0.3), min_size=3, max_size=12), st.floats(1.5, 8.0))
def test_what_approaches_is_reported_no_later_than_without_memory(steps, start_m):
    """Frame by frame, for any speed: standing, creeping, running, starting and stopping."""
    memory, distance = WarpedMemory(), start_m
    for n, step in enumerate(steps):
        distance = max(distance * (1 - step), 0.05)
        range_m = np.full(HW, 9.0, np.float32)
        range_m[8:24, 20:40] = distance if distance >= MIN_M else -np.inf
        fused = memory.fuse(a_map(range_m), n * STEP_NS, HERE).range_m
        assert (fused <= range_m * (1 + 1e-5)).all()


# ---- keeping and clearing ----

def with_post(distance_m=2.0, there=True):
    range_m = np.full(HW, 9.0, np.float32)
    if there:
        range_m[8:24, 20:26] = distance_m
    return range_m


@pytest.mark.parametrize('behind', [9.0, np.inf])
def test_one_bad_frame_clears_nothing_two_do(behind):
    seen = [True, True, True, False, True, False, False, False]
    maps = [np.where(with_post(there=t) == 9, np.float32(behind), with_post(there=t))
            for t in seen]
    told = [bool((f.range_m[8:24, 20:26] < 2.1).all()) for f in fuse_all(maps)]
    assert told == [True, True, True, True, True, False, False, False]   # t-2 lacked it, too
    steady = [True, True, True, False, False]
    maps = [np.where(with_post(there=t) == 9, np.float32(behind), with_post(there=t))
            for t in steady]
    fused = fuse_all(maps)
    assert [bool((f.range_m[8:24, 20:26] < 2.1).all()) for f in fused] == [
        True, True, True, True, False]
    assert fused[4].range_m[8:24, 20:26] == pytest.approx(behind)
    assert fused[3].age_s[8:24, 20:26] == pytest.approx(0.1)
    assert not fused[3].age_s[:, 30:].any() and not fused[4].age_s.any()


def test_an_obstacle_seen_once_is_forgotten_at_once():
    fused = fuse_all([with_post(there=t) for t in (False, False, True, False, False)])
    assert [float(f.range_m[16, 22]) for f in fused] == pytest.approx([9, 9, 2, 9, 9])


def test_too_near_is_remembered_at_the_minimum_range():
    maps = [with_post(-np.inf)] * 3 + [with_post(there=False)] * 2
    fused = [f.range_m[16, 22] for f in fuse_all(maps)]
    assert fused == pytest.approx([-np.inf] * 3 + [MIN_M, 9])
    backwards = [pose(x=-0.1 * n) for n in range(5)]
    ahead = np.roll(maps[0], 10, 1)         # column 32 looks forward
    told = fuse_all([ahead] * 3 + [np.full(HW, 9, np.float32)], backwards[:4])[3]
    assert told.range_m[16, 32] == pytest.approx(MIN_M + 0.1, abs=0.02)
    forwards = [pose(x=0.1 * n) for n in range(4)]
    told = fuse_all([ahead] * 3 + [np.full(HW, 9, np.float32)], forwards)[3]
    assert told.range_m[16, 32] == -np.inf


def test_unknown_is_filled_by_two_frames_that_agree_with_hits_alone():
    lost = with_post()
    lost[8:24, 18:30] = np.nan
    fused = fuse_all([with_post()] * 3 + [lost] * 3)
    assert fused[3].range_m[8:24, 18:30] == pytest.approx(with_post()[8:24, 18:30])
    assert (fused[3].age_s[8:24, 18:30] > 0).all()
    for later in fused[4:]:                     # what is filled supports nothing itself
        assert np.isnan(later.range_m[8:24, 18:30]).all()
    empty = np.full(HW, np.inf, np.float32)
    unknown = np.full(HW, np.nan, np.float32)
    assert np.isnan(fuse_all([empty] * 3 + [unknown])[3].range_m).all()
    apart = [with_post(2.0), with_post(2.0 * (1 + 1.2 * AGREE)), unknown]
    assert np.isnan(fuse_all(apart)[2].range_m[16, 22])


def test_an_edge_that_wanders_by_a_pixel_leaves_no_rim():
    narrow, wide = with_post(), with_post()
    wide[8:24, 26] = 2.0
    fused = fuse_all([wide, wide, narrow])[2]
    assert fused.range_m == pytest.approx(narrow) and not fused.age_s.any()
    assert (1 + FARTHER) * 2.0 < 9.0


@pytest.mark.parametrize('rate_hz', [2.5, 5, 10, 30])
@pytest.mark.parametrize('speed_m_s', [0.4, 1.4, 3.0])
def test_nothing_is_left_behind_a_person_for_longer_than_half_a_second(rate_hz, speed_m_s):
    memory, last_there = WarpedMemory(), np.full(HW[1], -np.inf)
    rays = erp_rays(*HW)
    azimuth = np.arctan2(rays[16, :, 1], rays[16, :, 0])
    left = []
    for n in range(int(3 * rate_hz)):
        time_s = n / rate_hz
        middle = np.arctan2(speed_m_s * (time_s - 1.5), 2.0)
        there = np.abs(azimuth - middle) < 0.15
        range_m = np.full(HW, 9.0, np.float32)
        range_m[6:26, there] = 2.0
        last_there[there] = time_s
        fused = memory.fuse(a_map(range_m), round(time_s * 1e9), HERE)
        ghost = (fused.range_m[16] < 8) & ~there
        left += (time_s - last_there[ghost]).tolist()
        assert (fused.range_m[6:26, there] <= 2.0 * (1 + 1e-5)).all()
        assert np.array_equal(fused.age_s[16] > 0 if n else ghost, ghost)
    assert max(left, default=0.0) <= min(0.5, 1.001 / rate_hz)


@pytest.mark.parametrize('speed_rad_s', [-4.0, 1.0, 4.0])
def test_a_post_stays_where_it_is_while_the_robot_turns_on_the_spot(speed_rad_s):
    memory, columns = WarpedMemory(), round(speed_rad_s * 0.1 * HW[1] / (2 * np.pi))
    for n in range(8):
        seen = np.roll(with_post(there=n < 7), columns * n, 1)      # a turn to the left
        fused = memory.fuse(a_map(seen), n * STEP_NS, pose(yaw=columns * n * 2 * np.pi / HW[1]))
    assert memory.resets == 0
    expected = np.roll(with_post(), columns * 7, 1)
    assert (fused.range_m[10:22] < 8).sum() >= 0.9 * (expected[10:22] < 8).sum()
    assert fused.range_m[10:22] == pytest.approx(
        np.where(fused.range_m[10:22] < 8, expected[10:22], 9.0), rel=1e-3)


def test_odometry_in_steps_of_a_tenth_of_a_second_is_no_jump_between_quicker_frames():
    memory = WarpedMemory()
    for n in range(60):
        held_s = (n // 3 * 3) / 30          # 10 Hz, held, under frames of 30 Hz
        memory.fuse(a_map(with_post()), round(n / 30 * 1e9), pose(2 * held_s, yaw=3 * held_s))
    assert memory.resets == 0


def test_far_from_the_origin_of_odom_nothing_changes():
    poses = [pose(0.05 * n, yaw=0.03 * n) for n in range(5)]
    maps = [np.minimum(ball(4.0, p), 9.0) * (1 + 0.01 * (-1) ** n) for n, p in enumerate(poses)]
    far = [p + np.array([[0, 0, 0, 5.5e6], [0, 0, 0, 4.2e5], [0, 0, 0, 1e3], [0] * 4])
           for p in poses]
    for here, there in zip(fuse_all(maps, poses), fuse_all(maps, far)):
        np.testing.assert_allclose(here.range_m, there.range_m, rtol=1e-4)


# ---- forgetting ----

@pytest.mark.parametrize('change, said', [
    (dict(stamp=0), 'time went back by 0.20 s'), (dict(stamp=2), 'two frames have the same'),
    (dict(stamp=9), 'no frame with a pose for 0.70 s'),
    (dict(where=pose(x=0.6)), 'odometry jumped by 0.60 m and 0 deg in 0.10 s'),
    (dict(where=pose(yaw=1.0)), 'odometry jumped by 0.00 m and 57 deg in 0.10 s'),
    (dict(where=np.full((4, 4), np.nan)), 'odometry jumped'),
    (dict(where=None), 'no pose'), (dict(limit_m=20.0), 'another size or limit'),
    (dict(min_range_m=0.2), 'another size or limit')])
def test_memory_starts_anew_and_says_why(change, said):
    memory = WarpedMemory()
    fuse_all([with_post()] * 3, memory=memory)
    change = {'stamp': 3, 'where': HERE, 'limit_m': LIMIT_M, 'min_range_m': MIN_M, **change}
    gone = a_map(with_post(there=False), change['limit_m'], change['min_range_m'])
    fused = memory.fuse(gone, change['stamp'] * STEP_NS, change['where'])
    assert fused is gone
    assert said in memory.state and memory.resets == 1


def test_an_order_to_forget_is_obeyed_and_counted_once():
    memory = WarpedMemory()
    memory.reset('parameters changed')
    assert memory.state == 'empty: parameters changed' and memory.resets == 0
    fuse_all([with_post()] * 3, memory=memory)
    assert memory.state == '2 earlier frames'
    memory.reset('another bundle')
    memory.reset('another bundle')
    assert memory.resets == 1


def test_frames_older_than_half_a_second_are_not_used():
    fused = fuse_all([with_post(), with_post(), with_post(there=False)], step_ns=400_000_000)
    assert fused[2].range_m[16, 22] == pytest.approx(9)     # one frame alone outvotes nobody
