# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Nav2's own unit cases as laws of the costmap model, and our scans and clouds through it."""

from dataclasses import replace

from conftest import ROOT
from costmap_model import Costmap, LETHAL, Pose, project_laser, Source
import numpy as np
import pytest
from recall import nav2_files
from scenes import Box, person, Post, seen

from da_ros.derived.frame import Derivation
from da_ros.points import ClearingProjector, PointProjector
from da_ros.scan import Scan, ScanProjector
from da_ros.sphere import rotation_from_rpy

SIZE = (256, 512)
CAMERA_M = 1.0
BAND = (0.15 - CAMERA_M, 1.5 - CAMERA_M)
# What config/nav2_pano.yaml ships (test_nav2_files.py compares).
SCAN = Source(marking=True, clearing=True, inf_is_valid=True, min_obstacle_height=-10.0,
              max_obstacle_height=10.0, obstacle_max_range=6.0, raytrace_max_range=7.0)
POINTS = Source(marking=True, clearing=False, min_obstacle_height=0.1, max_obstacle_height=1.8,
                obstacle_max_range=4.0)
OPEN = Source(marking=True, clearing=True, min_obstacle_height=-1.0, max_obstacle_height=3.0,
              obstacle_max_range=100.0, raytrace_max_range=100.0)
AROUND = np.deg2rad([0, 45, 90, 135, 180, -135, -90, -45])


def points(*xyz):
    return np.array(xyz, float).reshape(-1, 3)


CONFIG, _ = nav2_files(ROOT / 'config/nav2_pano.yaml')


def scan_of(range_map, limit_m=20.0, **options):
    return ScanProjector(SIZE, 720, BAND, range_map.min_range_m, limit_m, **options
                         ).project(range_map)


def outputs(range_map, derivation=None):
    """Return scan and cloud as the node makes them with the shipped Nav2 parameters."""
    derived = (derivation or Derivation()).of(range_map, CONFIG)
    return derived.scan(), derived.points().copy()


# ---- laws of the model, from Nav2's unit cases ----

@pytest.mark.parametrize('x, y', [(2.0, 0.0), (0.0, -2.0), (2.0, 2.0), (-1.5, 2.0)])
def test_a_ray_clears_its_path_and_marks_its_end_diagonal_or_not(x, y):
    grid = Costmap()
    grid.cells[:] = LETHAL
    grid.update([(OPEN, points((x, y, 0.0)))])
    assert grid.at(x, y) == LETHAL
    for share in np.linspace(0, 0.95, 60):                 # a line of cells, within one
        assert min(grid.at(share * x + dx, share * y + dy)
                   for dx in (-0.05, 0, 0.05) for dy in (-0.05, 0, 0.05)) == 0
    assert (grid.cells == 0).sum() <= 2.1 * max(abs(x), abs(y)) / 0.05


def test_a_point_beyond_the_marking_range_is_not_marked_even_in_a_cell_within():
    grid = Costmap(resolution=0.5)
    near = replace(OPEN, obstacle_max_range=2.3)
    grid.update([(near, points((2.05, 0.0, 1.0), (2.31, 0.0, 1.0)))])
    assert grid.cell(2.05, 0)[0] == grid.cell(2.31, 0)[0] and grid.at(2.05, 0) == LETHAL
    grid = Costmap(resolution=0.5)
    grid.update([(near, points((2.31, 0.0, 1.0)))])
    assert grid.at(2.31, 0) != LETHAL


def test_what_moves_leaves_no_trail():
    grid = Costmap()
    for x in np.arange(3.0, 1.0, -0.1):
        grid.update([(OPEN, points((x, 0.02, 0.5), (6.5, 0.02, 0.5)))])
    assert (grid.cells == LETHAL).sum() <= 2 and grid.at(1.1, 0.02) == LETHAL


def test_the_height_threshold_and_its_default_that_drops_everything():
    for z, marked in ((0.5, True), (2.5, False), (-0.5, False)):
        grid = Costmap()
        grid.update([(OPEN, points((1.0, 0.0, z - 1.0)))])
        assert (grid.at(1.0, 0.0) == LETHAL) == marked
    grid = Costmap()
    grid.update([(Source(clearing=True), points((1.0, 0.0, -0.5)))])       # 0.5 m above the floor
    assert not (grid.cells == LETHAL).any()


def test_laser_geometry_drops_what_is_not_within_the_limits():
    ranges = np.float32([-np.inf, np.nan, np.inf, 0.29, 0.3, 5.0, 20.0])
    scan = Scan(ranges, 0.0, 0.1, 0.3, 20.0)
    assert np.allclose(np.linalg.norm(project_laser(scan), axis=1), [0.3, 5.0])
    assert np.allclose(np.linalg.norm(project_laser(scan, True), axis=1), [20.0, 0.3, 5.0],
                       atol=2e-4)


def test_an_empty_beam_is_a_wall_where_marking_reaches_the_scans_range_max():
    open_field = seen([], limit_m=5.0)
    for marking_m, wall in ((6.0, True), (4.9, False)):
        grid = Costmap()
        grid.update([(replace(SCAN, obstacle_max_range=marking_m), scan_of(open_field, 5.0))])
        assert (grid.cells == LETHAL).any() == wall


def test_a_sensor_outside_the_map_clears_nothing():
    grid = Costmap(size_m=4.0)
    grid.cells[:] = LETHAL
    grid.update([(OPEN, points((-2.0, 0.0, 0.0)))], Pose(np.array([3.0, 0.0, 1.0])))
    assert (grid.cells == LETHAL).all()


# ---- our outputs ----

@pytest.mark.parametrize('azimuth', AROUND)
def test_a_person_is_marked_and_cleared_once_gone_in_every_direction(azimuth):
    grid, derivation = Costmap(), Derivation()
    x, y = 2.5 * np.cos(azimuth), 2.5 * np.sin(azimuth)
    for things in ([person(x, y)], []):
        scan, cloud = outputs(seen(things), derivation)
        grid.update([(SCAN, scan), (POINTS, cloud)])
        marked = grid.lethal_points()
        if things:
            assert len(marked) > 3
            assert (np.abs(np.hypot(*(marked - [x, y]).T) - 0.2) < 0.12).all()
        else:
            assert not len(marked)


@pytest.mark.parametrize('too_near, seen_at_all', [('range_min', True), ('minus_inf', False)])
@pytest.mark.parametrize('azimuth', [0.0, np.pi, 2.0])
def test_somebody_at_half_the_minimum_range_stays_marked(azimuth, too_near, seen_at_all):
    """And is lost where -inf is published, which is why that is not the default."""
    close = Post(0.35 * np.cos(azimuth), 0.35 * np.sin(azimuth), 0.2)      # its skin at 0.15 m
    range_map = seen([close])
    grid = Costmap()
    grid.update([(SCAN, scan_of(range_map, too_near=too_near))])
    at = 0.3 * np.cos(azimuth), 0.3 * np.sin(azimuth)
    assert grid.marked(*at, 0.06) == seen_at_all
    cloud = PointProjector(SIZE, 30000, too_near=too_near).project(range_map)
    grid = Costmap()
    grid.update([(POINTS, cloud)])
    assert grid.marked(*at, 0.06) == seen_at_all


def test_a_leg_at_three_metres_is_marked_by_the_cloud():
    grid = Costmap()
    scan, cloud = outputs(seen([Post(2.9, 0.4, 0.025, (0, 0.45)), Box((5, -5, 0), (6, 5, 2))]))
    grid.update([(SCAN, scan), (POINTS, cloud)])
    assert grid.marked(2.9, 0.4, 0.1)


@pytest.mark.parametrize('tilt_deg', [(3, 0), (-2, 2.2), (0, -3)])
def test_three_degrees_of_residual_tilt_lose_no_beam_and_mark_no_floor(tilt_deg):
    tilt = rotation_from_rpy(*np.deg2rad(tilt_deg), 0.0)
    grid, derivation = Costmap(), Derivation()
    for things in ([person(2.0, 1.0), person(-2.0, -0.5)], []):
        range_map = seen(things, world_from_camera=tilt)
        scan, cloud = outputs(range_map, derivation)
        # TF has the truth; the node was not told of the tilt.
        grid.update([(SCAN, scan), (POINTS, cloud)], Pose(rotation=tilt))
        if things:
            assert grid.marked(1.8, 0.9, 0.15) and grid.marked(-1.8, -0.45, 0.15)
            assert len(project_laser(scan, True)) == 720     # all within the shipped heights ...
            assert np.abs(project_laser(scan, True) @ tilt.T[:, 2]).max() < 10 - CAMERA_M
            off = np.minimum(*(np.hypot(*(grid.lethal_points() - [x, y]).T)
                               for x, y in ((2.0, 1.0), (-2.0, -0.5))))
            assert (off < 0.35).all()                        # ... and no cell of floor is marked
        else:
            assert not len(grid.lethal_points())


def test_floor_that_is_kept_would_be_marked_at_that_tilt():
    tilt = rotation_from_rpy(0, np.deg2rad(-3), 0.0)
    range_map = seen([], world_from_camera=tilt)
    cloud = PointProjector(SIZE, 30000).project(range_map).copy()
    scan, dropped = outputs(range_map)
    for source, kept, freed in ((POINTS, cloud, dropped), (SCAN, scan_of(range_map), scan)):
        grid = Costmap()
        grid.update([(source, kept)])      # TF does not know the tilt: 4 m x sin 3 deg = 0.21 m
        assert len(grid.lethal_points())
        grid = Costmap()
        grid.update([(source, freed)])
        assert not len(grid.lethal_points())


def test_a_cloud_alone_clears_by_its_clearing_points():
    clearing = Source(marking=False, clearing=True, min_obstacle_height=-100.0,
                      max_obstacle_height=100.0, raytrace_max_range=7.0)
    projector = ClearingProjector(SIZE, 30000, 0.0)
    grid, derivation = Costmap(), Derivation()
    for things in ([person(-2.0, 0.0)], []):
        range_map = seen(things)
        _, cloud = outputs(range_map, derivation)
        grid.update([(POINTS, cloud), (clearing, projector.project(range_map))])
        assert grid.marked(-1.8, 0.0, 0.1) == bool(things)
