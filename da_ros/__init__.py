# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A 360-degree camera as a metric range sensor for ROS 2."""

__version__ = '0.2.0'
