# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""DA2 says what its authors' code says, stage by stage."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from dataclasses import asdict, replace

import numpy as np
from stages import assert_parity, DATA, formula_state, Golden, record_da2
import torch

from da_ros.sphere import angles_from_ray, erp_rays
from training.checkpoints.checkpoint import build, Checkpoint
from training.checkpoints.released import RELEASES, translate
from training.networks.sphere_embedding import sphere_directions
from training.networks.spherevit import network_size, SphereVitConfig

GOLDENS = sorted(DATA.glob('da2_*.npz'))
QUICK = 'da2_70x140_batch2'


def golden_config(golden: Golden) -> SphereVitConfig:
    config = SphereVitConfig(golden.meta['min_pixels'], golden.meta['max_pixels'])
    if sphere := golden.meta.get('sphere'):
        config = replace(config, sphere_hw=(sphere['height'], sphere['width']))
    return config


@pytest.fixture(scope='module')
def formula_weights():
    state = formula_state(DATA / 'da2_state_dict.json', 20251216)
    return translate(state, RELEASES['da2'])[0]


@pytest.mark.parametrize('path', [
    pytest.param(path, id=path.stem, marks=[] if path.stem == QUICK else pytest.mark.slow)
    for path in GOLDENS])
def test_network_repeats_the_authors_code(path, formula_weights):
    golden = Golden(path)
    config = golden_config(golden)
    network = build(Checkpoint('da2', asdict(config), formula_weights, {}))
    recorder = record_da2(network)
    with torch.inference_mode():
        distance = network(golden.image())
    size_hw, factor = network_size(config, *golden.image().shape[-2:])
    sphere_hw = tuple(side * factor for side in config.sphere_hw)
    recorder.stages['sphere_dirs'] = sphere_directions(size_hw, sphere_hw)[None].expand(
        len(distance), -1, -1, -1)
    assert_parity(golden, recorder.stages)
    np.testing.assert_allclose(
        golden.like_out(distance), golden.out('distance'), rtol=5e-4, atol=1e-5)


def test_aligned_directions_are_the_rays_of_the_sphere():
    right, down, forward = sphere_directions((56, 112), (56, 112)).numpy()
    ours = np.stack([forward, -right, -down], -1)     # their z, x, y axes in the body frame
    np.testing.assert_allclose(ours, erp_rays(56, 112), atol=2e-5)


def test_directions_are_wrong_at_every_size_but_one():
    size_hw, factor = network_size(SphereVitConfig(), 512, 1024)
    right, down, forward = sphere_directions(size_hw, (546 * factor, 1092 * factor)).numpy()
    azimuth, elevation = angles_from_ray(np.stack([forward, -right, -down], -1))
    assert np.rad2deg(elevation.min()) == pytest.approx(-81.0, abs=0.1)
    assert np.rad2deg(azimuth.min()) == pytest.approx(-157.7, abs=0.1)


@pytest.mark.parametrize('height, size_hw, factor', [
    (546, (546, 1092), 1.0), (512, (546, 1078), 1.0518), (480, (546, 1078), 1.1219),
    (720, (560, 1120), 0.7733), (1024, (560, 1120), 0.5437)])
def test_image_is_resized_as_released(height, size_hw, factor):
    found, found_factor = network_size(SphereVitConfig(), height, 2 * height)
    assert found == size_hw
    assert found_factor == pytest.approx(factor, abs=1e-4)
