# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Work that is spread over processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
import multiprocessing
import os
from typing import TypeVar

from training.data.shards import ShardError

THREADS = ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS')

Job = TypeVar('Job')
Result = TypeVar('Result')


def spread(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """
    Yield `work(job)` of every job, in the order in which they are done.

    The linear algebra of each process runs on one thread: they share the cores.

    :param workers: processes, >= 1
    :raises ShardError: if a process died; what `work` raises comes through
    """
    with _one_thread_each(), ProcessPoolExecutor(
            workers, multiprocessing.get_context('spawn')) as pool:
        try:
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise ShardError('a process died, mostly for want of memory; lower --workers '
                             f'({workers}); finished shards are kept') from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Say so in the environment, which a process reads when it imports numpy."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, '1'))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
