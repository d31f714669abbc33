# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Pin the node's wheels, and all that they need, by hash for the Python that runs this.

    python requirements/lock.py            # writes requirements/lock_py311.txt
    pip install --require-hashes -r requirements/lock_py311.txt
"""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

HERE = Path(__file__).resolve().parent


def locked(report: str) -> str:
    """Return the lines for a report of `pip install --dry-run --report`."""
    lines = []
    for entry in json.loads(report)['install']:
        sha256 = entry['download_info']['archive_info']['hashes']['sha256']
        meta = entry['metadata']
        lines.append(f'{meta["name"].lower()}=={meta["version"]} \\\n    --hash=sha256:{sha256}\n')
    return ''.join(sorted(lines))


def main() -> None:
    """Ask pip, and write."""
    path = HERE / f'lock_py{sys.version_info.major}{sys.version_info.minor}.txt'
    report = subprocess.run(
        [sys.executable, '-m', 'pip', 'install', '--quiet', '--dry-run', '--ignore-installed',
         '--report', '-', '-r', str(HERE / 'base.txt'), '-r', str(HERE / 'ros.txt')],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    path.write_text('# Written by requirements/lock.py: x86-64 Linux, no GPU.\n' + locked(report))


if __name__ == '__main__':
    main()
