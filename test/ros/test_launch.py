"""The real launch file under launch_testing: one panorama in, every output out, clean exit."""

import os
from pathlib import Path
import sys
import tempfile
import unittest

import numpy as np
import pytest

pytest.importorskip('launch_testing', reason='launch_testing is not installed '
                    '(ros-$ROS_DISTRO-launch-testing)')
pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from conftest import painted, write_stand_in_bundle
from launch.actions import IncludeLaunchDescription
from launch.launch_context import LaunchContext
from launch.launch_description_sources import (
    get_launch_description_from_python_launch_file,
    PythonLaunchDescriptionSource,
)
import launch_testing.actions
import launch_testing.asserts
import launch_testing.markers
from ros_peer import array_of, environment, image_msg, Peer
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from launch import LaunchDescription

FOLDER = tempfile.TemporaryDirectory(prefix='da_ros_launch_')
OUTPUTS = {'depth/image': Image, 'depth/camera_info': CameraInfo, 'points': PointCloud2,
           'scan': LaserScan, 'range_mask': Image, 'depth/preview': Image}
ARGUMENTS = {'model', 'backend', 'range_mask_m', 'image', 'image_transport', 'params_file',
             'namespace', 'camera_frame', 'body_frame', 'scan_frame', 'stamp_offset_s', 'rviz',
             'log_level', 'autostart', 'use_sim_time', 'fast_transport', 'base_from_camera'}


def _launch_file() -> str:
    """Return the installed launch file; without an installation, lay the checkout out as one."""
    try:
        share = get_package_share_directory('da_ros')
    except PackageNotFoundError:
        prefix, root = Path(FOLDER.name) / 'prefix', Path(__file__).resolve().parent.parent
        for folder in ('share/ament_index/resource_index/packages', 'share/da_ros', 'lib/da_ros'):
            (prefix / folder).mkdir(parents=True)
        (prefix / 'share/ament_index/resource_index/packages/da_ros').touch()
        for folder in ('config', 'launch'):
            (prefix / 'share/da_ros' / folder).symlink_to(root / folder)
        command = prefix / 'lib/da_ros/pano_depth'
        command.write_text(f'#!{sys.executable}\nfrom da_ros.node import main\nmain()\n')
        command.chmod(0o755)
        os.environ['PYTHONPATH'] = environment()['PYTHONPATH']
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(
            filter(None, [str(prefix), os.environ.get('AMENT_PREFIX_PATH')]))
        share = prefix / 'share/da_ros'
    return str(Path(share) / 'launch/pano_depth.launch.py')


LAUNCH_FILE = _launch_file()


@pytest.mark.launch_test
@launch_testing.markers.keep_alive
def generate_test_description():
    """Launch the node as a user would: integers for floats, a namespace, a parameter file."""
    folder = Path(FOLDER.name)
    params_file = folder / 'params.yaml'
    params_file.write_text('/**/pano_depth:\n  ros__parameters:\n    range_mask_m: 50.0\n'
                           '    scan: {beams: 360}\n')
    arguments = {'model': str(write_stand_in_bundle(folder / 'stand_in').folder),
                 'backend': 'onnxruntime', 'range_mask_m': '20', 'stamp_offset_s': '-1',
                 'namespace': 'launched', 'image': 'camera/panorama', 'body_frame': 'mast',
                 'params_file': str(params_file)}
    node = IncludeLaunchDescription(PythonLaunchDescriptionSource(LAUNCH_FILE),
                                    launch_arguments=arguments.items())
    return LaunchDescription([node, launch_testing.actions.ReadyToTest()])


class TestRunningNode(unittest.TestCase):
    """What the launched node does."""

    def setUp(self):
        """Join as camera and receiver."""
        self.peer = Peer('/launched')
        self.addCleanup(self.peer.close)

    def test_one_panorama_becomes_every_output_under_the_launched_parameters(self):
        for topic, kind in OUTPUTS.items():
            self.peer.subscribe(kind, topic)
        range_m = np.full((32, 64), 4.0)
        range_m[:, :32] = 40.0                              # beyond the mask of 20 m
        sent = image_msg(painted(range_m), 5 * 10**9, 'lens')
        self.peer.publish_until(sent, lambda: all(map(self.peer.received.get, OUTPUTS)),
                                'every output', 'camera/panorama')
        got = {topic: self.peer.received[topic][0] for topic in OUTPUTS}
        self.assertEqual({msg.header.stamp.sec for msg in got.values()}, {4})
        frames = {topic: msg.header.frame_id for topic, msg in got.items()}
        self.assertEqual(frames, dict.fromkeys(OUTPUTS, 'lens') | {
            'points': 'mast', 'scan': 'mast'})
        self.assertEqual(got['scan'].range_max, 20)         # the argument, not the file's 50
        self.assertEqual(len(got['scan'].ranges), 360)      # from the file
        depth = array_of(got['depth/image'])
        self.assertTrue(np.isposinf(depth[:, :32]).all() and np.allclose(depth[:, 32:], 4))

    def test_the_transport_settings_are_in_the_environment_that_it_inherits(self):
        names = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
        for name in names:
            self.assertTrue(Path(os.environ[name]).is_file())
        self.assertEqual(os.environ['MALLOC_MMAP_THRESHOLD_'], '33554432')


class TestArguments(unittest.TestCase):
    """What the launch file says of its arguments."""

    def test_every_argument_is_described(self):
        described = {argument.name: argument.description for argument in
                     get_launch_description_from_python_launch_file(
                         LAUNCH_FILE).get_launch_arguments()}
        self.assertLessEqual(ARGUMENTS, set(described))
        self.assertTrue(all(described.values()))

    def test_wrong_arguments_are_named(self):
        for name, value, text in (
                ('base_from_camera', '0 0 1', 'has 3 numbers; needs six'),
                ('params_file', '/nonexistent.yaml', "params_file '/nonexistent.yaml' does not")):
            with self.subTest(name), self.assertRaisesRegex(RuntimeError, text):
                _execute(**{name: value})


def _execute(**arguments):
    """Evaluate the launch file down to the processes, without starting one."""
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    description = get_launch_description_from_python_launch_file(LAUNCH_FILE)
    for action in description.entities:
        action.visit(context)


@launch_testing.post_shutdown_test()
class TestExit(unittest.TestCase):
    """What is left after Ctrl-C."""

    def test_every_process_ends_with_code_0(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
        self.assertEqual([name.rsplit('-', 1)[0] for name in proc_info.process_names()],
                         ['pano_depth'])

    def test_no_traceback_is_printed(self, proc_output):
        text = b''.join(output.text for output in proc_output)
        self.assertIn(b"bundle 'stand_in' runs on onnxruntime", text)
        self.assertNotIn(b'Traceback', text)
