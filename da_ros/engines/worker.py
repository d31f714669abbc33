"""
Engines are built in a child process, so that the node stays responsive and can end at once.

As a module it is the child: `python -m da_ros.engines.worker` takes jobs on standard input.
"""

from __future__ import annotations

from collections.abc import Sequence

from da_ros.engines.cache import EngineCache
from da_ros.engines.jobs import EngineJob


class EngineBuild:
    """
    Engines that are being built in a child process; the child ends with this process.

    Not thread-safe, except `progress`.
    """

    def __init__(self, jobs: Sequence[EngineJob], cache: EngineCache | None = None):
        """Take the jobs; those already in the cache cost nothing."""
        self.error = ''               # after `poll` has said failed: one line

    def start(self) -> None:
        """Start the child; returns at once."""
        raise NotImplementedError

    @property
    def progress(self) -> tuple[float, str]:
        """Return the share that is done, 0..1, never falling, and what is being done."""
        raise NotImplementedError

    def poll(self) -> str:
        """Return `running`, `done` or `failed`; after `failed`, `error` has the reason."""
        raise NotImplementedError

    def cancel(self) -> None:
        """End the child within a second and remove what it had half-written; may be repeated."""
        raise NotImplementedError
