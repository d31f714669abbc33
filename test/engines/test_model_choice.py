# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which bundle runs where none is named: real stand-in bundles, timed for real where it counts."""

import json

from conftest import write_stand_in_bundle
import pytest

from da_ros.backends import model_choice
from da_ros.backends.base import EngineMissing
from da_ros.backends.model_choice import open_best, STORE
from da_ros.estimator import FrameError, RangeEstimator


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The file of what was measured; the measurement takes a fifth of a second."""
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(model_choice, 'MEASURED_S', 0.2)
    monkeypatch.setattr(model_choice, 'CAMERA_HW', (64, 128))
    return tmp_path / 'cache' / STORE


@pytest.fixture
def models(tmp_path):
    """Folders of a better bundle and a faster one."""
    return tuple(str(write_stand_in_bundle(tmp_path / name).folder)
                 for name in ('better', 'faster'))


def choose(models, backend='onnxruntime', threads=1, cameras=1):
    """Return the folder that was taken, the reason, and the folders opened on the way."""
    opened = []

    def open_model(name):
        opened.append(name)
        return RangeEstimator(name, backend, threads)
    choice = open_best(open_model, backend, threads, models, cameras)
    choice.estimator.close()
    return str(choice.estimator.bundle.folder), choice.reason, opened


def gives(monkeypatch, rate_hz):
    monkeypatch.setattr(model_choice, 'sustained_hz', lambda estimator: rate_hz)


def never_again(monkeypatch):
    def measure(estimator):
        raise AssertionError('measured again')
    monkeypatch.setattr(model_choice, 'sustained_hz', measure)


def test_each_of_two_cameras_is_to_have_its_rate(models, store, monkeypatch):
    gives(monkeypatch, 20.0)
    assert choose(models)[0] == models[0]
    taken, reason, _ = choose(models, cameras=2)
    assert taken == models[1]
    assert reason.endswith('gives 20.0 Hz on this machine, 25.6 are asked for, so that 8 are left '
                           'for each of 2 cameras beside them and consumers')
    never_again(monkeypatch)
    assert choose(models)[0] == models[0] and choose(models, cameras=2)[0] == models[1]


def test_a_fast_machine_takes_the_better_one_and_remembers(models, store, monkeypatch):
    taken, reason, _ = choose(models)
    assert taken == models[0] and reason.startswith(f'{models[0]} alone gives ')
    assert reason.endswith(' Hz on this machine, 12.8 are asked for, so that 8 are left beside '
                           'camera and consumers')
    assert store.stat().st_mode & 0o777 == 0o600
    never_again(monkeypatch)
    assert choose(models) == (taken, reason, [models[0]])


def test_a_slow_one_takes_the_faster_one_and_does_not_open_the_other_again(
        tmp_path, models, store, monkeypatch):
    slow = str(write_stand_in_bundle(tmp_path / 'slow', work=20).folder), models[1]
    taken, reason, opened = choose(slow)
    assert taken == models[1] and opened == list(slow)
    assert float(reason.split(' gives ')[1].split(' Hz')[0]) < 12.8
    never_again(monkeypatch)
    assert choose(slow) == (taken, reason, [models[1]])


@pytest.mark.parametrize('rate_hz, before, better', [
    (12.9, '', True), (12.7, '', False),
    (10.4, 'better', True), (10.1, 'better', False),
    (15.2, 'faster', False), (15.5, 'faster', True)])
def test_what_runs_is_not_given_up_for_a_fifth(
        models, store, monkeypatch, rate_hz, before, better):
    if before:
        store.parent.mkdir(mode=0o700)
        store.write_text(json.dumps({'chosen': models[before == 'faster'], 'fast': {}}))
        store.chmod(0o600)
    gives(monkeypatch, rate_hz)
    taken, reason, _ = choose(models)
    assert taken == models[not better]
    assert ('what ran before stays within 20%' in reason) == (better != (rate_hz >= 12.8))
    assert choose(models)[1] == reason


def test_another_bundle_runtime_or_number_of_threads_is_measured_for_itself(
        tmp_path, models, store, monkeypatch):
    gives(monkeypatch, 20.0)
    choose(models)
    other = str(write_stand_in_bundle(tmp_path / 'other', size_hw=(64, 128)).folder), models[1]
    for change in ({'threads': 2}, {'backend': 'openvino'}, {'models': other}):
        gives(monkeypatch, 1.0)
        assert choose(**{'models': models, **change})[0] == models[1], change
    never_again(monkeypatch)
    assert choose(models)[0] == models[0]


@pytest.mark.parametrize('content', ['', '{', '[]', '{"fast": 3}', '{"fast": {"a": [1]}}',
                                     '{"fast": {"a": ["x", 1]}}'])
def test_a_damaged_store_counts_as_nothing_known(models, store, monkeypatch, content):
    store.parent.mkdir(mode=0o700)
    store.write_text(content)
    store.chmod(0o600)
    gives(monkeypatch, 20.0)
    assert choose(models)[0] == models[0]
    assert len(json.loads(store.read_text())['fast']) == 1


def test_a_store_that_cannot_be_written_is_told_with_the_reason(models, store, monkeypatch):
    store.parent.mkdir()
    store.parent.chmod(0o777)
    gives(monkeypatch, 20.0)
    taken, reason, _ = choose(models)
    assert taken == models[0] and '(measured again at every start: ' in reason
    assert 'writable by others' in reason and not store.exists()


def test_a_damaged_better_one_is_told_and_the_faster_one_runs(tmp_path, models, store):
    (tmp_path / 'better' / 'model.onnx').write_bytes(b'')
    taken, reason, opened = choose(models)
    assert taken == models[1] and opened == [models[1]] and not store.exists()
    assert reason.startswith(f'{models[0]} cannot be used: ') and 'model.onnx' in reason


def test_a_better_one_that_gives_no_numbers_is_told_and_closed(models, store, monkeypatch):
    closed = []

    def measure(estimator):
        monkeypatch.setattr(estimator, 'close', lambda: closed.append(estimator))
        raise FrameError('onnxruntime fp32 gave a non-finite range; frame refused')
    monkeypatch.setattr(model_choice, 'sustained_hz', measure)
    taken, reason, _ = choose(models)
    assert taken == models[1] and len(closed) == 1 and not store.exists()
    assert reason == (f'{models[0]} cannot be used: onnxruntime fp32 gave a non-finite range; '
                      'frame refused')


def test_a_missing_engine_is_built_before_anything_is_decided(models, store):
    def open_model(name):
        raise EngineMissing('engine missing', [])
    with pytest.raises(EngineMissing):
        open_best(open_model, 'auto', 0, models)
    assert not store.exists()
