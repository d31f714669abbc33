# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Start the panoramic range sensor: node, mounting transforms, RViz.

    ros2 launch da_ros pano_depth.launch.py image:=/equirectangular/image range_mask_m:=20
"""

import os
from pathlib import Path
from typing import List  # noqa: UP035  launch knows no other list

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

ARGUMENTS = {
    'model': ('', 'bundle folder or name (pano_base, pano_tiny); empty = pano_base where it '
              'sustains 8 Hz on this machine, else pano_tiny'),
    'backend': ('', 'auto, tensorrt, tensorrt_rtx, onnxruntime_cuda, openvino or onnxruntime'),
    'range_mask_m': ('', 'range mask [m]; -1 = the largest of the bundle, 0 = off'),
    'camera_height_m': ('', 'camera height above the floor [m]; 0 = unknown'),
    'camera': ('', 'camera profile: insta360_ros, insta360_fisheye, theta, gazebo, generic, or a '
               'file; what is given here or in params_file comes first'),
    'cameras': ('', 'names of several cameras, as "[front, rear]": a namespace each; what differs '
                'between them stands in params_file as front.PARAMETER'),
    'image': ('', 'raw image topic; its compressed twin is <topic>/compressed; empty = that of '
              'the camera profile, else image'),
    'image_transport': ('', 'raw, compressed or h264'),
    'fisheye_calibration': ('', 'file of da_ros_fisheye; empty = images are panoramas'),
    'levelling': ('', 'fixed, imu, imu_acceleration, odometry or tf'),
    'params_file': ('', 'parameter file, such as config/pano_depth.yaml'),
    'namespace': ('', 'namespace of node and topics'),
    'camera_frame': ('camera_frame', 'frame_id of the camera images'),
    'body_frame': ('', 'frame of the clouds; empty = derived from the camera frame'),
    'scan_frame': ('', 'gravity-aligned frame of the scan; empty = the body frame'),
    'base_frame': ('base_link', 'parent of the mounting transform'),
    'base_from_camera': ('', 'mounting: "x y z roll pitch yaw" [m, rad] of the camera body in '
                         'base_frame; empty = no transform is published; it decides frames.body; '
                         'erp.roll/pitch/yaw_deg are not part of it'),
    'stamp_offset_s': ('', 'added to image stamps [s]; negative for cameras that stamp late'),
    'autostart': ('', 'configure and activate at once'),
    'use_sim_time': ('', 'take the time from /clock'),
    'log_level': ('', 'debug, info, warn, error'),
    'rviz': ('false', 'start RViz with config/pano_depth.rviz'),
    'fast_transport': ('true', 'let the node use its FastDDS shared-memory profile'),
}
# Says that FastDDS shall choose its transports itself; the node then leaves them alone.
PLAIN = 'FASTDDS_BUILTIN_TRANSPORTS'
# Arguments that are parameters of the node: name of the parameter, type. Empty = not given: the
# parameter file decides, or the node's own default.
PARAMETERS = {
    'model': ('model', str), 'backend': ('backend', str), 'range_mask_m': ('range_mask_m', float),
    'camera_height_m': ('camera_height_m', float), 'stamp_offset_s': ('stamp_offset_s', float),
    'image_transport': ('image_transport', str), 'camera': ('camera', str),
    'cameras': ('cameras', List[str]),      # noqa: UP006
    'image': ('image_topic', str),
    'fisheye_calibration': ('fisheye.calibration', str),
    'levelling': ('levelling.source', str), 'base_from_camera': ('base_from_camera', str),
    'autostart': ('autostart', bool),
    'use_sim_time': ('use_sim_time', bool), 'body_frame': ('frames.body', str),
    'scan_frame': ('frames.scan', str),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start everything that they ask for."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text)
                 for name, (value, text) in ARGUMENTS.items()]
    return LaunchDescription([*arguments, OpaqueFunction(function=_everything)])


def _everything(context) -> list:
    # In one go, because an error after a process has started would leave that process behind.
    return [action for part in (_mounting, _rviz, _node) for action in part(context)]


def _text(context, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _frame(context, name: str) -> str:
    return _text(context, name).lstrip('/')      # tf2 refuses names that begin with a slash


def _node(context):
    level = _text(context, 'log_level')
    return [Node(
        package='da_ros', executable='pano_depth', name='pano_depth', output='screen',
        namespace=_text(context, 'namespace'), parameters=_parameters(context),
        arguments=['--ros-args', '--log-level', level] if level else [],
        additional_env=_environment(context))]


def _environment(context) -> dict:
    """Return what the node's environment has more; the profile it sets for itself."""
    if IfCondition(LaunchConfiguration('fast_transport')).evaluate(context) or (
            PLAIN in os.environ):
        return {}
    return {PLAIN: 'DEFAULT'}


def _parameters(context) -> list:
    """Return the parameter file, if any, and over it what was given on the command line."""
    file = _text(context, 'params_file')
    if file and not Path(file).is_file():      # launch_ros itself would only warn
        raise RuntimeError(f'params_file {file!r} does not exist; copy config/pano_depth.yaml')
    # A number that is written without a point would otherwise become an integer parameter.
    given = {parameter: ParameterValue(LaunchConfiguration(name), value_type=kind)
             for name, (parameter, kind) in PARAMETERS.items()
             if _text(context, name)}
    if _text(context, 'base_from_camera'):
        # The clouds must be in the frame that the transform leads to, and the images in the one
        # that it is meant for: the node warns if they come from another.
        given |= {'frames.body': _body_frame(context),
                  'frames.camera': _frame(context, 'camera_frame')}
    return [*([file] if file else []), *([given] if given else [])]


def _body_frame(context) -> str:
    """Return the frame of the clouds, derived as the node derives it."""
    # Not imported from da_ros, which the Python of `ros2 launch` need not be able to import.
    camera = _frame(context, 'camera_frame')
    suffix = next((s for s in ('_optical_frame', '_frame') if camera.endswith(s)), '')
    return _frame(context, 'body_frame') or camera.removesuffix(suffix) + '_link'


def _mounting(context):
    """Publish base -> camera body -> camera optical frame, where tf2_ros is installed."""
    given = _text(context, 'base_from_camera')
    numbers = given.replace(',', ' ').split()
    if not numbers:
        return []
    if cameras := _text(context, 'cameras'):
        raise RuntimeError(f'base_from_camera {given!r} is that of one camera, and cameras is '
                           f'{cameras}; give front.base_from_camera and the like in params_file, '
                           "and publish the transforms by the robot's description")
    if len(numbers) != 6:
        raise RuntimeError(f'base_from_camera {given!r} has {len(numbers)} numbers; needs six: '
                           'x y z roll pitch yaw')
    try:
        get_package_share_directory('tf2_ros')
    except PackageNotFoundError:
        return [LogInfo(msg='tf2_ros is not installed, so no mounting transform is published; '
                            'install ros-$ROS_DISTRO-tf2-ros')]
    body, camera = _body_frame(context), _frame(context, 'camera_frame')
    mounting = _static_transform('mounting', _frame(context, 'base_frame'), body, *numbers)
    optical = _static_transform('optical', body, camera, '0', '0', '0',
                                '-1.5707963267948966', '0', '-1.5707963267948966')
    return [mounting] if body == camera else [mounting, optical]


def _static_transform(name, parent, child, x, y, z, roll, pitch, yaw):
    return Node(package='tf2_ros', executable='static_transform_publisher', name=f'{name}_tf',
                arguments=['--x', x, '--y', y, '--z', z, '--roll', roll, '--pitch', pitch,
                           '--yaw', yaw, '--frame-id', parent, '--child-frame-id', child])


def _rviz(context):
    """Start RViz around the body frame, with the topics of the (first) camera."""
    if not IfCondition(LaunchConfiguration('rviz')).evaluate(context):
        return []
    get_package_share_directory('rviz2')       # raises where RViz is not installed
    config = Path(get_package_share_directory('da_ros')) / 'config' / 'pano_depth.rviz'
    first = _text(context, 'cameras').strip('[] ').split(',')[0].strip('\'" ')
    prefix = os.path.join('/', _text(context, 'namespace').strip('/'), first)
    topics = {'/image': _text(context, 'image') or 'image'} | {
        f'/{name}': name for name in ('points', 'scan', 'depth/preview')}
    return [Node(
        package='rviz2', executable='rviz2', name='rviz2', output='screen',
        arguments=['-d', str(config), '-f', _body_frame(context)],
        remappings=[(old, os.path.join(prefix, new)) for old, new in topics.items()],
        parameters=[{'use_sim_time': _text(context, 'use_sim_time').lower() == 'true'}])]
