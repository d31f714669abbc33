# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cameras: how their images show the sphere, and how fisheye lenses are calibrated."""
