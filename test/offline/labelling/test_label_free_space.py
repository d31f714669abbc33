# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Labelling the free floor: strokes become labels, and the page does it in a real browser."""

from http.client import HTTPConnection
import json
import threading

import cv2
from headless_chromium import Browser, find_browser
import numpy as np
import pytest

from training import label_free_space
from training.data.free_space import FOLDER, rasterise, read_photographs
from training.label_free_space import LabelServer
from training.labelling.strokes import intervals_of, StrokeError, strokes_of

WALL = {'kind': 'clear', 'points': [[-180, -30], [180, -30]], 'what': 'wall'}


@pytest.fixture
def server(tmp_path):
    """Serve a folder with one picture."""
    cv2.imwrite(str(tmp_path / 'a room.png'), np.full((128, 256, 3), 120, np.uint8))
    with LabelServer(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def ask(server, method, path, body=None, **headers):
    """Return status and text of one request."""
    connection = HTTPConnection('127.0.0.1', server.server_address[1], timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize('photo', read_photographs(), ids=lambda photo: photo.name)
def test_a_label_survives_the_way_over_strokes(photo):
    label = json.loads((FOLDER / f'{photo.name}.json').read_text())
    again = rasterise({'intervals': intervals_of(strokes_of(label))})
    # Not `glass`: what stands behind a thin thing has no words of its own.
    for kind in ('clear', 'unsure', 'thin', 'overhang', 'plain'):
        np.testing.assert_allclose(getattr(again, kind), getattr(photo.truth, kind), rtol=0.01)


def test_a_pole_is_cut_out_of_the_wall_behind_it():
    pole = {'kind': 'thin', 'points': [[10, -50], [12, -50]], 'what': 'pole'}
    left, thin, right = intervals_of([pole, WALL])
    assert [left['azimuth_deg'], thin['azimuth_deg'], right['azimuth_deg']] == [
        [-180, 10], [10, 12], [12, 180]]
    assert thin['base_kind'] == 'clear' and thin['base_points'] == [[10, -30], [12, -30]]
    assert thin['what'] == 'pole' and left['what'] == right['what'] == 'wall'


def test_small_gaps_are_closed_and_large_ones_are_not_judged():
    near, far = ({'kind': 'clear', 'points': points} for points in (
        [[-100, -20], [0.3, -20]], [[-179.8, -30], [-100.3, -40]]))
    intervals = intervals_of([near, far])
    assert [(i['azimuth_deg'], i['kind']) for i in intervals] == [
        ([-180, -100.3], 'clear'), ([-100.3, 0.3], 'clear'), ([0.3, 180], 'unsure')]
    assert [i['kind'] for i in intervals_of([])] == ['unsure']


@pytest.mark.parametrize('strokes, match', [
    ([WALL, {'kind': 'far', 'points': [[0, -3], [20, -3]]}], 'two lines overlap between azimuth'),
    ([{'kind': 'clear', 'points': [[0, -3]]}], "kind 'clear' needs two points"),
    ([{'kind': 'clear', 'points': [[1, -3], [1, -9]]}], 'at different azimuths'),
    ([WALL, *({'kind': 'thin', 'points': [[a, -40], [5, -40]]} for a in (0, 3))],
     'two thin things overlap'),
])
def test_strokes_that_contradict_each_other_are_named(strokes, match):
    with pytest.raises(StrokeError, match=match):
        intervals_of(strokes)


def test_what_is_no_label_is_refused_and_nothing_is_written(server, tmp_path):
    path = '/label/a%20room.png'
    for body, text in (('{"strokes": [{"kind": "clear", "points": [[0, -3]]}]}', 'two points'),
                       ('[1]', 'not saved'), ('{', 'not saved'), ('{"strokes": 3}', 'not saved'),
                       ('{"strokes": [{"kind": "house", "points": [[0, -3], [9, -3]]}]}',
                        "kind 'house'; there are: clear")):
        status, answer = ask(server, 'PUT', path, body)
        assert status == 400 and text in answer
    assert ask(server, 'PUT', '/label/..%2Fother.png', '{}')[0] == 404
    assert ask(server, 'GET', '/picture/..%2F..%2Fetc%2Fpasswd')[0] == 404
    assert ask(server, 'GET', '/', Host='evil.example:80')[0] == 403
    assert not list(tmp_path.glob('*.json'))


def test_remarks_that_the_page_does_not_know_stay(server, tmp_path):
    file = tmp_path / 'a room.json'
    file.write_text(json.dumps({'image': 'x', 'groups': ['mine'], 'intervals': []}))
    status, text = ask(server, 'PUT', '/label/a%20room.png', json.dumps({'strokes': [WALL]}))
    label = json.loads(file.read_text())
    assert status == 200 and '1 intervals, nearest 1.73 camera heights' in text
    assert label['groups'] == ['mine'] and label['image'] == 'a room.png'
    assert len(file.read_text().splitlines()) == 3
    file.write_text('no label')
    status, text = ask(server, 'GET', '/label/a%20room.png')
    assert status == 409 and 'move it away' in text


def test_the_command_names_a_folder_without_pictures(tmp_path, capsys):
    assert label_free_space.main([str(tmp_path)]) == 1
    assert f'no picture in {tmp_path}' in capsys.readouterr().err


@pytest.mark.skipif(not find_browser(), reason='needs a Chromium')
def test_clicking_around_the_turn_writes_a_label_that_scores(server, tmp_path):
    with Browser(server.url, str(tmp_path / 'profile')) as page:
        page.call('Emulation.setDeviceMetricsOverride', width=1294, height=600,
                  deviceScaleFactor=1, mobile=False)
        page.evaluate('onresize(); whole()')
        left = page.evaluate('canvas.getBoundingClientRect().left')
        width = page.evaluate('canvas.width')

        def draw(key, *points):
            page.key(key)
            for azimuth, elevation in points:
                page.click(left + (180 - azimuth) / 360 * width, (90 - elevation) / 360 * width)

        draw('1', (-179.7, -30), (0, -45), (20, -45))
        draw('5', (20, -40), (60, -40))
        page.key('e')
        draw('', (20, -20), (60, -20))
        draw('2', (60.2, -3), (179.8, -3))
        draw('4', (-90, -50), (-88, -50), (-40, -10))
        page.key('Backspace')
        page.evaluate("$('height').value = 0.4; $('what').value = 'lamp post'")
        page.evaluate("$('what').oninput()")
        page.key('s')
        page.wait_for("$('said').className === 'good' && $('said').textContent !== ''")
        assert 'saved a room.json: 5 intervals' in page.evaluate("$('said').textContent")
        drawn = page.evaluate('strokes.length')
        page.evaluate("open_('a room.png')")
        assert page.evaluate('strokes.length') == drawn + 2      # a wall in three pieces now
        draw('3', (0, -60), (30, -60))
        page.key('s')
        page.wait_for("$('said').textContent.startsWith('not saved: two lines overlap')")
    photo = read_photographs(tmp_path)[0]
    assert photo.camera_height_m == 0.4 and photo.load().shape == (128, 256, 3)
    assert photo.truth.clear[180] == pytest.approx(1.0, rel=0.02)
    assert photo.truth.thin[91] == pytest.approx(1 / np.tan(np.radians(50)), rel=0.02)
    assert photo.truth.overhang[220] == pytest.approx(1 / np.tan(np.radians(40)), rel=0.02)
    label = json.loads((tmp_path / 'a room.json').read_text())
    assert [i['what'] for i in label['intervals'] if i['kind'] == 'thin'] == ['lamp post']
    edge = next(i for i in label['intervals'] if i['kind'] == 'overhang')['overhang_points']
    np.testing.assert_allclose(edge, [[20, -20], [60, -20]], atol=0.5)
