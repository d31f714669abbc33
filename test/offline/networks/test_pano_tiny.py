# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from small_networks import FINE, make_network, noise_image, SMALL  # noqa: E402

from training.networks.pano_tiny import PanoTiny, PanoTinyConfig, STRIDE, wrap_pad  # noqa: E402

LITE = replace(SMALL, size_hw=(96, 192), encoder='efficientnet_lite0', stem=16,
               widths=(24, 40, 112, 28))


@pytest.mark.parametrize('config', [SMALL, PanoTinyConfig(), FINE, LITE],
                         ids=['small', 'default', 'fine', 'lite'])
@pytest.mark.parametrize('turns', [1, 3])
def test_rolling_the_input_by_the_stride_rolls_the_output(config, turns):
    network, image = make_network(config), noise_image(config)
    turns *= config.size_hw[0] // config.body_hw[0]
    with torch.no_grad():
        log_range, logits = network(image, torch.zeros(1))
        rolled = network(torch.roll(image, turns * STRIDE, 3), torch.zeros(1))
    range_m = torch.roll(log_range.exp(), turns * STRIDE, 2)
    assert log_range.std() > 0.05
    torch.testing.assert_close(rolled[0].exp(), range_m, rtol=1e-3, atol=0)
    torch.testing.assert_close(rolled[1], torch.roll(logits, turns * STRIDE, 3), rtol=1e-3,
                               atol=1e-3)


def test_the_seam_is_no_edge():
    network = make_network()
    steps = []
    with torch.no_grad():
        for seed in range(8):
            log_range, _ = network(noise_image(seed=seed), torch.zeros(1))
            step = (torch.roll(log_range, -1, 2) - log_range).abs().mean((0, 1)).numpy()
            steps.append(step)
    mean = np.mean(steps, 0)
    same_phase = mean[STRIDE - 1::STRIDE]       # columns at which pixels of all strides meet
    assert mean[-1] <= 1.2 * same_phase[:-1].mean()


def test_a_known_camera_height_scales_the_range_and_replaces_the_guess():
    network, image = make_network(), noise_image()
    with torch.no_grad():
        network.height_in.weight.zero_()
        network.height_in.bias.zero_()
        one, two = (network(image, torch.tensor([h]))[0] for h in (1.0, 2.0))
        network.height_out[-1].bias.add_(5.0)
        again, free = network(image, torch.tensor([1.0]))[0], network(image, torch.zeros(1))[0]
    torch.testing.assert_close(two - one, torch.full_like(one, float(np.log(2))), rtol=0,
                               atol=1e-4)
    torch.testing.assert_close(again, one)
    assert (free - one).mean() > 1


def test_the_untrained_floor_lies_at_the_camera_height_over_the_sine_of_elevation():
    network = PanoTiny(PanoTinyConfig())
    rows = network.prior.detach().exp().numpy()
    assert rows[-1] == pytest.approx(1.0, rel=1e-3)
    assert rows[128 + 64] == pytest.approx(np.sqrt(2), rel=0.02)   # 45 degrees down


def test_outputs_have_the_input_size_and_bounded_range():
    network = make_network()
    log_range, logits = network(noise_image().expand(3, -1, -1, -1), torch.tensor([0.0, 0.3, 2.0]))
    assert log_range.shape == (3, 64, 128) and logits.shape == (3, 4, 64, 128)
    assert (log_range >= np.log(SMALL.min_range_m) - 1e-6).all()
    assert (log_range <= np.log(SMALL.max_range_m) + 1e-6).all()


@pytest.mark.parametrize('size_hw', [(64, 64), (48, 96)])
def test_a_size_that_is_no_panorama_or_breaks_the_stride_is_refused(size_hw):
    with pytest.raises(ValueError, match=str(size_hw[0])):
        PanoTiny(PanoTinyConfig(size_hw=size_hw))


def test_the_default_network_is_small():
    count = sum(p.numel() for p in PanoTiny(PanoTinyConfig()).parameters())
    assert 3e6 < count < 6e6


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('pad', [1, 2])
def test_padding_wraps_the_same_with_and_without_a_gradient(layout, pad):
    x = torch.randn(2, 3, 4, 8, dtype=torch.float64).contiguous(memory_format=layout)
    plain = wrap_pad(x, pad)
    grown = wrap_pad(x.requires_grad_(), pad)
    assert torch.equal(plain, grown) and grown.is_contiguous(memory_format=layout)
    assert torch.equal(plain[:, :, pad:-pad, :pad], x[..., -pad:])
    assert torch.autograd.gradcheck(lambda x: wrap_pad(x, pad), x)


def test_every_row_and_every_part_of_an_encoder_learns():
    network = make_network(LITE).train()
    image = torch.cat([noise_image(LITE, seed) for seed in (1, 2)])
    log_range, logits, guess = network.predict(image, torch.tensor([0.0, 1.2]))
    (log_range.square().mean() + logits.square().mean() + guess.square().mean()).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@pytest.mark.parametrize('change, message', [
    ({'encoder': 'resnet'}, "encoder 'resnet' with detail 0 does not exist"),
    ({'detail': 8, 'size_hw': (128, 256)}, "'efficientnet_lite0' with detail 8 does not exist"),
    ({'stem': 8}, r'stem must be 16 and widths must begin \(24, 40, 112\), got 8'),
])
def test_an_encoder_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PanoTiny(replace(LITE, **change))
