# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Start pano_depth for Nav2: parameters of config/nav2_pano.yaml, brought up by a lifecycle manager.

    ros2 launch da_ros nav2_pano.launch.py image:=/equirectangular/image camera_height_m:=1.0

Nav2 itself is started as ever, with the costmap and collision monitor sections of the same file
merged into its parameters (docs/nav2.md).
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

ARGUMENTS = {
    'params_file': ('', 'parameter file of pano_depth and Nav2; empty = config/nav2_pano.yaml'),
    'manager': ('true', 'start a lifecycle manager that configures and activates pano_depth'),
    'collision_monitor': ('false', "start Nav2's collision monitor on the file's section"),
    'namespace': ('', 'namespace of nodes and topics'),
    'use_sim_time': ('false', 'take the time from /clock'),
}
# No bond: pano_depth has none, and the manager would take the node for dead.
MANAGER = {'autostart': True, 'bond_timeout': 0.0}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start everything that they ask for."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text)
                 for name, (value, text) in ARGUMENTS.items()]
    return LaunchDescription([*arguments, OpaqueFunction(function=_everything)])


def _text(context, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _everything(context) -> list:
    share = Path(get_package_share_directory('da_ros'))
    file = _text(context, 'params_file') or str(share / 'config' / 'nav2_pano.yaml')
    if not Path(file).is_file():
        raise RuntimeError(f'params_file {file!r} does not exist; copy config/nav2_pano.yaml')
    namespace, sim_time = _text(context, 'namespace'), _text(context, 'use_sim_time')
    # autostart false, because the manager sends CONFIGURE without looking at the state.
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / 'launch' / 'pano_depth.launch.py')),
        launch_arguments={'params_file': file, 'autostart': 'false', 'namespace': namespace,
                          'use_sim_time': sim_time}.items())
    return [node, *_nav2(context, file, namespace, sim_time.lower() == 'true')]


def _nav2(context, file: str, namespace: str, sim_time: bool) -> list:
    managed, nodes = ['pano_depth'], []
    if _text(context, 'collision_monitor').lower() == 'true':
        managed.append('collision_monitor')            # after its sources
        nodes.append(Node(package='nav2_collision_monitor', executable='collision_monitor',
                          name='collision_monitor', namespace=namespace, output='screen',
                          parameters=[file, {'use_sim_time': sim_time}]))
    if _text(context, 'manager').lower() == 'true':
        nodes.append(Node(package='nav2_lifecycle_manager', executable='lifecycle_manager',
                          name='lifecycle_manager_pano', namespace=namespace, output='screen',
                          parameters=[{**MANAGER, 'node_names': managed,
                                       'use_sim_time': sim_time}]))
    return nodes
