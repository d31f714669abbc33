# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The gate believes nobody: a real runtime whose answers a test falsifies."""

from dataclasses import replace
from pathlib import Path
import re

from conftest import write_stand_in_bundle
import cv2
import numpy as np
import pytest

from da_ros import gate
from da_ros.backends.base import (
    BackendError,
    RUNS_AFTER_BUILD,
    RUNS_AFTER_LOAD,
)
from da_ros.backends.onnxruntime import OnnxRuntimeBackend
from da_ros.backends.order import open_backend
from da_ros.bundle import BundleError, Graphs

MASK = 'range_mask_probability'


class Liar(OnnxRuntimeBackend):
    """onnxruntime on the CPU, with `lie(outputs, number_of_run)` as its answer."""

    name = 'liar'

    def __init__(self, bundle, lie, variant='fp32'):
        super().__init__(bundle)
        self.variant, self.runs, self._lie = variant, 0, lie

    def runs_to_prove(self):
        return RUNS_AFTER_LOAD

    def run(self, feeds, range_mask_m=0.0):
        outputs = super().run(feeds, range_mask_m)
        self.runs += 1
        return self._lie(outputs, self.runs)


def scaled(factor):
    def lie(outputs, run):
        return outputs | {'range_m': outputs['range_m'] * np.float32(factor)}
    return lie


def spoilt(share, factor=3.0, name='range_m'):
    """Return a lie that multiplies this share of the pixels."""
    def lie(outputs, run):
        array = outputs[name].copy()
        flat = array.reshape(-1)
        flat[:round(share * flat.size)] *= np.float32(factor)
        return outputs | {name: array}
    return lie


def only_in_run(number, inner):
    return lambda outputs, run: inner(outputs, run) if run == number else outputs


def one_pixel(name, value):
    def lie(outputs, run):
        array = outputs[name].copy()
        array.reshape(-1)[7] = value
        return outputs | {name: array}
    return lie


@pytest.mark.parametrize('variant, limit', [('fp32', 1e-3), ('fp16', 1e-2), ('int8', 3e-2)])
def test_scale_is_limited_by_the_precision(stand_in, variant, limit):
    for inside in (1 + 0.9 * limit, 1 - 0.9 * limit):
        report = gate.check(Liar(stand_in, scaled(inside), variant), stand_in)
        assert report.scale == pytest.approx(inside, rel=1e-6)
    for outside in (1 + 1.1 * limit, 1 - 1.1 * limit):
        with pytest.raises(gate.GateError, match=f'liar {variant} fails the self-check of bundle '
                                                 f'.stand_in.: .*scale {outside:.5f}'):
            gate.check(Liar(stand_in, scaled(outside), variant), stand_in)


def tile(row, col, size, factor=1.0, unmask=False):
    """Return a lie that spoils a square and nothing else; `unmask` puts it beyond every mask."""
    def lie(outputs, run):
        range_m, mask = outputs['range_m'].copy(), outputs[MASK].copy()
        rows = np.arange(row - size // 2, row - size // 2 + size)[:, None]
        cols = np.arange(col - size // 2, col - size // 2 + size) % range_m.shape[1]
        range_m[rows, cols] *= np.float32(factor)
        if unmask:
            mask[:, rows, cols] = 0
        return {'range_m': range_m, MASK: mask}
    return lie


@pytest.fixture(scope='module')
def smooth(tmp_path_factory):
    """Return a bundle of 256 x 512 px whose self-check is all within the masks at 8 m."""
    bundle = write_stand_in_bundle(tmp_path_factory.mktemp('smooth'), size_hw=(256, 512))
    image = np.full((256, 512, 3), (20, 250, 0), np.uint8)
    cv2.imwrite(str(bundle.folder / 'self_check/0.png'), image)
    np.savez(bundle.folder / 'self_check/0.npz',
             range_m=np.full((256, 512), 8, np.float32),
             range_mask_probability=np.full((4, 256, 512), 250 / 255, np.float32))
    return bundle


EIGHT_DEG = round(8 / 180 * 256)
# Straight ahead, on the corner of four blocks, astride the seam, at an edge of the picture.
PLACES = [(128, 256), (132, 260), (124, 252), (130, 0), (126, 511), (6, 100), (249, 300)]


@pytest.mark.parametrize('variant', gate.LIMITS)
@pytest.mark.parametrize('row, col', PLACES)
def test_a_tile_of_8_degrees_may_not_be_wrong_in_any_precision(smooth, variant, row, col):
    """Neither its range, too far or too near by half, nor its mask."""
    assert gate.check(Liar(smooth, tile(row, col, 0), variant), smooth).block_error == 0
    for lie in (tile(row, col, EIGHT_DEG, 12), tile(row, col, EIGHT_DEG, 2),
                tile(row, col, EIGHT_DEG, 0.5), tile(row, col, EIGHT_DEG, unmask=True)):
        with pytest.raises(gate.GateError, match='worst block') as caught:
            gate.check(Liar(smooth, lie, variant), smooth)
        figures = re.search(r'p99 relative error (\S+), scale (\S+), mask agreement (\S+), '
                            r'worst block (\S+) and ([\d.]+)', str(caught.value))
        whole = [float(figure) for figure in figures.groups()]
        limits = gate.LIMITS[variant]       # what all the sphere says would let it pass
        assert whole[0] <= limits.relative_error_p99 and whole[1] == 1
        assert whole[3] > limits.block_error or whole[4] < limits.block_agreement


@pytest.mark.parametrize('row, col', PLACES[:4])
@pytest.mark.parametrize('factor', [0, -1, np.nan, np.inf])
def test_a_tile_without_a_range_is_refused(smooth, factor, row, col):
    with pytest.raises(gate.GateError, match='worst block (nan|inf)'):
        gate.check(Liar(smooth, tile(row, col, 3, factor), 'int8'), smooth)


def test_the_worst_block_is_the_mean_over_a_sixteenth_of_the_height(smooth):
    block = gate.check(Liar(smooth, tile(128, 256, 16, 1.1), 'int8'), smooth)
    assert block.block_error == pytest.approx(np.log(1.1), rel=1e-5)
    shifted = gate.check(Liar(smooth, tile(132, 260, 16, 1.1), 'int8'), smooth)
    assert shifted.block_error == pytest.approx(np.log(1.1) * (12 / 16) ** 2, rel=1e-5)


@pytest.mark.parametrize('size_hw', [(32, 64), (16, 32), (546, 1092), (70, 140), (2, 4)])
def test_blocks_of_any_height_see_a_wrong_seam_column(size_hw):
    wanted = np.full(size_hw, 5.0)
    got = wanted.copy()
    got[:, [0, -1]] *= 2
    report = gate.departure(got, wanted, None, None)
    assert report.block_error > 0.5 * np.log(2) * min(1, 2 * 16 / size_hw[0])
    assert gate.departure(wanted, wanted, None, None).block_error == 0


def test_mask_must_agree_in_its_worst_head(stand_in):
    def one_head(outputs, run):
        mask = outputs[MASK].copy()
        mask[2] = 1 - mask[2]
        return outputs | {MASK: mask}
    with pytest.raises(gate.GateError, match='mask agreement 0.0'):
        gate.check(Liar(stand_in, one_head), stand_in)


@pytest.mark.parametrize('name', ['range_m', MASK])
@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('in_run', [1, 2])
def test_a_single_value_that_is_not_finite_fails_wherever_it_stands(stand_in, name, value, in_run):
    """In the second panorama too: Python's min() and max() would lose a NaN there."""
    twice = replace(stand_in, self_checks=stand_in.self_checks * 2)
    with pytest.raises(gate.GateError, match='nan'):
        gate.check(Liar(twice, only_in_run(in_run, one_pixel(name, value)), 'int8'), twice)


def test_a_scale_that_varies_from_run_to_run_is_refused_though_each_run_is_good(stand_in):
    def varying(by):
        return lambda outputs, run: scaled(1 + by * (-1) ** run)(outputs, run)
    liar = Liar(stand_in, varying(4e-4), 'fp16')
    assert gate.check(liar, stand_in, 3).repeat_error == pytest.approx(8e-4, rel=1e-2)
    with pytest.raises(gate.GateError, match='3 runs within 0.0012; .*0.001 from run to run'):
        gate.check(Liar(stand_in, varying(6e-4), 'fp16'), stand_in, 3)
    assert gate.check(Liar(stand_in, varying(6e-4), 'fp16'), stand_in, 1).runs == 1


@pytest.mark.parametrize('wrong_in', [2, 20])
def test_right_once_but_wrong_later_is_found(stand_in, wrong_in):
    liar = Liar(stand_in, only_in_run(wrong_in, scaled(1.5)))
    with pytest.raises(gate.GateError, match='scale 1.5'):
        gate.check(liar, stand_in, RUNS_AFTER_BUILD)


@pytest.mark.parametrize('change, message', [
    (lambda o: {'range_m': o['range_m'][:, :-2], MASK: o[MASK]}, r'range_m of shape \(32, 64\), '
     r'but has shape \(32, 62\)'),
    (lambda o: {MASK: o[MASK]}, 'range_m .* but has no such output'),
    (lambda o: o | {MASK: o[MASK][:2]}, r'mask_probability of shape \(4, 32, 64\), but has shape '
     r'\(2, 32, 64\)')])
def test_wrong_outputs_are_named(stand_in, change, message):
    with pytest.raises(gate.GateError, match=message):
        gate.check(Liar(stand_in, lambda outputs, run: change(outputs)), stand_in)


def test_accelerators_run_three_times_and_processors_once(stand_in):
    liar = Liar(stand_in, lambda outputs, run: outputs)
    assert gate.prove(liar, stand_in).runs == 3 and liar.runs == 3
    assert gate.prove(open_backend('onnxruntime', stand_in, 'fp32'), stand_in).runs == 1


def test_every_separate_head_is_run_and_compared(tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', masks=(10.0, 20.0), separate_heads=True)
    liar = Liar(bundle, lambda outputs, run: outputs)
    assert gate.check(liar, bundle, 3).mask_agreement == 1 and liar.runs == 6
    with pytest.raises(gate.GateError, match='mask agreement'):
        gate.check(Liar(bundle, only_in_run(4, spoilt(1, 0.0, MASK))), bundle, 3)


def test_a_run_that_was_cancelled_says_nothing_of_the_engine(stand_in, stand_in_tensorrt):
    from da_ros.engines import jobs_for
    from da_ros.engines.cache import EngineCache
    from da_ros.engines.worker import build_missing
    cache = EngineCache()
    job, = jobs_for(stand_in, 'tensorrt', 'fp32')
    build_missing(job, cache, lambda share: None)
    backend = open_backend('tensorrt', stand_in, 'fp32')
    backend.cancel()
    with pytest.raises(BackendError, match='cancelled'):
        gate.prove(backend, stand_in)
    backend.close()
    assert cache.entry(job).check is None and not cache.entry(job).proven


def test_a_verdict_is_not_given_to_a_plan_built_while_the_old_one_was_loaded(
        stand_in, stand_in_tensorrt):
    from da_ros.engines import jobs_for
    from da_ros.engines.cache import EngineCache
    from da_ros.engines.worker import build_missing
    cache = EngineCache()
    job, = jobs_for(stand_in, 'tensorrt', 'fp32')
    build_missing(job, cache, lambda share: None)
    backend = open_backend('tensorrt', stand_in, 'fp32')
    cache.store(job, cache.load(job) + b'other', 1.0)
    assert gate.prove(backend, stand_in).runs == RUNS_AFTER_BUILD
    backend.close()
    assert cache.entry(job).check is None


def test_runtimes_that_read_their_precision_from_the_graph_try_the_fastest_first(stand_in):
    from da_ros.backends.order import variants_of
    graphs = Graphs(stand_in.own.main)
    rich = replace(stand_in, graphs=stand_in.graphs | {'fp16': graphs, 'int8': graphs})
    for name in ('tensorrt', 'tensorrt_rtx'):
        assert variants_of(name, rich) == ('int8', 'fp16', 'fp32')
        assert variants_of(name, stand_in) == ('fp32',)
    assert variants_of('onnxruntime_cuda', rich) == ('fp16', 'fp32')
    assert variants_of('onnxruntime_cuda', replace(
        stand_in, precision='int8', graphs={'int8': graphs})) == ('int8',)
    assert variants_of('openvino', rich) == ('bf16', 'fp32')
    assert variants_of('onnxruntime', rich) == ('fp32',)
    assert variants_of('openvino', replace(
        stand_in, precision='int8', graphs={'int8': graphs})) == ('int8',)


def zip_of_zeros(path):
    np.savez_compressed(path, range_m=np.zeros((512, 512), np.float32),
                        range_mask_probability=np.zeros((4, 32, 64), np.float32))


@pytest.mark.parametrize('name, write, text', [
    ('0.png', lambda path: path.write_bytes(b'no png'), 'image .* is not readable .*neither JPEG'),
    ('0.png', lambda path: cv2.imwrite(str(path), np.zeros((3000, 6000, 3), np.uint8)),
     'image .* is not readable .*6000 x 3000 px is larger'),
    ('0.png', lambda path: cv2.imwrite(str(path), np.zeros((16, 32, 3), np.uint8)),
     r'image .* is not a \(32, 64\) image'), ('0.png', Path.unlink, 'is not readable .*No such'),
    ('0.npz', zip_of_zeros, 'file .* is not readable .an array above'),
    ('0.npz', lambda path: np.save(path.open('wb'), np.zeros(3)), 'file .* is not readable'),
    ('0.npz', lambda path: path.write_bytes(b'PK' + bytes(99)), 'file .* is not readable')])
def test_a_self_check_that_is_none_is_named_and_takes_no_memory(stand_in, name, write, text):
    backend = open_backend('onnxruntime', stand_in, 'fp32')
    write(stand_in.folder / 'self_check' / name)
    with pytest.raises(BundleError, match=text):
        gate.check(backend, stand_in)
