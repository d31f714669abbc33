# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras in one node, over real DDS: a namespace each, one network for all."""

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from diagnostic_msgs.msg import DiagnosticArray
from ros_peer import array_of, image_msg
from sensor_msgs.msg import Image, LaserScan, PointCloud2

BOTH = '[front, rear]'
SECOND = 10**9
HW = (32, 64)


def sphere(range_m: float) -> np.ndarray:
    return painted(np.full(HW, range_m))


def from_camera(name: str, stamp_ns: int, range_m: float) -> Image:
    return image_msg(sphere(range_m), stamp_ns, f'{name}_frame')


def stamps(messages: list) -> list[int]:
    return [m.header.stamp.sec * SECOND + m.header.stamp.nanosec for m in messages]


def statuses(peer) -> dict[str, tuple[str, dict]]:
    """Return what was told last of each camera: message and values by name."""
    found: dict[str, tuple[str, dict]] = {}

    def keep(msg):
        for status in msg.status:
            found[status.name] = status.message, {v.key: v.value for v in status.values}
    peer.node.create_subscription(DiagnosticArray, '/diagnostics', keep, 10)
    return found


def test_each_image_is_answered_once_in_its_own_namespace(start, peer, model):
    node = start(model=model, cameras=BOTH)
    for name in ('front', 'rear'):
        for kind, topic in ((Image, 'depth/image'), (PointCloud2, 'points'), (LaserScan, 'scan')):
            peer.subscribe(kind, f'{name}/{topic}')
    sent: dict[str, list[int]] = {'front': [], 'rear': []}
    for number in range(1, 21):
        for name, range_m in (('front', 4.0), ('rear', 8.0)):
            if name == 'rear' and number % 4:        # a slower one
                continue
            stamp = number * SECOND + (name == 'rear')
            sent[name].append(stamp)
            peer.publish(from_camera(name, stamp, range_m), f'{name}/image')
            peer.until(lambda name=name, stamp=stamp: stamp in stamps(
                peer.received[f'{name}/scan']), f'scan of {name} at {stamp}')
    peer.spin(0.5)
    for name, range_m in (('front', 4.0), ('rear', 8.0)):
        for topic in ('depth/image', 'points', 'scan'):
            assert stamps(peer.received[f'{name}/{topic}']) == sent[name], (name, topic)
        depth, scan = peer.received[f'{name}/depth/image'], peer.received[f'{name}/scan']
        assert {m.header.frame_id for m in depth} == {f'{name}_frame'}
        assert {m.header.frame_id for m in scan} == {f'{name}_link'}
        assert all(np.allclose(array_of(m), range_m) for m in depth)
        assert all(np.allclose(m.ranges, range_m, rtol=0.01) for m in scan)
    topics = {name for name, _ in peer.node.get_topic_names_and_types()}
    assert '/front/points' in topics and not topics & {'/image', '/scan', '/points'}
    assert node.stop()[0] == 0


def test_a_fast_camera_does_not_starve_a_slow_one(start, peer, tmp_path):
    busy = write_stand_in_bundle(tmp_path / 'busy', work=4)       # some 80 ms for a frame
    start(model=busy.folder, cameras=BOTH)
    told = statuses(peer)
    for name in ('front', 'rear'):
        peer.subscribe(LaserScan, f'{name}/scan')
        peer.publish(from_camera(name, 1, 4.0), f'{name}/image')
        peer.until(lambda name=name: peer.received[f'{name}/scan'], f'the first scan of {name}')
    for name in ('front', 'rear'):
        peer.received[f'{name}/scan'].clear()
    sent = 1
    for number in range(2, 7):
        peer.publish(from_camera('rear', number, 8.0), 'rear/image')
        while number not in stamps(peer.received['rear/scan']):
            sent += 1                                # there is always one more, for a minute
            assert sent < 6000, f'frame {number} of rear was never served'
            peer.publish(from_camera('front', sent, 4.0), 'front/image')
            peer.spin(0.01)
    peer.until(lambda: sent in stamps(peer.received['front/scan']), 'the newest of front')
    assert stamps(peer.received['rear/scan']) == [2, 3, 4, 5, 6]
    assert len(peer.received['front/scan']) < sent - 1           # they were really too fast
    rear = '/pano_depth: panoramic depth of rear'
    peer.until(lambda: told.get(rear, ('', {}))[1].get('received') == '6', 'diagnostics of rear')
    assert told[rear][1]['dropped'] == '0'
    front = told['/pano_depth: panoramic depth of front'][1]
    assert int(front['dropped']) > 0 and front['bundle'] == 'stand_in'
    assert '/pano_depth: panoramic depth' not in told


def test_a_camera_is_subscribed_only_while_its_own_outputs_are_taken(start, peer, model):
    start(model=model, cameras=BOTH)
    peer.subscribe(LaserScan, 'rear/scan')
    peer.until(lambda: peer.node.count_subscribers('rear/image') == 1, 'rear is subscribed')
    peer.spin(1.0)
    assert peer.node.count_subscribers('front/image') == 0
    told = statuses(peer)
    peer.until(lambda: len(told) == 2, 'both statuses')
    assert told['/pano_depth: panoramic depth of front'][0] == 'idle: no subscriber'


def test_what_one_camera_has_of_its_own_is_not_the_other_ones(start, peer, model):
    node = start(**{'model': model, 'cameras': BOTH, 'front.camera_height_m': 0.5,
                    'camera_height_m': 1.5, 'rear.max_range_m': 6, 'rear.erp.yaw_deg': 90.0,
                    'rear.camra_height_m': 2.0})
    node.wait_for_log("parameter 'rear.camra_height_m' is not known and has no effect; did you "
                      "mean 'rear.camera_height_m'?")
    for name in ('front', 'rear'):
        peer.subscribe(LaserScan, f'{name}/scan')
        peer.subscribe(PointCloud2, f'{name}/points')

    def ranges(stamp: int) -> dict[str, LaserScan]:
        found = {}
        for name in ('front', 'rear'):
            peer.publish(from_camera(name, stamp, 8.0), f'{name}/image')
            peer.until(lambda name=name: stamp in stamps(peer.received[f'{name}/scan']), name)
            found[name] = peer.received[f'{name}/scan'][-1]
        return found
    scans = ranges(1)
    assert (scans['front'].range_max, scans['rear'].range_max) == (100.0, 6.0)
    assert np.isposinf(scans['rear'].ranges).all() and np.isfinite(scans['front'].ranges).all()
    assert peer.set_parameters(**{'rear.max_range_m': 20.0, 'mask_probability': 0.4}).successful
    assert ranges(2)['rear'].range_max == 20.0
    told = peer.set_parameters(**{'rear.max_range_m': 6.0, 'min_range_m': 7.0})
    assert told.reason == 'camera rear: min_range_m 7 must be below max_range_m 6'
    told = peer.set_parameters(cameras='front')
    assert told.reason == "cameras is 'front'; needs a list of names, as in [front, rear]"
    assert ranges(3)['rear'].range_max == 20.0


@pytest.mark.parametrize('cameras, text', [
    ('[a/b]', "'a/b' is no name of a camera; use letters, digits and _, and a letter first"),
    ("[front, '']", "'' is no name of a camera; use letters"),
    ('[2nd]', "'2nd' is no name of a camera; use letters"),
    ('[rear, rear]', "'rear' comes twice; give each camera a name of its own"),
    ('[scan]', "'scan' is what parameters are called; call the camera otherwise"),
    ('front', "cameras is 'front'; needs a list of names, as in [front, rear]"),
    ('[1, 2]', 'cameras is [1, 2]; needs a list of names, as in [front, rear]')])
def test_a_wrong_name_is_refused_by_one_line(start, peer, model, cameras, text):
    node = start(model=model, cameras=cameras)
    node.wait_for_log(f'cannot configure: parameter cameras: {text}')
    assert 'Traceback' not in node.log and peer.state() == 'unconfigured'


@pytest.mark.parametrize('wrong, text', [
    ({'image_topic': '/camera/image'},
     'cameras front and rear both take /camera/image; set rear.image_topic, or an image_topic '
     'without a slash in front'),
    ({'rear.model': 'pano_base'},
     'parameter rear.model: all cameras have the same; set model instead'),
    ({'rear.camera_height_m': 'high'}, 'parameter rear.camera_height_m: '),
    ({'rear.erp.elevation_max_deg': -90.0, 'rear.erp.elevation_min_deg': -80.0},
     'rear.erp.elevation_max_deg'),
    ({'min_range_m': 0.7, 'rear.max_range_m': 0.6},
     'camera rear: min_range_m 0.7 must be below max_range_m 0.6')])
def test_values_that_do_not_fit_are_refused_by_one_line(start, peer, model, wrong, text):
    node = start(model=model, cameras=BOTH, **wrong)
    node.wait_for_log('cannot configure: ')
    line, = (line for line in node.log.splitlines() if 'cannot configure' in line)
    assert text in line and 'Traceback' not in node.log
    assert peer.state() == 'unconfigured'


def test_an_empty_list_is_one_camera_without_a_namespace(start, peer, model):
    start(model=model, cameras='[]')
    peer.subscribe(LaserScan, 'scan')
    peer.publish_until(image_msg(sphere(4.0)), lambda: peer.received['scan'], 'a scan')


def test_two_cameras_in_one_frame_are_told(start, peer, model):
    node = start(model=model, cameras=BOTH)
    told = statuses(peer)
    for name in ('front', 'rear'):
        peer.subscribe(LaserScan, f'{name}/scan')
        peer.publish(from_camera('camera', SECOND, 4.0), f'{name}/image')
    text = ("clouds of front and rear are both in frame 'camera_link', as if the cameras were at "
            'one place; set frame_id in their drivers, or rear.frames.body')
    node.wait_for_log(text)
    for name in ('front', 'rear'):
        peer.until(lambda name=name: told.get(f'/pano_depth: panoramic depth of {name}', ('',))[0]
                   == text, f'the status of {name}')
