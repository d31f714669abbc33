# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files that only this user can have written: what we run must come from there."""

from __future__ import annotations

from contextlib import suppress
import os
from pathlib import Path
import stat

from da_ros.backends.base import BackendError

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class CacheError(BackendError):
    """A cache folder that cannot be used, or an engine that must not be."""


def make_folder(folder: Path) -> None:
    """
    Make a folder with mode 0700 where there is none.

    :raises CacheError: if that fails or others may write there
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raise CacheError if another user owns a folder or may write into it; absent is fine."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(folder, error) from error
    if found.st_uid != os.geteuid() or found.st_mode & WRITABLE_BY_OTHERS:
        raise CacheError(f'engine cache {folder} is writable by others (owner {found.st_uid}, '
                         f'mode {stat.S_IMODE(found.st_mode):o}), so its engines cannot be '
                         'trusted; run `chmod go-w` on it or set DA_ROS_ENGINE_CACHE')


def read_own(path: Path) -> bytes | None:
    """Return a file's content; None if it is absent, a link, another's, or writable by others."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, 'rb') as stream:
        found = os.fstat(descriptor)
        if (not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid()
                or found.st_mode & WRITABLE_BY_OTHERS):
            return None
        try:
            return stream.read()
        except OSError:
            return None


def write_own(path: Path, content: bytes) -> None:
    """
    Write a file with mode 0600; it appears complete or not at all.

    :raises CacheError: disk full, read-only folder
    """
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        with suppress(FileNotFoundError):
            part.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o600), 'wb') as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise _unusable(path.parent, error) from error


def remove(path: Path) -> int:
    """
    Remove a file where there is one; return its size.

    :raises CacheError: if it cannot be removed
    """
    try:
        size = path.lstat().st_size
        path.unlink()
        return size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unusable(path.parent, error) from error


def _unusable(folder: Path, error: OSError) -> CacheError:
    return CacheError(f'engine cache {folder} cannot be written ({error.strerror}); make room and '
                      'permit it, or set DA_ROS_ENGINE_CACHE to another folder')
