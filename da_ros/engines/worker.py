# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Engines are built in a child process, so that the node stays responsive and can end at once.

`EngineBuild` is the parent's side, `python -m da_ros.engines.worker` the child: it takes one line
of JSON with the jobs on standard input and writes lines of JSON after an `@`; other lines are what
libraries print. The child ends when its standard input does, that is with its parent, however
that died. (PR_SET_PDEATHSIG would tie it to the thread that started it.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from da_ros.backends.base import BackendError
from da_ros.engines.build import build_plan
from da_ros.engines.cache import EngineCache
from da_ros.engines.jobs import EngineJob
from da_ros.engines.private import CacheError, read_own, write_own
from da_ros.onnx_files import graph_digest

MARK = '@'
SECONDS_TO_END = 0.5
ENDED_ON_REQUEST = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class EngineBuild:
    """
    Engines that are being built in a child process; the child ends with this process.

    Not thread-safe, except `progress`.
    """

    def __init__(self, jobs: Sequence[EngineJob], cache: EngineCache | None = None):
        """Take the jobs; those already in the cache cost nothing."""
        self.error = ''               # after `poll` has said failed: one line
        self._jobs = list(jobs)
        self._cache = cache or EngineCache()
        self._child: subprocess.Popen[str] | None = None
        self._said: dict[str, Any] = {'share': 0.0, 'text': 'waiting', 'job': 0}
        self._printed: deque[str] = deque(maxlen=3)
        self._state = 'running'

    def start(self) -> None:
        """Start the child; returns at once."""
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        # A session of its own: Ctrl-C in a terminal is for the parent to handle. A folder of its
        # own: `-m` would import from the current one.
        self._child = subprocess.Popen(
            [sys.executable, '-m', 'da_ros.engines.worker'], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
            start_new_session=True, cwd='/', env=os.environ | {'PYTHONPATH': path})
        self._reader = threading.Thread(target=self._read, args=(self._child,), daemon=True)
        self._reader.start()
        assert self._child.stdin is not None
        with suppress(OSError):       # it may be dead already; `poll` tells why
            self._child.stdin.write(json.dumps(
                {'folder': str(self._cache.folder),
                 'jobs': [job.to_json() for job in self._jobs]}) + '\n')
            self._child.stdin.flush()

    @property
    def progress(self) -> tuple[float, str]:
        """Return the share that is done, 0..1, never falling, and what is being done."""
        said = self._said
        return said['share'], said['text']

    def poll(self) -> str:
        """Return `running`, `done` or `failed`; after `failed`, `error` has the reason."""
        if self._state == 'running' and self._child and self._child.poll() is not None:
            self._reader.join(SECONDS_TO_END)
            self._finish(self._child.returncode)
        return self._state

    def cancel(self) -> None:
        """End the child within a second and remove what it had half-written; may be repeated."""
        child = self._child
        if child is None or self.poll() != 'running':
            return
        child.terminate()
        try:
            child.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        self._state, self.error = 'failed', 'cancelled'
        self._close(child)

    def _finish(self, code: int) -> None:
        assert self._child is not None
        self._state = 'done' if code == 0 else 'failed'
        if code < 0:
            name = signal.Signals(-code).name
            self.error = f'the builder died of {name}; is the memory large enough?'
            if -code not in ENDED_ON_REQUEST:
                with suppress(CacheError):
                    self._cache.record_failure(self._jobs[self._said['job']], self.error)
        elif code:
            self.error = self._said.get('error') or '; '.join(self._printed) or f'exit code {code}'
        self._close(self._child)

    def _close(self, child: subprocess.Popen[str]) -> None:
        self._reader.join(SECONDS_TO_END)
        for stream in (child.stdin, child.stdout):
            with suppress(OSError):
                assert stream is not None
                stream.close()
        for part in self._cache.folder.glob(f'*.{child.pid}.part'):
            with suppress(OSError):
                part.unlink()

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with suppress(ValueError):    # closed by `cancel`
            for line in child.stdout:
                if line.startswith(MARK):
                    self._said = self._said | json.loads(line[len(MARK):])
                elif line.strip():
                    self._printed.append(line.strip())


class _Speaker:
    """The child's lines to its parent."""

    def __init__(self, jobs: Sequence[EngineJob]):
        # By size, because the library tells nothing before it begins; a bar that stands at a half
        # while the larger of two graphs is built looks like a hang.
        sizes = [job.graph.stat().st_size for job in jobs]
        total = sum(sizes) or 1
        self._begin = [sum(sizes[:i]) / total for i in range(len(sizes))]
        self._part = [size / total for size in sizes]

    def progress(self, index: int, job: EngineJob, share: float) -> None:
        self.say(job=index, share=self._begin[index] + self._part[index] * share,
                 text=f'building {job.backend} engine {job.name}')

    @staticmethod
    def say(**message: Any) -> None:
        print(MARK + json.dumps(message), flush=True)


def build_missing(job: EngineJob, cache: EngineCache, report: Any) -> None:
    """
    Build and store one engine unless another process has done so meanwhile.

    :raises BackendError: if that fails; remembered in the cache unless the cache is the reason
    """
    with cache.lock(job):
        if cache.load(job) is not None:
            return
        # Another model may lie there by now; its engine would pass for the first one's for ever.
        if graph_digest(job.graph) != job.ingredients['onnx']:
            raise BackendError(f'{job.graph} has changed since the bundle was loaded; load it '
                               'again')
        timing_path = cache.timing_path(job)
        begun = time.monotonic()
        try:
            built = build_plan(job, report, read_own(timing_path) or b'')
        except BackendError as error:
            cache.record_failure(job, str(error))
            raise
        cache.store(job, built.plan, time.monotonic() - begun)
        if built.timing:
            with suppress(CacheError):       # only makes the next build slower
                write_own(timing_path, built.timing)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Build the jobs that stand on standard input; exit code 1 after a failure."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(5)
    cache = EngineCache(Path(request['folder']))
    jobs = [EngineJob.from_json(text) for text in request['jobs']]
    try:
        speaker = _Speaker(jobs)
        for index, job in enumerate(jobs):
            speaker.progress(index, job, 0.0)
            build_missing(job, cache, lambda share, i=index, j=job: speaker.progress(i, j, share))
        speaker.say(share=1.0, text='engines are built')
    except (BackendError, OSError) as error:
        _Speaker.say(error=str(error))
        sys.exit(1)


if __name__ == '__main__':
    main()
