# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the launch files pass on, wherever launch is installed."""

from pathlib import Path
import runpy
import tempfile

import pytest

pytest.importorskip('launch_ros', reason='launch_ros is not installed')

from installed_share import share_of_da_ros
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_context import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions

FOLDER = tempfile.TemporaryDirectory(prefix='da_ros_replay_launch_')
LAUNCH = share_of_da_ros(Path(FOLDER.name)) / 'launch'


def context_of(file: str, given: dict) -> tuple:
    """Return a launch file's description and a context with its arguments, as given or not."""
    description = get_launch_description_from_python_launch_file(str(LAUNCH / file))
    context = LaunchContext()
    context.launch_configurations.update(given)
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
    return description, context


def node_parameters(given: dict) -> dict:
    """Return what pano_depth.launch.py gives the node besides the parameter file, by name."""
    _, context = context_of('pano_depth.launch.py', given)
    listed = runpy.run_path(str(LAUNCH / 'pano_depth.launch.py'))['_parameters'](context)
    return {name: value if isinstance(value, str) else value.evaluate(context)
            for group in listed if isinstance(group, dict) for name, value in group.items()}


def replayed(given: dict) -> dict:
    """Return what replay.launch.py makes pano_depth.launch.py give the node."""
    description, context = context_of('replay.launch.py', given)
    include = next(e for e in description.entities if isinstance(e, IncludeLaunchDescription))
    passed = {perform_substitutions(context, [name]) if not isinstance(name, str) else name:
              value if isinstance(value, str) else value.perform(context)
              for name, value in include.launch_arguments}
    return node_parameters({**given, **passed})


@pytest.mark.parametrize('given', [
    {}, {'camera_height_m': '1.2'}, {'camera_height_m': '15'},
    {'backend': 'openvino', 'range_mask_m': '20', 'stamp_offset_s': '-1'}])
def test_only_what_the_user_gave_is_passed_on(given):
    wanted = {name: float(value) if name != 'backend' else value for name, value in given.items()}
    assert node_parameters(given) == wanted
    assert replayed(given) == wanted | {'use_sim_time': True, 'image_topic': '/camera/image'}


def test_the_mounting_decides_the_frames_of_the_messages():
    mounting = {'base_from_camera': '0 0 1 0 0 0'}
    assert node_parameters(mounting) == mounting | {
        'frames.body': 'camera_link', 'frames.camera': 'camera_frame'}
    assert node_parameters(mounting | {'camera_frame': '/lens', 'body_frame': '/mast'}) == (
        mounting | {'frames.body': 'mast', 'frames.camera': 'lens'})


def test_the_player_gets_the_profile_unless_the_user_has_chosen(monkeypatch):
    environment = runpy.run_path(str(LAUNCH / 'replay.launch.py'))['_environment']
    names = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
    for name in (*names, 'FASTDDS_BUILTIN_TRANSPORTS'):
        monkeypatch.delenv(name, raising=False)
    assert set(environment()) == set(names)
    assert all(Path(value).is_file() for value in environment().values())
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4')
    assert environment() == {}


@pytest.mark.parametrize('given, wanted', [
    ('true', {}), ('false', {'FASTDDS_BUILTIN_TRANSPORTS': 'DEFAULT'})])
def test_the_node_alone_is_kept_from_its_profile(monkeypatch, given, wanted):
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS', raising=False)
    _, context = context_of('pano_depth.launch.py', {'fast_transport': given})
    environment = runpy.run_path(str(LAUNCH / 'pano_depth.launch.py'))['_environment']
    assert environment(context) == wanted


def test_missing_bag_is_named_and_every_argument_has_a_description():
    description, context = context_of('replay.launch.py', {'bag': '/nowhere/bag'})
    declared = {e.name: e for e in description.entities if isinstance(e, DeclareLaunchArgument)}
    assert {'bag', 'player', 'rate', 'loop', 'record', 'image', 'rviz', 'model'} <= set(declared)
    assert all(argument.description for argument in declared.values())
    player = next(e for e in description.entities if isinstance(e, OpaqueFunction))
    with pytest.raises(RuntimeError, match="bag '/nowhere/bag' does not exist"):
        player.execute(context)
