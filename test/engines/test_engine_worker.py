# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Engines are built in a child that tells, obeys, dies with its parent and is not run twice."""

import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest

from da_ros.backends.base import BackendError
from da_ros.engines import jobs_for
from da_ros.engines.cache import EngineCache
from da_ros.engines.worker import build_missing, EngineBuild


@pytest.fixture
def jobs(stand_in_tensorrt, stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv('STAND_IN_BUILDS', str(tmp_path / 'builds'))
    return jobs_for(stand_in, 'tensorrt', 'fp32')


def builds(tmp_path):
    return (tmp_path / 'builds').read_text().splitlines()


def wait(build, until, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not until(build):
        assert time.monotonic() < end, (build.poll(), build.progress, build.error)
        time.sleep(0.02)
    return build


def finished(build):
    return wait(build, lambda b: b.poll() != 'running')


def test_build_reports_progress_and_fills_the_cache(jobs, monkeypatch):
    monkeypatch.setenv('STAND_IN_STEP_S', '0.2')
    build, shares = EngineBuild(jobs), []
    build.start()
    wait(build, lambda b: shares.append(b.progress[0]) or b.poll() != 'running')
    assert (build.poll(), build.error) == ('done', '')
    assert shares == sorted(shares) and any(0 < share < 1 for share in shares)
    assert build.progress == (1.0, 'engines are built')
    assert EngineCache().missing(jobs) == []
    assert EngineCache().entry(jobs[0]).build_s >= 0.8
    assert list(EngineCache().folder.glob('*.timing'))


def test_two_builders_build_once(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv('STAND_IN_STEP_S', '0.2')
    pair = [EngineBuild(jobs) for _ in range(3)]
    for build in pair:
        build.start()
    assert [finished(build).poll() for build in pair] == ['done'] * 3
    assert len(builds(tmp_path)) == 1 and EngineCache().missing(jobs) == []


def started(jobs, monkeypatch, tmp_path):
    """Return a build that has reached the library and would take a minute."""
    monkeypatch.setenv('STAND_IN_STEP_S', '15')
    build = EngineBuild(jobs)
    build.start()
    return wait(build, lambda b: (tmp_path / 'builds').exists())


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except OSError:
        return False


def test_cancelling_ends_the_child_within_a_second(jobs, monkeypatch, tmp_path):
    build = started(jobs, monkeypatch, tmp_path)
    pid = build._child.pid
    (EngineCache().folder / f'{jobs[0].key}.plan.{pid}.part').write_bytes(b'half')
    begun = time.monotonic()
    build.cancel()
    assert time.monotonic() - begun < 1 and not alive(pid)
    assert (build.poll(), build.error) == ('failed', 'cancelled')
    assert not list(EngineCache().folder.glob('*.part')) and EngineCache().missing(jobs) == jobs
    build.cancel()
    monkeypatch.setenv('STAND_IN_STEP_S', '0')
    again = EngineBuild(jobs)
    again.start()
    assert finished(again).poll() == 'done'


def test_the_end_of_a_builder_does_not_take_the_plan_that_another_has_built(
        jobs, monkeypatch, tmp_path):
    build = started(jobs, monkeypatch, tmp_path)
    os.kill(build._child.pid, signal.SIGKILL)
    build._child.wait()
    EngineCache().store(jobs[0], b'of another process', 1.0)
    assert build.poll() == 'failed' and 'died of SIGKILL' in build.error
    assert EngineCache().load(jobs[0]) == b'of another process'


def test_child_ends_with_its_parent(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv('STAND_IN_STEP_S', '15')
    code = f"""
import os, signal, sys, time
from da_ros.engines import EngineJob
from da_ros.engines.worker import EngineBuild
build = EngineBuild([EngineJob.from_json({jobs[0].to_json()!r})])
build.start()
while not os.path.exists({str(tmp_path / 'builds')!r}):
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': path}, timeout=60)
    pid, end = int(builds(tmp_path)[0]), time.monotonic() + 2
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(pid) and EngineCache().missing(jobs) == jobs


def test_killed_child_is_remembered(jobs, monkeypatch, tmp_path):
    build = started(jobs, monkeypatch, tmp_path)
    os.kill(build._child.pid, signal.SIGKILL)
    assert finished(build).poll() == 'failed'
    assert build.error == 'the builder died of SIGKILL; is the memory large enough?'
    with pytest.raises(BackendError, match='died of SIGKILL.*`da_ros_engine clear`'):
        EngineCache().missing(jobs)


def test_killed_child_is_remembered_though_a_plan_was_there_before(jobs, monkeypatch, tmp_path):
    EngineCache().store(jobs[0], b'a plan', 1.0)
    next(EngineCache().folder.glob('*.plan')).write_bytes(b'damaged')
    build = started(jobs, monkeypatch, tmp_path)
    os.kill(build._child.pid, signal.SIGKILL)
    assert finished(build).poll() == 'failed'
    with pytest.raises(BackendError, match='died of SIGKILL.*`da_ros_engine clear`'):
        EngineCache().missing(jobs)


def test_crash_of_the_library_is_remembered(jobs, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'crash')
    build = EngineBuild(jobs)
    build.start()
    assert finished(build).poll() == 'failed' and 'died of SIGABRT' in build.error
    with pytest.raises(BackendError, match='died of SIGABRT'):
        EngineCache().missing(jobs)


def test_child_that_is_asked_to_end_is_not_blamed(jobs, monkeypatch, tmp_path):
    build = started(jobs, monkeypatch, tmp_path)
    os.kill(build._child.pid, signal.SIGTERM)
    assert finished(build).poll() == 'failed' and EngineCache().missing(jobs) == jobs


def test_refusal_of_the_library_is_passed_on_and_remembered(jobs, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'no_build')
    build = EngineBuild(jobs)
    build.start()
    assert finished(build).poll() == 'failed'
    assert build.error == ('tensorrt 10.13.2.6 cannot build stand_in/model.onnx: could not find '
                           'any implementation for node MatMul_7')
    with pytest.raises(BackendError, match='MatMul_7; run `da_ros_engine clear`'):
        EngineCache().missing(jobs)


def test_full_disk_fails_the_build_but_not_the_graph(jobs, small_disk, monkeypatch):
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(small_disk))
    (small_disk / 'filler').write_bytes(bytes(60 << 10))
    build = EngineBuild(jobs)
    build.start()
    assert finished(build).poll() == 'failed' and 'No space left on device' in build.error
    (small_disk / 'filler').unlink()
    assert EngineCache().missing(jobs) == jobs


def test_graph_that_changes_meanwhile_is_not_built(jobs):
    jobs[0].graph.write_bytes(jobs[0].graph.read_bytes() + b'x')
    build = EngineBuild(jobs)
    build.start()
    assert finished(build).poll() == 'failed'
    assert 'model.onnx has changed since the bundle was loaded; load it again' in build.error
    assert EngineCache().missing(jobs) == jobs


def test_broken_timings_are_replaced(jobs):
    timing = EngineCache().timing_path(jobs[0])
    timing.parent.mkdir(mode=0o700)
    timing.write_bytes(b'broken')
    timing.chmod(0o600)
    build_missing(jobs[0], EngineCache(), lambda share: None)
    assert timing.read_bytes() == b'.'
