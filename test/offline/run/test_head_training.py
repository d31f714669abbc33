# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict
import json

import numpy as np
import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
yaml = pytest.importorskip('yaml')
pytest.importorskip('accelerate')

from training import train  # noqa: E402
from training.bundling.heads import trunk_sha256  # noqa: E402
from training.checkpoints.checkpoint import (  # noqa: E402
    build,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from training.data.sample import Sample  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.config import TrainError  # noqa: E402
from training.run.head_training import network_with_heads  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')

TWO_MASKS = TINY | {'range_masks_m': [10.0, 20.0]}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(6):
        range_m = rng.uniform(1, 40, (32, 64)).astype(np.float32)
        image = np.repeat((255 - 6 * range_m).astype(np.uint8)[..., None], 3, -1)
        samples.append(Sample(image, range_m, np.isfinite(range_m), 'test', 1.0))
    write_shard(folder / '00000.tar', samples, {})
    return folder


@pytest.fixture(scope='module')
def first(tmp_path_factory):
    """Untrained checkpoints of both kinds of network."""
    folder = tmp_path_factory.mktemp('first')
    for name, model in (('dap', {'encoder': 'vits'}), ('pano_tiny', TWO_MASKS)):
        torch.manual_seed(0)
        network = build_network(name, model)
        save_checkpoint(folder / name, name, asdict(network.config), network.state_dict(), {})
    return folder


@pytest.fixture
def run(tmp_path, data, first):
    def go(network, out, heads, steps, *more, **config):
        config = {'network': network, 'size_hw': [32, 64], 'objective': 'dap', 'batch': 2,
                  'warmup_steps': 1, 'learning_rate': 1e-3, 'log_seconds': 0, **config}
        (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
        words = ['--config', tmp_path / 'config.yaml', '--data', data, '--out', tmp_path / out,
                 '--init', first / network, '--heads', heads, '--steps', steps, *more]
        assert train.main([str(word) for word in words]) == 0
        return tmp_path / out
    return go


def test_heads_trained_together_equal_a_head_trained_alone(run, first):
    both, alone = run('dap', 'both', '10,20', 2), run('dap', 'alone', '20', 2)
    one, two = (load_checkpoint(f / 'head_20.safetensors') for f in (both, alone))
    for name, tensor in one.state.items():
        torch.testing.assert_close(tensor, two.state[name], rtol=1e-4, atol=1e-6)
    before = load_checkpoint(first / 'dap')
    fresh = network_with_heads(before, (20.0,), seed=1).mask_heads['20'].state_dict()
    assert not torch.allclose(one.state['out.2.bias'], fresh['out.2.bias'])
    assert one.network == 'dap_mask_head'
    assert one.config == {'encoder': 'vits', 'range_mask_m': 20.0}
    assert one.provenance['trunk_sha256'] == trunk_sha256(before.state)
    assert one.provenance['step'] == 2
    kept = load_checkpoint(both)
    assert kept.config['range_masks_m'] == [10.0, 20.0]
    for name, tensor in kept.state.items():
        if not name.startswith('mask_heads'):
            assert torch.equal(tensor, before.state[name]), name


@pytest.mark.slow
def test_joint_training_changes_the_trunk_and_heads_belong_to_the_new_one(run, first):
    out = run('dap', 'joint', '10', 1, '--joint')
    sha = load_checkpoint(out / 'head_10.safetensors').provenance['trunk_sha256']
    assert sha == trunk_sha256(load_checkpoint(out).state)
    assert sha != trunk_sha256(load_checkpoint(first / 'dap').state)


@pytest.mark.slow
def test_trained_head_is_accepted_by_a_bundle(run, first, monkeypatch, tmp_path):
    import sys

    from da_ros.bundle import load_bundle
    from training import export
    out, bundle = run('dap', 'heads', '10', 1), tmp_path / 'bundle'
    for words in (['--checkpoint', first / 'dap', '--size', '128x256', '--out', bundle],
                  ['--bundle', bundle, '--add-head', out / 'head_10.safetensors']):
        monkeypatch.setattr(sys, 'argv', ['training.export', *map(str, words)])
        export.main()
    assert load_bundle(bundle).range_masks_m == (10.0, 100.0)


def test_new_masks_of_a_pano_network_leave_its_range_alone(run, first):
    model = {key: value for key, value in TWO_MASKS.items() if key != 'range_masks_m'}
    out = run('pano_tiny', 'masks', '5,12,20', 40, model=model, learning_rate=1e-2)
    before, after = build(load_checkpoint(first / 'pano_tiny')), build(load_checkpoint(out))
    image, height = torch.rand(1, 3, 32, 64), torch.ones(1)
    with torch.no_grad():
        (range_before, _), (range_after, logits) = before(image, height), after(image, height)
    assert torch.equal(range_before, range_after)
    assert after.config.range_masks_m == (5.0, 12.0, 20.0) and logits.shape[1] == 3
    log = [e for e in map(json.loads, (out / 'log.jsonl').open()) if 'loss' in e]
    losses = [e['mask_dice'] for e in log]
    assert np.mean(losses[-5:]) < 0.97 * np.mean(losses[:3])
    assert not list(out.glob('head_*'))


@pytest.mark.parametrize('text', ['ten', '10,-5', ''])
def test_wrong_thresholds_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        train.parse_args(['--config', 'c', '--data', 'd', '--out', 'o', '--heads', text])
    assert '--heads' in capsys.readouterr().err


def test_heads_of_a_pano_network_that_had_no_mask_are_refused():
    network = build_network('pano_tiny', TINY | {'range_masks_m': []})
    checkpoint = Checkpoint('pano_tiny', asdict(network.config), network.state_dict(), {})
    with pytest.raises(TrainError, match='trained without range masks, --heads has none to start'):
        network_with_heads(checkpoint, (10.0,), seed=1)


def test_heads_without_a_network_to_read_are_refused(tmp_path, data, capsys):
    (tmp_path / 'c.yaml').write_text('network: dap\n')
    assert train.main(['--config', str(tmp_path / 'c.yaml'), '--data', str(data), '--out',
                       str(tmp_path / 'o'), '--steps', '1', '--heads', '10']) == 1
    assert '--heads needs --init' in capsys.readouterr().err
