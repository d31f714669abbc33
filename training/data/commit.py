# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which commit of the project runs."""

from __future__ import annotations

from pathlib import Path
import subprocess


def current_commit() -> str:
    """Return the git commit of the working copy, or 'unknown': an installed package has none."""
    def git(*arguments: str) -> str:
        done = subprocess.run(['git', *arguments], capture_output=True, text=True, check=True,
                              cwd=Path(__file__).parent)
        return done.stdout.strip()
    try:
        git('ls-files', '--error-unmatch', __file__)    # not the repository of somebody's venv
        return git('rev-parse', 'HEAD')
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
