# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A log that says everything once and does not drown in repetitions."""

from __future__ import annotations

import re
import time
from typing import Any

REPEAT_S = 30.0


class Complaints:
    """Log lines; the same one, up to its numbers, comes back after 30 s at the soonest."""

    def __init__(self, logger: Any):
        """Write to a logger of rclpy."""
        self._logger = logger
        self._told: dict[str, float] = {}

    def error(self, text: str) -> None:
        """Log an error, unless it has just been said."""
        if self._is_news(text):
            self._logger.error(text)

    def warning(self, text: str) -> None:
        """Log a warning, unless it has just been said."""
        if self._is_news(text):
            self._logger.warning(text)

    def once(self, text: str) -> None:
        """Log a warning that never comes back."""
        if text not in self._told:
            self._told[text] = time.monotonic()
            self._logger.warning(text)

    def _is_news(self, text: str) -> bool:
        now, kind = time.monotonic(), re.sub(r'\d+', '#', text)
        if now - self._told.get(kind, -REPEAT_S) < REPEAT_S:
            return False
        self._told[kind] = now
        return True
