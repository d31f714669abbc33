# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Labelled photographs: the truth scores without a fault, and the command does what it says."""

from dataclasses import replace
import json

from coded_bundle import paint, write_coded_bundle
from conftest import ROOT
import cv2
import numpy as np
import pytest

from training import evaluate
from training.data.free_space import FOLDER, FreeSpaceError, read_photographs
from training.scoring.free_space import (
    boundary,
    by_distance,
    differences,
    figures,
    METRICS,
    score_photograph,
    summary,
)
from training.scoring.free_space_baselines import constant_floor, range_of_label, RowPrior
from training.scoring.free_space_pictures import photograph_strip, RED, wrong_degrees

SHIPPED = read_photographs()
FIRST_TWELVE = [photo for photo in SHIPPED if photo.name.startswith('ph_')]


def score(photo, range_m):
    return score_photograph(photo.name, photo.groups, photo.truth, range_m)


def distorted(truth, size_hw):
    """Return a range map 1.3 h high with what the label shows at wrong places, some of it gone."""
    factor = 1 + 0.35 * np.sin(np.arange(360) * 2 * np.pi / 47)
    gone = np.arange(360) % 90 < 12
    return 1.3 * range_of_label(replace(
        truth, clear=np.where(gone, np.inf, truth.clear * factor),
        thin=np.where(gone, np.inf, truth.thin * factor),
        overhang=truth.overhang * factor), size_hw)


@pytest.mark.parametrize('size_hw', [(256, 512), (512, 1024)])
@pytest.mark.parametrize('photo', SHIPPED, ids=lambda photo: photo.name)
def test_the_label_itself_finds_everything_and_alarms_nowhere(photo, size_hw):
    row = figures([score(photo, range_of_label(photo.truth, size_hw))])
    for name in ('found', 'thin_found', 'overhang_found'):
        assert row[name] == 1 or np.isnan(row[name]), name
    assert row['false_alarm'] == 0 or row['free'] == 0
    assert row['log_error'] < 1e-6 or row['degrees'] == 0


@pytest.mark.parametrize('size_hw, expected', [
    ((128, 256), (83, 39, 28, 26, 12, 10, 0.27247276607793147, 0.2757222023302178,
                  0.10868282090436066)),
    ((256, 512), (82, 39, 29, 24, 12, 10, 0.2676827690934685, 0.2676827690934685,
                  0.10868282090436046))])
def test_numbers_are_those_of_the_protocol_as_it_was_first_written(size_hw, expected):
    row = figures([score(photo, distorted(photo.truth, size_hw)) for photo in FIRST_TWELVE])
    assert (row['obstacles'], row['free'], row['thin'], row['overhang'], row['unsure'],
            row['degrees']) == (150, 238, 19, 19, 11, 2673)
    counts = [row[name] * row[of] for name, of in (
        ('found', 'obstacles'), ('late', 'obstacles'), ('early', 'obstacles'),
        ('false_alarm', 'free'), ('thin_found', 'thin'), ('overhang_found', 'overhang'))]
    np.testing.assert_allclose(counts, expected[:6], atol=1e-9)
    np.testing.assert_allclose(
        [row['log_error'], row['log_error_near'], row['bias']], expected[6:], atol=1e-9)


def test_only_the_shape_of_a_prediction_counts():
    photo = FIRST_TWELVE[0]
    range_h = distorted(photo.truth, (256, 512))
    one, many = (figures([score(photo, scale * range_h)]) for scale in (1, 7.3))
    assert one == pytest.approx(many, nan_ok=True)
    assert score(photo, 7.3 * range_h).height == pytest.approx(7.3 * 1.3, rel=1e-3)


def test_baselines_that_see_no_picture_find_what_stands_everywhere_alike():
    prior = RowPrior(SHIPPED)
    empty = figures([score(photo, constant_floor()) for photo in SHIPPED])
    assert empty['found'] == empty['false_alarm'] == empty['thin_found'] == 0
    rows = figures([score(photo, prior.range_h(photo.name)) for photo in SHIPPED])
    assert rows['found'] < 0.2 and rows['log_error'] < empty['log_error']
    assert not np.array_equal(prior.range_h('ph_lab'), prior.range_h('ph_city'))


def test_a_wall_around_the_camera_is_an_alarm_where_the_floor_is_free():
    photo = next(photo for photo in SHIPPED if photo.name == 'ph_noon_grass')
    everywhere = replace(photo.truth, clear=np.full(360, 1.0))
    row = figures([score(photo, range_of_label(everywhere))])
    assert row['free'] == 36 and row['false_alarm'] == 1 and np.isnan(row['found'])


def test_a_prediction_without_a_floor_finds_nothing():
    photo = FIRST_TWELVE[0]
    for nothing in (np.nan, np.inf):
        row = figures([score(photo, np.full((128, 256), nothing))])
        assert row['found'] == 0 and row['late'] == 1


def test_the_boundary_is_horizontal_and_stays_within_its_degree():
    truth = replace(SHIPPED[0].truth, clear=np.full(360, np.inf), thin=np.full(360, np.inf),
                    overhang=np.full(360, np.inf), unsure=np.full(360, np.inf))
    truth.clear[100] = 2.0
    found = boundary(range_of_label(truth, (512, 1024)), 1.0)
    assert found[100] == pytest.approx(2.0)
    assert np.isinf(np.delete(found, 100)).all() and found.shape == (360,)


def test_a_pole_is_not_found_by_what_stands_beside_it():
    nothing = np.full(360, np.inf)
    truth = replace(SHIPPED[0].truth, clear=nothing, overhang=nothing, unsure=nothing,
                    thin=np.where(np.arange(360) == 104, 1.5, np.inf), plain=nothing)
    photo = replace(SHIPPED[0], truth=truth)
    beside = replace(truth, thin=np.where(np.arange(360) == 108, 1.5, np.inf))
    next_to_it = replace(truth, thin=np.where(np.arange(360) == 105, 1.5, np.inf))
    size_hw = (512, 1024)
    assert figures([score(photo, range_of_label(beside, size_hw))])['thin_found'] == 0
    assert figures([score(photo, range_of_label(next_to_it, size_hw))])['thin_found'] == 1


def test_distances_and_glass_are_told_apart():
    scores = [score(photo, range_of_label(photo.truth)) for photo in FIRST_TWELVE]
    table = by_distance(scores)
    glass, others = table['glass and mirrors'], table['all others']
    assert glass['obstacles'] + others['obstacles'] == 150 and glass['obstacles'] == 20
    bins = [row['obstacles'] for name, row in table.items() if name.endswith(' h')]
    assert sum(bins) == 150 and all(row['missed'] == 0 for row in table.values())


def test_intervals_hold_the_value_and_need_two_photographs():
    scores = [score(photo, distorted(photo.truth, (128, 256))) for photo in FIRST_TWELVE]
    found = summary(scores, draws=100)
    for key in ('pooled', 'mean'):
        assert found[f'{key}_low']['found'] < found[key]['found'] < found[f'{key}_high']['found']
    each = [figures([one])['found'] for one in scores]
    assert found['mean']['found'] == pytest.approx(np.nanmean(each))
    assert np.isnan(summary(scores[:1])['mean_low']['found'])
    better = [score(photo, range_of_label(photo.truth)) for photo in FIRST_TWELVE]
    gain = differences(scores, better, draws=100)['found']
    assert 0 < gain['low'] < gain['difference'] < gain['high'] <= 1


def test_misses_are_red_in_the_picture():
    photo = next(photo for photo in SHIPPED if photo.name == 'ph_lab')
    good, blind = (photograph_strip(photo.load(), photo.truth, score(photo, range_m))
                   for range_m in (range_of_label(photo.truth), constant_floor()))
    assert good.shape == blind.shape == (400, 2000, 3)
    from_above = [(picture[:, 1600:] == RED).all(-1).any() for picture in (good, blind)]
    assert from_above == [False, True]
    missed, alarms = wrong_degrees(photo.truth, score(photo, constant_floor()))
    assert missed.sum() > 300 and not alarms.any()


def labelled_wall(folder, name='yard', **changes):
    """Write a photograph of a wall in front, glass behind, a pole and a table; floor elsewhere."""
    label = {'image': f'{name}.png', 'intervals': [
        {'azimuth_deg': [-180, -150], 'kind': 'clear', 'points': [[-180, -30], [-150, -30]],
         'what': 'glass door'},
        {'azimuth_deg': [-150, -40], 'kind': 'far', 'points': [[-150, -3]]},
        {'azimuth_deg': [-40, 40], 'kind': 'clear', 'points': [[-40, -26.6], [40, -26.6]]},
        {'azimuth_deg': [40, 62], 'kind': 'far', 'points': [[40, -3]]},
        {'azimuth_deg': [62, 65], 'kind': 'thin', 'points': [[62, -35], [65, -35]],
         'base_kind': 'far', 'base_points': [[62, -3]]},
        {'azimuth_deg': [65, 100], 'kind': 'far', 'points': [[65, -3]]},
        {'azimuth_deg': [100, 120], 'kind': 'overhang', 'points': [[100, -40], [120, -40]],
         'overhang_points': [[100, -20], [120, -20]], 'what': 'table'},
        {'azimuth_deg': [120, 180], 'kind': 'unsure', 'points': [[120, -30], [180, -30]]}]}
    label.update(changes)
    folder.mkdir(exist_ok=True)
    (folder / f'{name}.json').write_text(json.dumps(label))
    photo = next(p for p in read_photographs(folder) if p.name == name)
    cv2.imwrite(str(folder / f'{name}.png'), paint(1.5 * range_of_label(photo.truth, (128, 256))))
    return photo


def test_the_command_scores_own_photographs_and_writes_every_table(tmp_path, capsys):
    folder = tmp_path / 'photos'
    labelled_wall(folder, groups=['low camera'])
    labelled_wall(folder, 'field', intervals=[
        {'azimuth_deg': [-180, 180], 'kind': 'far', 'points': [[-180, -3]]}])
    good = write_coded_bundle(tmp_path / 'good', (128, 256))
    off = write_coded_bundle(tmp_path / 'off', (128, 256), offset_per_height=1.0)
    assert evaluate.main(['--bundle', str(good), '--bundle', str(off), '--benchmark', 'free-space',
                          '--data', str(folder), '--out', str(tmp_path / 'out')]) == 0
    result = json.loads((tmp_path / 'out' / 'report.json').read_text())
    told = result['predictors']['good']['variants']['height told']
    row = told['groups']['all']['pooled']
    assert row['found'] == row['thin_found'] == row['overhang_found'] == 1
    assert row['false_alarm'] == 0 and row['log_error'] < 0.03
    assert set(told['groups']) == {'all', 'low camera'} and set(METRICS) <= set(row)
    assert told['by_distance']['glass and mirrors'] == {'obstacles': 3, 'missed': 0, 'late': 0}
    assert told['photographs']['yard']['floor_height'] == pytest.approx(1.5, rel=0.03)
    variants = result['predictors']['off']['variants']
    assert variants['height not told']['groups']['all'] == result['predictors']['good'][
        'variants']['height not told']['groups']['all']
    assert variants['height told']['groups']['all']['pooled']['found'] < 1
    assert {'row prior', 'constant floor'} < set(result['predictors'])
    assert 'off - good, height told: found' in result['comparisons']
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 4 and 'red = missed' in page
    lines = (tmp_path / 'out' / 'frames.jsonl').read_text().splitlines()
    assert len(lines) == 2 * 6 and json.loads(lines[0])['frame'] == 'field'
    assert 'mean over photographs' in capsys.readouterr().out


def test_a_photograph_that_cannot_be_read_is_named_and_skipped(tmp_path, capsys):
    folder = tmp_path / 'photos'
    labelled_wall(folder)
    labelled_wall(folder, 'wide')
    cv2.imwrite(str(folder / 'wide.png'), np.zeros((10, 30, 3), np.uint8))
    bundle = write_coded_bundle(tmp_path / 'b', (128, 256))
    command = ['--bundle', str(bundle), '--benchmark', 'free-space', '--data', str(folder),
               '--out', str(tmp_path / 'out')]
    assert evaluate.main(command) == 0
    assert 'wide.png is 30 x 10 px; a panorama is twice as wide' in capsys.readouterr().err
    (folder / 'yard.png').unlink()
    assert evaluate.main(command) == 1
    assert 'no photograph could be scored' in capsys.readouterr().err


@pytest.mark.parametrize('changes, match', [
    ({'intervals': []}, 'the last interval ends at -180'),
    ({'intervals': [{'azimuth_deg': [-170, 180], 'kind': 'far', 'points': [[0, -3]]}]},
     'interval -170 to 180 does not go on from -180'),
    ({'intervals': [{'azimuth_deg': [-180, 180], 'kind': 'wall', 'points': [[0, -3]]}]},
     "kind 'wall'; there are: clear"),
    ({'intervals': [{'azimuth_deg': [-180, 180], 'kind': 'far', 'points': []}]},
     r'points must be a list of \[azimuth'),
    ({'intervals': [{'azimuth_deg': [-180, 180], 'kind': 'far', 'points': [[3, 0], [1, 0]]}]},
     'azimuths rising'),
    ({'intervals': [{'azimuth_deg': [-180, 180], 'kind': 'far', 'points': [[0, -120]]}]},
     'beyond 90 degrees'),
    ({'intervals': [{'azimuth_deg': [-180, 180], 'kind': 'far'}]}, "no 'points'"),
    ({'intervals': 3}, 'is no label of free floor'),
])
def test_a_label_that_contradicts_itself_is_named(tmp_path, changes, match):
    with pytest.raises(FreeSpaceError, match=match):
        labelled_wall(tmp_path, **changes)


def test_a_folder_without_labels_says_how_to_make_them(tmp_path, capsys):
    assert evaluate.main(['--bundle', 'pano_tiny', '--benchmark', 'free-space', '--data',
                          str(tmp_path), '--out', str(tmp_path / 'out')]) == 1
    assert 'training.label_free_space' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(['--bundle', 'pano_tiny', '--out', 'x'])
    assert 'give --data, or --benchmark free-space' in capsys.readouterr().err


def test_photographs_labels_and_licences_ship_and_stay_small():
    files = list(FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) < 8e6
    licences = (FOLDER / 'LICENSES.md').read_text()
    assert 'CC0 1.0' in licences and 'Apache-2.0' in licences
    assert {file.stem for file in files if file.suffix == '.jpg'} == {p.name for p in SHIPPED}
    for photo in SHIPPED:
        assert photo.load().shape == (512, 1024, 3)
    assert "'benchmarks/*/*'" in (ROOT / 'setup.py').read_text()
