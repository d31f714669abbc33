# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The shipped Nav2 parameters against the node's own, and against what Nav2 does with them."""

import ast
from dataclasses import fields
from pathlib import Path
import tempfile

from conftest import ROOT
import numpy as np
from parameter_files import node_config
import pytest
from test_costmap import POINTS, SCAN
import yaml

from da_ros.bundle import load_bundle
from da_ros.config import height_band
from da_ros.estimator import RangeEstimator

FILE = yaml.safe_load((ROOT / 'config/nav2_pano.yaml').read_text())
NODE = FILE['/**/pano_depth']['ros__parameters']
LAYER = FILE['local_costmap']['local_costmap']['ros__parameters']
SOURCES = LAYER['pano']
MONITOR = FILE['collision_monitor']['ros__parameters']


def limit_m() -> float:
    estimator = RangeEstimator('pano_tiny', 'onnxruntime', rule=node_config(FILE).rule)
    try:
        return estimator.limit_m
    finally:
        estimator.close()


def test_the_node_takes_every_parameter_of_the_file():
    config = node_config(FILE)
    assert not config.input.autostart
    low, high = height_band(config.rule.camera_height_m)
    assert (config.scan.min_height_m, config.scan.max_height_m) == (low, high)


def test_every_shipped_bundle_has_the_range_mask():
    for name in ('pano_base', 'pano_tiny'):
        assert NODE['range_mask_m'] in load_bundle(name).range_masks_m


def test_marking_ends_before_the_scans_range_max_and_clearing_after_marking():
    for name in ('scan', 'points'):
        assert SOURCES[name]['obstacle_max_range'] < limit_m() - 0.01
    assert SOURCES['scan']['inf_is_valid'] and SOURCES['scan']['clearing']
    assert SOURCES['scan']['raytrace_max_range'] > SOURCES['scan']['obstacle_max_range']
    assert SOURCES['scan']['raytrace_max_range'] < limit_m() - 0.01


def test_the_map_holds_the_marking_range_around_the_robot():
    assert LAYER['rolling_window']
    for side in ('width', 'height'):
        assert LAYER[side] / 2 >= max(SOURCES[n]['obstacle_max_range'] for n in ('scan', 'points'))


def test_no_height_limit_is_left_at_the_default_that_drops_everything():
    for name in ('scan', 'points'):
        assert SOURCES[name]['max_obstacle_height'] > 1
    tilted_m = SOURCES['scan']['raytrace_max_range'] * np.sin(np.deg2rad(10))
    assert SOURCES['scan']['max_obstacle_height'] > NODE['camera_height_m'] + tilted_m
    assert SOURCES['scan']['min_obstacle_height'] < -tilted_m


def test_floor_is_dropped_below_where_marking_and_the_monitor_begin():
    assert NODE['points']['floor'] == NODE['scan']['floor'] == 'drop'
    for begins_m in (SOURCES['points']['min_obstacle_height'], MONITOR['points']['min_height']):
        assert begins_m <= NODE['floor']['up_to_m']


def test_the_monitor_asks_for_a_height_only_where_it_is_published():
    assert MONITOR['points']['use_global_height'] <= NODE['points']['height']
    assert set(MONITOR['observation_sources']) <= {'scan', 'points'}
    assert MONITOR['stop']['min_points'] <= 4
    corners = np.array(ast.literal_eval(MONITOR['stop']['points']))
    assert np.abs(corners).min() > NODE['min_range_m']    # what is too near lies in the zone


def test_the_costmap_model_is_tested_with_these_numbers():
    for source, name in ((SCAN, 'scan'), (POINTS, 'points')):
        for item in fields(source):
            if item.name in SOURCES[name]:
                assert getattr(source, item.name) == SOURCES[name][item.name], (name, item.name)


def test_the_launch_file_switches_autostart_and_bonds_off():
    tree = ast.parse((ROOT / 'launch/nav2_pano.launch.py').read_text())
    manager = next(ast.literal_eval(node.value) for node in tree.body
                   if isinstance(node, ast.Assign) and node.targets[0].id == 'MANAGER')
    assert manager['bond_timeout'] == 0.0 and manager['autostart']


def test_the_launch_file_starts_the_node_and_its_manager():
    pytest.importorskip('launch_ros', reason='launch_ros is not installed')
    from installed_share import share_of_da_ros
    from launch.launch_context import LaunchContext
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    with tempfile.TemporaryDirectory() as folder:
        file = share_of_da_ros(Path(folder)) / 'launch/nav2_pano.launch.py'
        description = get_launch_description_from_python_launch_file(str(file))
        context = LaunchContext()
        context.launch_configurations.update({'collision_monitor': 'true'})
        started = [action for entity in description.entities
                   for action in entity.visit(context) or []]
        names = [type(action).__name__ for action in started]
        assert names == ['IncludeLaunchDescription', 'Node', 'Node']
        context.launch_configurations['params_file'] = '/nonexistent.yaml'
        with pytest.raises(RuntimeError, match='params_file .* does not exist'):
            description.entities[-1].visit(context)
