"""
Start the panoramic range sensor: node, transport settings, mounting transforms, RViz.

    ros2 launch da_ros pano_depth.launch.py image:=/equirectangular/image range_mask_m:=20
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# Deserialising an image is dominated by page faults unless malloc keeps its memory.
MALLOC = {'MALLOC_MMAP_THRESHOLD_': '33554432', 'MALLOC_TRIM_THRESHOLD_': '268435456',
          'MALLOC_TOP_PAD_': '33554432'}
ARGUMENTS = {
    'model': ('', 'bundle folder; empty = the default bundle'),
    'backend': ('auto', 'auto, openvino or onnxruntime'),
    'range_mask_m': ('-1', 'range mask [m]; -1 = the largest of the bundle, 0 = off'),
    'camera_height_m': ('0', 'camera height above the floor [m]; 0 = unknown'),
    'image': ('image', 'raw image topic; its compressed twin is <topic>/compressed'),
    'image_transport': ('raw', 'raw or compressed'),
    'params_file': ('', 'parameter file, such as config/pano_depth.yaml'),
    'namespace': ('', 'namespace of node and topics'),
    'camera_frame': ('camera_frame', 'frame_id of the camera images'),
    'body_frame': ('', 'frame of the clouds; empty = derived from the camera frame'),
    'scan_frame': ('', 'gravity-aligned frame of the scan; empty = the body frame'),
    'base_frame': ('base_link', 'parent of the mounting transform'),
    'base_from_camera': ('', 'mounting: "x y z roll pitch yaw" [m, rad] of the camera body in '
                         'base_frame; empty = no transform is published'),
    'stamp_offset_s': ('0', 'added to image stamps [s]; negative for cameras that stamp late'),
    'autostart': ('true', 'configure and activate at once'),
    'use_sim_time': ('false', 'take the time from /clock'),
    'log_level': ('info', 'debug, info, warn, error'),
    'rviz': ('false', 'start RViz with config/pano_depth.rviz'),
    'fast_transport': ('true', 'set the FastDDS shared-memory profile and malloc settings'),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start everything that they ask for."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text)
                 for name, (value, text) in ARGUMENTS.items()]
    return LaunchDescription([
        *arguments, *_transport(), OpaqueFunction(function=_node),
        OpaqueFunction(function=_mounting), _rviz()])


def _transport():
    wanted = IfCondition(LaunchConfiguration('fast_transport'))
    profile = Path(get_package_share_directory('da_ros')) / 'config' / 'fastdds.xml'
    if not profile.is_file():      # FastDDS itself would only log a wrong path
        return [LogInfo(msg=f'FastDDS profile {profile} is missing; large images may be lost')]
    names = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
    settings = {name: str(profile) for name in names} | MALLOC
    return [SetEnvironmentVariable(name, value, condition=wanted)
            for name, value in settings.items()]


def _node(context):
    def text(name):
        return LaunchConfiguration(name).perform(context)

    # Only what was given on the command line overrides the parameter file.
    parameters = [text('params_file')] if text('params_file') else []
    given = {
        'model': str, 'backend': str, 'range_mask_m': float, 'camera_height_m': float,
        'image_transport': str, 'stamp_offset_s': float, 'autostart': bool, 'use_sim_time': bool}
    names = {'body_frame': 'frames.body', 'scan_frame': 'frames.scan'}
    overrides = {name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                 for name, kind in given.items() if text(name) != ARGUMENTS[name][0]}
    if text('camera_height_m') not in ('0', '0.0') and not text('params_file'):
        # Heights now count from the floor: 0.05 to 1.5 m above it is what a robot bumps into.
        overrides |= {'scan.min_height_m': 0.05, 'scan.max_height_m': 1.5}
    overrides |= {names[name]: ParameterValue(LaunchConfiguration(name), value_type=str)
                  for name in names if text(name)}
    image = text('image')
    return [Node(
        package='da_ros', executable='pano_depth', name='pano_depth', output='screen',
        namespace=text('namespace'), parameters=[*parameters, overrides],
        remappings=[('image', image), ('image/compressed', f'{image}/compressed')],
        arguments=['--ros-args', '--log-level', text('log_level')])]


def _mounting(context):
    """Publish base -> camera body -> camera optical frame, where tf2_ros is installed."""
    def text(name):
        return LaunchConfiguration(name).perform(context)

    numbers = text('base_from_camera').replace(',', ' ').split()
    if not numbers:
        return []
    if len(numbers) != 6:
        raise RuntimeError(f'base_from_camera {text("base_from_camera")!r} has {len(numbers)} '
                           'numbers; needs six: x y z roll pitch yaw')
    try:
        get_package_share_directory('tf2_ros')
    except PackageNotFoundError:
        return [LogInfo(msg='tf2_ros is not installed, so no mounting transform is published; '
                            'install ros-$ROS_DISTRO-tf2-ros')]
    camera = text('camera_frame')
    body = text('body_frame') or (
        camera.removesuffix('_optical_frame').removesuffix('_frame') + '_link')
    x, y, z, roll, pitch, yaw = numbers
    mounting = _static_transform('mounting', text('base_frame'), body,
                                 x, y, z, roll, pitch, yaw)
    optical = _static_transform('optical', body, camera, '0', '0', '0',
                                '-1.5707963267948966', '0', '-1.5707963267948966')
    return [mounting] if body == camera else [mounting, optical]


def _static_transform(name, parent, child, x, y, z, roll, pitch, yaw):
    return Node(package='tf2_ros', executable='static_transform_publisher', name=f'{name}_tf',
                arguments=['--x', x, '--y', y, '--z', z, '--roll', roll, '--pitch', pitch,
                           '--yaw', yaw, '--frame-id', parent, '--child-frame-id', child])


def _rviz():
    config = PathJoinSubstitution([FindPackageShare('da_ros'), 'config', 'pano_depth.rviz'])
    return Node(package='rviz2', executable='rviz2', name='rviz2', output='screen',
                arguments=['-d', config], condition=IfCondition(LaunchConfiguration('rviz')))
