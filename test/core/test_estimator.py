# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Laws of the estimator: the one rule, resizing, padding, and runtimes that must agree."""

from dataclasses import replace
import os
import subprocess
import sys
import weakref

from conftest import painted, write_fragile_bundle, write_stand_in_bundle
import numpy as np
import pytest

from da_ros.backends.base import BackendError, EngineMissing
from da_ros.bundle import BundleError, load_bundle, write_manifest
from da_ros.config import ConfigError, RangeRule
from da_ros.estimator import apply_rule, FrameError, RangeEstimator

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize('range_m, probability, mask_m, limit_m, wanted', [
    (0.2, 0.9, 20, 20, -INF),        # too near wins over everything
    (0.2, 0.1, 20, 20, -INF),
    (0.3, 0.9, 20, 20, 0.3),         # min_range is inclusive
    (5.0, 0.9, 20, 20, 5.0),
    (5.0, 0.5, 20, 20, NAN),         # strict threshold: 0.5 is beyond; 5 < 0.5 * 20 contradicts
    (9.9, 0.1, 20, 20, NAN),
    (10.0, 0.1, 20, 20, INF),        # at half the mask the head is believed
    (19.9, 0.1, 20, 20, INF),
    (20.0, 0.9, 20, 20, INF),        # the limit is exclusive
    (50.0, 0.1, 20, 20, INF),
    (12.0, 0.1, 100, 15, NAN),       # max_range below the mask: contradiction is against T
    (16.0, 0.1, 100, 15, INF),
    (99.0, None, 0, 100, 99.0),      # mask off
    (100.0, None, 0, 100, INF)])
def test_one_rule_decides_every_pixel(range_m, probability, mask_m, limit_m, wanted):
    got, disagreements = apply_rule(
        np.full((2, 4), range_m, np.float32),
        None if probability is None else np.full((2, 4), probability, np.float32),
        mask_m, limit_m, RangeRule())
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.float32(wanted))
    assert disagreements == (8 if np.isnan(wanted) else 0)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino', 'auto'])
def test_every_runtime_gives_the_painted_ranges(stand_in, backend):
    if backend == 'openvino':
        pytest.importorskip('openvino', reason='the extra da_ros[openvino] is not installed')
    estimator = RangeEstimator(stand_in, backend)
    wanted = np.random.default_rng(1).integers(1, 240, (32, 64)) * 0.4
    got = estimator.predict(painted(wanted))
    assert np.allclose(got.range_m, np.where(wanted < 100, wanted, INF), rtol=1e-2)
    assert got.limit_m == 100 and got.disagreements == 0


@pytest.mark.parametrize('separate', [False, True])
@pytest.mark.parametrize('mask_m', [10, 20, 50, 100])
def test_selected_mask_decides_alike_for_shared_and_separate_heads(tmp_path, separate, mask_m):
    bundle = write_stand_in_bundle(tmp_path / 'b', separate_heads=separate)
    estimator = RangeEstimator(bundle, 'onnxruntime', rule=RangeRule(range_mask_m=mask_m))
    near, far = np.full((32, 64), 0.25 * mask_m), np.full((32, 64), 0.75 * mask_m)
    assert np.isnan(estimator.predict(painted(near, 0.0)).range_m).all()
    assert estimator.predict(painted(near, 0.0)).disagreements == 32 * 64
    assert estimator.predict(painted(far, 0.0)).empty.all()
    assert estimator.predict(painted(far, 1.0)).valid.all()


def test_switching_the_mask_takes_effect_on_the_next_frame_without_reload(stand_in):
    estimator = RangeEstimator(stand_in, 'onnxruntime')
    session = estimator.chain.backend._main
    image = painted(np.full((32, 64), 15.2))
    assert estimator.predict(image).valid.all()
    estimator.rule = replace(estimator.rule, range_mask_m=10)
    assert estimator.predict(image).empty.all() and estimator.limit_m == 10
    assert estimator.chain.backend._main is session


def test_range_mask_is_what_the_range_says(stand_in):
    range_m = np.full((32, 64), 5.2)
    range_m[0], range_m[1], range_m[2] = 0.0, 100.0, 5.2
    probability = np.ones((32, 64))
    probability[2] = 0
    got = RangeEstimator(stand_in, 'onnxruntime').predict(painted(range_m, probability))
    assert (got.range_mask[0] == 255).all() and np.isneginf(got.range_m[0]).all()
    assert (got.range_mask[1] == 0).all()
    assert (got.range_mask[2] == 128).all()
    assert (got.range_mask[3:] == 255).all()


def test_camera_height_reaches_the_graph(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', uses_camera_height=True)
    estimator = RangeEstimator(bundle, 'onnxruntime', rule=RangeRule(camera_height_m=1.5))
    assert np.allclose(estimator.predict(painted(np.full((32, 64), 4.0))).range_m, 5.5)


def test_partial_panorama_is_padded_and_its_padding_is_unknown(stand_in):
    estimator = RangeEstimator(stand_in, 'onnxruntime', elevation_span_deg=(-45, 60))
    camera = painted(np.full((round(105 / 180 * 128), 256), 4.0))
    got = estimator.predict(camera).range_m
    elevation = 90 - (np.arange(32) + 0.5) * 180 / 32
    inside = (elevation > -45) & (elevation < 60)
    assert np.isnan(got[~inside]).all() and (~inside).sum() > 10
    assert np.allclose(got[inside], 4.0)


@pytest.mark.parametrize('shape, span, message', [
    ((32, 60, 3), (-90, 90), '60 x 32 px, not twice as wide as high'),
    ((0, 0, 3), (-90, 90), None),
    ((32, 64, 3), (-45, 45), '64 x 32 px, but elevation -45 to 45 deg of 64 columns are 16.0'),
    ((56, 128, 3), (-90, 60), '128 x 56 px, but elevation -90 to 60 deg of 128 columns are'),
    ((32, 64), (-90, 90), r'\(32, 64\) uint8'), ((32, 64, 4), (-90, 90), r'\(32, 64, 4\)')])
def test_an_image_that_is_no_panorama_is_refused_by_value(stand_in, shape, span, message):
    estimator = RangeEstimator(stand_in, 'onnxruntime', elevation_span_deg=span)
    with pytest.raises(ValueError, match=message):
        estimator.predict(np.zeros(shape, np.uint8))


def test_unknown_range_mask_lists_what_the_bundle_has(stand_in):
    estimator = RangeEstimator(stand_in, 'onnxruntime')
    before = estimator.rule
    with pytest.raises(BundleError, match='30 is not in bundle .stand_in., which has 10, 20, 50'):
        estimator.rule = RangeRule(range_mask_m=30)
    assert estimator.rule is before


def test_mask_below_the_minimum_range_is_refused(stand_in):
    with pytest.raises(ConfigError, match='min_range_m 10 must be below the limit 10'):
        RangeEstimator(stand_in, 'onnxruntime', rule=RangeRule(range_mask_m=10, min_range_m=10))


def test_bundle_maximum_caps_the_limit(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', masks=(), max_range_m=8.0)
    estimator = RangeEstimator(bundle, 'onnxruntime', rule=RangeRule(range_mask_m=-1))
    assert estimator.limit_m == 8
    assert estimator.predict(painted(np.full((32, 64), 8.0))).empty.all()


def test_a_runtime_that_lies_is_refused_with_its_figures(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b')
    stored = dict(np.load(bundle.folder / 'self_check/0.npz'))
    stored['range_m'] = stored['range_m'] * 1.05
    np.savez(bundle.folder / 'self_check/0.npz', **stored)
    write_manifest_again(bundle)
    with pytest.raises(BackendError, match=r'onnxruntime fp32 fails the self-check .* 0\.95238'):
        RangeEstimator(load_bundle(bundle.folder), 'onnxruntime')


def test_unknown_backend_names_the_choices(stand_in):
    with pytest.raises(BackendError, match="'cuda' is none of auto, tensorrt, tensorrt_rtx, "
                       'onnxruntime_cuda, openvino, onnxruntime'):
        RangeEstimator(stand_in, 'cuda')


def test_cancelled_runtime_raises_instead_of_answering(stand_in):
    estimator = RangeEstimator(stand_in, 'onnxruntime')
    estimator.cancel()
    with pytest.raises(BackendError, match='onnxruntime failed'):
        estimator.predict(painted(np.full((32, 64), 4.0)))


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_closed_runtime_is_freed_though_somebody_holds_on_to_it(tmp_path, backend):
    # Its threads and memory stayed until Python collected a cycle: 8 threads after 30 cleanups.
    bundle = write_stand_in_bundle(tmp_path / 'heads', separate_heads=True)
    with_graphs = RangeEstimator(bundle, backend=backend).chain.backend
    graphs = [weakref.ref(graph) for graph in (with_graphs._main, *with_graphs._heads.values())]
    assert len(graphs) == 5 and all(graph() is not None for graph in graphs)
    with_graphs.close()
    assert all(graph() is None for graph in graphs)
    with_graphs.close()
    with_graphs.cancel()            # a signal that comes late


def test_a_failed_runtime_is_replaced_by_the_next_of_the_order(stand_in):
    pytest.importorskip('openvino', reason='the extra da_ros[openvino] is not installed')
    estimator = RangeEstimator(stand_in, 'auto')
    assert estimator.backend.startswith('openvino')
    while estimator.backend != 'onnxruntime fp32':
        estimator.fall_back(f'{estimator.backend} failed')
    assert estimator.refused[-1] == 'openvino fp32 failed'
    assert np.allclose(estimator.predict(painted(np.full((32, 64), 4.0))).range_m, 4)
    with pytest.raises(BackendError, match='no inference runtime works'):
        estimator.fall_back()
    assert np.allclose(estimator.predict(painted(np.full((32, 64), 4.0))).range_m, 4)


GOOD = painted(np.full((32, 64), 4.0))


def one_black_pixel() -> np.ndarray:
    image = GOOD.copy()
    image[5, 7] = 0
    return image


@pytest.mark.parametrize('output, named', [
    ('range_m', 'range'), ('range_mask_probability', 'mask probability')])
def test_a_frame_that_gives_nan_is_refused_and_the_next_one_served(tmp_path, output, named):
    estimator = RangeEstimator(write_fragile_bundle(tmp_path / 'b', output), 'onnxruntime')
    for _ in range(3):                     # never three in a row
        for _ in range(2):
            with pytest.raises(FrameError, match=f'onnxruntime fp32 gave a non-finite {named}; '
                                                 'frame refused'):
                estimator.predict(one_black_pixel())
        assert estimator.predict(GOOD).valid.all()


def test_odd_frames_do_not_cost_a_runtime_that_still_passes_the_self_check(tmp_path):
    estimator = RangeEstimator(write_fragile_bundle(tmp_path / 'b'), 'onnxruntime')
    for _ in range(13):                    # the gate is asked on the 3rd, 6th and 12th
        with pytest.raises(FrameError, match='non-finite range; frame refused'):
            estimator.predict(one_black_pixel())
    assert estimator.predict(GOOD).valid.all()


@pytest.mark.parametrize('odd', [3, 6])
def test_a_runtime_that_fails_the_self_check_on_the_third_odd_frame_has_failed(tmp_path, odd):
    bundle = write_fragile_bundle(tmp_path / 'b')
    estimator = RangeEstimator(bundle, 'onnxruntime')
    stored = dict(np.load(bundle.folder / 'self_check/0.npz'))
    for number in range(1, odd):
        with pytest.raises(FrameError):
            estimator.predict(one_black_pixel())
        if number == odd - 1:              # from now on it gives other numbers than are stored
            stored['range_m'] = stored['range_m'] * 1.05
            np.savez(bundle.folder / 'self_check/0.npz', **stored)
    with pytest.raises(BackendError, match=f'non-finite range in {odd} frames in a row, and '
                       'onnxruntime fp32 fails the self-check'):
        estimator.predict(one_black_pixel())
    with pytest.raises(BackendError, match='the bundle has changed since it was loaded'):
        estimator.fall_back('it failed')
    assert not estimator.refused           # nothing replaced it


def test_what_a_machine_has_not_is_no_refusal(stand_in, monkeypatch):
    from da_ros.backends import cuda
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')
    estimator = RangeEstimator(stand_in, 'auto')
    assert {'tensorrt', 'tensorrt_rtx', 'onnxruntime_cuda'} <= set(estimator.absent)
    assert not [reason for reason in estimator.refused if 'bf16' not in reason]
    with pytest.raises(BackendError, match='no inference runtime works: no CUDA device'):
        RangeEstimator(stand_in, 'onnxruntime_cuda')


def test_engines_that_are_missing_reach_the_caller_and_what_was_given_up_is_passed(
        stand_in, stand_in_tensorrt):
    with pytest.raises(EngineMissing, match='must be built') as caught:
        RangeEstimator(stand_in, 'auto')
    assert caught.value.attempt == ('tensorrt', 'fp32') and len(caught.value.jobs) == 1
    estimator = RangeEstimator(stand_in, 'auto', given_up={
        (name, 'fp32'): f'{name} given up' for name in ('tensorrt', 'tensorrt_rtx')})
    assert estimator.refused[:2] == ['tensorrt given up', 'tensorrt_rtx given up']


def test_a_robot_that_moves_does_not_wait_for_engines(stand_in, stand_in_tensorrt):
    from da_ros.engines import jobs_for
    from da_ros.engines.cache import EngineCache
    from da_ros.engines.worker import build_missing
    for job in jobs_for(stand_in, 'tensorrt', 'fp32'):
        build_missing(job, EngineCache(), lambda share: None)
    estimator = RangeEstimator(stand_in, 'auto')
    assert estimator.backend == 'tensorrt fp32' and estimator.report.runs == 20
    estimator.fall_back()
    assert estimator.backend.startswith(('openvino', 'onnxruntime'))
    assert any('tensorrt_rtx fp32: the engine of' in reason for reason in estimator.refused)
    estimator.close()


def test_metres_per_unit_reach_the_range(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', metres_per_unit=2.0)
    got = RangeEstimator(bundle, 'onnxruntime').predict(painted(np.full((32, 64), 4.0)))
    assert np.allclose(got.range_m, 8)


def test_a_graph_with_fewer_masks_than_its_bundle_says_is_refused(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', masks=(10.0,))
    stored = dict(np.load(bundle.folder / 'self_check/0.npz'))
    stored['range_mask_probability'] = stored['range_mask_probability'].repeat(2, 0)
    np.savez(bundle.folder / 'self_check/0.npz', **stored)
    write_manifest(replace(bundle, range_masks_m=(10.0, 20.0)))
    with pytest.raises(BackendError, match=r'must give range_mask_probability of shape '
                       r'\(2, 32, 64\), but has shape \(1, 32, 64\)'):
        RangeEstimator(load_bundle(bundle.folder), 'onnxruntime')


@pytest.mark.parametrize('content', [b'junk', None])
def test_an_unreadable_self_check_is_named(tmp_path, content):
    bundle = write_stand_in_bundle(tmp_path / 'b')
    path = bundle.folder / 'self_check/0.npz'
    if content is None:
        np.savez(path, something=np.zeros(3))
    else:
        path.write_bytes(content)
    write_manifest_again(bundle)
    with pytest.raises(BundleError, match=r'self-check file self_check/0\.npz .* not readable'):
        RangeEstimator(load_bundle(bundle.folder), 'onnxruntime')


def write_manifest_again(bundle) -> None:
    """Hash changed files anew, as if the bundle had been made like this."""
    write_manifest(replace(bundle, files={}))


def test_signals_survive_openvino_bundles_that_come_and_go(stand_in):
    pytest.importorskip('openvino', reason='the extra da_ros[openvino] is not installed')
    program = (
        'import faulthandler, os, signal, sys\n'
        'from da_ros.estimator import RangeEstimator\n'
        'faulthandler.enable()\n'                       # as most test runners and debuggers do
        'first = RangeEstimator(sys.argv[1], "openvino")\n'
        'second = RangeEstimator(sys.argv[1], "openvino")\n'
        'del first, second\n'
        'signal.signal(signal.SIGUSR1, lambda *_: print("heard"))\n'
        'os.kill(os.getpid(), signal.SIGUSR1)\n')
    result = subprocess.run([sys.executable, '-c', program, str(stand_in.folder)],
                            capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (0, 'heard\n'), result.stderr


def test_openvino_reports_to_nobody(stand_in, tmp_path):
    pytest.importorskip('openvino', reason='the extra da_ros[openvino] is not installed')
    program = ('import sys\n'
               'from da_ros.estimator import RangeEstimator\n'
               'print(RangeEstimator(sys.argv[1], "openvino").backend)\n')
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('CI', 'TF_BUILD', 'JENKINS_URL')}      # it is silent there
    result = subprocess.run([sys.executable, '-c', program, str(stand_in.folder)],
                            env={**environment, 'HOME': str(tmp_path)},
                            capture_output=True, text=True, timeout=120)
    assert result.stdout.startswith('openvino'), result.stderr
    assert not (tmp_path / 'intel').exists()                # the sender's identity and count
