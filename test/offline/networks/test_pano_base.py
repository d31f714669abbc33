# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The network with a pretrained encoder: what turns, kept features and warm starts may change."""

import pytest
import torch

from training.bundling.graph import make_graphs, Options
from training.networks import build_network, NetworkError
from training.warm_start import grow

SMALL = {'size_hw': [64, 128], 'stem': 8, 'widths': [8, 8, 16, 14], 'blocks': [1, 1, 1, 1],
         'decoder': [8, 8, 8, 8]}
BASE = SMALL | {'encoder_depth': 2, 'taps': [0, 1], 'feature_width': 16, 'feature_blocks': 1}


@pytest.fixture
def network():
    """A pano_base in which nothing is zero, in evaluation mode."""
    torch.manual_seed(3)
    network = build_network('pano_base', BASE)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter)
    return network.eval()


def picture(count=1):
    return torch.rand(count, 3, 64, 128, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_turning_the_camera_turns_features_and_range(network):
    image, height = picture(), torch.tensor([1.2])
    turned = torch.roll(image, 32, -1)
    features = network.features(image)
    assert features.shape == (1, 2 * 384, 4, 8)
    torch.testing.assert_close(network.features(turned), torch.roll(features, 2, -1),
                               rtol=1e-4, atol=1e-4)
    for here, there in zip(network(image, height), network(turned, height)):
        torch.testing.assert_close(torch.roll(here, 32, -1), there, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_kept_features_say_the_same(network):
    image, height = picture(2), torch.tensor([0.0, 0.7])
    features = network.features(image)
    for here, there in zip(network.predict(image, height),
                           network.predict(image, height, features)):
        torch.testing.assert_close(here, there)


@torch.no_grad()
def test_features_change_what_is_said(network):
    image, height = picture(), torch.tensor([1.0])
    one = network(image, height)[0]
    other = network.predict(image, height, torch.zeros_like(network.features(image)))[0]
    assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_a_grown_body_says_at_first_what_it_said_alone():
    torch.manual_seed(1)
    tiny = build_network('pano_tiny', SMALL).eval()
    for parameter in tiny.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    base = build_network('pano_base', BASE).eval()
    grow(tiny, base)
    image, height = picture(2), torch.tensor([0.0, 1.5])
    for here, there in zip(base(image, height), tiny(image, height)):
        torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)


def test_the_body_is_silenced_in_training_only(network):
    image, height = picture(16), torch.full((16,), 1.0)
    features = network.features(image[:1]).expand(16, -1, -1, -1)
    same = image[:1].expand(16, -1, -1, -1)
    said = network.predict(same, height, features)[0]
    assert (said - said[:1]).abs().max() < 1e-4
    assert len(network.train()._kept(image).unique()) == 2


def test_taps_beyond_the_encoder_are_refused():
    with pytest.raises(NetworkError, match='taps'):
        build_network('pano_base', BASE | {'taps': [0, 2]})


def test_export_makes_the_positions_constant(network):
    graphs = make_graphs(network, Options())
    assert graphs.uses_camera_height and graphs.size_hw == (64, 128)
    assert list(network.encoder._fixed) == [(4, 8)]
