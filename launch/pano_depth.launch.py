"""
Start the panoramic range sensor: node, transport settings, mounting transforms, RViz.

    ros2 launch da_ros pano_depth.launch.py image:=/equirectangular/image range_mask_m:=20
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

# Deserialising an image is dominated by page faults unless malloc keeps its memory.
MALLOC = {'MALLOC_MMAP_THRESHOLD_': '33554432', 'MALLOC_TRIM_THRESHOLD_': '268435456',
          'MALLOC_TOP_PAD_': '33554432'}
ARGUMENTS = {
    'model': ('', 'bundle folder or name (pano_tiny, pano_small); empty = pano_tiny'),
    'backend': ('', 'auto, tensorrt, tensorrt_rtx, onnxruntime_cuda, openvino or onnxruntime'),
    'range_mask_m': ('', 'range mask [m]; -1 = the largest of the bundle, 0 = off'),
    'camera_height_m': ('', 'camera height above the floor [m]; 0 = unknown'),
    'image': ('image', 'raw image topic; its compressed twin is <topic>/compressed'),
    'image_transport': ('', 'raw or compressed'),
    'params_file': ('', 'parameter file, such as config/pano_depth.yaml'),
    'namespace': ('', 'namespace of node and topics'),
    'camera_frame': ('camera_frame', 'frame_id of the camera images'),
    'body_frame': ('', 'frame of the clouds; empty = derived from the camera frame'),
    'scan_frame': ('', 'gravity-aligned frame of the scan; empty = the body frame'),
    'base_frame': ('base_link', 'parent of the mounting transform'),
    'base_from_camera': ('', 'mounting: "x y z roll pitch yaw" [m, rad] of the camera body in '
                         'base_frame; empty = no transform is published; erp.roll/pitch/yaw_deg '
                         'are not part of it'),
    'stamp_offset_s': ('', 'added to image stamps [s]; negative for cameras that stamp late'),
    'autostart': ('', 'configure and activate at once'),
    'use_sim_time': ('', 'take the time from /clock'),
    'log_level': ('info', 'debug, info, warn, error'),
    'rviz': ('false', 'start RViz with config/pano_depth.rviz'),
    'fast_transport': ('true', 'set the FastDDS shared-memory profile and malloc settings'),
}


# Arguments that are parameters of the node: name of the parameter, type. Empty = not given: the
# parameter file decides, or the node's own default.
PARAMETERS = {
    'model': ('model', str), 'backend': ('backend', str), 'range_mask_m': ('range_mask_m', float),
    'camera_height_m': ('camera_height_m', float), 'stamp_offset_s': ('stamp_offset_s', float),
    'image_transport': ('image_transport', str), 'autostart': ('autostart', bool),
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
    return [action for part in (_transport, _mounting, _rviz, _node) for action in part(context)]


def _text(context, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _transport(context):
    """Set the environment of every process started here, unless the user has set it already."""
    if not IfCondition(LaunchConfiguration('fast_transport')).evaluate(context):
        return []
    profile = Path(get_package_share_directory('da_ros')) / 'config' / 'fastdds.xml'
    if not profile.is_file():      # FastDDS itself would only log a wrong path
        raise RuntimeError(f'FastDDS profile {profile} is missing; install da_ros again, or give '
                           'fast_transport:=false')
    # The first name is that of Jazzy and older, the second that of Kilted and newer.
    names = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
    settings = MALLOC if any(name in os.environ for name in names) else \
        dict.fromkeys(names, str(profile)) | MALLOC
    return [SetEnvironmentVariable(name, value) for name, value in settings.items()
            if name not in os.environ]


def _node(context):
    image = _text(context, 'image')
    return [Node(
        package='da_ros', executable='pano_depth', name='pano_depth', output='screen',
        namespace=_text(context, 'namespace'), parameters=_parameters(context),
        remappings=[('image', image), ('image/compressed', f'{image}/compressed')],
        arguments=['--ros-args', '--log-level', _text(context, 'log_level')])]


def _parameters(context) -> list:
    """Return the parameter file, if any, and over it what was given on the command line."""
    file = _text(context, 'params_file')
    if file and not Path(file).is_file():      # launch_ros itself would only warn
        raise RuntimeError(f'params_file {file!r} does not exist; copy config/pano_depth.yaml')
    # A number that is written without a point would otherwise become an integer parameter.
    given = {parameter: ParameterValue(LaunchConfiguration(name), value_type=kind)
             for name, (parameter, kind) in PARAMETERS.items()
             if _text(context, name)}
    height_m = float(_text(context, 'camera_height_m') or 0)
    if height_m > 0 and not file:
        # Heights now count from the floor. The margin grows with the height, because a floor
        # predicted a tenth too near must not become an obstacle.
        given |= {'scan.min_height_m': round(0.05 + 0.1 * height_m, 3), 'scan.max_height_m': 1.5}
    return [*([file] if file else []), *([given] if given else [])]


def _body_frame(context) -> str:
    """Return the frame of the clouds, derived as the node derives it."""
    # Not imported from da_ros, which the Python of `ros2 launch` need not be able to import.
    camera = _text(context, 'camera_frame')
    suffix = next((s for s in ('_optical_frame', '_frame') if camera.endswith(s)), '')
    return _text(context, 'body_frame') or camera.removesuffix(suffix) + '_link'


def _mounting(context):
    """Publish base -> camera body -> camera optical frame, where tf2_ros is installed."""
    given = _text(context, 'base_from_camera')
    numbers = given.replace(',', ' ').split()
    if not numbers:
        return []
    if len(numbers) != 6:
        raise RuntimeError(f'base_from_camera {given!r} has {len(numbers)} numbers; needs six: '
                           'x y z roll pitch yaw')
    try:
        get_package_share_directory('tf2_ros')
    except PackageNotFoundError:
        return [LogInfo(msg='tf2_ros is not installed, so no mounting transform is published; '
                            'install ros-$ROS_DISTRO-tf2-ros')]
    body, camera = _body_frame(context), _text(context, 'camera_frame')
    mounting = _static_transform('mounting', _text(context, 'base_frame'), body, *numbers)
    optical = _static_transform('optical', body, camera, '0', '0', '0',
                                '-1.5707963267948966', '0', '-1.5707963267948966')
    return [mounting] if body == camera else [mounting, optical]


def _static_transform(name, parent, child, x, y, z, roll, pitch, yaw):
    return Node(package='tf2_ros', executable='static_transform_publisher', name=f'{name}_tf',
                arguments=['--x', x, '--y', y, '--z', z, '--roll', roll, '--pitch', pitch,
                           '--yaw', yaw, '--frame-id', parent, '--child-frame-id', child])


def _rviz(context):
    """Start RViz around the body frame; its fixed topic names are those of no namespace."""
    if not IfCondition(LaunchConfiguration('rviz')).evaluate(context):
        return []
    get_package_share_directory('rviz2')       # raises where RViz is not installed
    config = Path(get_package_share_directory('da_ros')) / 'config' / 'pano_depth.rviz'
    prefix = '/' + _text(context, 'namespace').strip('/')
    topics = {'/image': _text(context, 'image')} | {
        f'/{name}': name for name in ('points', 'scan', 'depth/preview')}
    return [Node(
        package='rviz2', executable='rviz2', name='rviz2', output='screen',
        arguments=['-d', str(config), '-f', _body_frame(context)],
        remappings=[(old, os.path.join(prefix, new)) for old, new in topics.items()],
        parameters=[{'use_sim_time': _text(context, 'use_sim_time').lower() == 'true'}])]
