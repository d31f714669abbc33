"""
The engine cache: plans that this user built on this machine, and what is known of them.

A plan is code that runs on the GPU, so only plans of our own are loaded. Each lies under its
content address (`EngineJob.key`) beside a sidecar JSON with the plan's sha256, the ingredients of
the key, the build time, the result of the self-check, or the reason why no plan exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from da_ros.backends.base import BackendError
from da_ros.engines.jobs import EngineJob

ENVIRONMENT = 'DA_ROS_ENGINE_CACHE'


class CacheError(BackendError):
    """A cache folder that cannot be used, or a plan that must not be loaded."""


@dataclass(frozen=True)
class Entry:
    """What the sidecar of one engine says."""

    key: str
    name: str
    ingredients: dict[str, str]
    plan_sha256: str = ''
    size_bytes: int = 0
    build_s: float = 0.0
    failure: str = ''                 # why there is no plan
    check: dict | None = None         # {'passed': bool, 'report': str, 'repeats': int}

    @property
    def proven(self) -> bool:
        """Return whether the self-check has passed with this plan on this device."""
        return bool(self.check and self.check['passed'])


class EngineCache:
    """Plans by content address in one private folder (0700, files 0600)."""

    def __init__(self, folder: str | Path | None = None):
        """
        Name the folder; nothing is made before the first write.

        :param folder: None = $DA_ROS_ENGINE_CACHE, else ~/.cache/da_ros/engines
        """

    def missing(self, jobs: Sequence[EngineJob]) -> list[EngineJob]:
        """
        Return those jobs that have no usable plan; damaged and foreign plans count as missing.

        :raises CacheError: if a job has failed to build before, or its plan failed the self-check;
            names the reason and `da_ros_engine clear`
        """
        raise NotImplementedError

    def load(self, job: EngineJob) -> bytes:
        """
        Return a plan whose sidecar matches.

        :raises CacheError: if there is none
        """
        raise NotImplementedError

    def store(self, job: EngineJob, plan: bytes, build_s: float) -> None:
        """
        Write a plan and its sidecar, each atomically.

        :raises CacheError: disk full, read-only folder; nothing half-written stays
        """
        raise NotImplementedError

    def record_check(self, job: EngineJob, passed: bool, report: str, repeats: int) -> None:
        """Keep what the self-check said about a plan; a plan that failed is never taken again."""
        raise NotImplementedError

    def is_proven(self, job: EngineJob) -> bool:
        """Return whether the plan has passed the self-check since it was built."""
        raise NotImplementedError

    def record_failure(self, job: EngineJob, reason: str) -> None:
        """Remember that a graph cannot be built, so that it is not tried at every start."""
        raise NotImplementedError

    def entry(self, job: EngineJob) -> Entry | None:
        """Return what is known about a job, None where nothing is."""
        raise NotImplementedError

    def entries(self) -> list[Entry]:
        """Return all engines, failures included, by name."""
        raise NotImplementedError

    def clear(self, keys: Sequence[str] | None = None) -> int:
        """
        Remove engines and failures.

        :param keys: of entries; None = all
        :return: bytes freed
        """
        raise NotImplementedError

    @contextmanager
    def lock(self, job: EngineJob) -> Iterator[None]:
        """Hold a job for this process; a second builder waits here."""
        raise NotImplementedError
        yield
