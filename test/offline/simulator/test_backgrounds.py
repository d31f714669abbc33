# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a network says of a photograph fills in what the hand-made label leaves open."""

import numpy as np
import pytest

from training.data.sample import Sample
from training.data.shards import ShardError, write_shard
from training.simulator.backgrounds import filled, load_backgrounds

TRUTH = np.tile(np.linspace(1.0, 8.0, 40)[::-1, None], (1, 60)).astype(np.float32)


@pytest.fixture
def by_hand():
    """The lower half of the range, as a label of the floor knows it."""
    range_m = TRUTH.copy()
    range_m[:20] = np.nan
    return range_m


def test_one_factor_brings_the_prediction_to_the_height_of_the_label(by_hand):
    np.testing.assert_allclose(filled(by_hand, 1.7 * TRUTH), TRUTH, rtol=1e-5)


def test_what_was_labelled_by_hand_stays_as_it_is(by_hand):
    said = TRUTH * np.exp(np.random.default_rng(1).normal(0, 0.03, TRUTH.shape))
    range_m = filled(by_hand, said.astype(np.float32))
    np.testing.assert_array_equal(range_m[20:], by_hand[20:])
    assert np.isfinite(range_m[:20]).all()


def test_columns_that_contradict_the_hand_are_not_taken(by_hand):
    said = TRUTH.copy()
    said[:, 7:12] *= 1.5            # a thing that the network sees too far away
    range_m = filled(by_hand, said)
    assert np.isnan(range_m[:20, 7:12]).all()
    assert np.isfinite(range_m[:20, 12:]).all() and np.isfinite(range_m[:20, :7]).all()


def test_what_neither_knows_stays_unknown_and_sky_stays_empty(by_hand):
    said = TRUTH.copy()
    said[:3], said[3:6] = np.inf, np.nan
    range_m = filled(by_hand, said)
    assert np.isinf(range_m[:3]).all() and np.isnan(range_m[3:6]).all()


def test_a_prediction_of_another_size_is_brought_to_that_of_the_label(by_hand):
    said = TRUTH[::2, ::2]
    assert filled(by_hand, said).shape == by_hand.shape


def test_without_a_pixel_in_common_nothing_is_filled_in(by_hand):
    np.testing.assert_array_equal(filled(by_hand, np.full_like(TRUTH, np.nan)), by_hand)


def test_labels_are_found_by_the_name_of_their_picture(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    sample = Sample(image, TRUTH, np.isfinite(TRUTH), 'x', 1.5, {'name': 'level/a_hall_1k.jpg'})
    write_shard(tmp_path / '00000.tar', [sample], {})
    found = load_backgrounds(tmp_path)
    assert list(found) == ['a_hall_1k']
    np.testing.assert_allclose(found['a_hall_1k'], TRUTH, rtol=1e-3)


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(ShardError, match=str(tmp_path)):
        load_backgrounds(tmp_path)


def test_shards_that_are_no_labels_are_one_line(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    sample = Sample(image, TRUTH, np.isfinite(TRUTH), 'home', 1.5)
    write_shard(tmp_path / '00000.tar', [sample], {})
    with pytest.raises(ShardError, match='does not say of which picture it is a label; give what'):
        load_backgrounds(tmp_path)
    (tmp_path / '00000.tar').write_bytes((tmp_path / '00000.tar').read_bytes()[:700])
    with pytest.raises(ShardError, match='00000.tar'):
        load_backgrounds(tmp_path)
