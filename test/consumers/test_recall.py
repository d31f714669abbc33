# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Geometry alone loses nothing: true ranges through scan, cloud and costmap in four worlds."""

from conftest import ROOT
import numpy as np
import pytest
from recall import nav2_files, Robot, true_points
from scenes import Box, person, Post, seen

CAMERA_M = 1.0
FRAMES = 8


def corridor(k):
    things = [Box((-20, 1.1, 0), (20, 1.3, 2.4)), Box((-20, -1.3, 0), (20, -1.1, 2.4)),
              Box((3.0, 0.6, 0), (3.4, 1.1, 0.9)), person(4.0 - 0.1 * k, -0.4),
              Post(-2.5, 0.7, 0.03, (0, 0.8)), Box((6, -1.1, 2.0), (6.2, 1.1, 2.4))]
    return things, (0.15 * k, 0.0)


def street(k):
    posts = [Post(x, 3.2, 0.06, (0, 3)) for x in range(-6, 12, 3)]
    cars = [Box((x, -4.4, 0.2), (x + 4, -2.8, 1.4)) for x in (-6, 0, 6)]
    return [*posts, *cars, Box((-30, 6, 0), (30, 8, 9)), person(2.0, 1.0 + 0.1 * k),
            person(-1.5, -1.6), Box((4, 1, 0), (4.4, 1.4, 0.5))], (0.2 * k, 0.0)


def stairs(k):
    up = [Box((2.5 + 0.28 * n, -1, 0), (2.78 + 0.28 * n, 1, 0.17 * (n + 1))) for n in range(8)]
    return [*up, Box((-4, -2.6, 0), (5, -2.4, 2.5)), Post(-1.0, 2.0, 0.04, (0, 1.0)),
            Post(-2.0, 2.0, 0.04, (0, 1.0)), person(-3.0, 0.3)], (0.1 * k, 0.0)


def warehouse(k):
    racks = [Box((x, y, z), (x + 2.6, y + 0.9, z + 0.12)) for x in (-6, -3, 0, 3) for y in (2, -3)
             for z in (0.15, 1.2)]
    legs = [Post(x, y, 0.04, (0, 2.4)) for x in (-6, -3.2, -3, 0, 2.8, 3) for y in (2, 2.9, -2.1)]
    pallet = Box((2.0, -0.6, 0), (3.2, 0.4, 0.18))
    return [*racks, *legs, pallet, person(-2.0, 1.0 - 0.1 * k), Box((-9, 7, 0), (9, 7.3, 6))], (
        -0.15 * k, 0.0)


@pytest.mark.parametrize('world', [corridor, street, stairs, warehouse])
def test_true_ranges_lose_no_obstacle_within_5_m_and_make_none(world):
    config, sources = nav2_files(ROOT / 'config/nav2_pano.yaml')
    robot, totals = Robot(config, sources), np.zeros(4)
    for k in range(FRAMES):
        things, xy = world(k)
        range_map = seen(things, (*xy, CAMERA_M), limit_m=10.0)
        robot.look(range_map, (*xy, CAMERA_M))
        totals += robot.score(*true_points(range_map, config, sources), xy)
    obstacles, hits, alarms, sectors = totals
    assert obstacles > 10 * FRAMES
    assert hits / obstacles >= 0.99, (hits, obstacles)
    assert alarms / sectors <= 0.01, (alarms, sectors)
