# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Runs that take from another network: weights to begin with, or what it says."""

import cv2
import numpy as np
import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

from training_setting import room_sample, Setting, weights_of  # noqa: E402

from training import label, train  # noqa: E402
from training.checkpoints.checkpoint import build, load_checkpoint, save_checkpoint  # noqa: E402
from training.data.shards import ShardSet  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.config import read_config  # noqa: E402
from training.run.optimise import parameter_groups  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def run(tmp_path):
    return Setting(tmp_path)


def test_init_starts_from_the_weights_of_a_checkpoint(run):
    assert run('a', 3) == 0
    run.write_config(learning_rate=1e-12)
    assert run('b', 1, '--init', run.folder / 'a') == 0
    first, second = weights_of(run.folder / 'a'), weights_of(run.folder / 'b')
    torch.testing.assert_close(second['out.weight'], first['out.weight'])


def test_a_student_comes_nearer_to_its_teacher(run):
    run.write_config(model=TINY | {'size_hw': [64, 128]})
    assert run('teacher', 20) == 0
    teacher = build(load_checkpoint(run.folder / 'teacher'))
    rng = np.random.default_rng(1)
    samples = [room_sample(rng) for _ in range(4)]
    image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2) / 255
    heights = torch.tensor([s.camera_height_m for s in samples])
    large = torch.nn.functional.interpolate(image, (64, 128), mode='bilinear')
    wanted = torch.nn.functional.interpolate(
        teacher(large, heights)[0][:, None], (32, 64), mode='nearest-exact')[:, 0]

    def departure(out):
        return (build(load_checkpoint(run.folder / out))(image, heights)[0] - wanted).abs().mean()
    # nothing but the teacher is left of the losses
    only = {name: 0 for name in ('log_l1', 'scale_free', 'gradient', 'mask', 'empty', 'height')}
    run.write_config(loss=only)
    assert run('short', 2, '--teacher', run.folder / 'teacher') == 0
    assert run('long', 100, '--teacher', run.folder / 'teacher') == 0
    assert departure('long') < 0.7 * departure('short')


@pytest.fixture
def base(tmp_path):
    """A small pano_base of random weights at a size of its own."""
    torch.manual_seed(4)
    config = TINY | {'size_hw': [64, 128], 'encoder_depth': 1, 'taps': [0], 'harmonics': 2,
                     'feature_width': 8, 'feature_blocks': 1}
    return save_checkpoint(tmp_path / 'base.safetensors', 'pano_base', config,
                           build_network('pano_base', config).state_dict(), {})


def test_a_pano_base_teaches_a_pano_tiny_of_another_size(run, base):
    assert run('student', 2, '--teacher', base) == 0
    logged = (run.folder / 'student' / 'log.jsonl').read_text()
    assert '"distil"' in logged and '"distil_gradient"' in logged


def test_a_pano_base_labels_photographs_that_a_pano_tiny_learns_beside_truth(run, base, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'photographs').mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / 'photographs' / f'{number}.png'),
                    rng.integers(0, 256, (64, 128, 3), np.uint8))
    labels = tmp_path / 'labels'
    assert label.main(['--checkpoint', str(base), '--disagreement', '0.5',
                       '--data', str(tmp_path / 'photographs'), '--out', str(labels)]) == 0
    shards = ShardSet([labels])
    assert len(shards) == 3 and shards[0].camera_height_m == 0
    words = run.words('mixed', 2)
    at = words.index('--data') + 1
    words[at:at + 1] = [f'{words[at]}=0.7', f'{labels}=0.3']
    assert train.main(words) == 0
    assert load_checkpoint(tmp_path / 'mixed').provenance['images'] == 15


def test_an_encoder_has_a_rate_of_its_own(run):
    run.write_config(model=TINY | {'encoder': 'efficientnet_lite0', 'stem': 16,
                                   'widths': [24, 40, 112, 14]},
                     learning_rate=1e-3, encoder_learning_rate=1e-4)
    config = read_config(run.folder / 'config.yaml')
    network = build_network(config.network, config.model)
    rates = {id(p): g['rate'] for g in parameter_groups(network, config) for p in g['params']}
    for name, parameter in network.named_parameters():
        wanted = 1e-4 if name.startswith('encoder.') else 1e-3
        assert rates[id(parameter)] == wanted, name
    assert run('lite', 2) == 0
