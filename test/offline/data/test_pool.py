# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Work in processes: one thread each, and a death is told."""

import os
import signal

import pytest

from training.data.pool import spread, THREADS
from training.data.shards import ShardError


def test_processes_do_their_linear_algebra_on_one_thread(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    monkeypatch.delenv('OPENBLAS_NUM_THREADS', raising=False)
    assert list(spread(os.getenv, THREADS, 2)) == ['1', '1']
    assert [os.environ.get(name) for name in THREADS] == ['7', None]


def test_a_process_that_the_kernel_kills_ends_the_work_with_its_reason():
    with pytest.raises(ShardError, match=r'a process died, mostly .*; lower --workers \(1\); fin'):
        list(spread(signal.raise_signal, [signal.SIGKILL, signal.SIGCHLD], 1))


def test_what_the_work_raises_comes_through():
    with pytest.raises(ValueError, match='invalid literal for int'):
        list(spread(int, ['1', 'x'], 1))
