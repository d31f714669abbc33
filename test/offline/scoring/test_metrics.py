# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The metrics against the numbers of the papers' own code, and against closed forms."""

from conftest import ROOT
import numpy as np
import pytest

from training.scoring.alignment import alignment, median_scale, scale_and_shift, weighted_median
from training.scoring.metrics import (
    band_sums,
    edge_counts,
    edge_metrics,
    error_sums,
    mask_counts,
    mask_metrics,
    mean_metrics,
    metrics_from_sums,
    seam_metrics,
    seam_sums,
    within_threshold,
)
from training.scoring.protocols import aligned_with, compare, get_protocol, ProtocolError

H, W = 48, 96
DA2_ORDER = ('abs_rel', 'sq_rel', 'rmse_m', 'rmse_log', 'log10', 'delta_1', 'delta_2', 'delta_3',
             'i_rmse', 'silog')


@pytest.fixture(scope='module')
def golden():
    return np.load(ROOT / 'test' / 'data' / 'metrics_geometry.npz')


def scores(pred, target, protocol, **kwargs):
    compared = compare(pred, target, protocol, **kwargs)
    return metrics_from_sums(error_sums(compared.pred, compared.target, compared.weight))


@pytest.mark.parametrize('align, key', [
    ('none', 'da2_raw'), ('median', 'da2_median'), ('scale_shift', 'da2_lsq')])
def test_da2_protocol_equals_the_official_code(golden, align, key):
    protocol = aligned_with(get_protocol('da2'), align)
    target = np.where(golden['mask'], golden['gt'], np.nan)
    if align == 'none':  # the official unaligned row is not clipped
        sums = error_sums(golden['pred'][golden['mask']], golden['gt'][golden['mask']])
        got = metrics_from_sums(sums)
    else:
        got = scores(golden['pred'], target, protocol)
    np.testing.assert_allclose([got[k] for k in DA2_ORDER], golden[key], rtol=1e-5)


def test_alignments_equal_the_official_code(golden):
    pred, target = golden['pred'][golden['mask']], golden['gt'][golden['mask']]
    np.testing.assert_allclose(median_scale(pred, target), golden['median_scale'], rtol=1e-5)
    np.testing.assert_allclose(
        scale_and_shift(pred, target), golden['lsq_scale_shift'], rtol=1e-5)


def test_dap_protocol_equals_the_official_code_under_honest_names(golden):
    target = np.where(golden['mask'], golden['dap_gt'], np.nan)
    got = scores(golden['dap_pred'], target, get_protocol('dap'))
    order = ('mae_m', 'abs_rel', 'sq_rel', 'mae_m', 'log10', 'log10',
             'delta_1', 'delta_2', 'delta_3')
    np.testing.assert_allclose([got[k] for k in order], golden['dap'], rtol=1e-5)
    np.testing.assert_allclose(
        [got['mae_m'], got['rmse_m']], golden['dap_true_mae_rmse'], rtol=1e-5)


def test_metric_ignores_invalid_pixels():
    target = np.full((H, W), 2.0)
    pred = target * 1.1
    target[:10], target[10:20] = np.nan, np.inf
    pred[:20] = 77
    assert scores(pred, target, get_protocol('sphere'))['abs_rel'] == pytest.approx(0.1)


def test_metric_without_valid_pixel_is_nan():
    got = scores(np.ones((H, W)), np.full((H, W), np.nan), get_protocol('sphere'))
    assert all(np.isnan(value) for value in got.values())
    assert np.isnan(mean_metrics([np.zeros(12)])['abs_rel'])
    assert np.isnan(alignment('median', np.zeros(0), np.zeros(0))[0])


def test_unknown_prediction_lowers_coverage_and_empty_one_counts_as_the_limit():
    target = np.full((H, W), 50.0)
    pred = np.full((H, W), np.inf)
    pred[: H // 2] = np.nan
    compared = compare(pred, target, get_protocol('sphere'))
    assert compared.coverage == pytest.approx(0.5)
    assert (compared.pred == 100).all()


def test_solid_angle_weighting_makes_poles_count_little():
    target = np.full((H, W), 2.0)
    pred = target.copy()
    pred[0] = 4.0
    plain = scores(pred, target, get_protocol('dap'))['abs_rel']
    weighted = scores(pred, target, get_protocol('sphere'))['abs_rel']
    assert plain == pytest.approx(1 / H)
    assert weighted == pytest.approx((1 - np.cos(np.pi / H)) / 2)  # share of the polar cap


def test_sums_of_a_set_equal_the_metrics_of_all_its_pixels():
    rng = np.random.default_rng(3)
    target, pred = rng.uniform(0.5, 20, (2, 3, 500))
    added = sum(error_sums(p, t) for p, t in zip(pred, target))
    whole, apart = metrics_from_sums(error_sums(pred, target)), metrics_from_sums(added)
    assert whole == pytest.approx(apart)


def test_bands_add_up_to_the_whole_and_own_their_upper_edge():
    rng = np.random.default_rng(4)
    target = rng.uniform(0.01, 99, 1000)
    target[0] = 5.0
    sums = band_sums(target * 1.2, target)
    np.testing.assert_allclose(sums.sum(0), error_sums(target * 1.2, target))
    one = band_sums(np.array([5.0]), np.array([5.0]))[:, 0]
    assert one.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


def test_delta_threshold_is_strict():
    assert metrics_from_sums(error_sums(np.array([1.25]), np.array([1.0])))['delta_1'] == 0


def test_median_alignment_removes_any_scale():
    rng = np.random.default_rng(5)
    target = rng.uniform(1, 4, (H, W))
    protocol = aligned_with(get_protocol('sphere'), 'median')
    assert scores(target * 7, target, protocol)['abs_rel'] == pytest.approx(0, abs=1e-12)


def test_black_pixels_do_not_steer_the_da2_alignment():
    target, pred = np.full((H, W), 2.0), np.full((H, W), 1.0)
    image = np.full((H, W, 3), 9, np.uint8)
    pred[: 3 * H // 4], image[: 3 * H // 4] = 4.0, 0
    assert compare(pred, target, get_protocol('da2'), image).scale == 2.0
    assert compare(pred, target, get_protocol('da2')).scale == 0.5


def test_weighted_median_follows_the_weight():
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([10.0, 1.0, 1.0])) == 3.0


def test_mask_scores_of_half_a_sphere():
    target = np.full((H, W), 5.0)
    target[:, W // 2:] = np.inf
    everything = np.ones((H, W), bool)
    got = mask_metrics(mask_counts(everything, within_threshold(target, 10)))
    assert got == pytest.approx({'precision': 0.5, 'recall': 1.0, 'iou': 0.5})
    target[:] = np.nan
    got = mask_metrics(mask_counts(everything, within_threshold(target, 10)))
    assert np.isnan(list(got.values())).all()


def test_seam_ratio_is_one_on_a_rolled_texture_and_sees_a_step():
    azimuth = np.linspace(0, 2 * np.pi, W, endpoint=False)
    smooth = np.broadcast_to(3 + np.abs(azimuth - np.pi), (H, W)).copy()
    assert seam_metrics(seam_sums(smooth))['seam_ratio'] < 1.5
    ramp = np.broadcast_to(1 + azimuth, (H, W))
    assert seam_metrics(seam_sums(ramp))['seam_ratio'] > 20


def test_edge_f1_is_one_for_the_truth_zero_for_a_flat_map_and_crosses_the_seam():
    target = np.full((H, W), 4.0)
    target[10:30, :6], target[10:30, -6:] = 1.0, 1.0
    assert edge_metrics(edge_counts(target, target))['edge_f1'] == 1
    assert edge_metrics(edge_counts(np.full((H, W), 4.0), target))['edge_f1'] == 0
    moved = np.roll(target, 2, axis=1)
    assert edge_metrics(edge_counts(moved, target))['edge_f1'] == 1
    far = np.roll(target, W // 2, axis=1)
    assert edge_metrics(edge_counts(far, target))['edge_f1'] == 0


def test_wrong_names_and_shapes_are_refused():
    with pytest.raises(ProtocolError, match=r"'dapp'.*sphere, dap, da2"):
        get_protocol('dapp')
    with pytest.raises(ValueError, match="'mean'"):
        alignment('mean', np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match='differ in size'):
        compare(np.ones((2, 4)), np.ones((4, 8)), get_protocol('sphere'))
