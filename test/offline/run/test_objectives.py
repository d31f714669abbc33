# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from tiny_training import TINY

torch = pytest.importorskip('torch')
pytest.importorskip('accelerate')

from da_ros.sphere import erp_rays  # noqa: E402
from training.data.augment import tilt  # noqa: E402
from training.data.sample import Sample  # noqa: E402
from training.losses import near_obstacles  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run.batches import Batch  # noqa: E402
from training.run.config import config_from_dict, TrainError  # noqa: E402
from training.run.forward import Forward, image_size, load_encoder, Prediction  # noqa: E402
from training.run.objectives import Case, make_objective, TERMS, WEIGHTS  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')

CPU = torch.device('cpu')
NETWORKS = {
    'pano_tiny': (TINY, (32, 64)),
    'dap': ({'encoder': 'vits', 'range_masks_m': [10.0, 20.0]}, (32, 64)),
    'da2': ({'encoder': 'vits', 'min_pixels': 1568, 'max_pixels': 1568, 'sphere_hw': []},
            (28, 56))}


def make_batch(size_hw, count=1):
    rng = np.random.default_rng(0)
    range_m = rng.uniform(1, 60, (count, *size_hw)).astype(np.float32)
    range_m[:, :3], range_m[:, 3, :9] = np.inf, np.nan
    return Batch(torch.from_numpy(rng.integers(0, 256, (count, *size_hw, 3), np.uint8)),
                 torch.from_numpy(range_m), torch.zeros(count), torch.ones(count), [], 1).on(CPU)


def make(network, objective, **more):
    model, size_hw = NETWORKS[network]
    config = config_from_dict({'network': network, 'model': model, 'objective': objective, **more})
    torch.manual_seed(0)
    forward = Forward(build_network(network, model))
    return forward, make_objective(config, size_hw, forward.range_masks_m,
                                   network == 'pano_tiny', False, CPU), size_hw


@pytest.mark.parametrize('network, objective', [
    ('pano_tiny', 'pano'), ('pano_tiny', 'dap'), ('pano_tiny', 'da2'), ('dap', 'dap'),
    ('da2', 'da2')])
def test_every_objective_teaches_every_parameter_of_its_network(network, objective):
    forward, learn, size_hw = make(network, objective)
    batch = make_batch(size_hw, 2)
    total, parts = learn(forward(batch.image, batch.told_height_m), batch)
    total.backward()
    assert set(parts) == set(WEIGHTS[objective]) | {'valid_images'}
    assert total.item() == pytest.approx(
        sum(WEIGHTS[objective][n] * parts[n].item() for n in WEIGHTS[objective]), rel=1e-5)
    grads = {name: p.grad for name, p in forward.named_parameters()}
    assert all(g is None or torch.isfinite(g).all() for g in grads.values())
    untaught = [name for name, g in grads.items() if g is None]
    if network == objective:
        assert not untaught, untaught


@pytest.mark.parametrize('objective', WEIGHTS)
def test_batch_without_valid_pixel_teaches_no_range_and_says_so(objective):
    forward, learn, size_hw = make('pano_tiny', objective, loss={
        'mask': 0, 'mask_dice': 0, 'height': 0, 'empty': 0})
    batch = make_batch(size_hw)
    batch = batch._replace(range_m=torch.full_like(batch.range_m, torch.nan))
    total, parts = learn(forward(batch.image, batch.told_height_m), batch)
    total.backward()
    assert total.item() == 0 and parts['valid_images'].item() == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in forward.parameters())


def test_printed_weights_of_the_papers():
    assert WEIGHTS['dap'] == {'silog': 1.0, 'dense_fidelity': 0.4, 'edge_gradient': 5.0,
                              'normal': 2.0, 'points': 2.0, 'mask_dice': 2.0}
    assert WEIGHTS['da2'] == {'distance': 1.0, 'normal': 2.0}


def test_a_weight_of_zero_leaves_a_term_out_and_the_seam_comes_in():
    _, learn, _ = make('pano_tiny', 'dap', loss={'normal': 0, 'seam': 0.5})
    assert learn.weights['seam'] == 0.5 and 'normal' not in learn.weights


def test_terms_without_output_are_refused_only_where_asked_for():
    assert 'mask' not in make('da2', 'pano')[1].weights
    with pytest.raises(TrainError, match="loss 'mask' needs an output"):
        make('da2', 'da2', loss={'mask': 1.0})


def test_dap_and_da2_say_in_training_what_they_say_in_use():
    forward, _, size_hw = make('dap', 'dap')
    batch = make_batch(size_hw)
    said = forward(batch.image, batch.told_height_m)
    from training.networks.spherevit import imagenet_normalised
    used = forward.network(imagenet_normalised(batch.image))
    torch.testing.assert_close(said.log_range.exp(), used.range_unit * 100, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(said.mask_logits[:, 1].sigmoid(), 1 - used.beyond[20.0])
    forward, _, size_hw = make('da2', 'da2')
    batch = make_batch(size_hw)
    said = forward(batch.image, batch.told_height_m).log_range.exp()
    ratio = forward.network(batch.image) / said
    assert ratio.std() / ratio.mean() < 1e-3          # up to the quantile, one number


def test_da2_without_sphere_attention_has_none_of_its_weights():
    model = NETWORKS['da2'][0] | {'sphere_attention': False}
    with torch.device('meta'):
        names = build_network('da2', model).state_dict()
    assert not any(name.startswith('prompt') for name in names)


def test_teacher_is_not_followed_where_it_sees_nothing():
    maps = torch.zeros(1, 4, 8)
    logits = torch.full((1, 2, 4, 8), 5.0)
    logits[:, -1, :2] = -5.0
    case = Case(None, Prediction(maps, logits), None, maps, maps, torch.ones(4, 8), (),
                Prediction(maps + 1, logits))
    weight = case.teacher_maps[2]
    assert (weight[:, :2] == 0).all() and (weight[:, 2:] == 1).all()


def test_size_of_the_images_follows_network_or_config():
    network = build_network('pano_tiny', TINY)
    assert image_size(network, 'pano_tiny', None) == (32, 64)
    with torch.device('meta'):
        dap = build_network('dap', NETWORKS['dap'][0])
    assert image_size(dap, 'dap', None) == (512, 1024)
    assert image_size(dap, 'dap', (32, 64)) == (32, 64)


def test_published_encoder_weights_fit_or_are_refused(tmp_path):
    forward, _, _ = make('dap', 'dap')
    encoder = forward.network.encoder
    state = {name: torch.full_like(tensor, 0.5) for name, tensor in encoder.state_dict().items()}
    torch.save(state | {'mask_token': torch.zeros(1, 384)}, tmp_path / 'dino.pth')
    load_encoder(forward.network, tmp_path / 'dino.pth')
    assert all((tensor == 0.5).all() for tensor in encoder.state_dict().values())
    state.pop('norm.bias')
    torch.save(state, tmp_path / 'dino.pth')
    with pytest.raises(Exception, match='1 missing: norm.bias'):
        load_encoder(forward.network, tmp_path / 'dino.pth')
    with pytest.raises(TrainError, match='has no published encoder'):
        load_encoder(build_network('pano_tiny', TINY), tmp_path / 'dino.pth')


@pytest.mark.parametrize('name, content, message', [
    ('dino.pth', b'<html>not found</html>', 'cannot be read'),
    ('dino.pth', b'', 'cannot be read'),
    ('dino.safetensors', b'<html>not found</html>', 'cannot be read'),
    ('dino.pth', {'model': {'norm.bias': torch.zeros(1)}}, 'is not a flat state dict'),
    ('dino.pth', [torch.zeros(1)], 'is not a flat state dict')])
def test_an_encoder_file_that_is_damaged_or_of_another_kind_is_refused(
        tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with torch.device('meta'):
        network = build_network('dap', {'encoder': 'vits'})
    with pytest.raises(TrainError, match=f'--init-encoder {path} {message}'):
        load_encoder(network, path)


def test_a_network_that_cannot_be_trained_alone_is_refused():
    with torch.device('meta'):
        head = build_network('dap_mask_head', {'encoder': 'vits'})
    with pytest.raises(TrainError, match='trained with --heads'):
        Forward(head)


def test_near_obstacles_are_what_stands_on_the_floor_within_three_metres():
    height, width = 64, 128
    rays = erp_rays(height, width)
    floor = np.where(rays[..., 2] < 0, 1.0 / -np.minimum(rays[..., 2], -1e-6), np.inf)
    wall = 2.0 / np.sqrt(1 - rays[..., 2] ** 2)              # a round wall at two metres
    far = 4.0 / np.sqrt(1 - rays[..., 2] ** 2)
    range_m = np.stack([np.minimum(floor, wall), np.minimum(floor, far), floor,
                        np.minimum(floor, wall)])
    near = near_obstacles(torch.from_numpy(range_m), torch.tensor([1.0, 1.0, 1.0, 0.0])).numpy()
    above_m = 1.0 + wall * rays[..., 2]
    np.testing.assert_array_equal(near[0], (above_m > 0.05) & (above_m < 1.5))
    assert near[0].any() and not near[1:].any()              # far, floor alone, height unknown


@pytest.mark.parametrize('height_m, share', [(0.3, 0.06), (0.5, 0.09), (1.0, 0.15)])
def test_of_a_tilted_floor_a_part_counts_as_near_obstacle_as_the_docs_say(height_m, share):
    rays = erp_rays(128, 256)
    floor = np.where(rays[..., 2] < 0, height_m / -np.minimum(rays[..., 2], -1e-6), np.inf)
    level = Sample(np.zeros((128, 256, 3), np.uint8), floor.astype(np.float32),
                   np.isfinite(floor), 'floor', height_m)
    tilted = tilt(level, np.radians(4.0), 0.0)
    within = floor * np.sqrt(1 - rays[..., 2] ** 2) < 3.0
    for sample, wanted in ((level, 0.0), (tilted, share)):
        near = near_obstacles(torch.from_numpy(sample.range_m)[None], torch.tensor([height_m]))
        assert near.sum() / within.sum() == pytest.approx(wanted, abs=0.005)


def test_near_weight_moves_the_losses_towards_near_obstacles():
    forward, plain, size_hw = make('pano_tiny', 'pano')
    _, more, _ = make('pano_tiny', 'pano', near_weight=4.0)
    batch = make_batch(size_hw)._replace(height_m=torch.tensor([1.0]))
    near = near_obstacles(batch.range_m, batch.height_m)
    wrong = torch.log(torch.where(torch.isfinite(batch.range_m), batch.range_m, 1.0)) + near
    said = forward(batch.image, batch.told_height_m)._replace(log_range=wrong)
    assert near.any() and not near.all()
    assert more(said, batch)[1]['log_l1'] > 2 * plain(said, batch)[1]['log_l1'] > 0


@pytest.mark.parametrize('told_m', [0.0, 2.0])
def test_the_floor_term_reads_the_shape_whatever_the_scale(told_m):
    forward, learn, (height, width) = make('pano_tiny', 'pano', loss={'floor': 4.0})
    up = torch.from_numpy(erp_rays(height, width)[..., 2].copy()).float()
    floor = torch.where(up < 0, -1.0 / up, torch.inf)[None]
    batch = make_batch((height, width))._replace(
        range_m=floor, told_height_m=torch.tensor([told_m]), height_m=torch.tensor([1.0]))
    guess = torch.full((1,), 0.3, requires_grad=True)
    used = np.log(told_m) if told_m else guess
    shape = torch.log(torch.where(up < 0, floor, 1.0))

    def term(error):
        said = forward(batch.image, batch.told_height_m)._replace(
            log_range=shape + used + error, log_height=guess)
        return learn(said, batch)[1]['floor'], said
    assert term(0.0)[0] == term(0.1)[0] == 0
    value, said = term(-0.1)
    assert value > 0.01
    TERMS['floor'](Case(learn.config, said, batch, shape, up, learn.area, learn.range_masks_m)
                   ).backward()
    assert guess.grad is None or guess.grad.abs() < 1e-7       # it says nothing of the scale
