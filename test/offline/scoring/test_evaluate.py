# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The evaluation command on pairs whose answer is known, with a real bundle and estimator."""

import json
from pathlib import Path
import subprocess
import sys

from coded_bundle import paint, write_coded_bundle
import cv2
import numpy as np
import pytest

from training import evaluate
from training.data.pairs import PairsError, read_pairs
from training.scoring.metrics import error_sums
from training.scoring.predictors import resize_range
from training.scoring.protocols import get_protocol
from training.scoring.scores import bootstrap_differences, FrameScores

H, W = 64, 128


def room(size_m):
    """Range inside a closed cube, camera in the middle."""
    from da_ros.sphere import erp_rays
    return (size_m / 2 / np.abs(erp_rays(H, W)).max(-1)).astype(np.float32)


@pytest.fixture
def pairs_folder(tmp_path):
    """Two rendered pairs with a camera height, one layout pair with labels."""
    folder = tmp_path / 'pairs'
    folder.mkdir()
    rows = []
    for name, tier, size_m in (('synth_a_00', 'C_synthetic', 3.0), ('synth_b_00', 'C_x', 6.0),
                               ('layout', 'B_layout', 4.0)):
        range_m = room(size_m)
        cv2.imwrite(str(folder / f'{name}.png'), paint(range_m))
        depth = np.rint(range_m * 1000).astype(np.uint16)
        depth[0] = 0
        cv2.imwrite(str(folder / f'{name}_depth_mm.png'), depth)
        rows.append({'name': name, 'rgb': f'{name}.png', 'depth': f'{name}_depth_mm.png',
                     'tier': tier, 'env': 'indoor', 'camera_height_m': size_m / 2})
    label = np.full((H, W), 3, np.uint8)
    label[H // 2:] = 1
    cv2.imwrite(str(folder / 'layout_label.png'), label)
    rows[-1]['label'] = 'layout_label.png'
    (folder / 'pairs.json').write_text(json.dumps({'pairs': rows}))
    return folder


def run(*args):
    return evaluate.main([str(arg) for arg in args])


def test_perfect_bundle_scores_zero_and_scaled_one_only_until_aligned(
        tmp_path, pairs_folder, capsys):
    good = write_coded_bundle(tmp_path / 'good')
    far = write_coded_bundle(tmp_path / 'far', scale=1.25)
    assert run('--bundle', good, '--bundle', far, '--data', pairs_folder,
               '--out', tmp_path / 'out', '--threads', 1) == 0
    result = json.loads((tmp_path / 'out' / 'report.json').read_text())
    good_rows = result['predictors']['good']['variants']
    far_rows = result['predictors']['far']['variants']
    assert good_rows['unaligned']['groups']['all']['abs_rel'] < 0.01
    assert far_rows['unaligned']['groups']['all']['abs_rel'] == pytest.approx(0.25, abs=0.01)
    assert far_rows['unaligned']['groups']['tier C']['scale_ratio'] == pytest.approx(0.8, 0.01)
    assert far_rows['median-aligned']['groups']['all']['abs_rel'] < 0.01
    assert good_rows['unaligned']['obstacles']['within 3 m']['miss_rate'] == 0
    assert set(good_rows['unaligned']['labels']) == {'floor', 'wall'} | {'ceiling', 'opening'}
    assert good_rows['unaligned']['labels']['opening']['abs_rel'] is None
    assert result['predictors']['good']['masks']['5 m']['iou'] == pytest.approx(1, abs=0.01)
    difference = result['comparisons']['far - good, unaligned, all: abs_rel']
    assert difference['low'] <= difference['difference'] <= difference['high']
    assert difference['difference'] == pytest.approx(0.25, abs=0.01)
    printed = capsys.readouterr().out
    assert 'tier B' in printed and 'known camera height' in printed and 'floor' in printed


def test_report_holds_every_table_and_its_pictures(tmp_path, pairs_folder):
    bundle = write_coded_bundle(tmp_path / 'b', scale=1.1)
    run('--bundle', bundle, '--data', pairs_folder, '--out', tmp_path / 'out', '--pictures', 2)
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert 'http' not in page.split('<body')[0] and 'tier C indoor' in page
    assert '| tier C |' in (tmp_path / 'out' / 'report.md').read_text()
    lines = (tmp_path / 'out' / 'frames.jsonl').read_text().splitlines()
    assert len(lines) == 3 * 3 and json.loads(lines[0])['frame'] == 'layout'


def test_camera_height_reaches_the_network(tmp_path, pairs_folder):
    bundle = write_coded_bundle(tmp_path / 'b', offset_per_height=1.0)
    run('--bundle', bundle, '--data', pairs_folder, '--out', tmp_path / 'out')
    rows = json.loads((tmp_path / 'out' / 'report.json').read_text())['predictors']['b'][
        'variants']
    assert rows['unaligned']['groups']['all']['abs_rel'] < 0.01
    assert rows['known camera height']['groups']['all']['mae_m'] == pytest.approx(
        (1.5 + 3 + 2) / 3, rel=0.02)


@pytest.mark.parametrize('protocol, variant, key', [
    ('dap', 'unaligned', 'truncated'), ('da2', 'median-aligned', 'bands')])
def test_protocols_of_the_papers_give_their_own_variants(
        tmp_path, pairs_folder, protocol, variant, key):
    bundle = write_coded_bundle(tmp_path / 'b')
    run('--bundle', bundle, '--data', pairs_folder, '--protocol', protocol,
        '--out', tmp_path / 'out')
    rows = json.loads((tmp_path / 'out' / 'report.json').read_text())['predictors']['b'][
        'variants']
    assert variant in rows and rows[variant][key]


def test_alignment_may_be_chosen(tmp_path, pairs_folder):
    bundle = write_coded_bundle(tmp_path / 'b', scale=1.3)
    assert run('--bundle', bundle, '--data', pairs_folder, '--align', 'scale_shift',
               '--out', tmp_path / 'out') == 0
    rows = json.loads((tmp_path / 'out' / 'report.json').read_text())['predictors']['b'][
        'variants']
    assert rows['scale_shift']['groups']['all']['abs_rel'] < 0.02


def test_layout_truth_has_no_obstacles_and_sky_is_empty_only_where_rendered(pairs_folder):
    pairs = {pair.name: pair for pair in read_pairs(pairs_folder)}
    assert not pairs['layout'].complete and np.isnan(pairs['layout'].load().range_m[0]).all()
    assert np.isposinf(pairs['synth_a_00'].load().range_m[0]).all()
    assert 'scene a' in pairs['synth_a_00'].groups
    assert pairs['synth_a_00'].load_label() is None


def test_unreadable_pair_is_skipped_and_named(tmp_path, pairs_folder, capsys):
    (pairs_folder / 'layout.png').write_bytes(b'no image')
    bundle = write_coded_bundle(tmp_path / 'b')
    assert run('--bundle', bundle, '--data', pairs_folder, '--out', tmp_path / 'out') == 0
    assert 'skipped: cannot read' in capsys.readouterr().err
    assert 'layout.png' in (tmp_path / 'out' / 'report.md').read_text()


def test_pair_without_truth_gives_nan_rows(tmp_path):
    folder = tmp_path / 'pairs'
    folder.mkdir()
    cv2.imwrite(str(folder / 'x.png'), paint(room(3.0)))
    cv2.imwrite(str(folder / 'x_depth_mm.png'), np.zeros((H, W), np.uint16))
    bundle = write_coded_bundle(tmp_path / 'b')
    assert run('--bundle', bundle, '--data', folder, '--out', tmp_path / 'out') == 0
    text = (tmp_path / 'out' / 'report.md').read_text()
    assert '| all | nan |' in text


@pytest.mark.parametrize('damage, match', [
    (lambda f: None, 'no pair in'),
    (lambda f: (f / 'pairs.json').write_text('[1]'), 'is no list of pairs'),
    (lambda f: (f / 'pairs.json').write_text(json.dumps(
        {'pairs': [{'name': 'q', 'rgb': 'q.jpg', 'depth': 'q.png'}]})), 'missing file .*q.jpg'),
    (lambda f: (f / 'pairs.json').write_text(json.dumps(
        {'pairs': [{'name': 'q', 'rgb': 'a', 'depth': 'b', 'depth_kind': 'z'}]})), 'euclidean'),
])
def test_bad_folders_are_named(tmp_path, damage, match):
    damage(tmp_path)
    with pytest.raises(PairsError, match=match):
        read_pairs(tmp_path)


def test_known_errors_are_one_line_and_exit_code_one(tmp_path, pairs_folder, capsys):
    assert run('--bundle', tmp_path / 'none', '--data', pairs_folder, '--out', tmp_path) == 1
    assert run('--bundle', 'x', '--data', tmp_path / 'nowhere', '--out', tmp_path) == 1
    assert run('--bundle', 'x', '--data', pairs_folder, '--out', tmp_path,
               '--protocol', 'dapp') == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 3 and 'no folder' in errors[1] and "'dapp'" in errors[2]


def test_depth_image_of_the_wrong_type_or_size_is_refused(pairs_folder):
    path = Path(pairs_folder) / 'layout_depth_mm.png'
    pair = next(pair for pair in read_pairs(pairs_folder) if pair.name == 'layout')
    cv2.imwrite(str(path), np.zeros((H, W), np.uint8))
    with pytest.raises(PairsError, match='must be a uint16 image'):
        pair.load()
    cv2.imwrite(str(path), np.zeros((H, 2 * W), np.uint16))
    with pytest.raises(PairsError, match='its image'):
        pair.load()


def test_bootstrap_interval_holds_the_difference_and_shrinks_when_frames_agree():
    rng = np.random.default_rng(1)
    target = rng.uniform(1, 5, (30, 200))
    protocol = get_protocol('sphere')

    def frames(factor):
        return [FrameScores(str(i), ('all',), error_sums(t * f, t), np.zeros((1, 12)))
                for i, (t, f) in enumerate(zip(target, factor))]

    def difference(a, b):
        return bootstrap_differences(a, b, protocol, ['abs_rel'])['abs_rel']

    base = frames(np.full(30, 1.1))
    assert difference(base, frames(np.full(30, 1.2))) == pytest.approx((0.1, 0.1, 0.1))
    noisy = difference(base, frames(rng.uniform(1.0, 1.4, 30)))
    assert noisy[1] < noisy[0] < noisy[2]
    assert np.isnan(difference(base[:1], base[:1])).all()


def test_resizing_a_range_closes_the_seam_and_spreads_no_infinity():
    azimuth = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    smooth = np.broadcast_to(3 + np.cos(azimuth + 0.1), (16, 32)).astype(np.float32)
    large = resize_range(smooth, 32, 64)
    fine = 3 + np.cos((np.arange(64) + 0.5) * 2 * np.pi / 64 - np.pi / 32 + 0.1)
    np.testing.assert_allclose(large[8], fine, atol=0.02)
    smooth = smooth.copy()
    smooth[4:8, 10:12] = np.inf
    large = resize_range(smooth, 32, 64)
    assert np.isinf(large).sum() == 4 * 2 * 4
    assert resize_range(smooth, 16, 32) is smooth


def test_shards_are_scored_like_pairs(tmp_path, pairs_folder):
    from training.data.shards import write_shard
    samples = [pair.load() for pair in read_pairs(pairs_folder) if pair.complete]
    (tmp_path / 'shards').mkdir()
    write_shard(tmp_path / 'shards' / '000.tar', samples, {})
    bundle = write_coded_bundle(tmp_path / 'b')
    assert run('--bundle', bundle, '--data', tmp_path / 'shards', '--out', tmp_path / 'out') == 0
    rows = json.loads((tmp_path / 'out' / 'report.json').read_text())['predictors']['b'][
        'variants']['unaligned']['groups']
    assert rows['all']['frames'] == 2 and rows['all']['abs_rel'] < 0.03
    assert 'source synth_a_00' in rows


def test_evaluation_needs_neither_torch_nor_ros():
    code = '\n'.join(['import sys', 'for name in ("torch", "rclpy", "sensor_msgs", "open3d"):',
                      '    sys.modules[name] = None',
                      'import training.evaluate, training.evaluate_bag, training.scoring.fusion',
                      'import training.demo_bag, training.scoring.bags.output',
                       'import da_ros.bags.bag_writer'])
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          cwd=Path(evaluate.__file__).parent.parent)
    assert done.returncode == 0, done.stderr


def test_masks_are_scored_outdoors_apart_and_an_unreadable_shard_is_named(
        tmp_path, pairs_folder, capsys):
    from training.data.shards import write_shard
    samples = [pair.load() for pair in read_pairs(pairs_folder)[:2]]
    samples[1].meta['environment'] = 'outdoor'
    shards = tmp_path / 'shards'
    shards.mkdir()
    write_shard(shards / '000.tar', samples, {})
    (shards / '001.tar').write_bytes(b'nothing' * 100)
    bundle = write_coded_bundle(tmp_path / 'good')
    assert run('--bundle', bundle, '--data', shards, '--out', tmp_path / 'out') == 0
    assert '001.tar' in capsys.readouterr().err
    result = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert {'5 m', '5 m, outdoor'} <= set(result['predictors']['good']['masks'])
    groups = result['predictors']['good']['variants']['unaligned']['groups']
    assert groups['outdoor']['frames'] == 1


def test_drones_have_no_obstacle_sectors():
    from training.data.obstacles import MAX_CAMERA_M
    from training.scoring.scores import score_frame
    world = room(40.0)
    low, high = (score_frame('f', ('all',), world, world, get_protocol('sphere'),
                             camera_height_m=height) for height in (1.0, MAX_CAMERA_M + 1))
    assert low.sectors.size == 36 and high.sectors.size == 0
