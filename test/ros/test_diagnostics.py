# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the diagnostics say of every state that the node can be in."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from dataclasses import replace

from da_ros.ros.diagnostics import health, State, Statistics, status_msg

ACTIVE = State(active=True, topic='/image', backend='onnxruntime fp32',
               unseen='', remedy='give it the profile')
START = 1000.0


def stream(hz: float, seconds: float, age_s: float = 0.1, served: bool = True,
           statistics: Statistics | None = None, start: float = START) -> tuple:
    """Return statistics of a camera that has streamed, and the time of its last image."""
    statistics = statistics or Statistics()
    statistics.want(True, start)
    times = start + 0.01 + np.arange(round(hz * seconds) + 1) / hz
    for time in times:
        statistics.arrived(time)
        if served:
            statistics.finish(age_s, time + 0.02)
    return statistics, times[-1] + 0.02


@pytest.mark.parametrize('change, level, text', [
    (dict(building='building engine, 3 %', failure='x'), 'warn', 'building engine, 3 %'),
    (dict(failure='bundle is gone'), 'error', 'bundle is gone'),
    (dict(active=False), 'ok', 'not active'),
    (dict(), 'ok', '10.0 Hz on onnxruntime fp32'),
    (dict(fallback='openvino failed'), 'warn',
     '10.0 Hz on onnxruntime fp32, a fall-back: openvino failed')])
def test_what_the_node_is_doing_is_said(change, level, text):
    statistics, now = stream(10, 5)
    assert health(statistics, replace(ACTIVE, **change), now) == (level, text)


def test_nobody_wants_anything_is_fine():
    assert health(Statistics(), ACTIVE, START) == ('ok', 'idle: no subscriber')


@pytest.mark.parametrize('hz', [0.5, 1, 2, 10, 30])
def test_a_steady_camera_of_any_rate_never_warns(hz):
    statistics = Statistics()
    statistics.want(True, START)
    period, said = 1 / hz, set()
    for number in range(round(max(20, 5 * hz))):
        begin = START + 0.5 + number * period
        statistics.arrived(begin)
        statistics.finish(0.05, begin + 0.05)
        for share in (0.06, 0.5, 0.99):
            said.add(health(statistics, ACTIVE, begin + max(share * period, 0.051))[0])
    assert said == {'ok'}


@pytest.mark.parametrize('hz, limit_s', [(0.5, 6), (1, 3), (2, 2), (30, 2)])
def test_silence_is_told_after_two_seconds_or_three_periods(hz, limit_s):
    statistics, now = stream(hz, 20)
    last = now - 0.02
    assert health(statistics, ACTIVE, last + limit_s - 0.1)[0] == 'ok'
    level, text = health(statistics, ACTIVE, last + limit_s + 0.1)
    assert level == 'warn' and text == (
        f'no image on /image for {limit_s:.0f} s: it is published, so either nothing is sent, or '
        'all of it is lost on the way; then give it the profile')
    assert statistics.rate_hz(last + limit_s + 0.1) == 0
    # The camera comes back, and all is well with its first frame.
    statistics.arrived(last + 60)
    statistics.finish(0.1, last + 60.02)
    assert health(statistics, ACTIVE, last + 60.03)[0] == 'ok'


def test_what_the_graph_shows_is_told_at_once_and_never_before_discovery():
    statistics = Statistics()
    statistics.want(True, START)
    state = replace(ACTIVE, unseen='nobody publishes it')
    assert health(statistics, state, START + 1.9) == (
        'ok', 'waiting for the first image on /image')
    assert health(statistics, state, START + 2.1) == (
        'warn', 'no image on /image for 2 s: nobody publishes it')
    assert health(statistics, ACTIVE, START + 5.9)[0] == 'ok'       # a slow camera, perhaps
    assert health(statistics, ACTIVE, START + 6.1)[0] == 'warn'


def test_lost_images_are_told_with_the_remedy_and_never_as_no_image():
    statistics, now = stream(10, 5)
    statistics.lose(1, now)
    assert health(statistics, ACTIVE, now) == (
        'warn', '1 image was lost on the way to /image: give it the profile')
    statistics.lose(6, now + 1)
    level, text = health(statistics, ACTIVE, now + 1.1)
    assert level == 'warn' and text.startswith('7 images were lost on the way to /image')
    level, text = health(statistics, ACTIVE, now + 4)               # and none has come for 4 s
    assert level == 'error' and text.startswith('7 images were lost')
    assert health(statistics, ACTIVE, now + 60) == (level, text)     # as long as none comes
    statistics.arrived(now + 60)
    assert health(statistics, ACTIVE, now + 60.1)[0] == 'ok' and statistics.lost == 7


def test_images_that_are_never_finished_are_an_error_counted_from_the_first_that_waits():
    statistics, now = stream(10, 4.8, served=False)
    assert health(statistics, ACTIVE, now)[0] == 'ok'
    stream(10, 0.5, served=False, statistics=statistics, start=now)
    assert health(statistics, ACTIVE, now + 0.5) == (
        'error', 'images arrive, but none was finished for 5 s')


def test_an_idle_spell_is_no_silence_and_no_low_rate():
    statistics, now = stream(30, 10)
    statistics.want(False, now)
    for number in range(5):                     # still subscribed: images go on to arrive
        statistics.arrived(now + number)
    assert health(statistics, ACTIVE, now + 300) == ('ok', 'idle: no subscriber')
    later = now + 600
    statistics.want(True, later)
    assert health(statistics, ACTIVE, later + 0.1)[0] == 'ok'
    _, now = stream(30, 1, statistics=statistics, start=later)
    assert health(statistics, ACTIVE, now) == ('ok', '30.0 Hz on onnxruntime fp32')
    assert len(statistics.age_s) == 332          # p50 and p99 keep the longer window


@pytest.mark.parametrize('hz', [30, 10, 2, 0.5])
@pytest.mark.parametrize('age_s', [5.0, -3.0])
def test_stale_data_is_told_with_its_first_frame_and_cleared_as_fast(hz, age_s):
    statistics, now = stream(hz, 20)
    assert health(statistics, ACTIVE, now)[0] == 'ok'
    now += 1 / hz
    statistics.arrived(now - 0.02)
    statistics.finish(age_s, now)
    level, text = health(statistics, ACTIVE, now)
    assert level == 'warn' and text.startswith(f'data is {age_s:.1f} s old when published')
    assert health(statistics, ACTIVE, now + 1.9)[0] == 'warn'
    _, now = stream(hz, max(2.1, 1 / hz), statistics=statistics, start=now + 1 / hz)
    assert health(statistics, ACTIVE, now)[0] == 'ok'


def test_what_goes_wrong_is_told_until_a_frame_has_gone_well_for_two_seconds():
    statistics, now = stream(0.5, 10)
    statistics.go_wrong('frame refused: odd', now + 2)
    assert health(statistics, ACTIVE, now + 3.9) == ('error', 'frame refused: odd')
    statistics.arrived(now + 4)
    statistics.finish(0.1, now + 4.05)
    assert health(statistics, ACTIVE, now + 4.1)[0] == 'ok'
    statistics.want(False, now + 5)
    statistics.go_wrong('frame refused: odd', now + 5)
    statistics.want(True, now + 60)              # an old error is no news
    assert health(statistics, ACTIVE, now + 60.5)[0] == 'ok'


def test_the_message_carries_level_name_and_values():
    statistics, now = stream(10, 5)
    status = status_msg('/robot/pano_depth', '', 'warn', 'text', statistics.values(now))
    values = {value.key: value.value for value in status.values}
    assert (status.level, status.message) == (b'\x01', 'text')
    assert (status.name, status.hardware_id) == ('/robot/pano_depth: panoramic depth',
                                                 '/robot/pano_depth')
    of_rear = status_msg('/robot/pano_depth', 'rear', 'ok', 'text', {})
    assert (of_rear.name, of_rear.hardware_id) == ('/robot/pano_depth: panoramic depth of rear',
                                                   '/robot/pano_depth/rear')
    assert values['received'] == values['published'] == '51' and values['rate'] == '10.0 Hz'
    assert values['data age p50 / p99'] == '100.0 / 100.0 ms'
    assert values['latency inference p50 / p99'] == 'no frame yet'
