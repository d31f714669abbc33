"""The gate believes nobody: a real runtime whose answers a test falsifies."""

from dataclasses import replace

from conftest import write_stand_in_bundle
import numpy as np
import pytest

from da_ros import gate
from da_ros.backends.base import BackendError, open_backend
from da_ros.backends.onnxruntime import OnnxRuntimeBackend
from da_ros.bundle import Graphs

MASK = 'range_mask_probability'


class Liar(OnnxRuntimeBackend):
    """onnxruntime on the CPU, with `lie(outputs, number_of_run)` as its answer."""

    name = 'liar'
    on_device = True

    def __init__(self, bundle, lie, variant='fp32'):
        super().__init__(bundle)
        self.variant, self.runs, self._lie = variant, 0, lie

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


def test_limits_are_those_that_the_documents_state():
    assert {name: (limits.relative_error_p99, limits.scale_error, limits.mask_agreement)
            for name, limits in gate.LIMITS.items()} == {
        'fp32': (1e-3, 1e-3, 0.999), 'fp16': (2e-2, 1e-2, 0.995), 'bf16': (2e-2, 1e-2, 0.995),
        'int8': (1e-1, 3e-2, 0.98)}
    assert (gate.RUNS_AFTER_BUILD, gate.RUNS_AFTER_LOAD, gate.REPEAT_ERROR) == (20, 3, 1e-3)


@pytest.mark.parametrize('variant, limit', [('fp32', 1e-3), ('fp16', 1e-2), ('int8', 3e-2)])
def test_scale_is_limited_by_the_precision(stand_in, variant, limit):
    for inside in (1 + 0.9 * limit, 1 - 0.9 * limit):
        report = gate.check(Liar(stand_in, scaled(inside), variant), stand_in)
        assert report.scale == pytest.approx(inside, rel=1e-6)
    for outside in (1 + 1.1 * limit, 1 - 1.1 * limit):
        with pytest.raises(gate.GateError, match=f'liar {variant} fails the self-check of bundle '
                                                 f'.stand_in.: .*scale {outside:.5f}'):
            gate.check(Liar(stand_in, scaled(outside), variant), stand_in)


def test_one_pixel_in_a_hundred_may_be_wrong_but_no_more(stand_in):
    assert gate.check(Liar(stand_in, spoilt(0.009)), stand_in).relative_error_p99 < 1e-6
    with pytest.raises(gate.GateError, match='p99 relative error 2,'):
        gate.check(Liar(stand_in, spoilt(0.011)), stand_in)


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
        gate.check(liar, stand_in, gate.RUNS_AFTER_BUILD)


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
    assert gate.prove(backend, stand_in).runs == gate.RUNS_AFTER_BUILD
    backend.close()
    assert cache.entry(job).check is None


def test_runtimes_that_read_their_precision_from_the_graph_try_the_fastest_first(stand_in):
    from da_ros.backends.base import variants_of
    graphs = Graphs(stand_in.main_graph)
    rich = replace(stand_in, variants={'fp16': graphs, 'int8': graphs})
    for name in ('tensorrt', 'tensorrt_rtx'):
        assert variants_of(name, rich) == ('int8', 'fp16', 'fp32')
        assert variants_of(name, stand_in) == ('fp32',)
    assert variants_of('onnxruntime_cuda', rich) == ('fp16', 'fp32')
    assert variants_of('onnxruntime_cuda', replace(stand_in, precision='int8')) == ('int8',)
    assert variants_of('openvino', rich) == ('bf16', 'fp32')
    assert variants_of('onnxruntime', rich) == ('fp32',)
    assert variants_of('openvino', replace(stand_in, precision='int8')) == ('int8',)
