# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_engine: builds, proves, lists and clears; exit codes say how it ended."""

from dataclasses import replace
from enum import Enum
import json
import shutil

from conftest import write_stand_in_bundle
import pytest

from da_ros.bundle import Graphs, load_bundle, write_manifest
from da_ros.commands.engine import main
from training.bundling.precision import to_fp16


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty engine cache."""
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(tmp_path / 'engines'))
    return tmp_path / 'engines'


@pytest.fixture
def no_device(monkeypatch, cache):
    """Let this machine have no GPU; return the engine cache."""
    from da_ros.backends import cuda
    monkeypatch.setattr(cuda, 'LIBRARY', 'libcuda_absent.so.1')
    return cache


@pytest.fixture
def two_precisions(tmp_path):
    """Return a bundle with fp32 and fp16 graphs."""
    bundle = write_stand_in_bundle(tmp_path / 'two')
    half = bundle.folder / 'model_fp16.onnx'
    shutil.copy(bundle.own.main, half)
    to_fp16(half)
    write_manifest(replace(bundle, graphs=bundle.graphs | {'fp16': Graphs(half)}))
    return load_bundle(bundle.folder)


def engine(capsys, *arguments):
    """Run the command; return exit code, what it printed, and its errors."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_real_rtx_builds_without_a_device_and_does_not_claim_to_have_proven(
        two_precisions, no_device, capsys):
    pytest.importorskip('tensorrt_rtx_bindings', reason='the extra tensorrt-rtx is not installed')
    bundle = two_precisions.folder
    code, out, _ = engine(capsys, 'build', '--bundle', bundle, '--backend', 'tensorrt_rtx')
    assert code == 3 and out.count('built, not proven') == 2
    assert out.splitlines()[1].split()[:2] == ['backend', 'precision']
    assert 'tensorrt_rtx fp16: no CUDA device' in out and 'tensorrt_rtx fp32: no CUDA' in out

    code, out, _ = engine(capsys, 'check', '--bundle', bundle, '--backend', 'tensorrt_rtx',
                          '--precision', 'fp16', '--json')
    row, = json.loads(out)
    assert code == 3 and row['state'] == 'built, not proven' and row['p50_ms'] is None
    assert row['size_mb'] > 0 and row['build_s'] > 0

    code, out, _ = engine(capsys, 'list', '--precision', 'fp16')
    assert code == 0 and len(out.splitlines()) == 2
    assert out.splitlines()[1].split()[:5] == [
        'stand_in/model_fp16.onnx', 'tensorrt_rtx', 'fp16', '1.7.1.116', 'none']
    _, out, _ = engine(capsys, 'list', '--json')
    assert {entry['ingredients']['precision'] for entry in json.loads(out)} == {'fp16', 'fp32'}
    assert not any(entry['proven'] for entry in json.loads(out))

    code, out, _ = engine(capsys, 'clear', '--precision', 'fp16')
    assert code == 0 and out.startswith('1 engines removed, ')
    _, out, _ = engine(capsys, 'list')
    assert 'model.onnx' in out and 'model_fp16.onnx' not in out
    assert engine(capsys, 'clear', '--json')[0] == 0 and not list(no_device.glob('*.plan'))
    assert engine(capsys, 'list')[1] == f'no engine in {no_device}\n'


def test_on_a_device_engines_are_proven_and_measured(two_precisions, stand_in_tensorrt, capsys):
    bundle = two_precisions.folder
    assert engine(capsys, 'check', '--bundle', bundle, '--backend', 'tensorrt')[0] == 1
    code, out, _ = engine(capsys, 'build', '--bundle', bundle, '--backend', 'tensorrt', '--json')
    rows = json.loads(out)
    assert code == 0 and [row['precision'] for row in rows] == ['fp16', 'fp32']
    for row in rows:
        assert row['state'] == 'proven' and row['runs'] == 20 and row['reason'] == ''
        assert 0 < row['p50_ms'] <= row['p99_ms'] and abs(row['scale'] - 1) < 1e-2
    code, out, _ = engine(capsys, 'check', '--bundle', bundle, '--backend', 'tensorrt')
    assert code == 0 and out.count('proven') == 2
    _, out, _ = engine(capsys, 'list', '--bundle', bundle)
    assert out.count('proven') == 2 and 'not proven' not in out and 'Fake GPU' in out


def test_engines_that_lie_are_refused_and_told(two_precisions, stand_in_tensorrt, capsys,
                                               monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'scale')
    options = '--bundle', two_precisions.folder, '--backend', 'tensorrt', '--precision', 'fp32'
    code, out, _ = engine(capsys, 'build', *options)
    assert code == 1 and 'refused' in out and 'fails the self-check' in out and '1.01' in out
    assert 'refused: tensorrt fp32 fails' in engine(capsys, 'list')[1]
    monkeypatch.delenv('STAND_IN_LIES')
    assert engine(capsys, 'build', *options)[0] == 1           # for good, until cleared
    engine(capsys, 'clear')
    assert engine(capsys, 'build', *options)[0] == 0


def test_card_that_the_library_does_not_know_is_refused_before_a_build(
        two_precisions, stand_in_tensorrt, capsys, monkeypatch, tmp_path):
    import tensorrt_rtx
    monkeypatch.setattr(tensorrt_rtx, 'ComputeCapability', Enum('ComputeCapability', 'SM75 SM120'))
    monkeypatch.setenv('STAND_IN_BUILDS', str(tmp_path / 'builds'))
    code, out, _ = engine(capsys, 'build', '--bundle', two_precisions.folder,
                          '--backend', 'tensorrt_rtx')
    assert code == 1 and out.count('does not run on Fake GPU (compute capability 8.9)') == 2
    assert not (tmp_path / 'builds').exists()


def test_failed_builds_are_told_and_listed(two_precisions, stand_in_tensorrt, capsys,
                                           monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'no_build')
    code, out, _ = engine(capsys, 'build', '--bundle', two_precisions.folder,
                          '--backend', 'tensorrt', '--precision', 'fp32')
    assert code == 1 and 'could not find any implementation for node MatMul_7' in out
    assert 'failed: tensorrt 10.13.2.6 cannot build' in engine(capsys, 'list')[1]


@pytest.mark.parametrize('arguments, message', [
    (['build', '--bundle', 'nowhere'], 'bundle folder nowhere does not exist'),
    (['build', '--bundle', '{bundle}', '--precision', 'int8'],
     "bundle 'stand_in' has no int8 graphs, only fp16, fp32"),
    (['clear', '--bundle', 'nowhere'], 'bundle folder nowhere does not exist')])
def test_errors_are_one_line_and_exit_code_1(two_precisions, cache, capsys, arguments, message):
    code, out, errors = engine(capsys, *[
        text.format(bundle=two_precisions.folder) for text in arguments])
    assert code == 1 and not out and errors.count('\n') == 1
    assert errors.startswith('da_ros_engine: ') and message in errors


def test_what_is_not_built_or_not_installed_is_told_with_the_remedy(
        two_precisions, no_device, capsys, monkeypatch):
    from da_ros.commands import engine as command
    options = '--bundle', two_precisions.folder, '--precision', 'fp32'
    monkeypatch.setattr(command, 'find_spec', lambda name: None)
    code, _, errors = engine(capsys, 'build', *options)
    assert code == 1 and 'no TensorRT is installed: for tensorrt run `pip install' in errors
    assert '; for tensorrt_rtx run `pip install tensorrt_rtx_cu13_libs' in errors
    pytest.importorskip('tensorrt_rtx_bindings', reason='the extra tensorrt-rtx is not installed')
    code, out, _ = engine(capsys, 'check', *options, '--backend', 'tensorrt_rtx')
    assert code == 1 and 'model.onnx is not built; run `da_ros_engine build`' in out


def test_infer_builds_in_the_foreground_and_goes_on(stand_in, stand_in_tensorrt, tmp_path,
                                                    capsys):
    import cv2
    import numpy as np

    from da_ros.commands.infer import main as infer
    cv2.imwrite(str(tmp_path / 'room.png'), np.full((64, 128, 3), (10, 255, 0), np.uint8))
    assert infer([str(tmp_path / 'room.png'), '--out', str(tmp_path / 'out'),
                  '--model', str(stand_in.folder), '--backend', 'tensorrt']) == 0
    assert 'tensorrt fp32: engine built in' in capsys.readouterr().err
    assert np.allclose(np.load(tmp_path / 'out/room_range.npy'), 4)
