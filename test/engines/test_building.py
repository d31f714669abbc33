# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Engines that are missing are built, but never for ever."""

from contextlib import suppress
import time

import pytest

from da_ros.backends.base import BackendError, EngineMissing
from da_ros.commands.foreground import open_in_foreground
from da_ros.engines.building import Building
from da_ros.engines.cache import EngineCache
from da_ros.estimator import RangeEstimator


def test_engines_that_never_load_are_given_up_after_two_builds(stand_in, stand_in_tensorrt,
                                                               monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('STAND_IN_LIES', 'no_load')
    monkeypatch.setenv('STAND_IN_BUILDS', str(tmp_path / 'builds'))
    with pytest.raises(BackendError, match='no inference runtime works: .*stdVersionRead failed.* '
                                           'but 2 builds were in vain'):
        open_in_foreground(lambda given_up: RangeEstimator(stand_in, 'tensorrt',
                                                           given_up=given_up))
    assert len((tmp_path / 'builds').read_text().splitlines()) == 2
    assert capsys.readouterr().err.count('tensorrt fp32: engine built in') == 2


def test_a_runtime_that_cannot_be_built_is_told_once_and_the_next_one_serves(
        stand_in, stand_in_tensorrt, monkeypatch, capsys):
    monkeypatch.setenv('STAND_IN_LIES', 'no_build')
    monkeypatch.setattr('da_ros.backends.chain.BACKENDS', ['tensorrt', 'onnxruntime'])
    estimator = open_in_foreground(lambda given_up: RangeEstimator(stand_in, 'auto',
                                                                   given_up=given_up))
    assert estimator.backend == 'onnxruntime fp32'
    assert capsys.readouterr().err.count('tensorrt fp32: engine not built: ') == 1
    assert 'could not find any implementation' in estimator.refused[0]


def opened_when_built(building, make):
    while True:
        try:
            return building.open(make)
        except EngineMissing:
            while not building.ended():
                time.sleep(0.05)


def test_the_cache_alone_remembers_what_cannot_be_built(stand_in, stand_in_tensorrt, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'no_build')

    def make(given_up):
        return RangeEstimator(stand_in, 'tensorrt', given_up=given_up)

    building = Building()
    with pytest.raises(BackendError, match='has no engine for .*any implementation.* '
                                           '`da_ros_engine clear`'):
        opened_when_built(building, make)
    assert building.given_up == {}
    monkeypatch.delenv('STAND_IN_LIES')             # mended, and forgotten where it is remembered
    with pytest.raises(BackendError, match='any implementation'):
        opened_when_built(building, make)
    EngineCache().clear()
    opened_when_built(building, make).close()


def test_what_the_cache_cannot_keep_is_given_up_after_two_builds_with_its_reason(
        stand_in, stand_in_tensorrt, monkeypatch, small_disk, tmp_path):
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(small_disk))
    monkeypatch.setenv('STAND_IN_BUILDS', str(tmp_path / 'builds'))
    with (small_disk / 'full').open('wb', buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    building = Building()
    with pytest.raises(BackendError, match='2 builds were in vain .*No space left on device'):
        opened_when_built(building, lambda given_up: RangeEstimator(stand_in, 'tensorrt',
                                                                    given_up=given_up))
    assert list(building.given_up) == [('tensorrt', 'fp32')]
    assert len((tmp_path / 'builds').read_text().splitlines()) == 2


@pytest.mark.parametrize('asked_again', [True, False])
def test_build_goes_on_only_if_it_is_still_wanted(asked_again, stand_in, stand_in_tensorrt,
                                                  monkeypatch):
    monkeypatch.setenv('STAND_IN_STEP_S', '0.2')

    def make(given_up):
        return RangeEstimator(stand_in, 'tensorrt', given_up=given_up)

    building = Building()
    with pytest.raises(EngineMissing):
        building.open(make)
    building.forget()
    if asked_again:
        with pytest.raises(EngineMissing):
            building.open(make)
    while not (ended := building.ended()):
        time.sleep(0.05)
    assert building.text == building.ended() == ''
    if asked_again:
        assert 'engine built in' in ended and building.open(make).backend == 'tensorrt fp32'
    else:
        assert ended == 'tensorrt fp32: build ended, because something else is wanted now'
        with pytest.raises(EngineMissing):
            building.open(make)
    building.cancel()
