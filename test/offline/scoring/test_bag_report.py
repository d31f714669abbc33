# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The report of a drive: the verdict first, where it was made, and every column explained."""

import re

import numpy as np
import pytest
from test_evaluate_bag import bundle, drive, late_bag, published, report, rows, run  # noqa: F401

from da_ros.bags.bag_writer import BagWriter
from da_ros.bundle import MANIFEST, sha256_of
from da_ros.legend import with_legend
from training.scoring import report as tables
from training.scoring.bags.page import EXPLAINED
from training.scoring.bags.plots import ring_plot
from training.scoring.bags.tables import PARTS
from training.scoring.bags.verdict import (
    direction_text,
    DIRECTIONS,
    nearest_missed,
    RINGS_M,
    sentences,
    verdict_of,
)
from training.scoring.obstacles import SECTOR_DTYPE

S = 10**9


def sectors(*cases):
    """Return a sector table of (azimuth [deg], true [m], predicted [m])."""
    table = np.zeros(len(cases), SECTOR_DTYPE)
    table['observed'], table['thin_m'], table['thin_pred_m'] = True, np.inf, np.inf
    table['width_m'] = 1
    for row, (azimuth, true, pred) in zip(table, cases):
        row['azimuth'], row['true_m'], row['pred_m'] = np.radians(azimuth), true, pred
    return table


def test_obstacles_and_alarms_are_counted_where_they_stand_and_where_they_are_seen():
    verdict = verdict_of(sectors(
        (5, 0.7, 2.5),            # missed ahead, in the second ring
        (95, 1.5, 1.6),           # found on the left
        (-95, np.inf, 2.2),       # a phantom on the right
        (175, 4.0, 1.0),          # missed behind, and a phantom at 1 m
        (180, 20.0, 19.0)))       # beyond the rings
    found = {name: {(ring, cell) for ring in range(len(RINGS_M) - 1)
                    for cell in range(DIRECTIONS) if verdict[name][ring][cell]}
             for name in ('obstacles', 'missed', 'false_alarms')}
    behind = DIRECTIONS // 2
    assert found['missed'] == {(1, 0), (4, behind)}
    assert found['obstacles'] == found['missed'] | {(2, found_cell(95))}
    assert found['false_alarms'] == {(3, found_cell(-95)), (1, behind)}
    assert sum(verdict['seen']) == 5
    rows_ = verdict['by_distance']
    assert rows_['0.5-1 m']['missed'] == 1 and rows_['1-2 m']['missed'] == 0
    assert rows_['2-3 m']['false_alarms'] == pytest.approx(1 / 5)
    assert sentences(verdict)[0] == 'Within 3 m 50 % of the obstacles were missed (1 of 2).'
    assert 'nearest missed: obstacle 0.7 m away (ahead), published at 2.5 m' in sentences(
        verdict)[-1]


def found_cell(azimuth_deg):
    return round(azimuth_deg / (360 / DIRECTIONS)) % DIRECTIONS


def test_directions_are_told_as_the_robot_sees_them():
    assert [direction_text(np.radians(a)) for a in (0, 45, 90, 135, 179, -135, -90, -45)] == [
        'ahead', 'ahead left', 'left', 'behind left', 'behind', 'behind right', 'right',
        'ahead right']
    true_m, text = nearest_missed(sectors((90, 2.0, np.inf), (0, 4.0, np.inf)))
    assert true_m == 2 and text == 'obstacle 2.0 m away (left), nothing published there'


def test_rings_are_drawn_with_ahead_up_and_left_on_the_left():
    nothing = np.zeros((len(RINGS_M) - 1, DIRECTIONS), int)
    places = {}
    for name, direction in (('ahead', 0), ('left', found_cell(90)), ('right', found_cell(-90))):
        part = nothing.copy()
        part[2, direction] = 9
        drawn = ring_plot('Title', part.tolist(), (nothing + 9).tolist(), 'none')
        worst = next(cell for cell in re.findall(r'<path d="([^"]*)"[^>]*><title>9 of 9<', drawn))
        numbers = [float(n) for n in re.findall(r'-?\d+\.\d', worst)]
        places[name] = np.mean(numbers[::2]), np.mean(numbers[1::2])
    assert places['ahead'][1] < 150 and places['left'][0] < 150 and places['right'][0] > 250
    empty = ring_plot('Title', nothing.tolist(), nothing.tolist(), 'nothing <there>')
    assert empty.count('nothing &lt;there&gt;') == nothing.size


def test_the_page_begins_with_the_verdict_and_explains_itself(
        tmp_path, bundle, late_bag):  # noqa: F811
    assert run(late_bag, bundle, tmp_path, '--truth', '/lidar/points', '--camera-height', 0.75,
               '--stamp-offset', -0.12) == 0
    page = (tmp_path / 'report.html').read_text()
    order = [page.index(text) for text in (
        'obstacles were missed (', 'class="rings"', 'scale: truth / prediction', 'flicker of',
        'inference, p99', 'The frame to look at', 'Over time', 'coded, as published')]
    assert order == sorted(order) and 'name="viewport"' in page and 'http' not in page
    assert 1 <= page.count('s into the drive (frame ') <= PARTS
    assert page.count('nearest obstacle from above') == 2 * page.count('s into the drive (frame ')
    heads = set(re.findall(r'<th>([a-z_0-9]+)</th>', page)) - {'distance', 'missed', 'thin'}
    told = {name.removesuffix('_3m') for name in heads}
    assert told <= set(EXPLAINED), told - set(EXPLAINED)
    assert set(tables.OBSTACLE_COLUMNS) | set(tables.BAND_COLUMNS) <= set(EXPLAINED)
    found = report(tmp_path)
    assert found['verdict']['by_distance'] and found['problems'] == []


def test_a_report_says_how_it_was_made(tmp_path, bundle, late_bag):  # noqa: F811
    out = tmp_path / 'with space'
    assert run(late_bag, bundle, out, '--truth', '/lidar/points', '--every', 2, '--stamp-offset',
               -0.12) == 0
    made = report(out)['made']
    assert made['command'].startswith(f'da_ros_evaluate_bag {late_bag} --bundle')
    assert f"--out '{out}'" in made['command'] and '--stamp-offset -0.12' in made['command']
    assert sha256_of(bundle / MANIFEST) in made['bundle'] and 'coded' in made['bundle']
    assert made['da_ros'].startswith('0.') and re.search(r'commit ([0-9a-f]{40}|unknown)',
                                                        made['da_ros'])
    assert re.match(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]', made['date'])
    assert 'onnxruntime' in made['runtime'] and 'numpy' in made['runtime']
    page, text = (out / 'report.html').read_text(), (out / 'report.md').read_text()
    assert made['date'] in page and made['date'] in text
    assert 'With the stamp offset of -0.120 s that was given, stamps fit the truth: keep ' \
           'stamp_offset_s: -0.120.' in text
    assert report(out)['stream']['rate_hz'] == pytest.approx(5, rel=0.02)


def test_images_that_are_all_refused_are_the_message(tmp_path, bundle, capsys):  # noqa: F811
    with BagWriter(tmp_path / 'bag') as bag:
        for i in range(4):
            image = np.zeros((50, 128, 3), np.uint8)
            kind = 'bgr8' if i else 'yuv999'
            bag.write('/camera/image', bag.image(i * S, 'c', image, kind), i * S)
            bag.write('/lidar/points', bag.points(i * S, 'c', np.ones((9, 3), np.float32)), i * S)
    assert run(tmp_path / 'bag', bundle, tmp_path / 'out') == 1
    error = capsys.readouterr().err.strip()
    assert error.count('\n') == 0 and 'all 4 images were refused: image is 128 x 50 px' in error
    assert '(3); ' in error and 'yuv999' in error and '(1)' in error and 'clocks' not in error
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert 'No verdict on obstacles: see the problem above.' in page


def test_a_message_that_cannot_be_decoded_costs_only_itself(tmp_path, bundle):  # noqa: F811
    source = drive(tmp_path / 'source', seconds=1.0)
    from test_bag_truth import copy
    seen = []

    def broken(bag, message):
        seen.append(message.topic)
        if message.topic == '/camera/image' and seen.count(message.topic) == 2:
            bag.write_raw(message.topic, message.kind, message.raw[:40], message.log_ns)
            return '', None
        if message.topic == '/lidar/points' and seen.count(message.topic) == 3:
            bag.write_raw(message.topic, message.kind, message.raw[:40], message.log_ns)
            return '', None
        return message.topic, None
    bag = copy(source, tmp_path / 'bag', broken)
    assert run(bag, bundle, tmp_path / 'out', '--truth', '/lidar/points') == 0
    found = rows(tmp_path / 'out')
    assert len(found) == 5 and 'cannot be decoded' in found[1]['error'] and found[2]['infer_ms']
    notes = ' '.join(report(tmp_path / 'out')['notes'])
    assert '1 messages of /lidar/points could not be used: ' in notes and '1 refused: ' in notes


def test_partial_panoramas_are_evaluated_where_they_show_something(
        tmp_path, bundle):  # noqa: F811
    from test_bag_truth import copy
    source = drive(tmp_path / 'source', seconds=0.6)

    def band(bag, message):
        if message.topic != '/camera/image':
            return message.topic, None
        msg = message.decode()
        rows_ = msg.data.reshape(64, 128, 3)[16:48]               # 45 degrees up and down
        return message.topic, bag.image(message.log_ns, msg.header.frame_id, rows_, 'bgr8')
    bag = copy(source, tmp_path / 'bag', band)
    options = '--truth', '/camera/depth/image'
    assert run(bag, bundle, tmp_path / 'no', *options) == 1
    run(bag, bundle, tmp_path / 'out', *options, '--elevation', -45, 45, '--tolerance', 0.2)
    scores = published(tmp_path / 'out')['groups']['all']
    assert scores['abs_rel'] < 0.05 and 0.4 < scores['coverage'] < 0.75


def test_colour_bars_have_room_for_their_ends_at_any_size():
    for width in (40, 128, 512, 2000):
        picture = np.zeros((width // 2, width, 3), np.uint8)
        for far_m in (0.2, 10.0, 100.0, 1000.0):
            found = with_legend(picture, far_m)
            assert found.shape[1] == width and found.shape[0] > width // 2 + 20
            assert (found[:width // 2] == picture).all()
