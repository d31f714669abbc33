# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The ROS face: messages and parameters in and out, no maths."""

from da_ros.errors import tell_interrupts

tell_interrupts()
