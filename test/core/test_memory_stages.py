# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What scans and clouds show of memory, and what of the present frame alone."""

from dataclasses import replace

import numpy as np
import pytest

from da_ros.cameras.rig import Rig, View
from da_ros.config import Config, EdgesConfig, MemoryConfig, PointsConfig
from da_ros.derived.frame import Derivation
from da_ros.memory.near import NearPoints
from da_ros.memory.stages import Memory, pose_of_map
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy

HW = (64, 128)
STEP_NS = 100_000_000
CONFIG = Config(memory=MemoryConfig('odometry'), edges=EdgesConfig(points=False),
                points=PointsConfig(max_points=0, age=True))


def a_map(post=True, view=None):
    range_m = np.full(HW, 5.0, np.float32)
    if post:
        range_m[26:38, 60:68] = 2.0
    return RangeMap(range_m, 20.0, 0.3, np.zeros((*HW, 3), np.uint8), view=view)


def after_a_lost_post(memory, config=CONFIG):
    for n, post in enumerate((True, True, True, False)):
        remembered = memory.take(a_map(post), n * STEP_NS, np.eye(4), config)
    return remembered


def test_scan_and_cloud_hold_what_one_frame_loses_and_say_how_old_it_is():
    seen, remembered = a_map(False), after_a_lost_post(Memory())
    derived = Derivation().of(remembered.range_map, CONFIG, seen, remembered.near)
    assert derived.scan().ranges[359:361] == pytest.approx(2.0, rel=0.01)
    assert derived.fields() == ('age',)
    points = derived.points()
    held = points[:, 3] > 0
    assert held.sum() == 12 * 8 and points[held, 3] == pytest.approx(0.1)
    assert np.linalg.norm(points[held, :3], axis=1) == pytest.approx(2.0, rel=1e-3)


def test_confidence_is_that_of_the_present_frame_and_half_of_it_where_memory_contradicts():
    seen, remembered = a_map(False), after_a_lost_post(Memory())
    alone = Derivation().of(seen, CONFIG).confidence()
    told = Derivation().of(remembered.range_map, CONFIG, seen).confidence()
    held = remembered.range_map.age_s > 0
    assert held.sum() == 12 * 8 and alone.min() > 0
    assert np.array_equal(told, np.where(held, alone // 2, alone))


def test_a_drop_is_told_in_the_frame_that_sees_it():
    memory, down = Memory(), -erp_rays(*HW)[..., 2]
    config = replace(CONFIG, rule=replace(CONFIG.rule, camera_height_m=0.5))
    with np.errstate(divide='ignore'):
        floor = np.where(down > 0.03, 0.5 / down, np.inf).astype(np.float32)
    hole = floor.copy()
    hole[:52, 58:70] = np.inf           # ahead, from half a metre on
    derivation, told = Derivation(), []
    for n, range_m in enumerate((floor, floor, floor, hole)):
        seen = replace(a_map(), range_m=range_m)
        remembered = memory.take(seen, n * STEP_NS, np.eye(4), config)
        told.append(derivation.of(remembered.range_map, config, seen).cliff().ranges[179:181])
    assert remembered.range_map.age_s[:52, 60:68].any()         # scan and cloud wait for a second
    assert not np.isfinite(told[2]).any() and (told[3] < 1.2).all()


def test_what_lies_below_the_scans_band_is_floor_and_is_not_kept_with_or_without_a_height():
    below = np.sin(np.pi * (0.5 - (np.arange(HW[0]) + 0.5) / HW[0]))[:, None]
    floor = np.where(below < 0, 0.5 / np.maximum(-below, 1e-3), 5.0) * np.ones(HW)
    for height_m in (0.0, 0.5):
        config = replace(
            CONFIG, rule=replace(CONFIG.rule, camera_height_m=height_m),
            scan=replace(CONFIG.scan, min_height_m=height_m - 0.2),
            memory=MemoryConfig('odometry', near_s=5.0))
        memory, seen = Memory(), replace(a_map(), range_m=floor.astype(np.float32))
        for n in range(4):
            memory.take(seen, n * STEP_NS, np.eye(4), config)
        assert 'near: 0 of 0 voxels' in memory.state


def test_each_stage_has_its_own_switch_and_a_change_of_parameters_forgets():
    memory = Memory()
    off = replace(CONFIG, memory=MemoryConfig('odometry', warped=False))
    assert after_a_lost_post(memory, off).range_map.age_s is None and memory.state == 'off'
    assert (after_a_lost_post(Memory()).range_map.age_s > 0).any()
    memory = Memory()
    for n in range(3):
        memory.take(a_map(), n * STEP_NS, np.eye(4), CONFIG)
    other = replace(CONFIG, memory=MemoryConfig('odometry', near_s=5.0))
    assert memory.take(a_map(False), 3 * STEP_NS, np.eye(4), other).range_map.age_s is None
    assert memory.why == 'parameters changed' and memory.resets == 1
    assert 'near: 0 of' in memory.state


@pytest.mark.parametrize('turned', [False, True])
def test_near_points_come_with_the_cloud_in_the_frame_of_the_body(turned):
    level = rotation_from_rpy(0.2, -0.1, 0.0)
    view = View(Rig(), HW, map_from_body=level if turned else None)
    near = NearPoints(np.array([[0.4, 0.1, 0.0]], np.float32), np.array([1.5], np.float32))
    derived = Derivation().of(a_map(view=view), CONFIG, None, near)
    added = derived.points()[-1]
    expected = (level.T if turned else np.eye(3)) @ [0.4, 0.1, 0.0]
    assert added == pytest.approx([*expected, 1.5], abs=1e-6)
    assert np.hypot(0.4, 0.1) == pytest.approx(derived.scan().ranges.min())    # the level frame
    organised = replace(CONFIG, points=PointsConfig(organised=True, age=True))
    assert len(Derivation().of(a_map(view=view), organised, None, near).points()) == HW[0] * HW[1]


@pytest.mark.parametrize('knows_tilt', [True, False])
def test_the_pose_of_a_levelled_map_is_that_of_its_frame_not_of_the_body(knows_tilt):
    """A body that rocks in odom holds maps that stand still, whether odometry sees it or not."""
    for roll in (0.0, 0.1, -0.2):
        level = rotation_from_rpy(roll, 0.05, 0.0)
        pose = np.eye(4)
        pose[:3, :3] = rotation_from_rpy(0.0, 0.0, 0.7) @ (level if knows_tilt else np.eye(3))
        rocking = a_map(view=View(Rig(), HW, map_from_body=level))
        expected = rotation_from_rpy(0.0, 0.0, 0.7)
        assert pose_of_map(pose, rocking, True)[:3, :3] == pytest.approx(
            expected, abs=1e-12 if knows_tilt else 0.01)
        if knows_tilt:
            assert pose_of_map(pose, rocking)[:3, :3] == pytest.approx(expected, abs=1e-12)


def test_a_map_that_is_level_to_its_robot_alone_tilts_with_it():
    level = rotation_from_rpy(0.0, 0.1, 0.0)        # the mounting
    climbing = np.eye(4)
    climbing[:3, :3] = rotation_from_rpy(0.0, -0.2, 0.0) @ level
    mounted = a_map(view=View(Rig(), HW, map_from_body=level))
    assert pose_of_map(climbing, mounted)[:3, :3] == pytest.approx(
        rotation_from_rpy(0.0, -0.2, 0.0), abs=1e-12)


def test_wheel_odometry_and_a_levelling_imu_hold_a_floor_that_stands_still():
    down = -erp_rays(*HW)[..., 2]
    with np.errstate(divide='ignore'):
        floor = np.where(down > 0.03, 0.5 / down, 8.0).astype(np.float32)
    config = replace(CONFIG, levelling=replace(CONFIG.levelling, source='imu'))
    memory = Memory()
    for n in range(8):
        view = View(Rig(), HW, map_from_body=rotation_from_rpy(0.08 * (-1) ** n, 0.0, 0.0))
        seen = replace(a_map(view=view), range_m=floor)
        shown = memory.take(seen, n * STEP_NS, np.eye(4), config).range_map
        assert shown.age_s is None or not shown.age_s.any()
        np.testing.assert_allclose(shown.range_m, floor, rtol=1e-5)
