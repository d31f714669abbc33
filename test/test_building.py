"""Engines that are missing are built, but never for ever."""

import pytest

from da_ros.backends.base import BackendError
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
