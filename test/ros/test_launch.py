# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real launch file under launch_testing: one panorama in, every output out, clean exit."""

import os
from pathlib import Path
import tempfile
import unittest

import numpy as np
import pytest

pytest.importorskip('launch_testing', reason='launch_testing is not installed '
                    '(ros-$ROS_DISTRO-launch-testing)')
pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from conftest import painted, write_stand_in_bundle
from installed_share import share_of_da_ros
from launch.actions import IncludeLaunchDescription
from launch.launch_context import LaunchContext
from launch.launch_description_sources import (
    get_launch_description_from_python_launch_file,
    PythonLaunchDescriptionSource,
)
import launch_testing.actions
import launch_testing.asserts
import launch_testing.markers
from ros_peer import array_of, image_msg, Peer
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

from launch import LaunchDescription

ENVIRONMENT: dict[str, str] = {}     # before anything was launched
FOLDER = tempfile.TemporaryDirectory(prefix='da_ros_launch_')
OUTPUTS = {'depth/image': Image, 'depth/camera_info': CameraInfo, 'points': PointCloud2,
           'scan': LaserScan, 'range_mask': Image, 'depth/preview': Image}
ARGUMENTS = {'model', 'backend', 'range_mask_m', 'image', 'image_transport', 'params_file',
             'namespace', 'camera_frame', 'body_frame', 'scan_frame', 'stamp_offset_s', 'rviz',
             'log_level', 'autostart', 'use_sim_time', 'fast_transport', 'base_from_camera',
             'camera', 'cameras', 'fisheye_calibration', 'levelling'}


def _launch_file() -> str:
    return str(share_of_da_ros(Path(FOLDER.name)) / 'launch/pano_depth.launch.py')


LAUNCH_FILE = _launch_file()


@pytest.mark.launch_test
@launch_testing.markers.keep_alive
def generate_test_description():
    """Launch the node as a user would: integers for floats, a namespace, a parameter file."""
    ENVIRONMENT.update(os.environ)
    folder = Path(FOLDER.name)
    params_file = folder / 'params.yaml'
    params_file.write_text('/**/pano_depth:\n  ros__parameters:\n    range_mask_m: 50.0\n'
                           '    scan: {beams: 360}\n')
    arguments = {'model': str(write_stand_in_bundle(folder / 'stand_in').folder),
                 'backend': 'onnxruntime', 'range_mask_m': '20', 'stamp_offset_s': '-1',
                 'namespace': 'launched', 'image': 'camera/panorama', 'body_frame': '/mast',
                 'camera_frame': 'other_lens', 'base_from_camera': '0 0 1.2 0 0 0',
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

    def test_the_environment_of_the_launch_stays_as_it_was(self):
        self.assertEqual(dict(os.environ), ENVIRONMENT)


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
        with self.assertRaisesRegex(RuntimeError, 'is that of one camera, and cameras is'):
            _execute(cameras='[front, rear]', base_from_camera='0 0 1 0 0 0')


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
        self.assertRegex(text, b'FastDDS profile .*config/fastdds.xml')
        self.assertIn(b"images come from frame 'lens', but the mounting transform is that of "
                      b"'other_lens'", text)
