# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The stamp of a message, live or of a bag: no ROS import."""

from __future__ import annotations

from typing import Any


def stamp_ns(msg: Any, offset_s: float = 0.0) -> int:
    """Return the stamp in a message's header [ns], moved by an offset [s], never below zero."""
    stamp = msg.header.stamp
    return max(int(stamp.sec) * 10**9 + int(stamp.nanosec) + round(offset_s * 1e9), 0)
