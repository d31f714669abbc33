# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Parameters of any type and value, at the start and at run time, and the band that follows."""

import math
import signal

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from ros_peer import image_msg, NodeProcess, Peer
from sensor_msgs.msg import Image, LaserScan, PointCloud2

SERVICES = {SetParameters: 'pano_depth/set_parameters',
            SetParametersAtomically: 'pano_depth/set_parameters_atomically'}
TYPES = {'not set': dict(type=0), 'bool': dict(type=1, bool_value=True),
         'int': dict(type=2, integer_value=5), 'huge int': dict(type=2, integer_value=2**63 - 1),
         'least int': dict(type=2, integer_value=-2**63),
         'float': dict(type=3, double_value=1.5), 'nan': dict(type=3, double_value=math.nan),
         'inf': dict(type=3, double_value=math.inf), 'string': dict(type=4, string_value='x'),
         'long string': dict(type=4, string_value='x' * 100_000),
         'bytes': dict(type=5, byte_array_value=[b'a']),
         'bools': dict(type=6, bool_array_value=[True]),
         'ints': dict(type=7, integer_array_value=[1, 2]),
         'floats': dict(type=8, double_array_value=[1.0, 2.0]),
         'strings': dict(type=9, string_array_value=['a']), 'type 10': dict(type=10),
         'type 77': dict(type=77), 'type 255': dict(type=255)}
# One parameter of each type, one that is read at configure only, and what is not a parameter.
NAMES = ('max_range_m', 'points.max_points', 'points.rgb', 'depth.encoding', 'model', 'autostart',
         'use_sim_time', 'qos_overrides./odd/scan.publisher.depth', 'no_such', '', 'a b/c')
TAKEN = {('max_range_m', 'int'), ('max_range_m', 'float'), ('points.max_points', 'int'),
         ('points.rgb', 'bool'), ('use_sim_time', 'bool')}


@pytest.fixture(scope='module')
def odd(tmp_path_factory):
    """Return the peer of an active node for requests that it must survive, and its process."""
    folder = tmp_path_factory.mktemp('odd')
    bundle = write_stand_in_bundle(folder / 'stand_in')
    node = NodeProcess(folder / 'log', '/odd', model=bundle.folder, backend='onnxruntime')
    peer = Peer('/odd')
    peer.wait_for_state('active')
    yield peer, node
    peer.close()
    node.stop(signal.SIGKILL)


@pytest.mark.parametrize('kind', SERVICES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize('name', NAMES)
def test_a_value_of_any_type_is_answered_and_the_wrong_ones_rejected_with_a_reason(odd, kind,
                                                                                   name):
    peer, node = odd
    for what, value in TYPES.items():
        request = kind.Request(parameters=[
            Parameter(name=name, value=ParameterValue(**value))])
        answer = peer.call(kind, SERVICES[kind], request)
        result = answer.results[0] if kind is SetParameters else answer.result
        assert result.successful == ((name, what) in TAKEN), (name, what, result)
        assert result.successful or result.reason, (name, what)
    assert peer.state() == 'active' and node.process.poll() is None
    assert 'Traceback' not in node.log


def test_every_wrong_value_at_the_start_is_named_and_the_node_lives(start, peer, model):
    wrong = {'max_range_m': '[1.0, 2.0]', 'mask_probability': '.nan', 'range_mask_m': '1e400',
             'min_range_m': 'true', 'points.max_points': 99999999999999999999, 'scan.beams': -1,
             'autostart': 5, 'backend': 3, 'depth.encoding': '[a, b]', 'erp.yaw_deg': 'left'}
    node = start(**(dict(model=model) | wrong))
    node.wait_for_log('cannot configure: ')
    line, = (line for line in node.log.splitlines() if 'cannot configure' in line)
    assert not [name for name in wrong if f'parameter {name}: ' not in line]
    assert peer.state() == 'unconfigured' and 'Traceback' not in node.log
    good = dict(max_range_m=50.0, mask_probability=0.5, range_mask_m=-1.0, min_range_m=0.3,
                points__max_points=9, scan__beams=90, autostart=True, backend='onnxruntime',
                depth__encoding='32FC1', erp__yaw_deg=0.0)
    assert peer.set_parameters(**good).successful and peer.change_state(1)


def edges(peer) -> tuple[float, float]:
    return peer.get_parameter('scan.min_height_m'), peer.get_parameter('scan.max_height_m')


def test_the_height_band_follows_the_camera_height_until_an_edge_is_given(start, peer, model):
    node = start(model=model, camera_height_m=1.2)
    peer.wait_for_state('active')
    assert edges(peer) == (0.17, 1.5)
    for height_m, wanted in ((15.0, (1.55, 2.55)), (50, (5.05, 6.05)), (0.0, (-0.2, 0.2)),
                             (2.0, (0.25, 1.5))):
        assert peer.set_parameters(camera_height_m=height_m).successful
        peer.until(lambda w=wanted: edges(peer) == w, f'band of {height_m} m')
    assert 'WARN' not in node.log
    assert peer.set_parameters(scan__min_height_m=0.4).successful
    assert peer.set_parameters(camera_height_m=1.0).successful
    peer.spin(0.5)
    assert edges(peer) == (0.4, 1.5)


def test_a_band_that_was_given_stays_and_one_above_the_camera_is_warned_about(start, peer, model):
    node = start(model=model, **{'scan.min_height_m': 0.17, 'scan.max_height_m': 1.5})
    node.wait_for_log('scan.min_height_m 0.17 counts from the camera, because camera_height_m is '
                      '0: the scan sees nothing below the camera')
    assert peer.set_parameters(camera_height_m=1.0).successful
    peer.spin(0.5)
    assert edges(peer) == (0.17, 1.5)
    result = peer.set_parameters(scan__min_height_m=-0.1)
    assert not result.successful and 'scan.min_height_m 0.15 and scan.max_height_m 1.5' in \
        result.reason


def test_an_output_that_cannot_be_made_costs_only_itself(start, peer, model):
    node = start(model=model)
    topics = dict(scan=LaserScan, points=PointCloud2)
    got = {topic: peer.subscribe(kind, topic) for topic, kind in topics.items()}
    depth, diagnostics = peer.subscribe(Image, 'depth/image'), peer.diagnostics()
    nameless = image_msg(painted(np.full((32, 64), 4.0)), frame_id='')      # no frame for clouds
    peer.publish_until(nameless, lambda: len(depth) > 1, 'depth images')
    node.wait_for_log('points is not published: image has no frame_id')
    node.wait_for_log('scan is not published: image has no frame_id')
    assert not any(got.values())
    peer.until(lambda: diagnostics[-1].level == b'\x02' and 'is not published: image has no '
               'frame_id' in diagnostics[-1].message, 'an error in diagnostics')
    peer.publish_until(image_msg(painted(np.full((32, 64), 4.0))), lambda: all(got.values()),
                       'clouds')


@pytest.mark.parametrize('frame, used', [('/camera', 'camera'), ('//front/lens', 'front/lens')])
def test_the_leading_slash_of_a_frame_is_stripped_with_one_warning(start, peer, model, frame,
                                                                  used):
    node = start(model=model, **{'frames.scan': '/level'})
    scans, depth = peer.subscribe(LaserScan, 'scan'), peer.subscribe(Image, 'depth/image')
    clouds = peer.subscribe(PointCloud2, 'points')
    msg = image_msg(painted(np.full((32, 64), 4.0)), frame_id=frame)
    peer.publish_until(msg, lambda: len(depth) > 1 and scans and clouds, 'outputs')
    assert {m.header.frame_id for m in depth} == {used}
    assert {m.header.frame_id for m in clouds} == {used + '_link'}
    assert {m.header.frame_id for m in scans} == {'level'}
    assert node.log.count(f'frame_id {frame!r} begins with a slash') == 1


def test_another_frame_than_that_of_the_mounting_is_warned_about_with_both_names(start, peer,
                                                                                model):
    node = start(model=model, **{'frames.camera': '/camera_frame'})
    depth = peer.subscribe(Image, 'depth/image')
    image = painted(np.full((32, 64), 4.0))
    peer.publish_until(image_msg(image, frame_id='/camera_frame'), lambda: depth, 'a frame')
    assert 'mounting' not in node.log
    for _ in range(2):
        peer.publish(image_msg(image, frame_id='lens'))
    node.wait_for_log("images come from frame 'lens', but the mounting transform is that of "
                      "'camera_frame': set camera_frame:=lens")
    peer.spin(0.5)
    assert node.log.count('mounting') == 1
