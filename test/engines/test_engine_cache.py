# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Only our own, whole and current engines are loaded, and nothing is half-written."""

from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys
import threading

import pytest

from da_ros.engines import EngineJob
from da_ros.engines.cache import EngineCache
from da_ros.engines.private import CacheError

PLAN = bytes(range(256)) * 40


@pytest.fixture
def job(tmp_path):
    graph = tmp_path / 'model.onnx'
    graph.write_bytes(b'onnx')
    return EngineJob(graph, 'tiny/model.onnx', {
        'backend': 'tensorrt', 'version': '10.13.2.6', 'gpu': 'Fake GPU', 'sm': '8.9',
        'multiprocessors': '128', 'driver': '13.1', 'precision': 'fp32', 'options': '{}',
        'format': '1', 'onnx': 'ab'})


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / 'cache' / 'engines')


def stored(cache, job):
    cache.store(job, PLAN, 1.5)
    return cache.folder / f'{job.key}.plan', cache.folder / f'{job.key}.json'


def test_plan_survives_the_round_trip_privately(cache, job):
    assert cache.load(job) is None and cache.entries() == []
    plan, sidecar = stored(cache, job)
    assert cache.load(job) == PLAN and cache.missing([job]) == []
    assert [path.stat().st_mode & 0o777 for path in (cache.folder, plan, sidecar)] == [
        0o700, 0o600, 0o600]
    entry = cache.entry(job)
    assert (entry.name, entry.build_s, entry.size_bytes) == ('tiny/model.onnx', 1.5, len(PLAN))
    assert entry.ingredients == dict(job.ingredients) and not entry.proven


def test_a_home_that_does_not_exist_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', '~nobody_of_this_name/engines')
    with pytest.raises(CacheError, match='no home folder for ~nobody.*; set DA_ROS_ENGINE_CACHE'):
        EngineCache()


def test_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(tmp_path / 'elsewhere'))
    assert EngineCache().folder == tmp_path / 'elsewhere'
    monkeypatch.delenv('DA_ROS_ENGINE_CACHE')
    assert EngineCache().folder == Path('~/.cache/da_ros/engines').expanduser()


@pytest.mark.parametrize('name', ['backend', 'version', 'gpu', 'sm', 'multiprocessors', 'driver',
                                  'precision', 'options', 'format', 'onnx'])
def test_engine_of_anything_else_is_not_taken(cache, job, name):
    stored(cache, job)
    other = replace(job, ingredients=dict(job.ingredients) | {name: 'other'})
    assert cache.load(other) is None
    for suffix in ('plan', 'json'):            # not even under the right name
        (cache.folder / f'{job.key}.{suffix}').rename(cache.folder / f'{other.key}.{suffix}')
    assert cache.load(other) is None


def _change_plan(plan, sidecar):
    plan.write_bytes(PLAN[:100] + b'x' + PLAN[101:])


def _shorten_plan(plan, sidecar):
    plan.write_bytes(PLAN[:-1])


def _change_hash(plan, sidecar):
    sidecar.write_text(sidecar.read_text().replace('"plan_sha256": "', '"plan_sha256": "0'))


def _link(plan, sidecar):
    plan.rename(plan.with_suffix('.real'))
    plan.symlink_to(plan.with_suffix('.real'))


def _give_away(plan, sidecar):
    if os.geteuid():
        pytest.skip('only root can give a file to another user')
    os.chown(plan, 65534, 65534)


DAMAGES = {
    'changed': _change_plan, 'shortened': _shorten_plan, 'hash changed': _change_hash,
    'linked': _link, 'of another owner': _give_away,
    'no plan': lambda plan, sidecar: plan.unlink(),
    'no sidecar': lambda plan, sidecar: sidecar.unlink(),
    'sidecar cut': lambda plan, sidecar: sidecar.write_bytes(sidecar.read_bytes()[:50]),
    'sidecar of another shape': lambda plan, sidecar: sidecar.write_text('[1, 2]'),
    'sidecar with more fields': lambda plan, sidecar: sidecar.write_text(
        json.dumps(json.loads(sidecar.read_text()) | {'new': 1})),
    'plan writable by the group': lambda plan, sidecar: plan.chmod(0o620),
    'plan writable by all': lambda plan, sidecar: plan.chmod(0o602),
    'sidecar writable by all': lambda plan, sidecar: sidecar.chmod(0o602)}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_plan_that_is_not_surely_ours_is_built_again(cache, job, damage):
    damage(*stored(cache, job))
    assert cache.load(job) is None
    plan, _ = stored(cache, job)
    assert cache.load(job) == PLAN and plan.stat().st_mode & 0o777 == 0o600


def test_folder_that_others_may_write_is_refused(cache, job):
    stored(cache, job)
    cache.folder.chmod(0o777)
    for use in (lambda: cache.load(job), lambda: cache.store(job, PLAN, 0), cache.entries):
        with pytest.raises(CacheError, match='writable by others .owner.* mode 777.* `chmod go-w'):
            use()
    cache.folder.chmod(0o700)


def test_verdict_is_kept_until_the_next_build(cache, job):
    stored(cache, job)
    cache.record_check(cache.entry(job), True, 'scale 1.00001', 20)
    assert cache.entry(job).proven and cache.entry(job).check['repeats'] == 20
    before = (cache.folder / f'{job.key}.json').stat().st_mtime_ns
    cache.record_check(cache.entry(job), True, 'scale 1.00002', 3)     # less than known
    assert (cache.folder / f'{job.key}.json').stat().st_mtime_ns == before
    stored(cache, job)
    assert not cache.entry(job).proven


@pytest.mark.parametrize('passed', [True, False])
def test_verdict_on_a_plan_is_not_taken_for_the_one_built_since(cache, job, passed):
    stored(cache, job)
    checked = cache.entry(job)
    cache.clear()
    cache.record_check(checked, passed, 'of the old one', 20)
    assert cache.entry(job) is None
    cache.store(job, PLAN + b'new', 1.5)
    cache.record_check(checked, passed, 'of the old one', 20)
    assert cache.entry(job).check is None and cache.load(job) == PLAN + b'new'


def test_a_pass_does_not_undo_the_failure_that_another_process_met(cache, job):
    stored(cache, job)
    checked = cache.entry(job)
    cache.record_check(checked, False, '20 runs within 0.4', 20)
    cache.record_check(checked, True, 'fine this time', 20)
    with pytest.raises(CacheError, match='has failed its self-check .20 runs within 0.4'):
        cache.load(job)


def test_a_failure_told_while_a_pass_is_written_is_not_lost(cache, job, monkeypatch):
    stored(cache, job)
    checked, write = cache.entry(job), cache._write
    other = threading.Thread(target=EngineCache(cache.folder).record_check,
                             args=(checked, False, 'scale 1.3', 3))

    def write_late(entry):
        other.start()
        other.join(0.5)         # it must wait: what is written below was read before
        write(entry)
    monkeypatch.setattr(cache, '_write', write_late)
    cache.record_check(checked, True, 'fine', 20)
    other.join()
    assert cache.entry(job).check['report'] == 'scale 1.3'


def test_engine_that_failed_its_check_is_not_loaded_again(cache, job):
    stored(cache, job)
    cache.record_check(cache.entry(job), True, 'fine', 20)
    cache.record_check(cache.entry(job), False, 'scale 1.3 of 1 +- 0.001', 3)
    with pytest.raises(CacheError, match='tensorrt engine for tiny/model.onnx has failed its self-'
                                         'check .scale 1.3 .* `da_ros_engine clear`'):
        cache.load(job)
    assert cache.clear() > len(PLAN) and cache.load(job) is None


def test_nothing_is_removed_where_others_may_write(cache, job):
    plan, sidecar = stored(cache, job)
    sidecar.unlink()
    cache.folder.chmod(0o777)
    with pytest.raises(CacheError, match='writable by others'):
        cache.clear()
    cache.folder.chmod(0o700)
    assert plan.exists()


def test_lock_does_not_follow_a_link(cache, job, tmp_path):
    stored(cache, job)
    (cache.folder / f'{job.key}.lock').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(CacheError, match='cannot be written .Too many levels of symbolic links'):
        with cache.lock(job):
            pass
    assert not (tmp_path / 'elsewhere').exists()


def test_failure_is_kept_and_cleared(cache, job):
    cache.record_failure(job, 'no implementation for node 7')
    with pytest.raises(CacheError, match='no engine for tiny/model.onnx: no implement.* run'):
        cache.missing([job])
    assert not (cache.folder / f'{job.key}.plan').exists()
    assert [entry.failure for entry in cache.entries()] == ['no implementation for node 7']
    cache.clear([job.key])
    assert cache.missing([job]) == [job] and list(cache.folder.iterdir()) == []


def test_a_failure_leaves_the_plan_of_a_luckier_builder_alone(cache, job):
    stored(cache, job)
    cache.record_failure(job, 'the builder died of SIGKILL')
    assert cache.load(job) == PLAN
    (cache.folder / f'{job.key}.plan').write_bytes(b'damaged')
    cache.record_failure(job, 'the builder died of SIGKILL')
    with pytest.raises(CacheError, match='no engine for .*died of SIGKILL'):
        cache.load(job)


def test_a_plan_is_refused_once_and_its_successor_makes_a_failure(cache, job):
    stored(cache, job)
    for _ in range(2):                                   # two nodes had loaded the same plan
        cache.refuse(job, PLAN, 'wrong version')
    assert cache.missing([job]) == [job] and not cache.entry(job).failure
    stored(cache, job)
    cache.refuse(job, b'a plan of before', 'wrong version')
    assert cache.load(job) == PLAN
    cache.refuse(job, PLAN, 'wrong version')
    with pytest.raises(CacheError, match=r'no engine for .*its plan does not load \(wrong vers'):
        cache.load(job)
    assert not (cache.folder / f'{job.key}.plan').exists()


def test_clear_takes_only_what_is_named_and_nothing_foreign(cache, job):
    other = replace(job, ingredients=dict(job.ingredients) | {'precision': 'fp16'})
    stored(cache, job)
    stored(cache, other)
    (cache.folder / 'notes.txt').write_text('mine')
    cache.clear([job.key])
    assert cache.load(job) is None and cache.load(other) == PLAN
    cache.clear()
    assert [path.name for path in cache.folder.iterdir()] == ['notes.txt']
    assert EngineCache(cache.folder / 'absent').clear() == 0


def test_full_disk_is_one_error_and_leaves_nothing(small_disk, job):
    cache = EngineCache(small_disk / 'engines')
    with pytest.raises(CacheError, match='disk/engines cannot be written .No space left on device'
                                         '.; make room .* or set DA_ROS_ENGINE_CACHE'):
        cache.store(job, bytes(100_000), 1.0)
    assert list(cache.folder.iterdir()) == []
    stored(cache, job)
    with pytest.raises(CacheError, match='No space left'):
        cache.store(job, bytes(100_000), 1.0)
    assert not list(cache.folder.glob('*.part')) and cache.load(job) is None


def test_file_size_limit_is_one_error_and_leaves_nothing(cache, job):
    code = f"""
import resource
from da_ros.engines import EngineJob
from da_ros.engines.cache import EngineCache
from da_ros.engines.private import CacheError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
job = EngineJob.from_json({job.to_json()!r})
try: EngineCache({str(cache.folder)!r}).store(job, bytes(9999), 1)
except CacheError as error: print(error)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert 'cannot be written (File too large)' in done.stdout, done.stderr
    assert list(cache.folder.iterdir()) == []


def test_read_only_folder_serves_what_is_proven(small_disk, job):
    cache = EngineCache(small_disk / 'engines')
    stored(cache, job)
    cache.record_check(cache.entry(job), True, 'fine', 20)
    subprocess.run(['mount', '-o', 'remount,ro', str(small_disk)], check=True)
    assert cache.load(job) == PLAN
    cache.record_check(cache.entry(job), True, 'fine', 3)
    for use in (lambda: cache.store(job, PLAN, 1.0), cache.clear,
                lambda: cache.record_check(cache.entry(job), False, 'bad', 3),
                lambda: cache.lock(job).__enter__()):
        with pytest.raises(CacheError, match='cannot be written .Read-only file system'):
            use()
    assert cache.load(job) == PLAN


def test_folder_that_cannot_be_made_is_named(job):
    cache = EngineCache('/proc/engines')
    assert cache.load(job) is None
    with pytest.raises(CacheError, match='engine cache /proc/engines cannot be written .No such'):
        cache.store(job, PLAN, 1.0)
