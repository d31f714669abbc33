# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Run the scripts of this folder from the project's root, in its virtual environment: `python test/cases/runtime/e18_bad_transition.py`."""
import os, sys
os.environ.setdefault('ROS_DOMAIN_ID', '71'); os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.abspath('test'), os.path.abspath('.')]
