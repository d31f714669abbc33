# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
import os
from pathlib import Path
import shutil

from conftest import ROOT
import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch')

from small_networks import FINE, make_network, noise_image, SMALL  # noqa: E402

from da_ros.bundle import load_bundle, sha256_of, write_manifest  # noqa: E402
from da_ros.errors import DaRosError  # noqa: E402
from training.bundling.graph import PanoTinyGraph, run_onnx  # noqa: E402
from training.bundling.self_check import drawn_room  # noqa: E402
from training.bundling.weights import grid_of_rows, network_of_bundle  # noqa: E402
from training.checkpoints.checkpoint import build, Checkpoint, load_checkpoint, save_checkpoint  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.data.shards import write_shard  # noqa: E402
from training.export import export, Request  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.networks.dinov2 import GRID  # noqa: E402
from training.networks.pano_tiny import PanoTiny, PanoTinyConfig  # noqa: E402
from training.run.batches import Batches, Sources  # noqa: E402
from training.run.config import TrainConfig  # noqa: E402
from training.train import main as train  # noqa: E402
from training.warm_start import (  # noqa: E402
    grow,
    main,
    measure_norms,
    STATISTICS_BATCHES,
)

pytestmark = pytest.mark.usefixtures('one_thread')
PANO_TINY = Path('da_ros/bundles/pano_tiny')
PANO_BASE = Path('da_ros/bundles/pano_base')
TOY = replace(SMALL, size_hw=(128, 256))
BASE = {'size_hw': [128, 256], 'stem': 8, 'widths': [8, 8, 16, 14], 'blocks': [1, 1, 1, 1],
        'decoder': [8, 8, 8, 8], 'encoder_depth': 2, 'taps': [0, 1], 'harmonics': 4,
        'feature_width': 16, 'feature_blocks': 1}
LARGER = {'size_hw': (64, 128), 'stem': 12, 'widths': (16, 24, 32, 28), 'blocks': (2, 1, 3, 2),
          'attention_blocks': 3, 'decoder': (12, 16, 16, 24)}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def shards(tmp_path):
    image = np.ascontiguousarray(drawn_room((64, 128))[..., ::-1])
    range_m = (1 + image.mean(-1) / 40).astype(np.float32)
    sample = Sample(image, range_m, np.ones(range_m.shape, bool), 'drawn', 1.2)
    (tmp_path / 'shards').mkdir()
    write_shard(tmp_path / 'shards' / '00000.tar', [sample] * 8, {})
    return str(tmp_path / 'shards')


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    network = make_network(TOY)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    config = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(TOY).items()}
    out = tmp_path_factory.mktemp('exported') / 'small'
    export(Request(Checkpoint('pano_tiny', config, network.state_dict(), {}), out))
    return out


@pytest.fixture
def small_bundle(exported, tmp_path):
    """Return a copy that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / 'small'))


def says(network, image, height_m=1.2):
    with torch.inference_mode():
        range_m, probability = PanoTinyGraph(network).eval()(
            torch.from_numpy(image), torch.tensor([height_m]))
    return range_m.numpy(), probability.numpy()


def test_the_network_of_the_shipped_bundle_says_what_the_bundle_says(shards):
    bundle = load_bundle(PANO_TINY)
    image = drawn_room(bundle.size_hw)
    wanted = run_onnx(bundle.own.main, {'image': image, 'camera_height_m': np.float32([1.2])})
    network = network_of_bundle(bundle)
    measure_norms(network, Batches(Sources([shards]), TrainConfig('pano_tiny', batch=1),
                                   bundle.size_hw, 10 ** 9))
    range_m, probability = says(network, image)
    np.testing.assert_allclose(range_m, wanted['range_m'], rtol=1e-4)
    np.testing.assert_allclose(probability, wanted['range_mask_probability'], atol=1e-4)


def test_measured_batch_norms_normalise(small_bundle, shards):
    network = network_of_bundle(load_bundle(small_bundle))
    batches = Batches(Sources([shards]), TrainConfig('pano_tiny', batch=4), TOY.size_hw, 10 ** 9)
    measure_norms(network, batches)
    norm, seen = network.stages[1][2].first.norm, []
    norm.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        for number in range(STATISTICS_BATCHES):
            batch = batches[number].on(torch.device('cpu'))
            network(batch.image, batch.told_height_m)
    given, out = (torch.cat(part) for part in zip(*seen))
    normed = torch.nn.functional.batch_norm(given, None, None, norm.weight, norm.bias, True)
    torch.testing.assert_close(out, normed, atol=2e-3, rtol=1e-2)


def test_what_is_corrupt_is_named(small_bundle, shards, tmp_path, capsys):
    path = Path(shards) / '00000.tar'
    content = bytearray(path.read_bytes())
    start = content.index(b'\xff\xd8\xff')
    content[start:start + 60] = bytes(60)
    path.write_bytes(content)
    assert main(['--bundle', str(small_bundle), '--data', shards,
                 '--out', str(tmp_path / 'start.safetensors')]) == 0
    told = capsys.readouterr().err
    assert told.count('skipped: ') == 1 and '00000.tar' in told


def test_a_folder_that_cannot_be_is_one_line(small_bundle, shards, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert main(['--bundle', str(small_bundle), '--data', shards,
                 '--out', str(tmp_path / 'file/x.safetensors')]) == 1
    assert capsys.readouterr().err.startswith('error: ')


def test_a_grown_network_says_the_same_and_its_new_parts_learn():
    small, image = make_network(), noise_image()
    large = PanoTiny(PanoTinyConfig(**LARGER))
    grow(small, large)
    height = torch.tensor([1.2])
    with torch.no_grad():
        wanted, got = small(image, height), large.eval()(image, height)
    for a, b in zip(got, wanted):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    log_range, logits = large.train()(torch.cat([image, image.flip(2)]), height.repeat(2))
    (log_range.square().mean() + logits.square().mean()).backward()
    for name in ('stages.0.3.second.norm.weight', 'attention.2.out.weight',
                 'stages.1.0.conv.weight', 'out.weight'):
        gradient = large.get_parameter(name).grad
        fresh = gradient[:, -1:] if gradient.ndim == 4 else gradient     # what reads the new
        assert fresh.abs().max() > 0, name


def test_a_grown_network_keeps_to_the_rows_and_azimuths_of_another_image():
    small = make_network()
    large = PanoTiny(PanoTinyConfig(**LARGER | {'size_hw': (128, 256)}))
    grow(small, large)
    middle = large.prior.detach().reshape(-1, 2).mean(1)
    torch.testing.assert_close(middle, small.prior.detach(), atol=0.2, rtol=0)
    old = small.attention[0].bias.detach().reshape(7, 2, 2, 4)
    new = large.attention[0].bias.detach().reshape(7, 4, 4, 8)
    torch.testing.assert_close(new[:, ::3, ::3, ::2], old)               # outermost rows
    torch.testing.assert_close(new[:, 0, 0, 7], (old[:, 0, 0, 3] + old[:, 0, 0, 0]) / 2)


def test_a_finer_level_begins_by_adding_nothing_and_learns():
    small, image = make_network(), noise_image()
    height, width = small.config.size_hw
    large = PanoTiny(replace(small.config, size_hw=(2 * height, 2 * width), detail=8))
    grow(small, large)
    with torch.no_grad():           # rows between those of the body lie between their priors
        large.prior.copy_(small.prior.repeat_interleave(2))
    told = torch.tensor([1.2])
    fine = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        for a, b in zip(large.eval()(fine, told), small(image, told)):
            b = b.repeat_interleave(2, -2).repeat_interleave(2, -1)
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    large.train()(torch.cat([fine, fine.flip(2)]), told.repeat(2))[0].square().mean().backward()
    assert large.fine_out.weight.grad.abs().max() > 0
    assert large.fine_stem.weight.grad.abs().max() > 0


def test_a_bundle_with_a_finer_level_is_gone_on_from(tmp_path):
    network = make_network(FINE)
    config = {name: list(v) if isinstance(v, tuple) else v for name, v in vars(FINE).items()}
    export(Request(Checkpoint('pano_tiny', config, network.state_dict(), {}), tmp_path / 'fine'))
    again = network_of_bundle(load_bundle(tmp_path / 'fine'))
    for name in ('fine_out.weight', 'fine_rows.bias', 'fine_reduce.weight', 'prior'):
        assert torch.equal(again.get_parameter(name), network.get_parameter(name)), name


@pytest.mark.parametrize('change, message', [
    ({'stem': 6}, 'a network can only grow'),
    ({'attention_blocks': 1}, 'not in the larger network, which has fewer blocks'),
    ({'blocks': (1, 1, 3, 0)}, 'not in the larger network, which has fewer blocks'),
    ({'range_masks_m': (5.0, 10.0, 20.0, 50.0)}, 'a head for 10 m must not begin as one for 5 m'),
    ({'widths': (16, 24, 32, 56)}, r'keep their 4 channels, got 7 heads of 8; set heads to 14'),
])
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(DaRosError, match=message):
        grow(make_network(), PanoTiny(PanoTinyConfig(**LARGER | change)))


def test_a_bundle_is_grown_and_trained_on(small_bundle, shards, tmp_path, capsys):
    config = tmp_path / 'large.yaml'
    model = {name: list(value) if isinstance(value, tuple) else value for name, value in
             (LARGER | {'size_hw': TOY.size_hw}).items()}
    config.write_text(yaml.safe_dump({'network': 'pano_tiny', 'batch': 2, 'model': model}))
    start = tmp_path / 'start.safetensors'
    assert main(['--bundle', str(small_bundle), '--data', shards, '--config', str(config),
                 '--out', str(start)]) == 0
    checkpoint = load_checkpoint(start)
    assert checkpoint.provenance['warm_start'] == 'small'
    image = drawn_room(TOY.size_hw)
    wanted = run_onnx(small_bundle / 'model.onnx',
                      {'image': image, 'camera_height_m': np.float32([1.2])})
    np.testing.assert_allclose(says(build(checkpoint), image)[0], wanted['range_m'], rtol=1e-3)
    assert train(['--config', str(config), '--init', str(start), '--data', shards,
                  '--out', str(tmp_path / 'run'), '--steps', '2']) == 0
    init = load_checkpoint(tmp_path / 'run').provenance['init']
    assert init == {'file': 'start.safetensors', 'sha256': sha256_of(start),
                    **checkpoint.provenance}


def test_a_checkpoint_is_grown(tmp_path, capsys):
    small = make_network()
    source = save_checkpoint(tmp_path / 'small.safetensors', 'pano_tiny', vars(small.config),
                             small.state_dict(), {'samples': 7})
    config = tmp_path / 'large.yaml'
    config.write_text(yaml.safe_dump({'network': 'pano_tiny', 'model': {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in LARGER.items()}}))
    start = tmp_path / 'start.safetensors'
    words = ['--checkpoint', str(source), '--out', str(start)]
    assert main([*words, '--config', str(config)]) == 0
    checkpoint, image = load_checkpoint(start), drawn_room(SMALL.size_hw)
    assert checkpoint.provenance['init'] == {
        'file': 'small.safetensors', 'sha256': sha256_of(source), 'samples': 7}
    for a, b in zip(says(build(checkpoint), image), says(small, image)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    with pytest.raises(SystemExit):
        main(words)
    assert '--checkpoint needs --config' in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_refused(tmp_path, capsys):
    other = save_checkpoint(tmp_path / 'x.safetensors', 'dap', {}, {'a': torch.zeros(1)}, {})
    assert main(['--checkpoint', str(other), '--config', 'training/configs/pano_small.yaml',
                 '--out', str(tmp_path / 'out.safetensors')]) == 1
    error = capsys.readouterr().err
    assert "x.safetensors is of network 'dap'; give one of pano_tiny or pano_base" in error


def test_weights_in_the_wrong_place_are_noticed(small_bundle):
    import onnx
    bundle, graph = load_bundle(small_bundle), onnx.load(small_bundle / 'model.onnx')
    named = {tensor.name: tensor for tensor in graph.graph.initializer}
    weight = named['network.out.weight']
    swapped = np.ascontiguousarray(onnx.numpy_helper.to_array(weight)[::-1])
    weight.CopyFrom(onnx.numpy_helper.from_array(swapped, weight.name))
    onnx.save(graph, small_bundle / 'model.onnx')
    write_manifest(bundle)
    with pytest.raises(DaRosError, match="found in bundle 'small' do not say what it says"):
        network_of_bundle(load_bundle(small_bundle))


def test_a_config_of_another_network_is_refused(small_bundle, shards, tmp_path, capsys):
    assert main(['--bundle', str(small_bundle), '--data', shards, '--config',
                 'training/configs/dap.yaml', '--out', str(tmp_path / 'x')]) == 1
    assert "dap.yaml is of network 'dap'; give one of pano_tiny" in capsys.readouterr().err


def test_other_bundles_are_refused_in_one_line(model, shards, tmp_path, capsys):
    assert main(['--bundle', model, '--data', shards, '--out', str(tmp_path / 'x')]) == 1
    error = capsys.readouterr().err
    assert 'only fp32 bundles of pano_tiny and pano_base can be gone on from' in error
    assert error.count(os.linesep) == 1 and not (tmp_path / 'x').exists()


@pytest.fixture(scope='module')
def base_bundle(tmp_path_factory):
    """A small pano_base of random weights, stored in 8 bits."""
    torch.manual_seed(2)
    network = build_network('pano_base', BASE)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    out = tmp_path_factory.mktemp('exported') / 'base'
    provenance = {'init': {'encoder': {'encoder': 'dinov2_small', 'licence': 'Apache-2.0'}}}
    export(Request(Checkpoint('pano_base', BASE, network.state_dict(), provenance), out,
                   weights='int8'))
    return out


def test_the_shipped_pano_base_is_gone_on_from(shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('training.warm_start.STATISTICS_BATCHES', 1)
    start = tmp_path / 'start.safetensors'
    assert main(['--bundle', str(PANO_BASE), '--data', shards, '--out', str(start)]) == 0
    checkpoint, bundle = load_checkpoint(start), load_bundle(PANO_BASE)
    assert checkpoint.network == 'pano_base'
    assert checkpoint.provenance['encoder']['licence'].startswith('Apache-2.0 (DINOv2')
    image = drawn_room(bundle.size_hw)
    wanted = run_onnx(bundle.own.main, {'image': image, 'camera_height_m': np.float32([1.2])})
    range_m, probability = says(build(checkpoint), image)
    np.testing.assert_allclose(range_m, wanted['range_m'], rtol=1e-3)
    np.testing.assert_allclose(probability, wanted['range_mask_probability'], atol=1e-3)


def test_a_pano_base_comes_back_with_the_encoder_that_ships(base_bundle, shards, tmp_path):
    import onnx
    start = tmp_path / 'start.safetensors'
    assert main(['--bundle', str(base_bundle), '--data', shards, '--out', str(start)]) == 0
    checkpoint = load_checkpoint(start)
    assert checkpoint.provenance['encoder']['encoder'] == 'dinov2_small'
    export(Request(checkpoint, tmp_path / 'again', weights='int8'))
    before, after = ({t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(
        folder / 'model.onnx').graph.initializer} for folder in (base_bundle, tmp_path / 'again'))
    rounded = [name for name, array in before.items() if array.dtype == np.int8]
    encoder = [name for name in rounded if 'encoder' in name or before[name].shape[-1] >= 384]
    assert len(encoder) >= 2 * 4        # of the matrices of two blocks
    for name in encoder:
        np.testing.assert_array_equal(after[name], before[name], name)


def test_a_pano_base_of_another_grid_has_positions_like_those_it_had():
    torch.manual_seed(0)
    column = torch.nn.functional.interpolate(torch.randn(1, 5, 6), size=GRID, mode='linear')
    grid = column[..., None].expand(-1, -1, -1, GRID).double()
    resized = {rows: torch.nn.functional.interpolate(
        grid, size=(rows, 2 * rows), mode='bicubic').mean(-1)[0].T.numpy() for rows in (18, 24)}
    found = torch.from_numpy(grid_of_rows(resized[18]).T)[None, ..., None].expand(-1, -1, -1, GRID)
    for rows, tolerance in ((18, 1e-6), (24, 0.1)):
        again = torch.nn.functional.interpolate(found, size=(rows, 2 * rows), mode='bicubic')
        np.testing.assert_allclose(again.mean(-1)[0].T, resized[rows], atol=tolerance)


@pytest.mark.parametrize('words, message', [
    (['--config', 'training/configs/pano_tiny.yaml'],
     "pano_tiny.yaml is of network 'pano_tiny'; give one of pano_base"),
    (['--encoder', 'x.safetensors'], 'a pano_base has its own; leave it away'),
])
def test_a_pano_base_keeps_what_it_has(base_bundle, shards, tmp_path, capsys, words, message):
    assert main(['--bundle', str(base_bundle), '--data', shards, *words,
                 '--out', str(tmp_path / 'x.safetensors')]) == 1
    assert message in capsys.readouterr().err


def test_a_pano_tiny_without_an_encoder_does_not_become_a_pano_base(
        small_bundle, shards, tmp_path, capsys):
    config = tmp_path / 'base.yaml'
    config.write_text(yaml.safe_dump({'network': 'pano_base', 'model': {
        **BASE, 'widths': [8, 16, 16, 28], 'decoder': [8, 8, 16, 16]}}))
    assert main(['--bundle', str(small_bundle), '--data', shards, '--config', str(config),
                 '--out', str(tmp_path / 'x.safetensors')]) == 1
    assert 'becomes a pano_base needs --encoder; training.turning makes' in capsys.readouterr().err


def test_an_encoder_of_fewer_blocks_says_the_same_where_it_is_read(base_bundle, shards, tmp_path):
    start, short = tmp_path / 'start.safetensors', tmp_path / 'short.safetensors'
    assert main(['--bundle', str(base_bundle), '--data', shards, '--out', str(start)]) == 0
    config = tmp_path / 'short.yaml'
    config.write_text(yaml.safe_dump({'network': 'pano_base', 'model': {
        **BASE, 'encoder_depth': 1, 'taps': [0]}}))
    assert main(['--checkpoint', str(start), '--config', str(config), '--out', str(short)]) == 0
    long, less = (build(load_checkpoint(path)).eval() for path in (start, short))
    image, height = torch.rand(1, 3, 128, 256), torch.tensor([1.5])
    with torch.no_grad():
        all_taps, one = long.features(image), less.features(image)
        torch.testing.assert_close(one, all_taps[:, :one.shape[1]])
        long.path.project.weight[:, one.shape[1]:] = 0      # deaf to what the other cannot hear
        for said, wanted in zip(less.predict(image, height), long.predict(image, height)):
            torch.testing.assert_close(said, wanted)


def test_an_encoder_of_fewer_blocks_cannot_be_read_elsewhere(
        base_bundle, shards, tmp_path, capsys):
    start, config = tmp_path / 'start.safetensors', tmp_path / 'deep.yaml'
    assert main(['--bundle', str(base_bundle), '--data', shards, '--out', str(start)]) == 0
    deep = tmp_path / 'deeper.safetensors'
    config.write_text(yaml.safe_dump({'network': 'pano_base', 'model': {
        **BASE, 'encoder_depth': 4, 'taps': [0, 1]}}))
    assert main(['--checkpoint', str(start), '--config', str(config), '--out', str(deep)]) == 0
    config.write_text(yaml.safe_dump({'network': 'pano_base', 'model': {
        **BASE, 'encoder_depth': 3, 'taps': [0, 2]}}))
    assert main(['--checkpoint', str(deep), '--config', str(config),
                 '--out', str(tmp_path / 'x.safetensors')]) == 1
    assert ('taps [0, 2]: the network reads its features after the blocks [0, 1], '
            'none of them 2') in capsys.readouterr().err
