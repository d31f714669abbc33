# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Flicker, drop-outs and the time-offset scan on worlds with known answers."""

import numpy as np
import pytest

from da_ros.sphere import rotation_from_rpy
from training.scoring.bags.checks import drop_outs, flicker, percentiles, suggest_offset
from training.simulator.box_room import furnished_room, panorama

H, W = 64, 128


def drive(x, yaw):
    pose = np.eye(4)
    pose[:3, :3] = rotation_from_rpy(0, 0, yaw)
    pose[:3, 3] = x, 0.9, 0.8
    return pose, panorama(furnished_room(), pose, H, W)[1]


def test_exact_ranges_of_a_static_world_do_not_flicker_under_motion():
    (pose, before), (pose2, now) = drive(-1.5, 0.0), drive(-1.4, 0.2)
    motion = np.linalg.inv(pose2) @ pose
    assert flicker(before, now, motion) < 0.015          # half a pixel
    assert flicker(before, now * 1.1, motion) == pytest.approx(np.log(1.1), abs=0.01)
    lifted = motion.copy()
    lifted[2, 3] += 0.3                                  # a motion that did not happen
    assert flicker(before, now, lifted) > 0.05


def test_points_whose_truth_moves_do_not_count_as_flicker():
    _, room = drive(0.0, 0.0)
    closer = room.copy()
    closer[:, :90] *= 0.7                                # most of the world comes nearer
    assert flicker(room, closer, np.eye(4)) > 0.3
    assert flicker(room, closer, np.eye(4), room, closer) == pytest.approx(0, abs=1e-6)


def test_flicker_without_common_points_is_nan():
    nothing = np.full((H, W), np.nan)
    assert np.isnan(flicker(nothing, nothing, np.eye(4)))
    assert np.isnan(flicker(np.full((H, W), np.inf), np.full((H, W), np.inf), np.eye(4)))


def test_holes_in_a_stream_are_counted():
    stamps = [i * 100_000_000 for i in range(20) if i not in (5, 6, 12)]
    found = drop_outs(stamps)
    assert found['rate_hz'] == pytest.approx(10) and found['missing'] == 3
    assert found['longest_gap_s'] == pytest.approx(0.3) and found['backward'] == 0
    assert drop_outs([3, 2, 4])['backward'] == 1
    assert np.isnan(drop_outs([5])['rate_hz'])


@pytest.mark.parametrize('stamps', [[5, 5, 5], [9, 6, 3], [7, 7, 1]])
def test_a_stream_whose_stamps_do_not_rise_has_no_rate_and_says_how_many(stamps):
    found = drop_outs(stamps)
    assert found['backward'] == 2 and np.isnan(found['rate_hz'])


def test_offset_is_found_between_the_candidates_and_refused_where_it_cannot_be_known():
    offsets = np.arange(-0.5, 0.51, 0.02)
    offset, text = suggest_offset(offsets, 0.1 + (offsets + 0.127) ** 2)
    assert offset == pytest.approx(-0.127, abs=1e-3) and 'earlier' in text
    assert suggest_offset(offsets, 0.1 + offsets ** 2)[0] == 0.0
    for errors, why in ((np.full(51, 0.1), 'flat'), (1 + offsets, 'end of the scan'),
                        (np.full(51, np.nan), 'too few frames')):
        offset, text = suggest_offset(offsets, errors)
        assert np.isnan(offset) and why in text


def test_percentiles_ignore_missing_values():
    assert percentiles([1.0, np.nan, 3.0])['p50'] == 2
    assert np.isnan(percentiles([np.nan])['p99'])
