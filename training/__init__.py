# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Offline side of da_ros: networks, simulation, training, export and evaluation."""

from da_ros.errors import tell_interrupts

tell_interrupts()
