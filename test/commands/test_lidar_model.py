# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The organised cloud as the image of a LiDAR: what nvblox's conversion makes of it."""

import numpy as np
import pytest
import yaml

from da_ros.commands.lidar_model import main
from da_ros.points import PointProjector
from da_ros.range_map import RangeMap
from da_ros.sphere import erp_rays, rotation_from_rpy


def cells(points: np.ndarray, width: int, height: int, fov: float) -> np.ndarray:
    """
    Return the row and column of points in float32, by nvblox's documented LiDAR model.

    Beams go through both ends of the vertical field of view; in azimuth they lie at whole
    multiples of the step from -pi, each in the middle of its pixel.
    """
    x, y, z = (points[:, k].astype(np.float32) for k in range(3))
    f = np.float32
    row_step, col_step = f(fov) / f(height - 1), f(2 * np.pi) / f(width)
    polar = np.arccos(z / np.sqrt(x * x + y * y + z * z))
    row = (polar - (f(np.pi / 2) - (f(fov / 2) + row_step / f(2)))) * (f(1) / row_step)
    col = (np.arctan2(y, x) - (f(-np.pi) - col_step / f(2))) * (f(1) / col_step)
    col = np.where(col >= width, col - f(width), col)
    return np.stack([np.floor(row), np.floor(col)], 1).astype(int)


@pytest.fixture
def printed(capsys):
    assert main(['--model', 'pano_tiny', '--range-mask', '20']) == 0
    return yaml.safe_load(capsys.readouterr().out)['nvblox_node']['ros__parameters']


def test_every_point_has_a_cell_of_its_own_and_none_lies_outside(printed):
    """Without the hundredth of a column 7 % of the cells stay empty: see BREAK_TIES."""
    from da_ros.derived.frame import BREAK_TIES
    height, width = printed['lidar_height'], printed['lidar_width']
    fov = printed['lidar_vertical_fov_rad']
    range_m = np.random.default_rng(0).uniform(0.4, 19, (height, width)).astype(np.float32)
    range_map = RangeMap(range_m, 20.0, 0.3, np.zeros((height, width, 3), np.uint8))

    def filled(turn: float) -> tuple[float, bool]:
        projector = PointProjector((height, width), 0, False, True,
                                   rotation_from_rpy(0, 0, turn * 2 * np.pi / width))
        found = cells(projector.project(range_map).copy(), width, height, fov)
        inside = (found >= 0).all() and (found < [height, width]).all()
        # Rows at the poles are so small that rounding moves points along the row.
        rows = (found[:, 0] > 2) & (found[:, 0] < height - 3)
        return len(np.unique(found[rows], axis=0)) / rows.sum(), bool(inside)
    assert filled(BREAK_TIES) == (1.0, True)
    assert filled(0.0)[0] < 0.95


def test_the_field_of_view_is_that_between_the_outer_rows(printed):
    rays = erp_rays(printed['lidar_height'], printed['lidar_width'])
    between = np.arcsin(rays[0, 0, 2]) - np.arcsin(rays[-1, 0, 2])
    assert printed['lidar_vertical_fov_rad'] == pytest.approx(between, abs=1e-6)
    assert printed['lidar_max_valid_range_m'] == 20


def test_an_unknown_bundle_is_one_line(capsys):
    assert main(['--model', 'nowhere']) == 1
    assert capsys.readouterr().err.startswith('da_ros_lidar_model: ')
