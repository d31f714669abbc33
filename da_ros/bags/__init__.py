# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags without ROS: reading, writing, transforms, frames at their time."""
