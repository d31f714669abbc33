# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from training.data.checks import check_has_valid, resized, Skips, usable
from training.data.files import DataError
from training.data.sample import Sample


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


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_sample_without_a_valid_pixel_is_named(value):
    samples = Fixed([sample_of(1.0), sample_of(value)])
    assert usable(samples, 0).valid.all()
    with pytest.raises(DataError, match='a/b sample 1 has no valid pixel'):
        usable(samples, 1, 'a/b')


def test_a_set_without_a_valid_pixel_stops_with_its_name():
    check_has_valid('good', Fixed([DataError('lost')] * 30 + [sample_of(1.0)]))
    with pytest.raises(DataError, match='data set dark has no valid pixel in 3 samples'):
        check_has_valid('dark', Fixed([sample_of(np.inf)] * 3))
    with pytest.raises(DataError, match='data set none has no sample'):
        check_has_valid('none', Fixed())
    with pytest.raises(DataError, match='in 8 samples over the whole set; the first: lost'):
        check_has_valid('x', Fixed([DataError('lost')] * 300))


def test_what_was_skipped_is_counted_and_named_once():
    skips = Skips()
    for name, reason in (('b', 'b/1 is cut off'), ('a', 'a/7 is lost'), ('b', 'b/2 is cut off'),
                         ('b', 'b/1 is cut off')):
        skips.add(name, reason)
    assert skips.report() == ['a: 1 skipped', '  a/7 is lost', 'b: 2 skipped',
                              '  b/1 is cut off', '  b/2 is cut off']


def test_resizing_keeps_unknown_and_empty():
    sample = sample_of(3.0, (32, 64))
    sample.range_m[:16], sample.range_m[:8] = np.nan, np.inf
    small = resized(replace(sample, valid=np.isfinite(sample.range_m)), 8)
    assert np.isposinf(small.range_m[:2]).all() and np.isnan(small.range_m[2:4]).all()
    assert (small.range_m[4:] == 3).all() and small.image.shape == (8, 16, 3)
    assert np.array_equal(small.valid, np.isfinite(small.range_m))
