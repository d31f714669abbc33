# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The share folder of da_ros as launch files see it; a checkout is laid out as an installation."""

import os
from pathlib import Path
import sys

from ament_index_python.packages import get_package_share_directory
from conftest import ROOT


def share_of_da_ros(folder: Path) -> Path:
    """Return the installed share folder; without an installation, make one in a folder."""
    try:
        return Path(get_package_share_directory('da_ros'))
    except (LookupError, OSError):          # not found, or no ament index at all
        pass
    prefix = folder / 'prefix'
    for place in ('share/ament_index/resource_index/packages', 'share/da_ros', 'lib/da_ros'):
        (prefix / place).mkdir(parents=True)
    (prefix / 'share/ament_index/resource_index/packages/da_ros').touch()
    for name in ('config', 'launch'):
        (prefix / 'share/da_ros' / name).symlink_to(ROOT / name)
    command = prefix / 'lib/da_ros/pano_depth'
    command.write_text(f'#!{sys.executable}\nfrom da_ros.ros.node import main\nmain()\n')
    command.chmod(0o755)
    os.environ['PYTHONPATH'] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(
        filter(None, [str(prefix), os.environ.get('AMENT_PREFIX_PATH')]))
    return prefix / 'share/da_ros'
