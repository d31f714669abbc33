"""Engines that are missing are built, but never for ever."""

import time

import pytest

from da_ros.backends.base import BackendError, EngineMissing
from da_ros.building import Building
from da_ros.commands.foreground import open_in_foreground
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
    monkeypatch.setattr('da_ros.estimator.BACKENDS', ['tensorrt', 'onnxruntime'])
    estimator = open_in_foreground(lambda given_up: RangeEstimator(stand_in, 'auto',
                                                                   given_up=given_up))
    assert estimator.backend == 'onnxruntime fp32'
    assert capsys.readouterr().err.count('tensorrt fp32: engine not built: ') == 1
    assert 'could not find any implementation' in estimator.refused[0]


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
