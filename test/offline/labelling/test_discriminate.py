# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
import tarfile

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

import cv2  # noqa: E402

from training import discriminate  # noqa: E402
from training.checkpoints.checkpoint import build, load_checkpoint  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.discriminate import (  # noqa: E402
    LabelPairs,
    normalised_shape,
    patch_mean,
    quality,
    rank_correlation,
)

pytestmark = pytest.mark.usefixtures('one_thread')


def room(rng):
    """Image and range of a floor with boxes of sharp outline in front of a wall."""
    range_m = np.full((32, 64), 4.0, np.float32)
    range_m[16:] = (1.0 / np.sin((np.arange(16) + 0.5) / 32 * np.pi))[:, None]
    for _ in range(6):
        row, col = rng.integers(4, 24), rng.integers(0, 56)
        range_m[row:row + 6, col:col + 6] = rng.uniform(0.5, 3)
    range_m *= rng.uniform(0.3, 3)
    image = np.repeat((255 / (1 + range_m)).astype(np.uint8)[..., None], 3, -1)
    return image, range_m


def blurred(range_m, sigma):
    return cv2.GaussianBlur(np.ascontiguousarray(range_m), (0, 0), sigma)


def write_pairs(folder, count, seed):
    """Shards of rooms, and as labels the same range blurred by another amount each."""
    rng = np.random.default_rng(seed)
    truth, labels = [], []
    for index in range(count):
        image, range_m = room(rng)
        false = blurred(range_m, rng.uniform(0.5, 4.0))
        truth.append(Sample(image, range_m, np.isfinite(range_m), 'room'))
        name = f'{folder.name}_truth/00000.tar:00000_{index:04d}'
        labels.append(Sample(image, false, np.isfinite(false), 'room', meta={'name': name}))
    folders = [folder.with_name(f'{folder.name}_{kind}') for kind in ('truth', 'labels')]
    for path, samples in zip(folders, (truth, labels)):
        path.mkdir(parents=True)
        write_shard(path / '00000.tar', samples, {})
    return [str(path) for path in folders]


def test_it_learns_to_tell_blurred_from_true_maps_and_ranks_by_blur(tmp_path, capsys):
    pairs, val = write_pairs(tmp_path / 'train', 48, 0), write_pairs(tmp_path / 'val', 24, 1)
    assert discriminate.main(['--pairs', *pairs, '--val', *val, '--steps', '100', '--batch', '6',
                              '--out', str(tmp_path / 'quality')]) == 0
    assert '12 held-back labels' in capsys.readouterr().out
    checkpoint = load_checkpoint(tmp_path / 'quality')
    found = checkpoint.provenance['held_back']
    assert found['told_apart'] > 0.9 and found['rank_correlation_aligned'] < 0
    assert 0 < found['error_better_half'] < found['error_rest'] and found['step'] in (50, 100)
    network = build(checkpoint)
    rng = np.random.default_rng(5)
    rooms = [room(rng) for _ in range(12)]
    sharp, soft, softest = (np.mean([
        quality(network, image, blurred(range_m, sigma) if sigma else range_m)
        for image, range_m in rooms]) for sigma in (0, 1, 4))
    assert sharp > soft + 0.05 and soft > softest + 0.05


def test_the_score_of_a_map_does_not_know_its_scale():
    image, range_m = room(np.random.default_rng(0))
    range_m = np.clip(range_m, 0.5, 20)
    torch.manual_seed(0)
    network = discriminate.PatchDiscriminator(discriminate.PatchDiscriminatorConfig())
    assert quality(network, image, range_m) == pytest.approx(
        quality(network, image, 2 * range_m), abs=1e-5)


def test_shape_is_log_range_around_its_median():
    range_m = np.array([[1.0, 2.0, 4.0, np.nan, np.inf, 8.0]], np.float32)
    shape = normalised_shape(range_m, np.isnan(range_m))
    np.testing.assert_allclose(
        shape, np.log([[1 / 4, 1 / 2, 1, 1, 100 / 4, 2]]), atol=1e-6)
    assert not normalised_shape(range_m, np.ones_like(range_m, bool)).any()


def test_patches_count_by_their_solid_angle():
    patches = torch.zeros(1, 4, 8)
    patches[:, :1] = 1
    assert float(patch_mean(torch.ones(3, 4, 8))[2]) == pytest.approx(1)
    assert float(patch_mean(patches)) == pytest.approx((1 - np.cos(np.pi / 4)) / 2, rel=1e-5)


def test_rank_correlation_is_spearmans():
    assert rank_correlation([1, 2, 3, 10], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [9, 5, 4]) == pytest.approx(-1)
    # ties share the mean of their ranks: ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4
    assert rank_correlation([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(0.948683, abs=1e-6)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    assert np.isnan(rank_correlation([], [])) and np.isnan(rank_correlation([1], [2]))


def test_labels_of_other_images_are_refused(tmp_path):
    truth, _ = write_pairs(tmp_path / 'a', 2, 0)
    _, labels = write_pairs(tmp_path / 'b', 2, 0)
    with pytest.raises(discriminate.LabelError, match='no label in .*b_labels was made from'):
        LabelPairs(truth, labels)


def damage(folder, key, suffix, at):
    """Overwrite a member of a shard behind its first `at` bytes."""
    shard = Path(folder) / '00000.tar'
    with tarfile.open(shard) as tar:
        info = tar.getmember(f'{key}{suffix}')
    data = bytearray(shard.read_bytes())
    data[info.offset_data + at:info.offset_data + info.size] = b'\xff' * (info.size - at)
    shard.write_bytes(data)


def test_damaged_pairs_are_replaced_counted_and_named(tmp_path, capsys):
    pairs, val = write_pairs(tmp_path / 'train', 6, 0), write_pairs(tmp_path / 'val', 6, 1)
    damage(pairs[0], '00000_0001', '.jpg', 100)             # truth
    damage(pairs[1], '00000_0002', '.json', 0)              # label
    damage(val[1], '00000_0003', '.range.png', 50)
    (Path(val[1]) / '00001.tar').write_bytes(b'no tar' * 200)
    assert discriminate.main(['--pairs', *pairs, '--val', *val, '--steps', '6', '--batch', '3',
                              '--look-every', '6', '--out', str(tmp_path / 'quality')]) == 0
    said = capsys.readouterr()
    assert '2 held-back labels' in said.out          # of the three with odd numbers
    assert 'left out: 4 labels, truths or shards that are damaged' in said.err
    for name in ('train_truth/00000.tar:00000_0001.jpg', 'train_labels/00000.tar:00000_0002',
                 'val_labels/00000.tar:00000_0003.range.png', '00001.tar cannot be read'):
        assert name in said.err


def test_pairs_that_are_all_damaged_are_one_line(tmp_path, capsys):
    pairs = write_pairs(tmp_path / 'a', 2, 0)
    for key in ('00000_0000', '00000_0001'):
        damage(pairs[0], key, '.jpg', 100)
    assert discriminate.main(['--pairs', *pairs, '--val', *write_pairs(tmp_path / 'b', 3, 0),
                              '--steps', '1', '--out', str(tmp_path / 'quality')]) == 1
    assert '160 draws gave 0 sound pairs; the first of 2 damages' in capsys.readouterr().err


@pytest.mark.parametrize('held_back, option, message', [
    (1, (), '1 held-back labels are too few to choose the weights by; give --val at least 3'),
    (2, (), '2 held-back labels are too few'),
    (3, ('--steps', '0'), '--steps must be at least 1, got 0'),
    (3, ('--look-every', '0'), '--look-every must be at least 1, got 0'),
    (3, ('--batch', '-1'), '--batch must be at least 1, got -1')])
def test_what_cannot_give_a_checkpoint_is_refused_before_training(
        tmp_path, capsys, monkeypatch, held_back, option, message):
    monkeypatch.setattr(discriminate, 'make_batch', None)
    pairs, val = write_pairs(tmp_path / 'a', 2, 0), write_pairs(tmp_path / 'b', held_back, 1)
    assert discriminate.main(['--pairs', *pairs, '--val', *val, '--out', str(tmp_path / 'quality'),
                              *option]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f'error: {message}') and told.count('\n') == 1


def test_scores_of_labels_that_are_all_damaged_are_unknown(tmp_path):
    pairs = LabelPairs(*write_pairs(tmp_path / 'a', 2, 0))
    found = discriminate.validate(None, pairs, [])
    assert found.pop('labels') == 0 and np.isnan([*found.values()]).all()


def test_truth_is_taken_at_the_size_of_the_label(tmp_path):
    truth, labels = write_pairs(tmp_path / 'a', 1, 0)
    big = Sample(np.zeros((64, 128, 3), np.uint8),
                 np.kron(room(np.random.default_rng(0))[1], np.ones((2, 2), np.float32)),
                 np.ones((64, 128), bool), 'room')
    write_shard(tmp_path / 'a_truth' / '00000.tar', [big], {})
    image, target, label = LabelPairs(truth, labels)[0]
    assert image.shape[:2] == target.shape == label.shape == (32, 64)
    np.testing.assert_array_equal(target, big.range_m[::2, ::2].astype(np.float16))
