# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a folder was made for, kept in its job.json: the work of another job is not mixed in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from da_ros.errors import DaRosError

NAME = 'job.json'


class JobError(DaRosError):
    """A folder that holds the work of another job."""


def check_same(folder: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """
    Refuse to go on with the work of another job.

    Values are those of JSON, dictionaries are compared field by field. What was not recorded, as
    by an earlier version, counts as the same.

    :raises JobError: naming what differs
    """
    was, now = _flat(found), _flat(asked)
    other = [f'{name} {was[name]} (now {value})' for name, value in now.items()
             if name in was and was[name] != value]
    if other:
        raise JobError(f'{folder} holds the work of another job: {", ".join(other)}; give another '
                       'folder or delete this one')


def check_job(folder: Path, asked: dict[str, Any]) -> None:
    """
    Refuse a folder whose job.json says otherwise; one without it is accepted as it is.

    :raises JobError: naming what differs, or the file if it is damaged
    """
    path = folder / NAME
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text())
        check_same(folder, found, asked)
    except (OSError, ValueError, AttributeError) as error:
        raise JobError(f'{path} cannot be read: {error}; delete it if the folder is of this job'
                       ) from error


def write_job(folder: Path, asked: dict[str, Any]) -> None:
    """
    Say in job.json what a folder is made for.

    :raises JobError: if it cannot be written
    """
    try:
        write_whole(folder / NAME, json.dumps(asked, indent=1) + '\n')
    except OSError as error:
        raise JobError(f'{folder / NAME} cannot be written: {error.strerror or error}') from error


def write_whole(path: Path, text: str) -> None:
    """Write a small file whole or not at all, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.tmp')
    part.write_text(text)
    part.replace(path)


def _flat(job: dict[str, Any]) -> dict[str, Any]:
    """Return {'config.batch': 8, 'steps': 1} of {'config': {'batch': 8}, 'steps': 1}."""
    flat = {}
    for name, value in job.items():
        fields = value.items() if isinstance(value, dict) else ()
        flat |= {f'{name}.{field}': inner for field, inner in fields} or {name: value}
    return flat
