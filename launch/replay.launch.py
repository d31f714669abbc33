# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Play a bag into the node as a camera would, with RViz if asked.

    ros2 launch da_ros replay.launch.py bag:=demo_output/demo_bag \\
        image:=/camera/image image_transport:=compressed rviz:=true

Uses `ros2 bag play` where it is installed and reads the storage, else `da_ros_replay`, which also
reads ROS 1 bags and folders of panoramas. Time is simulated from the bag's stamps.
"""

import os
from pathlib import Path
import shutil

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from launch import LaunchDescription

# Empty = not given: the parameter file decides, or the node's own default.
PASSED_ON = {
    'model': '', 'backend': '', 'range_mask_m': '', 'camera_height_m': '',
    'image': '/camera/image', 'image_transport': '', 'params_file': '', 'namespace': '',
    'stamp_offset_s': '', 'rviz': 'false'}
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
ARGUMENTS = {
    'bag': ('', 'bag (or, with player:=da_ros, a folder of panoramas); required'),
    'player': ('auto', 'auto, ros2 (ros2 bag play) or da_ros (da_ros_replay)'),
    'rate': ('1.0', '2 = twice as fast'),
    'loop': ('false', 'start again at the end'),
    'record': ('', 'folder of a new bag for the outputs (player da_ros only)')}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, start the node, then the player."""
    declared = [DeclareLaunchArgument(name, default_value=value,
                                      description='as in pano_depth.launch.py')
                for name, value in PASSED_ON.items()]
    declared += [DeclareLaunchArgument(name, default_value=value, description=text)
                 for name, (value, text) in ARGUMENTS.items()]
    return LaunchDescription([*declared, _node(), OpaqueFunction(function=_player)])


def _node():
    path = Path(get_package_share_directory('da_ros')) / 'launch' / 'pano_depth.launch.py'
    arguments = {name: LaunchConfiguration(name) for name in PASSED_ON}
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(path)),
        launch_arguments=[*arguments.items(), ('use_sim_time', 'true')])


def _player(context):
    def text(name):
        return LaunchConfiguration(name).perform(context)

    bag = text('bag')
    if not bag or not Path(bag).exists():
        raise RuntimeError(f'bag {bag!r} does not exist; give bag:=FOLDER_OR_FILE')
    loop = text('loop').lower() == 'true'
    chosen = text('player')
    if chosen == 'ros2' or (chosen == 'auto' and not text('record') and _ros2_plays(bag)):
        command = ['ros2', 'bag', 'play', bag, '--clock', '--rate', text('rate')]
        command += ['--loop'] if loop else []
    else:
        command = ['da_ros_replay', bag, '--to', text('image'), '--all', '--sim-time',
                   '--rate', text('rate')]
        command += ['--loop'] if loop else []
        command += ['--record', text('record'), '--prefix', text('namespace'), '--wait-answers'] \
            if text('record') else []
    player = ExecuteProcess(cmd=command, output='screen', additional_env=_environment())
    ended = RegisterEventHandler(OnProcessExit(
        target_action=player, on_exit=[EmitEvent(event=Shutdown(reason='the bag has ended'))]))
    return [ended, TimerAction(period=2.0, actions=[player])]


def _environment() -> dict:
    """Return the FastDDS profile for the player, unless the user has chosen the transports."""
    if any(name in os.environ for name in (*PROFILES, 'FASTDDS_BUILTIN_TRANSPORTS')):
        return {}
    profile = Path(get_package_share_directory('da_ros')) / 'config' / 'fastdds.xml'
    return dict.fromkeys(PROFILES, str(profile))


def _ros2_plays(bag: str) -> bool:
    """Return whether `ros2 bag play` is here and the source is a ROS 2 bag."""
    if shutil.which('ros2') is None or not (
            (Path(bag) / 'metadata.yaml').is_file() or bag.endswith(('.mcap', '.db3'))):
        return False
    try:
        get_package_share_directory('ros2bag')
    except PackageNotFoundError:
        return False
    return True
