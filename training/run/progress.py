# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an export is doing, on the terminal."""

from __future__ import annotations


class Progress:
    """A bar that names the step under way."""

    def __enter__(self) -> Progress:
        from tqdm import tqdm
        self._bar = tqdm(bar_format='{desc} [{elapsed}]', leave=False)
        return self

    def __call__(self, step: str) -> None:
        self._bar.set_description_str(step)
        self._bar.refresh()

    def __exit__(self, *_) -> None:
        self._bar.close()
