from dataclasses import replace

import numpy as np
import pytest

from training.data.files import DataError
from training.data.mixture import check_has_valid, Component, Mixture, resized
from training.data.shards import ShardSet, write_shard
from training.sample import Sample


def sample_of(value, size=(8, 16)):
    range_m = np.full(size, value, np.float32)
    return Sample(np.zeros((*size, 3), np.uint8), range_m, np.isfinite(range_m), 'x')


class Fixed(list):
    """Samples of a list; an exception in it is raised."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        if isinstance(item, Exception):
            raise item
        return item


def mixture_of(*parts, **options):
    return Mixture([Component(f'set{i}', Fixed(items), p) for i, (items, p) in enumerate(parts)],
                   **options)


def test_sets_are_drawn_with_their_probabilities():
    mixture = mixture_of(([sample_of(1.0)], 3), ([sample_of(2.0)] * 50, 1), seed=5)
    drawn = [mixture[step].range_m[0, 0] for step in range(2000)]
    assert np.mean(np.equal(drawn, 1.0)) == pytest.approx(0.75, abs=0.03)
    assert mixture.names() == ['set0: 1 samples, 75.00 %', 'set1: 50 samples, 25.00 %']


def test_a_step_depends_on_seed_and_step_alone():
    parts = [([sample_of(float(i)) for i in range(1, 40)], 1)] * 2
    first, again, other = (mixture_of(*parts, seed=s) for s in (1, 1, 2))
    steps = np.random.default_rng(0).permutation(200)
    values = {step: first[step].range_m[0, 0] for step in steps}
    assert all(again[step].range_m[0, 0] == values[step] for step in range(200))
    assert sum(other[step].range_m[0, 0] != values[step] for step in range(200)) > 150


def test_corrupt_and_empty_samples_are_skipped_counted_and_named():
    bad = DataError('a/7.png is cut off; fetch it again')
    mixture = mixture_of(([sample_of(1.0), bad, sample_of(np.nan)], 1))
    assert all(mixture[step].range_m[0, 0] == 1 for step in range(50))
    assert mixture.skips.report() == [
        'set0: 2 skipped', *sorted(['  a/7.png is cut off; fetch it again',
                                    '  set0 sample 2 has no valid pixel'],
                                   key=mixture.skips.report().index)]


def test_a_set_without_a_valid_pixel_stops_with_its_name():
    with pytest.raises(DataError, match='data set set1 has no valid pixel in 3 samples'):
        mixture_of(([sample_of(1.0)], 1), ([sample_of(np.inf)] * 3, 1))
    with pytest.raises(DataError, match='data set set0 has no sample'):
        mixture_of(([], 1))
    with pytest.raises(DataError, match='the first: lost'):
        check_has_valid('x', Fixed([DataError('lost')] * 30))


def test_a_set_that_turns_bad_stops_with_its_name():
    mixture = mixture_of(([sample_of(1.0)] + [DataError('lost')] * 2000, 1))
    with pytest.raises(DataError, match='data set set0: 20 samples in a row .* the last: lost'):
        for step in range(100):
            mixture[step]


@pytest.mark.parametrize('weights', [[-1, 2], [0, 0], [np.nan, 1], []])
def test_probabilities_are_checked(weights):
    with pytest.raises(DataError, match='are no mixture'):
        mixture_of(*(([sample_of(1.0)], w) for w in weights))


def test_shards_mix_with_other_sets_at_one_size(tmp_path):
    write_shard(tmp_path / '0.tar', [sample_of(1.0, (16, 32))] * 2, {})
    mixture = Mixture([Component('shards', ShardSet([tmp_path]), 1),
                       Component('own', Fixed([sample_of(2.0)]), 1)], height=8)
    assert {mixture[step].image.shape for step in range(20)} == {(8, 16, 3)}


def test_resizing_keeps_unknown_and_empty():
    sample = sample_of(3.0, (32, 64))
    sample.range_m[:16], sample.range_m[:8] = np.nan, np.inf
    small = resized(replace(sample, valid=np.isfinite(sample.range_m)), 8)
    assert np.isposinf(small.range_m[:2]).all() and np.isnan(small.range_m[2:4]).all()
    assert (small.range_m[4:] == 3).all() and np.array_equal(
        small.valid, np.isfinite(small.range_m))
