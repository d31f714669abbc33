# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The losses of DAP and DA2 against loops over the printed formulas, and on closed forms."""

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from da_ros.sphere import erp_rays, solid_angles  # noqa: E402
from training import losses  # noqa: E402
from training.losses import geometry  # noqa: E402
from training.losses.dap import DICE_EPS  # noqa: E402

pytestmark = pytest.mark.usefixtures('one_thread')

H, W = 16, 32


def maps(seed=0, batch=2):
    """Smooth random log ranges, distortion weights with a hole and single invalid pixels."""
    rng = np.random.default_rng(seed)
    ray = erp_rays(H, W)
    pred, target = 1 + 0.5 * np.sin(3 * np.einsum(
        'hwc,kbc->kbhw', ray, rng.normal(size=(2, batch, 3))))
    weight = np.repeat(solid_angles(H, W)[None], batch, 0).copy()
    weight[:, 3:6, 10:14] = 0
    weight[0, 9, 31] = 0
    return tuple(torch.from_numpy(a).float() for a in (pred, target, weight))


RANGE_LOSSES = {
    'silog': losses.silog, 'edge_gradient': losses.edge_gradient, 'normal': losses.normal_l1,
    'points': losses.points_l1, 'dense_fidelity': losses.dense_fidelity, 'seam': losses.seam,
    'distance': losses.aligned_distance, 'log_l1': losses.log_l1,
    'scale_free': losses.scale_free_l1, 'gradient': losses.multi_scale_gradient}


@pytest.fixture(params=RANGE_LOSSES)
def loss(request):
    return RANGE_LOSSES[request.param]


# --- laws that hold for every loss of range

def test_perfect_prediction_costs_nothing_and_has_a_finite_gradient(loss):
    _, target, weight = maps()
    pred = target.clone().requires_grad_()
    value = loss(pred, target, weight)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(pred.grad).all()


def test_error_costs_something_and_has_a_finite_gradient(loss):
    pred, target, weight = maps()
    pred.requires_grad_()
    value = loss(pred, target, weight)
    value.backward()
    assert value.item() > 1e-4 and torch.isfinite(pred.grad).all() and pred.grad.abs().sum() > 0


def test_unusable_pixels_have_no_influence(loss):
    pred, target, weight = maps()
    value = loss(pred, target, weight)
    worse = torch.where(weight > 0, pred, 200.0).requires_grad_()      # exp(200) overflows
    again = loss(worse, torch.where(weight > 0, target, 0.0), weight)
    again.backward()
    assert again.item() == pytest.approx(value.item(), rel=1e-5)
    assert torch.isfinite(worse.grad).all() and (worse.grad[weight == 0] == 0).all()


def test_batch_without_usable_pixel_costs_nothing(loss):
    pred, target, weight = maps()
    pred.requires_grad_()
    value = loss(pred, target, torch.zeros_like(weight))
    value.backward()
    assert value.item() == 0 and (pred.grad == 0).all()
    assert not losses.has_weight(torch.zeros_like(weight)).any()


def test_image_without_usable_pixel_changes_no_mean(loss):
    pred, target, weight = maps()
    alone = loss(pred[:1], target[:1], weight[:1]).item()
    weight[1] = 0
    assert loss(pred, target, weight) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize('name', sorted(set(RANGE_LOSSES) - {'dense_fidelity', 'seam'}))
def test_turning_the_camera_changes_no_loss(name):
    loss = RANGE_LOSSES[name]
    pred, target, weight = maps()
    step = 8                   # a multiple of the coarsest scale of multi_scale_gradient
    turned = (m.roll(step, -1) for m in (pred, target, weight))
    assert loss(*turned) == pytest.approx(loss(pred, target, weight).item(), rel=1e-4)


# --- DAP

@pytest.mark.parametrize('lam', [0.0, 0.5, 0.85])
def test_silog_is_eigens_formula(lam):
    pred, target, weight = maps()
    each = []
    for p, t, w in zip(pred.numpy(), target.numpy(), weight.numpy()):
        g, total = (p - t).astype(np.float64), w.sum()
        each.append(math.sqrt((w * g * g).sum() / total - lam * ((w * g).sum() / total) ** 2))
    assert losses.silog(pred, target, weight, lam) == pytest.approx(np.mean(each), rel=1e-4)


def test_silog_with_lambda_one_is_blind_to_scale():
    pred, target, weight = maps()
    assert losses.silog(pred + 1.3, target, weight, 1.0) == pytest.approx(
        losses.silog(pred, target, weight, 1.0).item(), rel=1e-3)
    assert losses.silog(target + 0.7, target, weight, 0.5) == pytest.approx(
        0.7 * math.sqrt(0.5), rel=1e-3)


def test_edges_are_sobel_magnitudes_on_the_sphere():
    _, target, _ = maps()
    used = np.ones((H, W), bool)
    used[5, 7] = False
    t = target[0].numpy().astype(np.float64)

    def at(row, col):                  # rows beyond a pole come down on the other side
        if row < 0 or row >= H:
            row, col = (-1 - row if row < 0 else 2 * H - 1 - row), col + W // 2
        return row, col % W
    expected = np.zeros((H, W), bool)
    for row in range(H):
        for col in range(W):
            across = down = 0.0
            complete = True
            for a in (-1, 0, 1):
                for b in (-1, 0, 1):
                    value = t[at(row + a, col + b)]
                    across += b * (2 - abs(a)) / 8 * value
                    down += a * (2 - abs(b)) / 8 * value
                    complete &= used[at(row + a, col + b)]
            expected[row, col] = complete and math.hypot(across, down) > 0.1
    found = losses.dap.edge_mask(target[:1], torch.from_numpy(used)[None], 0.1)[0].numpy()
    assert 10 < expected.sum() < H * W and (found == expected).all()


def test_edge_loss_counts_only_near_edges():
    target = torch.zeros(1, H, W)
    target[:, :, 8:24] = 1.0
    weight = torch.ones(1, H, W)
    pred = target.clone()
    pred[:, 4:12, 12:20] += 5          # far from the borders at columns 8 and 24
    assert losses.edge_gradient(pred, target, weight) == pytest.approx(0, abs=1e-6)
    pred = target.clone()
    pred[:, :, [7, 8]] += 0.3
    assert losses.edge_gradient(pred, target, weight, lam=0) > 0.1
    assert losses.edge_gradient(pred, torch.zeros_like(target), weight) == 0     # no edge at all


def test_edge_across_the_seam_is_an_edge():
    target = torch.zeros(1, H, W)
    target[:, :, :16] = 1.0            # borders at column 16 and at the seam
    edges = losses.dap.edge_mask(target, torch.ones(1, H, W, dtype=torch.bool), 0.05)
    assert edges[0, 8].nonzero().flatten().tolist() == [0, 15, 16, 31]


def test_normal_of_a_sphere_looks_at_its_centre():
    normal = geometry.normals_from_range(torch.full((1, H, W), 3.0))[0]
    np.testing.assert_allclose(normal.permute(1, 2, 0), -erp_rays(H, W), atol=1e-5)


def test_normal_of_a_floor_is_up_and_of_a_ceiling_down():
    z = erp_rays(H, W)[..., 2]
    range_m = torch.from_numpy(np.where(z < 0, -1.2 / z, 2.0 / z)).float()[None]
    normal = geometry.normals_from_range(range_m)[0].numpy()
    flat = np.zeros((3, H, W))
    flat[2] = np.sign(-z)
    inner = [*range(H // 2 - 1), *range(H // 2 + 1, H)]          # not across the horizon
    np.testing.assert_allclose(normal[:, inner], flat[:, inner], atol=1e-3)


def test_normal_loss_of_a_sphere_against_a_floor_is_the_direct_sum():
    z = erp_rays(H, W)[..., 2]
    target = torch.from_numpy(np.log(np.where(z < 0, -1.2 / z, 1.0))).float()[None]
    weight = torch.from_numpy(np.where(z < 0, solid_angles(H, W), 0)).float()[None]
    ray, area = erp_rays(H, W), solid_angles(H, W)
    total = value = 0.0
    for row in range(H // 2 + 1, H):                # the first row below the horizon is a border
        for col in range(W):
            value += area[row, col] * np.abs(-ray[row, col] - [0, 0, 1]).sum()
            total += area[row, col]
    got = losses.normal_l1(torch.zeros(1, H, W), target, weight)
    assert got == pytest.approx(value / total, rel=1e-3)


def test_points_loss_is_the_distance_of_points_in_hundreds_of_metres():
    pred, target, weight = maps(batch=1)
    ray, total, value = erp_rays(H, W), 0.0, 0.0
    for row in range(H):
        for col in range(W):
            w = float(weight[0, row, col])
            p, t = (ray[row, col] * math.exp(float(m[0, row, col])) for m in (pred, target))
            value += w * np.abs(p - t).sum() / 100
            total += w
    assert losses.points_l1(pred, target, weight) == pytest.approx(value / total, rel=1e-4)


def test_icosahedron_has_twelve_equal_neighbourhoods():
    vertices = geometry.icosahedron_vertices()
    cosines = np.sort(vertices @ vertices.T, axis=1)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1)
    expected = np.sort([1, -1] + 5 * [1 / math.sqrt(5)] + 5 * [-1 / math.sqrt(5)])
    np.testing.assert_allclose(cosines, np.tile(expected, (12, 1)), atol=1e-12)


def test_twelve_views_cover_the_sphere():
    half = math.radians(losses.dap.VIEW_FIELD_DEG / 2)
    random = np.random.default_rng(0).normal(size=(2000, 3))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    assert (random @ geometry.icosahedron_vertices().T).max(1).min() > math.cos(half)


def test_views_show_what_lies_in_their_direction_also_over_seam_and_poles():
    height = 128
    ray = torch.from_numpy(erp_rays(height, 2 * height).copy()).float().permute(2, 0, 1)
    views = torch.cat([geometry.sample_views(c[None], 9, 60.0) for c in ray])      # xyz of rays
    for k, centre in enumerate(geometry.icosahedron_vertices()):
        direct = geometry.view_rays(centre, 9, 60.0)
        direct /= np.linalg.norm(direct, axis=-1, keepdims=True)
        np.testing.assert_allclose(views[:, k].permute(1, 2, 0), direct, atol=2e-3)


def test_dense_fidelity_is_the_gram_difference_of_loops():
    pred, target, weight = maps(batch=1)
    n, field = 6, 70.0
    _, cosine = geometry.view_grid(H, W, n, field, torch.device('cpu'))
    sampled = [geometry.sample_views(m, n, field)[0].numpy().astype(np.float64) for m in (
        torch.where(weight > 0, pred, target).exp(), target.exp(), (weight > 0).float())]
    per_view = []
    for k in range(12):
        used = sampled[2][k] > 0.999
        grams = []
        for depth in (sampled[0][k], sampled[1][k]):
            d = np.where(used, depth * cosine[k].numpy(), 0)
            d /= d.sum() / used.sum()
            grams.append([[sum(d[i, m] * d[j, m] for m in range(n)) / n for j in range(n)]
                          for i in range(n)])
        per_view.append(np.mean((np.array(grams[0]) - np.array(grams[1])) ** 2))
    got = losses.dense_fidelity(pred, target, weight, n, field)
    assert got == pytest.approx(np.mean(per_view), rel=1e-3)


def test_dense_fidelity_is_blind_to_scale_and_sees_shape():
    pred, target, weight = maps()
    assert losses.dense_fidelity(target + 0.9, target, weight) == pytest.approx(0, abs=1e-5)
    assert losses.dense_fidelity(pred, target, weight) > 1e-2


@pytest.mark.parametrize('kind', ['square', 'bce'])
def test_mask_loss_is_the_printed_sum_plus_half_dice(kind):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, 2, H, W))
    range_m = rng.uniform(1, 30, (2, H, W))
    range_m[:, :4] = np.inf
    range_m[0, 8, :9] = np.nan
    area, each = solid_angles(H, W), []
    for image in range(2):
        for k, threshold in enumerate((10.0, 20.0)):
            total = error = both = own = true = 0.0
            for row, col in np.argwhere(~np.isnan(range_m[image])):
                m = 1 / (1 + math.exp(-logits[image, k, row, col]))
                t = float(range_m[image, row, col] <= threshold)
                w = area[row, col]
                total += w
                error += w * ((m - t) ** 2 if kind == 'square' else
                              -(t * math.log(m) + (1 - t) * math.log(1 - m)))
                both, own, true = both + w * m * t, own + w * m, true + w * t
            dice = 1 - (2 * both + DICE_EPS * total) / (own + true + DICE_EPS * total)
            each.append(error / total + 0.5 * dice)
    got = losses.range_mask_dice(
        *(torch.from_numpy(a).float() for a in (logits, range_m)), (10.0, 20.0),
        torch.from_numpy(area.copy()).float(), kind)
    assert got == pytest.approx(np.mean(each), rel=1e-4)


@pytest.mark.parametrize('kind', ['square', 'bce'])
def test_right_masks_cost_nothing_also_where_all_is_beyond(kind):
    range_m = torch.full((1, H, W), float('inf'))
    area = torch.ones(H, W)
    logits = torch.full((1, 1, H, W), -40.0, requires_grad=True)
    value = losses.range_mask_dice(logits, range_m, (10.0,), area, kind)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6) and torch.isfinite(logits.grad).all()
    unknown = losses.range_mask_dice(logits, range_m * float('nan'), (10.0,), area, kind)
    assert unknown.item() == 0


def test_seam_loss_is_the_error_of_the_step():
    target = torch.zeros(1, H, W)
    target[:, :, :16] = 2.0            # the truth may have a step there
    weight = torch.ones(1, H, W)
    pred = target + 0.4
    assert losses.seam(pred, target, weight) == pytest.approx(0, abs=1e-6)
    pred[..., 0] += 0.25
    assert losses.seam(pred, target, weight) == pytest.approx(0.25, rel=1e-5)


# --- DA2

def test_aligned_distance_is_the_printed_formula():
    pred, target, weight = maps()
    each = []
    for p, t, w in zip(pred.numpy(), target.numpy(), weight.numpy()):
        p, t = np.exp(p[w > 0]), np.exp(t[w > 0])
        middle = (len(p) - 1) // 2
        aligned = p * np.sort(t)[middle] / np.sort(p)[middle]
        each.append(np.average(np.abs(aligned - t), weights=w[w > 0]))
    assert losses.aligned_distance(pred, target, weight) == pytest.approx(np.mean(each), rel=1e-4)


def test_aligned_distance_ignores_the_unit_of_the_prediction():
    pred, target, weight = maps()
    value = losses.aligned_distance(pred, target, weight).item()
    assert losses.aligned_distance(pred - 4.6, target, weight) == pytest.approx(value, rel=1e-4)
    assert losses.aligned_distance(target + 2, target, weight) == pytest.approx(0, abs=1e-4)


# --- pixels

def test_distortion_map_is_the_share_of_the_sphere():
    weight = losses.pixel_weights('solid_angle', H, W).numpy()
    np.testing.assert_allclose(weight, solid_angles(H, W) * H * W / (4 * np.pi), rtol=1e-5)
    floored = losses.pixel_weights('floored', H, W).numpy()
    assert floored.min() == pytest.approx(0.15 * floored.max()) and floored.mean() == 1
    assert (losses.pixel_weights('none', H, W) == 1).all()


def test_unknown_empty_near_and_far_pixels_are_unusable():
    range_m = torch.tensor([[[float('nan'), float('inf'), 0.01, 2.0, 99.0, 101.0, -1.0, 0.0]]])
    log_range, weight = losses.usable_target(range_m, torch.ones(1, 8), 0.02, 100.0)
    assert weight[0, 0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    assert torch.isfinite(log_range).all()
    np.testing.assert_allclose(log_range[0, 0, 3:5], np.log([2.0, 99.0]), rtol=1e-6)
