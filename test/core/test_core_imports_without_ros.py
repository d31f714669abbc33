# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The core needs no ROS, and the runtime never needs torch."""

from pathlib import Path
import pkgutil
import subprocess
import sys

import pytest

import da_ros

ROS_FACE = {'ros', 'commands'}
CORE = sorted(module.name for module in pkgutil.iter_modules(da_ros.__path__)
              if module.name not in ROS_FACE) + [
                  'backends.onnxruntime', 'backends.openvino', 'backends.tensorrt',
                  'engines.worker', 'bags.bag', 'bags.bag_writer', 'bags.frames',
                  'bags.transforms', 'cameras.calibration', 'cameras.fit', 'cameras.models',
                  'commands.infer']
BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {blocked}:
            raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Refuse())
"""


def run(blocked: tuple, code: str) -> None:
    done = subprocess.run([sys.executable, '-c', BLOCK.format(blocked=blocked) + code],
                          capture_output=True, text=True,
                          cwd=Path(da_ros.__file__).parent.parent)
    assert done.returncode == 0, done.stderr


def test_every_core_module_imports_with_ros_and_torch_blocked():
    lines = '\n'.join(f'import da_ros.{name}' for name in CORE)
    run(('rclpy', 'sensor_msgs', 'std_msgs', 'builtin_interfaces', 'rcl_interfaces', 'torch'),
        lines)


def test_estimating_a_panorama_imports_neither_ros_nor_torch(stand_in):
    run(('rclpy', 'sensor_msgs', 'torch'), f"""
import numpy as np
from da_ros.estimator import RangeEstimator
RangeEstimator({str(stand_in.folder)!r}).predict(np.full((64, 128, 3), 50, np.uint8))
""")


def test_node_never_imports_torch():
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    run(('torch', 'open3d', 'matplotlib'), 'import da_ros.ros.node, da_ros.commands.replay')
