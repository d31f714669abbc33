# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Kept features: made once, never stale, within their bound, and trained on."""

from dataclasses import replace
import json

import numpy as np
import pytest
import torch
from training_setting import room_sample, Setting

from training.data.shards import write_shard
from training.networks import build_network
from training.run.batches import Sources
from training.run.config import TrainConfig, TrainError
from training.run.feature_cache import encoder_hash, FeatureBatches, FeatureCache

MODEL = {'size_hw': [32, 64], 'stem': 8, 'widths': [8, 8, 16, 14], 'blocks': [1, 1, 1, 1],
         'decoder': [8, 8, 8, 8], 'encoder_depth': 1, 'taps': [0], 'feature_width': 8,
         'feature_blocks': 1}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network('pano_base', MODEL).eval()


@pytest.fixture
def data(tmp_path):
    """Two shards of three samples."""
    (tmp_path / 'data').mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        write_shard(tmp_path / 'data' / f'{number:05d}.tar', [room_sample(rng) for _ in range(3)],
                    {})
    return tmp_path / 'data'


def cache_of(tmp_path, network, **changes):
    made = FeatureCache(tmp_path / 'kept', 1.0, 2, 0, (32, 64), encoder_hash(network))
    return replace(made, **changes)


def test_what_is_there_is_not_made_again(tmp_path, data, network):
    cache, told = cache_of(tmp_path, network), []
    first = cache.fill(Sources([data]), network, told.append)
    assert len(told) == 4 and len(first[0]) == 4
    assert cache.fill(Sources([data]), network, told.append) == first and len(told) == 4


def test_a_small_source_has_more_copies(tmp_path, data, network):
    cache = cache_of(tmp_path, network, images=15)         # of 6 samples: three copies
    assert len(cache.fill(Sources([data]), network, lambda _: None)[0]) == 2 * 3


def test_kept_features_are_those_of_the_kept_image(tmp_path, data, network):
    entry = cache_of(tmp_path, network).fill(Sources([data]), network, lambda _: None)[0][0]
    image = torch.from_numpy(np.load(entry / 'image.npy')).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        wanted = network.features(image)
    kept = torch.from_numpy(np.load(entry / 'features.npy')).float()
    assert (kept - wanted).abs().max() < 0.03 * wanted.abs().max()      # bf16


def test_another_encoder_size_or_shard_is_another_entry(tmp_path, data, network):
    cache = cache_of(tmp_path, network)
    before = set(cache.fill(Sources([data]), network, lambda _: None)[0])
    with torch.no_grad():
        network.encoder.norm.bias.add_(1.0)
    other = replace(cache, encoder=encoder_hash(network))
    after = set(other.fill(Sources([data]), network, lambda _: None)[0])
    assert not before & after
    write_shard(data / '00000.tar', [room_sample(np.random.default_rng(9))], {})
    changed = set(other.fill(Sources([data]), network, lambda _: None)[0])
    assert len(changed & after) == 2 and len(changed - after) == 2


def test_stale_entries_go_when_the_disk_is_full_and_needed_ones_stay(tmp_path, data, network):
    cache = cache_of(tmp_path, network)
    first = cache.fill(Sources([data]), network, lambda _: None)[0]
    used = sum(f.stat().st_size for f in (tmp_path / 'kept').glob('*/*'))
    second = replace(cache, seed=1, gib=1.5 * used / 2 ** 30).fill(
        Sources([data]), network, lambda _: None)[0]
    assert all(entry.is_dir() for entry in second)
    assert sum(entry.is_dir() for entry in first) < len(first)
    with pytest.raises(TrainError, match='features_gib'):
        replace(cache, seed=2, gib=0.5 * used / 2 ** 30).fill(
            Sources([data]), network, lambda _: None)


def test_image_range_and_features_turn_together(tmp_path, data, network):
    sources = Sources([data])
    entries = cache_of(tmp_path, network, copies=1).fill(sources, network, lambda _: None)
    batches = FeatureBatches(sources, TrainConfig('pano_base', batch=4), (32, 64), 100)
    batch = batches.attach(entries)[0]
    assert batch.features.shape == (4, 384, 2, 4)
    with torch.no_grad():
        wanted = network.features(batch.image.permute(0, 3, 1, 2) / 255)
    assert (batch.features.float() - wanted).abs().max() < 0.03 * wanted.abs().max()


def test_a_run_on_kept_features_trains_all_but_the_encoder(tmp_path):
    setting = Setting(tmp_path)
    setting.write_config(network='pano_base', model=MODEL, feature_copies=1)
    assert setting('run', 3, '--features', tmp_path / 'kept') == 0
    assert len(setting.losses('run')) == 3
    about = json.loads(next((tmp_path / 'kept').glob('*/about.json')).read_text())
    assert about['images'] == 12
    from training.checkpoints.checkpoint import load_checkpoint
    state = load_checkpoint(tmp_path / 'run').state
    torch.manual_seed(21)
    assert state['encoder.pos_embed'].abs().max() == 0      # as it began
    assert state['path.project.weight'].abs().max() > 0


def test_a_network_without_an_encoder_keeps_no_features(tmp_path, capsys):
    setting = Setting(tmp_path)
    assert setting('run', 1, '--features', tmp_path / 'kept') == 1
    assert 'leave --features away' in capsys.readouterr().err


def test_what_is_told_its_height_has_height_and_range_scaled_alike(tmp_path, data, network):
    entries = cache_of(tmp_path, network).fill(Sources([data]), network, lambda _: None)
    plain, scaled = (
        FeatureBatches(Sources([data]), TrainConfig('pano_base', batch=16, height_jitter=0.0,
                                                    scale_jitter=jitter), (32, 64), 100)
        .attach(entries)[0] for jitter in (0.0, 0.5))
    told = plain.told_height_m > 0
    factor = scaled.height_m / plain.height_m
    assert 0 < told.sum() < 16 and (factor[~told] == 1).all() and factor[told].std() > 0.1
    torch.testing.assert_close(scaled.told_height_m, plain.told_height_m * factor)
    torch.testing.assert_close(scaled.range_m, plain.range_m * factor[:, None, None],
                               equal_nan=True)
