# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The engine cache: plans that this user built on this machine, and what is known of them.

A plan is code that runs on the GPU, so only plans of our own are loaded. Each lies under its
content address (`EngineJob.key`) beside a sidecar JSON with the plan's sha256, the ingredients of
the key, the build time, the result of the self-check, or the reason why no plan exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
import fcntl
import hashlib
import json
import os
from pathlib import Path
import re

from da_ros.engines.jobs import EngineJob
from da_ros.engines.private import (
    CacheError,
    check_folder,
    make_folder,
    read_own,
    remove,
    write_own,
)

ENVIRONMENT = 'DA_ROS_ENGINE_CACHE'
DEFAULT_FOLDER = '~/.cache/da_ros/engines'
KEY = re.compile(r'[0-9a-f]{64}')
VERDICT = 'verdict.lock'      # held for an instant; a build holds the lock of its job for minutes
REMEDY = 'run `da_ros_engine clear` to have it built again'


@dataclass(frozen=True)
class Entry:
    """What the sidecar of one engine says."""

    key: str
    name: str
    ingredients: dict[str, str]
    plan_sha256: str = ''             # '' = there is no plan
    size_bytes: int = 0
    build_s: float = 0.0
    failure: str = ''                 # why there is no plan
    refused: int = 0                  # how often the library would not load a plan of this key
    check: dict | None = None         # {'passed': bool, 'report': str, 'repeats': int}

    @property
    def proven(self) -> bool:
        """Return whether the self-check has passed with this plan on this device."""
        return bool(self.check and self.check['passed'])


class EngineCache:
    """Plans by content address in one private folder (mode 0700, files 0600)."""

    def __init__(self, folder: str | Path | None = None):
        """
        Name the folder; nothing is made before the first write.

        :param folder: None = $DA_ROS_ENGINE_CACHE, else ~/.cache/da_ros/engines
        :raises CacheError: if there is no home folder
        """
        named = folder or os.environ.get(ENVIRONMENT) or DEFAULT_FOLDER
        try:
            self.folder = Path(named).expanduser().absolute()
        except RuntimeError as error:        # HOME is not set, and the user has no entry
            raise CacheError(f'no home folder for {named}; set {ENVIRONMENT}') from error

    def missing(self, jobs: Sequence[EngineJob]) -> list[EngineJob]:
        """Return those jobs for which `load` gives None; raises as `load` does."""
        return [job for job in jobs if self.load(job) is None]

    def load(self, job: EngineJob) -> bytes | None:
        """
        Return a plan; None if it must be built: absent, damaged, or not surely ours.

        :raises CacheError: if it could not be built before, or failed its self-check; or if others
            may write into the cache
        """
        entry = self.entry(job)
        if entry is None:
            return None
        if entry.failure:
            raise CacheError(f'{job.backend} has no engine for {job.name}: {entry.failure}; '
                             f'{REMEDY}')
        if entry.check and not entry.check['passed']:
            raise CacheError(f'the {job.backend} engine for {job.name} has failed its self-check '
                             f'({entry.check["report"]}); {REMEDY}')
        plan = read_own(self._path(job.key, 'plan'))
        if plan is None or hashlib.sha256(plan).hexdigest() != entry.plan_sha256:
            return None
        return plan

    def store(self, job: EngineJob, plan: bytes, build_s: float) -> None:
        """
        Write a plan and its sidecar; it is not proven yet.

        :raises CacheError: disk full, read-only folder; nothing half-written stays
        """
        make_folder(self.folder)
        for left in self.folder.glob(f'{job.key}.*.part'):
            remove(left)
        before = self.entry(job)
        entry = Entry(job.key, job.name, dict(job.ingredients),
                      hashlib.sha256(plan).hexdigest(), len(plan), round(build_s, 2),
                      refused=before.refused if before else 0)
        try:
            write_own(self._path(job.key, 'plan'), plan)
            with self._locked(job.key, wait=True, suffix=VERDICT):
                self._write(entry)
        except CacheError:
            remove(self._path(job.key, 'plan'))
            raise

    def record_check(self, checked: Entry, passed: bool, report: str, repeats: int) -> None:
        """
        Keep what the self-check said about a plan; one that failed is never loaded again.

        A pass does not undo a failure that another process met: a scale that varies by chance
        passes now and then. A pass with no more repeats than are on record changes nothing, so
        that a proven engine works from a read-only folder too.

        :param checked: the entry before the check; a plan that was built since stays unproven
        :raises CacheError: if it cannot be written
        """
        def changed() -> Entry | None:
            """Return the entry with this verdict; None where it changes nothing."""
            entry = self._read(checked.key)
            if entry is None or not entry.plan_sha256 or entry.plan_sha256 != checked.plan_sha256:
                return None
            known = entry.check
            if passed and known and (not known['passed'] or known['repeats'] >= repeats):
                return None
            check = {'passed': passed, 'report': report, 'repeats': repeats}
            return replace(entry, check=check, refused=0 if passed else entry.refused)

        if changed():                                   # a lock is a file, too
            with self._locked(checked.key, wait=True, suffix=VERDICT):
                entry = changed()                       # another process may have been here
                if entry:
                    self._write(entry)

    def record_failure(self, job: EngineJob, reason: str) -> None:
        """
        Remember that a graph cannot be built, so that it is not tried at every start.

        Nothing is done where a plan is there: another process has been luckier meanwhile.

        :raises CacheError: as `load`, or if it cannot be written
        """
        make_folder(self.folder)
        with self._locked(job.key, wait=True, suffix=VERDICT):
            if self.load(job) is None:
                self._fail(job, reason)

    def refuse(self, job: EngineJob, plan: bytes, reason: str) -> None:
        """
        Drop a plan that the library would not load; the second one in a row is a failure.

        Nothing is done where another process has already dropped it or built one since.

        :param reason: what the library said
        """
        make_folder(self.folder)
        with self._locked(job.key, wait=True, suffix=VERDICT):
            entry = self.entry(job)
            if entry is None or entry.plan_sha256 != hashlib.sha256(plan).hexdigest():
                return
            if entry.refused:
                self._fail(job, f'its plan does not load ({reason})')
                return
            remove(self._path(job.key, 'plan'))
            self._write(replace(entry, plan_sha256='', size_bytes=0, refused=1, check=None))

    def entry(self, job: EngineJob) -> Entry | None:
        """Return what is known about a job; None where nothing is, or not surely by us."""
        entry = self._read(job.key)
        return entry if entry and entry.ingredients == dict(job.ingredients) else None

    def entries(self) -> list[Entry]:
        """Return all engines, failures included, by name."""
        found = [self._read(path.stem) for path in self.folder.glob('*.json')]
        return sorted((entry for entry in found if entry), key=lambda entry: entry.name)

    def clear(self, keys: Sequence[str] | None = None) -> int:
        """
        Remove engines and failures, but none that is being built.

        :param keys: of entries; None = all, with the timings of earlier builds
        :return: bytes freed
        :raises CacheError: if the folder is not ours alone, or cannot be written
        """
        check_folder(self.folder)
        if keys is None:
            keys = sorted({path.name[:64] for path in self.folder.glob('*')
                           if KEY.fullmatch(path.name[:64])})
            freed = sum(remove(path) for path in self.folder.glob('*.timing'))
        else:
            freed = 0
        for key in keys:
            with self._locked(key, wait=False) as ours:
                if ours:
                    freed += sum(remove(path) for path in self.folder.glob(f'{key}.*'))
        return freed

    @contextmanager
    def lock(self, job: EngineJob) -> Iterator[None]:
        """
        Hold a job for this process; a second builder waits here.

        :raises CacheError: if the folder is not writable
        """
        make_folder(self.folder)
        with self._locked(job.key, wait=True):
            yield

    def timing_path(self, job: EngineJob) -> Path:
        """Return where the timings of earlier builds on the same device and version lie."""
        same = [job.ingredients[name] for name in (
            'backend', 'version', 'gpu', 'sm', 'multiprocessors', 'driver')]
        return self.folder / f'{hashlib.sha256(json.dumps(same).encode()).hexdigest()}.timing'

    @contextmanager
    def _locked(self, key: str, wait: bool, suffix: str = 'lock') -> Iterator[bool]:
        # The kernel drops the lock when its holder dies, and `clear` may remove the file, so the
        # lock counts only if the name still leads to the file that we hold.
        path = self._path(key, suffix)
        while True:
            try:
                descriptor = os.open(
                    path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise CacheError(f'engine cache {self.folder} cannot be written '
                                 f'({error.strerror}); permit it, or set {ENVIRONMENT} to another '
                                 'folder') from error
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                if not _same_file(descriptor, path):
                    continue
                yield True
                return
            except BlockingIOError:
                yield False
                return
            finally:
                os.close(descriptor)

    def _fail(self, job: EngineJob, reason: str) -> None:
        self._write(Entry(job.key, job.name, dict(job.ingredients), failure=reason))
        remove(self._path(job.key, 'plan'))

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / f'{key}.{suffix}'

    def _read(self, key: str) -> Entry | None:
        check_folder(self.folder)
        content = read_own(self._path(key, 'json'))
        try:
            entry = Entry(**json.loads(content)) if content else None
        except (ValueError, TypeError):
            return None
        return entry if entry and entry.key == key else None

    def _write(self, entry: Entry) -> None:
        write_own(self._path(entry.key, 'json'), json.dumps(asdict(entry), indent=1).encode())


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
