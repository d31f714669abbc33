# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Odometry over time: poses between messages, a second source, a clock that goes back."""

import numpy as np
from odometry_msg import odometry, S
import pytest

from da_ros.bags.odometry import OdometryTrack
from da_ros.bags.transforms import NoPoseError, TransformError


def filled(times_s=(10.0, 10.1, 10.2)):
    track = OdometryTrack()
    for time_s in times_s:
        track.add(odometry(round(time_s * S), x=time_s - 10))
    return track


def test_a_pose_between_two_messages_is_interpolated_and_one_at_a_message_is_exact():
    track = filled()
    assert track.newest_ns == round(10.2 * S)
    assert track.odom_from_base(round(10.15 * S))[0, 3] == pytest.approx(0.15)
    assert track.odom_from_base(round(10.1 * S))[0, 3] == 10.1 - 10
    assert np.array_equal(track.odom_from_base(round(10.1 * S))[:3, :3], np.eye(3))


def test_a_stale_pose_is_none():
    with pytest.raises(NoPoseError, match='no odometry yet'):
        OdometryTrack().odom_from_base(0)
    assert filled().odom_from_base(round(10.25 * S))[0, 3] == pytest.approx(0.2)
    with pytest.raises(NoPoseError, match=r'no pose within 0.1 s'):
        filled().odom_from_base(round(10.4 * S))


def test_a_second_source_is_named_and_believed_by_nobody_for_a_second():
    track = filled()
    with pytest.raises(TransformError, match='odom -> base_link and map -> base_link; let only'):
        track.add(odometry(round(10.2 * S), frames=('map', 'base_link')))
    with pytest.raises(TransformError, match='two sources'):
        track.odom_from_base(round(10.2 * S))
    for n in range(3, 14):
        track.add(odometry(round((10 + n / 10) * S), x=n / 10))
    assert track.odom_from_base(round(11.3 * S))[0, 3] == pytest.approx(1.3)


def test_another_source_in_place_of_one_that_fell_silent_is_believed():
    track, other = filled(), ('odom', 'base_footprint')
    with pytest.raises(TransformError, match='two sources'):
        track.add(odometry(round(10.9 * S), frames=other))
    track.add(odometry(round(11.3 * S), x=8.0, frames=other))
    assert track.odom_from_base(round(11.3 * S))[0, 3] == 8.0
    with pytest.raises(TransformError, match='base_footprint and odom -> base_link'):
        track.add(odometry(round(11.4 * S)))


def test_a_clock_that_went_back_starts_anew_with_any_frames():
    track = filled()
    track.add(odometry(5 * S, x=7.0, frames=('odom2', 'base')))
    assert track.newest_ns == 5 * S
    assert track.odom_from_base(5 * S)[0, 3] == 7.0
    with pytest.raises(NoPoseError):
        track.odom_from_base(round(10.1 * S))


def test_a_message_that_is_late_is_put_in_order():
    track = filled((10.0, 10.2, 10.1))      # at most by 0.2 s
    assert track.odom_from_base(round(10.05 * S))[0, 3] == pytest.approx(0.05)


@pytest.mark.parametrize('broken', [{'turn': (0.0, 0.0, 0.0, 0.0)}, {'x': float('nan')}])
def test_an_odometry_that_is_no_pose_is_refused_and_costs_only_itself(broken):
    track = filled()
    with pytest.raises(TransformError, match='odom -> base_link is no pose'):
        track.add(odometry(round(10.3 * S), **broken))
    assert track.odom_from_base(round(10.2 * S))[0, 3] == pytest.approx(0.2)


@pytest.mark.parametrize('back_s', [0.3, 0.9, 600.0])
def test_a_step_back_of_the_clock_leaves_no_pose_of_the_other_time(back_s):
    track = filled([1000 + n / 100 for n in range(100)])
    start_s = 1000.99 - back_s
    for n in range(20):
        track.add(odometry(round((start_s + n / 100) * S), x=50 + n / 100))
    for time_s in (start_s, start_s + 0.07):
        assert track.odom_from_base(round(time_s * S))[0, 3] == pytest.approx(
            50 + time_s - start_s)


@pytest.mark.parametrize('frames', [('', ''), ('odom', 'odom'), ('/odom', '')])
def test_a_publisher_that_leaves_out_its_frames_is_served(frames):
    track = OdometryTrack()
    track.add(odometry(10 * S, x=3.0, frames=frames))
    assert track.odom_from_base(10 * S)[0, 3] == 3.0


def test_a_quaternion_of_another_length_is_the_same_rotation():
    track = OdometryTrack()
    track.add(odometry(10 * S, turn=(0.0, 0.0, 3.0, 3.0)))
    assert track.odom_from_base(10 * S)[:3, 0] == pytest.approx([0, 1, 0])


def test_only_the_last_seconds_are_kept():
    track = OdometryTrack()
    for n in range(600):
        track.add(odometry(n * S // 10, x=0.0))
    with pytest.raises(NoPoseError):
        track.odom_from_base(10 * S)
    assert track.odom_from_base(55 * S)[0, 3] == 0.0
