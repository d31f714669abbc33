# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.pairs import Pair
from training.model_card import (
    abs_rel,
    FARTHEST_M,
    main,
    markdown,
    rows_for_manifest,
    rows_of,
    score,
)
from training.scoring.card import HEADING

SIZE = (32, 64)


class TwiceTheTruth:
    """Answers 2 x (a constant wall at 3 m), and 1 x when told the height; empty above."""

    def range_m(self, image, camera_height_m):
        assert image.dtype == np.uint8
        range_m = np.full(SIZE, 3.0 if camera_height_m else 6.0, np.float32)
        range_m[:2] = np.inf
        return range_m


def write_pairs(folder: Path):
    rows = []
    for name, tier in (('synth_seen_00', 'C_x'), ('synth_kept_00', 'C_x'), ('real_a', 'B_x')):
        cv2.imwrite(str(folder / f'{name}.jpg'), np.zeros((*SIZE, 3), np.uint8))
        depth = np.full(SIZE, 3000, np.uint16)
        depth[:2] = 0
        cv2.imwrite(str(folder / f'{name}_depth_mm.png'), depth)
        cv2.imwrite(str(folder / f'{name}_label.png'), np.repeat(
            [2, 1], SIZE[0] // 2).astype(np.uint8)[:, None] * np.ones(SIZE[1], np.uint8))
        rows.append({'name': name, 'rgb': f'{name}.jpg', 'depth': f'{name}_depth_mm.png',
                     'tier': tier, 'env': 'indoor', 'camera_height_m': 1.0,
                     **({'label': f'{name}_label.png'} if 'real' in name else {})})
    (folder / 'pairs.json').write_text(json.dumps({'pairs': rows}))


def test_alignment_removes_a_factor_and_nothing_else():
    rng = np.random.default_rng(0)
    target = rng.uniform(1, 5, SIZE)
    plain, aligned = abs_rel(2 * target, target, np.ones(SIZE, bool))
    assert plain == pytest.approx(1) and aligned == pytest.approx(0, abs=1e-9)
    target[0] = 1e-3        # not used
    use = np.ones(SIZE, bool)
    use[0] = False
    assert abs_rel(target + 1, target, use)[0] == pytest.approx(
        abs_rel(target[:, ::-1] + 1, target[:, ::-1], use)[0])


def test_held_out_world_has_a_row_of_its_own():
    kept, seen = (Pair(f'synth_{s}_00', Path(), Path(), tier='C', scene=s, environment='indoor')
                  for s in ('kept', 'seen'))
    assert list(rows_of(kept, 'kept')) == ['held-out world kept']
    assert not set(rows_of(seen, 'kept')) & set(rows_of(kept, 'kept'))


def test_table_holds_every_variant(tmp_path):
    from training.data.pairs import read_pairs

    write_pairs(tmp_path)
    table, shown = score(TwiceTheTruth(), read_pairs(tmp_path), 'kept')
    assert set(shown) == {'synth_seen_00', 'synth_kept_00', 'real_a'}
    row = table['held-out world kept']
    assert row['unaligned'][0] == pytest.approx(1, abs=1e-3)
    assert row['median-aligned'][0] == pytest.approx(0, abs=1e-3)
    assert row['known camera height'][0] == pytest.approx(0, abs=1e-3)
    assert '| held-out world kept | 1 | 1.000 (1.000) | 0.000' in markdown(table)
    rows = rows_for_manifest(table)
    assert {'data': 'B rooms, floor', 'images': 1, 'variant': 'unaligned', 'metric': 'abs_rel',
            'mean': 1.0, 'median': 1.0} in rows
    assert FARTHEST_M > 100


def test_a_missing_folder_is_one_line(tmp_path, capsys):
    assert main(['--bundle', str(tmp_path), '--data', str(tmp_path / 'none')]) == 1
    assert 'none' in capsys.readouterr().err


def test_a_report_becomes_rows_not_told_and_told_the_height(tmp_path, capsys):
    row = {'frames': 4.0, 'abs_rel': 0.5, 'miss_rate_3m': 0.25, 'false_alarm_rate_3m': 0.1,
           'thin_miss_rate_3m': None}
    told = {**row, 'abs_rel': 0.2}
    masks = {'20 m, outdoor': {'iou': 0.9}, '5 m': {'iou': None}}
    variants = {'unaligned': {'groups': {'all': row}},
                'known camera height': {'groups': {'all': told}}}
    report = {'predictors': {'b': {'masks': masks, 'variants': variants}}}
    file = tmp_path / 'obstacles' / 'report.json'
    file.parent.mkdir()
    file.write_text(json.dumps(report))
    assert main(['--report', str(file)]) == 0
    out = capsys.readouterr().out
    assert '| all | 4 | 0.500 -> 0.200 | 25 % -> 25 % | 10 % -> 10 % | - -> - |' in out
    assert out.strip().endswith('Range mask IoU: 20 m, outdoor 0.900')
    assert main(['--report', str(tmp_path / 'none.json')]) == 1
    assert 'none.json' in capsys.readouterr().err
    assert main(['--report', str(file), '--bundle', 'other']) == 1
    assert "the report holds b, not 'other'; evaluate that bundle" in capsys.readouterr().err
    assert main([]) == 1
    assert 'give --bundle and --data, or --report' in capsys.readouterr().err


def free_space_report(folder: Path) -> Path:
    """Write the report of a bundle that sees nothing on two of the labelled photographs."""
    from training.data.free_space import read_photographs
    from training.scoring.free_space_report import evaluate_photographs

    class Blind:
        name, uses_camera_height, range_masks_m = 'b', True, ()

        def range_m(self, image, camera_height_m):
            return np.full((64, 128), 3.0, np.float32)

    photographs = [p for p in read_photographs() if p.name in ('ph_lab', 'ph_esplanade')]
    evaluate_photographs([Blind()], photographs, folder)
    return folder / 'report.json'


def test_a_card_begins_with_the_photographs_then_pairs_then_renderings(tmp_path, capsys):
    rendered = tmp_path / 'rendered' / 'report.json'
    rendered.parent.mkdir()
    row = {'obstacles': 8.0, 'miss_rate': 0.25, 'late_rate': 0.125, 'thin_obstacles': 0.0,
           'thin_miss_rate': None}
    told = {'groups': {}, 'obstacles_by_range': {'0-0.5 m': row}}
    rendered.write_text(json.dumps({'predictors': {'b': {'masks': {}, 'variants': {
        'unaligned': {'groups': {}}, 'known camera height': told}}}}))
    card, rows = tmp_path / 'README.md', tmp_path / 'rows.json'
    card.write_text(f'# b\n\nbefore\n\n{HEADING}\n\nstale table\n\n## Next\n\nafter\n')
    photographs = free_space_report(tmp_path / 'free_space')
    assert main(['--report', str(rendered), '--card', str(card), '--json', str(rows),
                 '--note', 'Two cores.', '--report', str(photographs)]) == 0
    text = card.read_text()
    assert text.startswith(f'# b\n\nbefore\n\n{HEADING}\n\nTwo cores.')
    assert text.endswith('\n## Next\n\nafter\n') and 'stale table' not in text
    assert text.index('### free_space') < text.index('### rendered')
    assert '| all, height told, pooled | 2 | 0.' in text
    assert '| probability of a miss by true distance | obstacles | missed, told' in text
    assert '| glass and mirrors | 13 | ' in text and '| all others | 40 | ' in text
    assert '| 0-0.5 m | 8 | 25 % | 12 % | - |' in text
    listed = json.loads(rows.read_text())
    assert {row['metric'] for row in listed} >= {'found', 'false_alarm', 'log_error_near'}
    assert listed[0]['images'] == 2 and set(listed[0]) >= {'pooled', 'mean', 'variant'}
    assert main(['--report', str(rendered), '--card', str(card.rename(tmp_path / 'x.md'))]) == 0
    card.write_text('# no section')
    assert main(['--report', str(rendered), '--card', str(card)]) == 1
    assert "has no place for the tables: add the heading '## Accuracy'" in capsys.readouterr().err


def test_a_stereo_pair_is_measured_with_holes():
    pair = Pair('real_stereo_room', Path(), Path(), tier='S')
    assert list(rows_of(pair, 'kept')) == ['S triangulated from a stereo pair']
    assert not pair.complete and 'tier S' in pair.groups
