# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a bundle that answers alike."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from dataclasses import replace
from pathlib import Path
import shutil
import sys

import cv2
import numpy as np
import onnx
from safetensors.torch import save_file
from stages import DATA, formula_state, Golden
import torch

import da_ros
from da_ros.bundle import BundleError, Graphs, load_bundle, write_manifest
from da_ros.config import RangeRule
from da_ros.estimator import RangeEstimator
from training import export
from training.bundling.graph import check_graph, ExportError, make_graphs, Options, run_onnx
from training.bundling.heads import head_checkpoint, trunk_sha256
from training.bundling.parity import departures
from training.bundling.precision import to_fp16, to_int8
from training.bundling.self_check import STORED_BITS
from training.checkpoints.checkpoint import save_checkpoint
from training.checkpoints.reading import read_checkpoint
from training.networks import build_network
from training.networks.spherevit import SphereVit

GOLDEN_SEED = 11


def command(*arguments) -> None:
    sys.argv = ['training.export', *map(str, arguments)]
    export.main()


@pytest.fixture(autouse=True)
def keep_argv():
    kept = sys.argv
    yield
    sys.argv = kept


@pytest.fixture(scope='module')
def released_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('released') / 'model.pth'
    state = formula_state(DATA / 'dap_vits_state_dict.json', GOLDEN_SEED)
    torch.save({f'module.{name}': tensor for name, tensor in state.items()}, path)
    return path


@pytest.fixture(scope='module')
def dap_bundle(released_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp('bundles') / 'dap'
    command('--checkpoint', released_file, '--network', 'dap', '--size', '128x256',
            '--out', folder)
    return folder


def check_golden(bundle_folder, golden):
    rgb = golden.arrays['rgb'][0]
    estimator = RangeEstimator(bundle_folder, backend='onnxruntime', rule=RangeRule(min_range_m=0))
    # As the authors resize: ours continues the panorama across its seam, theirs ends there.
    size_hw = golden.out('mask').shape[1:]
    bgr = cv2.resize(np.ascontiguousarray(rgb[..., ::-1]), size_hw[::-1],
                     interpolation=cv2.INTER_CUBIC)
    range_m = estimator.predict(bgr).range_m
    beyond = golden.out('mask')[0]
    near = (1 - beyond > 0.5) & (np.abs(beyond - 0.5) > 1e-4)
    far = (1 - beyond <= 0.5) & (np.abs(beyond - 0.5) > 1e-4)
    assert near.any() and far.any()
    wanted = 100 * golden.out('infer_depth')[0][near]
    error = np.abs(range_m[near] - wanted) / (wanted + 1)
    # Processors round otherwise: on one without AVX-512 one pixel in a hundred departs by 1e-4.
    assert np.percentile(error, 97) < 1e-4 and error.max() < 3e-3
    assert (golden.out('infer_depth')[0][far] == 1).all() and not np.isfinite(range_m[far]).any()


def test_released_checkpoint_becomes_the_authors_output(dap_bundle):
    golden = Golden(DATA / 'dap_vits_eval_preproc.npz')     # resized, normalised
    check_golden(dap_bundle, golden)
    bundle = load_bundle(dap_bundle)
    assert bundle.provenance['preprocessing'] == 'eval'
    assert bundle.range_masks_m == (100.0,) and bundle.resize == 'cubic'


@pytest.mark.slow
def test_preprocessing_of_the_infer_script_is_an_option(released_file, tmp_path):
    command('--checkpoint', released_file, '--network', 'dap', '--size', '128x256',
            '--preprocessing', 'infer', '--out', tmp_path / 'dap')
    check_golden(tmp_path / 'dap', Golden(DATA / 'dap_vits_128x256.npz'))
    assert load_bundle(tmp_path / 'dap').provenance['preprocessing'] == 'infer'


def test_other_range_mask_is_refused_with_the_list(dap_bundle):
    with pytest.raises(BundleError, match='range_mask_m 20 is not in bundle .* which has 100'):
        RangeEstimator(dap_bundle, backend='onnxruntime', rule=RangeRule(range_mask_m=20.0))


def small_head(tmp_path, range_mask_m, trunk):
    torch.manual_seed(int(range_mask_m))
    config = {'encoder': 'vits', 'range_mask_m': range_mask_m}
    state = build_network('dap_mask_head', config).state_dict()
    return save_checkpoint(tmp_path / f'head_{range_mask_m:g}.safetensors', 'dap_mask_head',
                           config, state, {'trunk_sha256': trunk})


def test_heads_are_attached_and_detached(dap_bundle, tmp_path):
    folder = tmp_path / 'dap'
    shutil.copytree(dap_bundle, folder)
    trunk = load_bundle(folder).provenance['trunk_sha256']
    command('--bundle', folder, '--add-head', small_head(tmp_path, 20.0, trunk))
    assert load_bundle(folder).range_masks_m == (20.0, 100.0)
    estimator = RangeEstimator(folder, backend='onnxruntime', rule=RangeRule(range_mask_m=20.0))
    image = cv2.imread(str(folder / 'self_check/0.png'))
    near = estimator.predict(image)
    estimator.rule = RangeRule(range_mask_m=100.0)
    assert (near.limit_m, estimator.predict(image).limit_m) == (20.0, 100.0)
    command('--bundle', folder, '--remove-head', 20)
    assert load_bundle(folder).range_masks_m == (100.0,)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        p.name for p in dap_bundle.iterdir())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_head_of_another_encoder_is_refused(dap_bundle, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command('--bundle', dap_bundle, '--add-head', small_head(tmp_path, 20.0, 'other'))
    assert 'trained on another encoder' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command('--bundle', dap_bundle, '--remove-head', 20)
    assert 'no separate range-mask head 20 m in bundle' in capsys.readouterr().err
    assert load_bundle(dap_bundle).range_masks_m == (100.0,)


def test_head_taken_from_a_network_belongs_to_its_trunk(released_file):
    checkpoint = read_checkpoint(released_file, 'dap')
    head = head_checkpoint(checkpoint, 100.0)
    assert head.provenance['trunk_sha256'] == trunk_sha256(checkpoint.state)
    assert set(head.state) == set(build_network('dap_mask_head', head.config).state_dict())
    with pytest.raises(ExportError, match=r'no range mask 20 m in the checkpoint; it has \[100'):
        head_checkpoint(checkpoint, 20.0)


def test_fp16_graph_repeats_the_fp32_graph(dap_bundle, tmp_path):
    for name in ('model.onnx', 'mask_100.onnx'):
        shutil.copy(dap_bundle / name, tmp_path / name)
        to_fp16(tmp_path / name)
        assert (tmp_path / name).stat().st_size < 0.52 * (dap_bundle / name).stat().st_size
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / 'model.onnx')).graph
    half = {value.name for value in graph.value_info
            if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16}
    residuals = [node.output[0] in half for node in graph.node if node.op_type == 'Add']
    assert np.mean(residuals) > 0.8
    image = cv2.imread(str(dap_bundle / 'self_check/0.png'))
    wanted = run_onnx(dap_bundle / 'model.onnx', {'image': image})
    got = run_onnx(tmp_path / 'model.onnx', {'image': image})
    assert np.quantile(np.abs(got['range_m'] / wanted['range_m'] - 1), 0.99) < 0.01
    wanted = run_onnx(dap_bundle / 'mask_100.onnx', wanted)['range_mask_probability']
    got = run_onnx(tmp_path / 'mask_100.onnx', got)['range_mask_probability']
    assert ((got > 0.5) == (wanted > 0.5)).mean() > 0.995


def test_int8_head_repeats_the_fp32_head(dap_bundle, tmp_path):
    image = cv2.imread(str(dap_bundle / 'self_check/0.png'))
    features = run_onnx(dap_bundle / 'model.onnx', {'image': image})
    del features['range_m']
    shutil.copy(dap_bundle / 'mask_100.onnx', tmp_path / 'mask.onnx')
    to_int8(tmp_path / 'mask.onnx', [features])
    assert (tmp_path / 'mask.onnx').stat().st_size < 0.3 * (
        dap_bundle / 'mask_100.onnx').stat().st_size
    wanted = run_onnx(dap_bundle / 'mask_100.onnx', features)['range_mask_probability']
    got = run_onnx(tmp_path / 'mask.onnx', features)['range_mask_probability']
    assert ((got > 0.5) == (wanted > 0.5)).mean() > 0.95


def tiny_checkpoint(folder):
    torch.manual_seed(0)
    network = build_network('pano_tiny', {'size_hw': [64, 128]})
    return save_checkpoint(folder / 'tiny.safetensors', 'pano_tiny', {'size_hw': [64, 128]},
                           network.state_dict(), {'commit': 'abc'})


def test_our_checkpoint_becomes_a_bundle(tmp_path):
    command('--checkpoint', tiny_checkpoint(tmp_path), '--out', tmp_path / 'tiny')
    bundle = load_bundle(tmp_path / 'tiny')
    assert bundle.provenance['commit'] == 'abc' and bundle.uses_camera_height
    assert [check.camera_height_m for check in bundle.self_checks] == [0.0, 1.2]
    report = RangeEstimator(bundle, backend='onnxruntime').report
    assert report.relative_error_p99 < 2 ** -STORED_BITS * 2 and report.mask_agreement == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ['tiny', 'tiny.safetensors']


def test_further_precisions_lie_beside_fp32_and_share_its_expected_outputs(tmp_path, capsys):
    command('--checkpoint', tiny_checkpoint(tmp_path), '--out', tmp_path / 'both',
            '--also', 'fp16')
    assert 'fp16: p99 relative error' in capsys.readouterr().out
    both = load_bundle(tmp_path / 'both')
    assert both.precisions == ('fp16', 'fp32') and both.precision == 'fp32'
    half = both.graphs_in('fp16').main
    assert half.name == 'model_fp16.onnx'
    assert half.stat().st_size < 0.6 * both.own.main.stat().st_size

    shutil.copytree(both.folder, tmp_path / 'later')
    (tmp_path / 'later/model_fp16.onnx').unlink()
    write_manifest(replace(both, folder=tmp_path / 'later',
                           graphs={'fp32': Graphs(tmp_path / 'later/model.onnx')}))
    command('--bundle', tmp_path / 'later', '--also', 'fp16')
    later = load_bundle(tmp_path / 'later')
    assert later.files == both.files
    capsys.readouterr()
    with pytest.raises(SystemExit):
        command('--bundle', tmp_path / 'later', '--also', 'fp16')
    assert "bundle 'both' has fp16 graphs already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command('--bundle', tmp_path / 'later', '--also', 'int8')
    assert 'int8 is calibrated on pictures of your camera' in capsys.readouterr().err
    assert load_bundle(tmp_path / 'later') == later


def test_separate_heads_are_converted_too_and_then_fixed(dap_bundle, tmp_path, capsys):
    folder = tmp_path / 'dap'
    shutil.copytree(dap_bundle, folder)
    command('--bundle', folder, '--also', 'fp16')
    assert load_bundle(folder).graphs_in('fp16').range_masks[100.0].name == 'mask_100_fp16.onnx'
    with pytest.raises(SystemExit):
        command('--bundle', folder, '--remove-head', 100)
    assert 'also has fp16 graphs; change the heads of the plain' in capsys.readouterr().err


SAMPLES = Path(da_ros.__file__).parent / 'samples'      # the panoramas that ship with the package


@pytest.mark.parametrize('precision, share', [('fp16', 0.55), ('int8', 0.33)])
def test_shipped_bundle_passes_its_gate_in_another_precision(precision, share, tmp_path, capsys):
    shipped = load_bundle()
    command('--bundle', shipped.folder, '--precision', precision, '--panoramas', SAMPLES,
            '--out', tmp_path / 'smaller')
    smaller = load_bundle(tmp_path / 'smaller')
    assert (smaller.precision, smaller.name) == (precision, 'smaller')
    assert smaller.own.main.stat().st_size < share * shipped.own.main.stat().st_size
    report = RangeEstimator(smaller, backend='onnxruntime').report
    assert 0 < report.relative_error_p99 < {'fp16': 0.01, 'int8': 0.06}[precision]
    with pytest.raises(SystemExit):
        command('--bundle', smaller.folder, '--precision', 'fp16', '--out', tmp_path / 'again')
    assert f"bundle 'smaller' holds {precision}; give one" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['smaller']


def test_parity_is_relative_from_one_metre_on():
    wanted = {'range_m': np.array([0.01, 0.5, 10.0])}
    near = {'range_m': wanted['range_m'] + [1e-4, 0, 0]}          # 1 % of a centimetre
    far = {'range_m': wanted['range_m'] + [0, 0, 1e-2]}
    assert departures(near, wanted)['range_m'] == pytest.approx(1e-4)
    assert departures(far, wanted)['range_m'] == pytest.approx(1e-3)


@pytest.mark.parametrize('arguments, message', [
    (['--checkpoint', 'absent.pth', '--network', 'dap'], "no checkpoint file 'absent.pth'"),
    (['--checkpoint', '{file}', '--network', 'da2'], 'holds DAP, not DA2; use --network dap'),
    (['--checkpoint', '{file}'], "cannot read .*model.pth' as safetensors"),
    (['--checkpoint', '{file}', '--network', 'dap', '--size', '80x160'], r'5 x 10 patches.*7\^2'),
    (['--checkpoint', '{file}', '--network', 'dap', '--size', '464x928'], 'scramble'),
    (['--checkpoint', '{file}', '--network', 'dap', '--size', '100x200'], 'nearest one is 96x192'),
    (['--checkpoint', '{file}', '--network', 'dap', '--size', '128x512'], 'not a 2:1 panorama'),
    (['--checkpoint', '{file}', '--network', 'dap', '--precision', 'int8'], 'give --panoramas'),
    (['--checkpoint', '{file}', '--network', 'dap', '--accuracy', '{file}'], 'codec|not JSON'),
])
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, released_file, tmp_path,
                                                  capsys):
    filled = [text.format(file=released_file) for text in arguments]
    with pytest.raises(SystemExit) as caught:
        command(*filled, '--out', tmp_path / 'bundle')
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error')]
    assert caught.value.code == 1 and len(error) == 1 and list(tmp_path.iterdir()) == []
    with pytest.raises(ExportError, match=message):
        raise ExportError(error[0])


def test_heads_are_added_to_fp32_only(dap_bundle, tmp_path, capsys):
    command('--bundle', dap_bundle, '--precision', 'fp16', '--out', tmp_path / 'half')
    head = head_checkpoint(head_source(), 10.0)
    save_checkpoint(tmp_path / 'head.safetensors', head.network, head.config, head.state,
                    head.provenance)
    with pytest.raises(SystemExit):
        command('--bundle', tmp_path / 'half', '--add-head', tmp_path / 'head.safetensors')
    assert "'half' is fp16, and what its heads must say comes from fp32" in \
        capsys.readouterr().err


def head_source():
    from training.checkpoints.checkpoint import Checkpoint
    config = {'encoder': 'vits', 'range_masks_m': [10.0]}
    return Checkpoint('dap', config, build_network('dap', config).state_dict(), {})


def test_the_hash_of_a_trunk_does_not_depend_on_its_storage_type():
    state = {'encoder.a': torch.tensor([1.0, 0.5])}
    half = {'encoder.a': state['encoder.a'].to(torch.bfloat16)}
    assert trunk_sha256(half) == trunk_sha256(state)


def test_half_precision_keeps_the_metres_in_fp32(tmp_path):
    shutil.copy(load_bundle().own.main, tmp_path / 'model.onnx')
    to_fp16(tmp_path / 'model.onnx')
    image = cv2.resize(cv2.imread(str(SAMPLES / 'lobby.jpg')), (512, 256))
    range_m = run_onnx(tmp_path / 'model.onnx', {
        'image': image, 'camera_height_m': np.float32([1.2])})['range_m']
    log_range = np.log(range_m.astype(np.float64)).ravel()
    share = np.mean(np.abs(np.float16(log_range) - log_range) < 1e-6)
    assert share < 0.1 and len(np.unique(range_m)) > 30_000      # fp16 has 3476 values there


def test_every_tensor_that_does_not_fit_is_listed_below_the_error(tmp_path, capsys):
    state = formula_state(DATA / 'dap_vits_state_dict.json', GOLDEN_SEED)
    gone = [name for name in state if '.projects.' in name]
    torch.save({name: tensor for name, tensor in state.items() if name not in gone},
               tmp_path / 'model.pth')
    with pytest.raises(SystemExit):
        command('--checkpoint', tmp_path / 'model.pth', '--network', 'dap', '--out',
                tmp_path / 'bundle')
    first, *rest = [line for line in capsys.readouterr().err.splitlines()
                    if not line.startswith('warning')]
    assert first.startswith('error: checkpoint does not fit the network: 16 missing: core.')
    assert sorted(rest) == sorted(f'  missing {name} {tuple(state[name].shape)}' for name in gone)
    assert [path.name for path in tmp_path.iterdir()] == ['model.pth']


def test_existing_folder_is_not_replaced_unasked(released_file, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command('--checkpoint', released_file, '--network', 'dap', '--out', tmp_path)
    assert 'exists; give another --out, or --overwrite' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command('--checkpoint', tiny_checkpoint(tmp_path), '--out', tmp_path, '--overwrite')
    assert 'is not a bundle and will not be overwritten' in capsys.readouterr().err


@pytest.mark.slow
def test_da2_checkpoint_becomes_the_authors_output(tmp_path):
    golden = Golden(DATA / 'da2_140x280_aligned.npz')
    state = formula_state(DATA / 'da2_state_dict.json', golden.meta['seed'])
    save_file(state, tmp_path / 'model.safetensors')
    command('--checkpoint', tmp_path / 'model.safetensors', '--network', 'da2', '--out',
            tmp_path / 'da2', '--size', '140x280', '--sphere', 'image')
    bundle = load_bundle(tmp_path / 'da2')
    assert (bundle.kind, bundle.output_quantile) == ('scale_invariant', 0.98)
    estimator = RangeEstimator(bundle, 'onnxruntime',
                               rule=RangeRule(min_range_m=0, max_range_m=1000))
    image = np.ascontiguousarray(golden.arrays['rgb'][0][..., ::-1])
    np.testing.assert_allclose(estimator.predict(image).range_m, golden.out('distance')[0],
                               rtol=5e-4, atol=1e-5)


def test_misaligned_sphere_is_refused_unless_corrected():
    with torch.device('meta'):
        network = build_network('da2')
    assert isinstance(network, SphereVit)
    for size_hw in ((504, 1008), (140, 280)):
        with pytest.raises(ExportError, match='looks into wrong directions; use 546x1092'):
            make_graphs(network, Options(size_hw))
    with pytest.raises(ExportError, match='nearest one is 518x1036'):
        make_graphs(network, Options((512, 1024)))


def test_graph_with_control_flow_is_refused(tmp_path):
    from onnx import helper, TensorProto
    value = helper.make_tensor_value_info('x', TensorProto.FLOAT, [2])
    size = helper.make_tensor_value_info('n', TensorProto.INT64, [1])
    graph = helper.make_graph([helper.make_node('Shape', ['x'], ['n'])], 'g', [value], [size])
    onnx.save(helper.make_model(graph), tmp_path / 'g.onnx')
    with pytest.raises(ExportError, match='g.onnx holds Shape'):
        check_graph(tmp_path / 'g.onnx', ('n',))
