# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the schedule and the learning rates."""

import pytest
from tiny_training import TINY

pytest.importorskip('torch')
pytest.importorskip('accelerate')

from training import train
from training.networks import build_network
from training.run import optimise
from training.run.config import config_from_dict, TrainError
from training.run.optimise import parameter_groups, rate_factor, Schedule, training_time


def test_schedule_ends_by_steps_time_or_deadline(monkeypatch):
    def schedule(*words):
        return Schedule(train.parse_args(
            ['--config', 'c', '--data', 'd', '--out', 'o', *words]))
    assert schedule('--steps', '10').progress(5, 1e9) == 0.5
    assert schedule('--minutes', '2').progress(10 ** 9, 60) == 0.5
    by_clock = schedule('--deadline', '12:00')
    monkeypatch.setattr(optimise.time, 'time', lambda: by_clock.end - 300)
    assert by_clock.progress(0, 900) == 0.75
    monkeypatch.setattr(optimise.time, 'time', lambda: by_clock.end + 1)
    assert by_clock.progress(0, 900) == 1
    with pytest.raises(TrainError, match='exactly one'):
        schedule()
    with pytest.raises(TrainError, match='not HH:MM'):
        schedule('--deadline', 'noon')


@pytest.mark.parametrize('words, message', [
    (['--steps', '0'], '--steps must be above 0, got 0'),
    (['--minutes', '-1'], '--minutes must be above 0, got -1.0'),
    (['--minutes', 'nan'], '--minutes must be above 0, got nan'),
    (['--deadline', '25:00'], "--deadline '25:00' is not HH:MM"),
    (['--deadline=-3:10'], "--deadline '-3:10' is not HH:MM")])
def test_an_end_that_cannot_be_is_refused(words, message):
    with pytest.raises(TrainError, match=message):
        Schedule(train.parse_args(['--config', 'c', '--data', 'd', '--out', 'o', *words]))


def test_a_deadline_keeps_to_its_day_for_the_same_command_only(monkeypatch):
    def schedule(text):
        return Schedule(train.parse_args(
            ['--config', 'c', '--data', 'd', '--out', 'o', f'--deadline={text}']))
    now = 86400.0 * 20000
    monkeypatch.setattr(optimise.time, 'time', lambda: now)
    first = schedule('12:00').state()
    now += 13 * 3600
    same, other = schedule('12:00'), schedule('14:00')
    assert same.go_on(first) and same.progress(1, 100) == 1
    assert not other.go_on(first) and other.progress(1, 3600) == 0.5


@pytest.mark.parametrize('recent_s, counted_s', [
    ([0.5, 0.5, 900.0], 20.0), ([0.5, 900.0], 20.0), ([0.5, 12.0], 12.0),       # it stood
    ([60.0], 60.0), ([60.0, 70.0, 65.0], 65.0), ([60.0, 60.0, 4000.0], 300.0)])
def test_long_steps_are_training_and_a_stop_is_not(recent_s, counted_s):
    assert training_time(recent_s) == counted_s


def test_rate_warms_up_and_falls_to_zero():
    config = config_from_dict({'network': 'pano_tiny', 'warmup_steps': 4})
    assert rate_factor(config, 0, 0.0) == 0.25
    assert rate_factor(config, 100, 0.5) == pytest.approx(0.5)
    assert rate_factor(config, 100, 1.2) == pytest.approx(0)


def test_what_is_together_does_not_depend_on_the_settings():
    network = build_network('pano_tiny', TINY)
    names = {id(p): name for name, p in network.named_parameters()}

    def groups(**changes):
        config = config_from_dict({'network': 'pano_tiny', 'model': TINY, **changes})
        return parameter_groups(network, config)
    first = [[names[id(p)] for p in group['params']] for group in groups()]
    assert len(first) == 4 and all(first)
    for changes in ({'encoder_learning_rate': 1e-4}, {'weight_decay': 0.0},
                    {'encoder_learning_rate': 5e-5, 'learning_rate': 5e-5, 'weight_decay': 0.0}):
        assert [[names[id(p)] for p in group['params']] for group in groups(**changes)] == first
    network.requires_grad_(False)
    network.out.weight.requires_grad_(True)
    assert len(groups()) == 1


def test_encoder_learns_at_its_own_rate():
    config = config_from_dict({'network': 'pano_tiny', 'model': TINY, 'learning_rate': 5e-5,
                               'encoder_learning_rate': 5e-6})
    network = build_network('pano_tiny', TINY)
    rates = {id(p): g['rate'] for g in parameter_groups(network, config) for p in g['params']}
    assert rates[id(network.stem.conv.weight)] == rates[id(network.stages[3][0].conv.weight)]
    assert rates[id(network.stem.conv.weight)] == 5e-6 and rates[id(network.out.weight)] == 5e-5
    assert len(rates) == len(list(network.parameters()))
