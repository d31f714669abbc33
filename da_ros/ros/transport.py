# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a process needs so that large messages reach and leave it: see docs/speed.md."""

from __future__ import annotations

from contextlib import suppress
import ctypes
import fcntl
from importlib import metadata
import os
from pathlib import Path
import re
import time

# The first name is that of Jazzy and older, the second that of Kilted and newer.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
TRANSPORT_VARIABLES = (*PROFILE_VARIABLES, 'FASTDDS_BUILTIN_TRANSPORTS')
# FastDDS reads these from the working directory.
PROFILE_FILES = ('DEFAULT_FASTRTPS_PROFILES.xml', 'DEFAULT_FASTDDS_PROFILES.xml')
# In the environment of a child process: it leaves the transports as FastDDS has them.
PLAIN_TRANSPORT = {'FASTDDS_BUILTIN_TRANSPORTS': 'DEFAULT'}
# Keys of mallopt(3): memory that a message frees stays in the process for the next one. Otherwise
# every frame is mapped anew, and its page faults cost more than its transport.
MALLOC = {'MALLOC_MMAP_THRESHOLD_': (-3, 32 << 20), 'MALLOC_TRIM_THRESHOLD_': (-1, 256 << 20),
          'MALLOC_TOP_PAD_': (-2, 32 << 20)}
# A segment of FastDDS and the file that its owner holds a lock on while it lives.
SHARED_MEMORY, OWNERS_LOCK = Path('/dev/shm'), re.compile(r'(fastrtps|fastdds)_[0-9a-f]{16}_el')
YOUNG_S = 10.0           # a process that starts has made the file, but may not have locked it yet


def use_shared_memory_profile() -> str:
    """
    Let this process, and those that it starts, exchange images by shared memory.

    Call it before `rclpy.init`: FastDDS reads the environment when its first participant is made.
    Whatever the user has set himself stays; other middlewares take no notice.

    :return: what carries messages now, and why, for a log
    """
    keep_freed_memory()
    for name in TRANSPORT_VARIABLES:
        if value := os.environ.get(name):
            return f'transports as {name}={value} says'
    for file in PROFILE_FILES:
        if Path(file).is_file():
            return f'transports as {Path(file).absolute()} says'
    profile = profile_path()
    if profile is None:       # FastDDS itself would not say that a profile is missing
        return 'transports of the middleware: config/fastdds.xml is not installed'
    os.environ.update(dict.fromkeys(profile_variables(), str(profile)))
    return f'FastDDS profile {profile}'


def profile_variables() -> tuple[str, ...]:
    """Return what the FastDDS of this ROS reads; Kilted's warns of the older name."""
    try:
        major = int(metadata.version('rclpy').split('.')[0])
    except (metadata.PackageNotFoundError, ValueError):
        return PROFILE_VARIABLES
    return PROFILE_VARIABLES[1:] if major >= 9 else PROFILE_VARIABLES[:1]


def profile_path() -> Path | None:
    """Return config/fastdds.xml of the checkout or the installation, None where it is missing."""
    here = Path(__file__).resolve()
    # An installed module lies below its prefix, how deep depends on who installed it.
    places = [here.parents[2] / 'config', *(up / 'share/da_ros/config' for up in here.parents)]
    return next((place / 'fastdds.xml' for place in places if (place / 'fastdds.xml').is_file()),
                None)


def keep_freed_memory() -> None:
    """Make malloc keep what messages free, unless the environment says how it is to work."""
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None or any(name in os.environ for name in MALLOC):
        return
    for key, value in MALLOC.values():
        mallopt(key, value)


def remove_dead_segments(folder: Path = SHARED_MEMORY) -> str:
    """
    Remove the shared memory of processes that were killed, as `fastdds shm clean` does.

    Nobody else does it: a node that is killed and started anew leaves 24 MiB each time, and a
    container has 64.

    :return: what was removed, for a log; '' = nothing
    """
    count = size = 0
    for lock in folder.glob('fast*_el'):
        segment = lock.with_name(lock.name.removesuffix('_el'))
        with suppress(OSError):              # another user's, or removed by somebody else just now
            if not OWNERS_LOCK.fullmatch(lock.name) or (
                    time.time() - lock.stat().st_mtime < YOUNG_S):
                continue
            with lock.open('rb') as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)     # fails while the owner lives
                if segment.is_file():
                    size += segment.stat().st_size
                    segment.unlink()
                lock.unlink()
                count += 1
    return f'removed {size >> 20} MiB of shared memory that {count} killed processes left' \
        if count else ''
