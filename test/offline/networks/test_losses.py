# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

torch = pytest.importorskip('torch')

from da_ros.sphere import erp_rays, solid_angles  # noqa: E402
from training import losses  # noqa: E402


def random_maps(seed=0, shape=(2, 8, 16)):
    generator = torch.Generator().manual_seed(seed)
    pred, target, weight = (torch.rand(shape, generator=generator) for _ in range(3))
    return pred, target, weight + 0.1


def test_log_l1_matches_the_direct_formula():
    pred, target, weight = random_maps()
    expected = np.mean([np.average(np.abs(p - t), weights=w) for p, t, w in zip(
        pred.numpy(), target.numpy(), weight.numpy())])
    assert losses.log_l1(pred, target, weight).item() == pytest.approx(expected, rel=1e-5)


def test_scale_free_loss_ignores_a_common_factor_of_range():
    pred, target, weight = random_maps()
    shift = torch.tensor([0.7, -2.0])[:, None, None]
    loss = losses.scale_free_l1(pred, target, weight)
    assert losses.scale_free_l1(pred + shift, target, weight) == pytest.approx(loss, rel=1e-4)
    assert losses.scale_free_l1(target + shift, target, weight) == pytest.approx(0, abs=1e-6)
    assert losses.log_l1(target + shift, target, weight) == pytest.approx(1.35, rel=1e-5)


def test_gradient_loss_sees_a_step_but_no_offset():
    _, target, weight = random_maps()
    assert losses.multi_scale_gradient(target + 3, target, weight) == pytest.approx(0, abs=1e-5)
    step = torch.zeros_like(target)
    step[:, :, 8:] = 1.0
    one = torch.ones_like(target)
    # one scale: 2 of 16 column differences are 1, one of them across the seam
    loss = losses.multi_scale_gradient(target + step, target, one, scales=1)
    assert loss == pytest.approx(2 / 16, rel=1e-5)


@pytest.mark.parametrize('loss', [
    losses.log_l1, losses.scale_free_l1, losses.multi_scale_gradient])
def test_losses_ignore_pixels_without_weight(loss):
    pred, target, weight = random_maps()
    weight[:, 2:5, 3:9] = 0
    worse = pred.clone()
    worse[:, 2:5, 3:9] += 100
    assert loss(worse, target, weight) == pytest.approx(loss(pred, target, weight), rel=1e-5)


@pytest.mark.parametrize('loss', [
    losses.log_l1, losses.scale_free_l1, losses.multi_scale_gradient])
def test_an_image_without_valid_pixel_changes_nothing(loss):
    pred, target, weight = random_maps()
    alone = loss(pred[:1], target[:1], weight[:1])
    weight[1] = 0
    assert loss(pred, target, weight) == pytest.approx(alone, rel=1e-5)
    assert torch.isfinite(loss(pred, target, torch.zeros_like(weight)))


def test_mask_loss_counts_empty_as_beyond_and_ignores_unknown():
    range_m = torch.full((1, 4, 8), float('inf'))
    range_m[:, 2:] = 5.0
    range_m[:, 3, 0] = float('nan')
    area = torch.ones(4, 8)
    right = torch.where(range_m <= 10, 20.0, -20.0)[:, None]
    assert losses.range_mask_bce(right, range_m, (10.0,), area) < 1e-6
    assert losses.range_mask_bce(-right, range_m, (10.0,), area) == pytest.approx(20, rel=1e-3)
    right[:, :, 3, 0] = 1e3
    assert losses.range_mask_bce(right, range_m, (10.0,), area) < 1e-6


def test_empty_hinge_asks_only_empty_pixels_to_be_far():
    range_m = torch.tensor([[[2.0, float('inf')]]])
    pred = torch.log(torch.tensor([[[2.0, 10.0]]]))
    area = torch.ones(1, 2)
    expected = np.log(100 / 10) / 2
    assert losses.empty_hinge(pred, range_m, 100.0, area) == pytest.approx(expected, rel=1e-5)
    assert losses.empty_hinge(pred + 5, range_m, 100.0, area) == 0


@pytest.mark.parametrize('height_m', [0.3, 1.5])
def test_obstacle_hinge_is_the_share_of_height_that_near_obstacles_lose(height_m):
    up = torch.from_numpy(erp_rays(32, 64)[:, :1, 2].copy()).float()
    floor = torch.where(up < 0, -height_m / up, 9.0).expand(1, 32, 64)
    wall = torch.minimum(floor, 2.0 / (1 - up ** 2).sqrt())           # 2 m away all around
    stands = (wall < floor - 1e-4) & (height_m + wall * up > 0.05) & (up < 0)
    assert 0 < stands.sum()
    area = torch.from_numpy(solid_angles(32, 64).copy()).float().expand(32, 64)
    heights = torch.tensor([height_m])
    true, as_floor = torch.log(wall / height_m), torch.log(floor / height_m)
    assert losses.obstacle_hinge(true, wall, heights, area) == 0
    assert losses.obstacle_hinge(true - 1, wall, heights, area) == 0              # nearer
    share = ((area * stands[0]).sum() / area.sum()).item()
    for lost in (0.25, 1.0):
        got = losses.obstacle_hinge(torch.lerp(true, as_floor, lost), wall, heights, area)
        assert got == pytest.approx(lost * share, rel=0.02)
    got = losses.obstacle_hinge(true + 9, wall, heights, area)
    assert got == pytest.approx(2 * share, rel=1e-4)                              # no more
    assert losses.obstacle_hinge(true + 9, wall, torch.zeros(1), area) == 0       # unknown height


@pytest.mark.parametrize('height_m, too_near', [(1.5, 0.97), (1.5, 0.5), (0.3, 0.9)])
def test_floor_hinge_is_the_log_of_what_floor_stands_too_high(height_m, too_near):
    up = torch.from_numpy(erp_rays(32, 64)[:, :1, 2].copy()).float()
    range_m = torch.where(up < 0, -height_m / up, torch.inf).expand(1, 32, 64)
    near = (range_m * (1 - up ** 2).sqrt())[0] < 3.0
    area = torch.from_numpy(solid_angles(32, 64).copy()).float().expand(32, 64)
    heights = torch.tensor([height_m])
    shape = torch.log(torch.where(near, range_m, 1.0)) - np.log(height_m)
    assert losses.floor_hinge(shape, range_m, heights, area) == 0
    assert losses.floor_hinge(shape + 0.5, range_m, heights, area) == 0          # sunk
    assert losses.floor_hinge(shape + np.log(1 - 0.024 / height_m), range_m, heights, area) == 0
    rise = np.log((1 - 0.025 / height_m) / too_near)
    share = (area * near).sum() / area.sum()
    got = losses.floor_hinge(shape + np.log(too_near), range_m, heights, area)
    assert got == pytest.approx(rise * share.item(), rel=1e-4)
    assert losses.floor_hinge(shape - 9, range_m, torch.zeros(1), area) == 0     # height unknown
    wall = torch.full_like(range_m, 1.0)                 # 0.05 m off the floor is no floor
    off = (height_m + wall * up).abs().expand_as(wall)[0] > 0.05
    got = losses.floor_hinge(shape - 9, wall, heights, area * off)
    assert got == 0
