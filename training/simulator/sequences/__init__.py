# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Sequences: a robot drives, people walk, the camera shakes; poses and range are exact."""
