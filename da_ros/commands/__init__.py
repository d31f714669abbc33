# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Command lines: each parses, calls the core, and prints."""

from da_ros.errors import tell_interrupts

tell_interrupts()
