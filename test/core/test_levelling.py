# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Gravity becomes roll and pitch: closed form, round trips, filtering, and what is refused."""

import numpy as np
import pytest

from da_ros.bags.transforms import quaternion_from
from da_ros.config import ConfigError
from da_ros.levelling import (
    level_from_up,
    LevellingError,
    Mounting,
    mounting_from,
    rotation_from_text,
    Tilt,
    up_from_acceleration,
    up_from_quaternion,
)
from da_ros.sphere import rotation_from_rpy

S = 10**9


def rotation(*rpy_deg: float) -> np.ndarray:
    return rotation_from_rpy(*np.deg2rad(rpy_deg))


@pytest.mark.parametrize('up, rpy', [
    ((0, 0, 1), (0, 0, 0)), ((0, 0, -1), (180, 0, 0)), ((0, 1, 0), (90, 0, 0)),
    ((0, -1, 0), (-90, 0, 0)), ((-1, 0, 0), (0, 90, 0)), ((1, 0, 0), (0, -90, 0))])
def test_the_six_ways_a_body_can_lie(up, rpy):
    assert np.allclose(level_from_up(up), rotation(*rpy))


def test_only_roll_and_pitch_come_from_gravity():
    """A yaw of the world changes nothing; the camera's forward axis keeps azimuth 0."""
    rng = np.random.default_rng(0)
    for rpy in rng.uniform([-180, -89, -180], [180, 89, 180], (200, 3)):
        world_from_body = rotation(*rpy)
        up = world_from_body.T @ [0, 0, 1]
        level = level_from_up(up)
        assert np.allclose(level, rotation(rpy[0], rpy[1], 0), atol=1e-9)
        assert np.allclose(level @ up, [0, 0, 1]) and abs((level @ [1, 0, 0])[1]) < 1e-12
        assert np.allclose(up_from_quaternion(quaternion_from(world_from_body) * 3, 'imu'), up)
        assert np.allclose(up_from_acceleration(9.6 * up, 'imu'), up)


@pytest.mark.parametrize('quaternion', [(0, 0, 0, 0), (0, 0, float('nan'), 1),
                                        (float('inf'), 0, 0, 1)])
def test_an_orientation_that_is_none_is_refused(quaternion):
    with pytest.raises(LevellingError, match='imu/data gives the orientation .* is no rotation; '
                                             'use a source .*imu_acceleration'):
        up_from_quaternion(quaternion, 'imu/data')


@pytest.mark.parametrize('acceleration, text', [
    ((0, 0, 1), 'measures 1.0 m/s.2, which is not gravity'), ((0, 0, 0), r'measures 0\.0'),
    ((0, 0, float('nan')), 'measures nan'), ((0, 0, 14), r'measures 14\.0')])
def test_an_acceleration_that_is_not_gravity_is_refused(acceleration, text):
    with pytest.raises(LevellingError, match=f'imu {text}'):
        up_from_acceleration(acceleration, 'imu')


def test_the_mounting_is_read_and_gives_the_level():
    mounting = mounting_from('0.1, -0.2 1.2  0.1 -0.2 0.3')
    assert mounting == Mounting((0.1, -0.2, 1.2), (0.1, -0.2, 0.3))
    assert np.allclose(mounting.level_from_body, rotation_from_rpy(0.1, -0.2, 0))
    assert np.allclose(mounting.base_from_body @ [1, 0, 0, 1], [
        *(rotation_from_rpy(0.1, -0.2, 0.3) @ [1, 0, 0] + [0.1, -0.2, 1.2]), 1])
    assert mounting_from(' ') == Mounting()
    assert np.allclose(rotation_from_text('0 0 3.14159265358979', 'x'), np.diag([-1, -1, 1]))


@pytest.mark.parametrize('text', ['1 2 3', '1 2 3 4 5 x', '1 2 3 4 5 nan', '1 2 3 4 5 6 7'])
def test_a_mounting_of_another_shape_is_refused(text):
    with pytest.raises(ConfigError, match=f'base_from_camera .{text}. needs 6 numbers: x y z'):
        mounting_from(text)
    with pytest.raises(ConfigError, match='levelling.body_from_imu .* needs 3 numbers: roll'):
        rotation_from_text('1 2', 'levelling.body_from_imu')


# ---- over time ----

def test_the_tilt_is_looked_up_at_the_stamp_of_the_image():
    """Images come 0.2 s late: it is the tilt of then that counts, between two samples."""
    tilt = Tilt()
    for k in range(20):
        tilt.add(rotation(0, 2.0 * k, 0).T @ [0, 0, 1], k * S // 10)
    assert np.allclose(tilt.level_from_body(S), rotation(0, 20, 0))
    assert np.allclose(tilt.level_from_body(S + S // 20), rotation(0, 21, 0), atol=1e-6)
    assert np.allclose(tilt.level_from_body(2 * S), rotation(0, 38, 0))


def test_small_changes_keep_the_very_same_frame():
    tilt = Tilt()
    for k, pitch in enumerate([10.0, 10.4, 9.7, 10.6, 10.5]):
        tilt.add(rotation(0, pitch, 0).T @ [0, 0, 1], k * S)
    first = tilt.level_from_body(0)
    assert tilt.level_from_body(1 * S) is first and tilt.level_from_body(2 * S) is first
    moved = tilt.level_from_body(3 * S)
    assert np.allclose(moved, rotation(0, 10.6, 0)) and tilt.level_from_body(4 * S) is moved


def test_the_low_pass_follows_a_step_by_its_time_constant():
    """After one time constant 63 % of a small step is taken, whatever the rate."""
    for rate in (20, 200):
        tilt = Tilt(time_constant_s=0.5)
        tilt.add(np.array([0.0, 0, 1]), 0)
        for k in range(1, rate // 2 + 1):
            tilt.add(rotation(6, 0, 0).T @ [0, 0, 1], k * S // rate)
        roll = np.degrees(np.arctan2(*tilt.level_from_body(S // 2)[2, 1:]))
        assert roll == pytest.approx(6 * (1 - np.exp(-1)), rel=0.02)


def test_shaking_is_smoothed_to_a_tenth():
    rng = np.random.default_rng(0)
    tilt = Tilt(time_constant_s=0.5)
    for k in range(400):
        shaken = np.array([0, 0, 9.8]) + rng.normal(0, 1, 3)
        tilt.add(up_from_acceleration(shaken, 'imu'), k * S // 200)
    assert np.degrees(np.arccos(tilt.level_from_body(2 * S)[2, 2])) < 1.5   # single ones: 8


def test_a_tilt_that_is_not_known_is_said_with_its_age():
    tilt = Tilt()
    with pytest.raises(LevellingError, match=r'no tilt within 0\.5 s of the image: none has come'):
        tilt.level_from_body(S)
    tilt.add(np.array([0.0, 0, 1]), S)
    assert np.allclose(tilt.level_from_body(S + S // 3), np.eye(3))
    with pytest.raises(LevellingError, match=r'the last is 2\.0 s older than the image'):
        tilt.level_from_body(3 * S)


def test_a_time_that_jumps_back_starts_anew():
    tilt = Tilt(time_constant_s=5)
    tilt.add(rotation(0, 20, 0).T @ [0, 0, 1], 100 * S)
    tilt.add(rotation(0, -20, 0).T @ [0, 0, 1], S)
    assert np.allclose(tilt.level_from_body(S), rotation(0, -20, 0))
