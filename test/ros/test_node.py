# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real node in its own process, over real DDS."""

import signal
import time

from conftest import painted, write_stand_in_bundle
import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import array_of, image_msg, NodeProcess, Peer, wait_until
from sensor_msgs.msg import (
    CameraInfo,
    CompressedImage,
    Image,
    LaserScan,
    PointCloud2,
)

OUTPUTS = {'depth/image': Image, 'depth/camera_info': CameraInfo, 'points': PointCloud2,
           'scan': LaserScan, 'range_mask': Image, 'depth/preview': Image}

SECOND = 10**9


def outputs_of(peer, image: np.ndarray, stamp_sec: int) -> dict:
    """Publish an image until every output of its stamp is there; return them by topic."""
    def by_stamp(topic):
        return [m for m in peer.received[topic] if m.header.stamp.sec == stamp_sec]
    peer.publish_until(image_msg(image, stamp_sec * SECOND),
                       lambda: all(map(by_stamp, OUTPUTS)), f'all outputs of stamp {stamp_sec}')
    return {topic: by_stamp(topic)[-1] for topic in OUTPUTS}


def test_one_image_becomes_every_output_with_its_stamp_and_frames(start, peer, model):
    node = start(model=model)
    for topic, kind in OUTPUTS.items():
        peer.subscribe(kind, topic)
    range_m = np.full((32, 64), 4.0)
    range_m[:, :32] = 8.0                       # the left half, azimuth > 0
    got = outputs_of(peer, painted(range_m), 5)
    depth = array_of(got['depth/image'])
    assert got['depth/image'].encoding == '32FC1' and np.allclose(depth, range_m)
    assert got['depth/image'].header.frame_id == 'camera_frame'
    assert got['depth/camera_info'].distortion_model == 'equirectangular'
    assert not any(got['depth/camera_info'].k) and got['depth/camera_info'].width == 64
    cloud = got['points']
    assert cloud.header.frame_id == 'camera_link'
    assert [f.name for f in cloud.fields] == ['x', 'y', 'z'] and cloud.is_dense
    xyz = np.frombuffer(cloud.data, np.float32).reshape(-1, 3)
    assert len(xyz) == cloud.width == 32 * 64
    assert np.allclose(np.linalg.norm(xyz, axis=1), np.where(xyz[:, 1] > 0, 8, 4), rtol=1e-6)
    scan = got['scan']
    beams = np.array(scan.ranges)
    assert scan.header.frame_id == 'camera_link' and len(beams) == 720
    assert np.allclose(beams[380:700], 8, rtol=0.01)          # left of straight ahead
    assert np.allclose(beams[20:340], 4, rtol=0.01)                # right
    assert scan.range_max == 100.0 and abs(scan.angle_min + scan.angle_max) < 1e-6
    assert (array_of(got['range_mask']) == 255).all()
    assert array_of(got['depth/preview']).shape == (32, 64, 3)
    assert node.stop()[0] == 0


def test_mask_switch_changes_depth_mask_scan_cloud_and_preview_together(start, peer, model):
    start(model=model)
    for topic, kind in OUTPUTS.items():
        peer.subscribe(kind, topic)
    image = painted(np.full((32, 64), 16.0))
    for second, mask in ((1, 100.0), (2, 10), (3, 20.0), (4, 0)):
        assert peer.set_parameters(range_mask_m=mask).successful
        got = outputs_of(peer, image, second)
        limit = mask or 100.0
        seen = limit > 16
        depth = array_of(got['depth/image'])
        assert np.allclose(depth, 16, rtol=1e-6) if seen else np.isposinf(depth).all()
        assert (array_of(got['range_mask']) == (255 if seen else 0)).all()
        assert got['scan'].range_max == limit
        assert (got['points'].width > 0) == seen
        beams = np.array(got['scan'].ranges)
        assert np.isfinite(beams).all() if seen else np.isposinf(beams).all()
        assert array_of(got['depth/preview']).any() == seen


def test_disagreeing_mask_is_unknown_and_never_empty(start, peer, model):
    start(model=model, range_mask_m=20)
    for topic, kind in OUTPUTS.items():
        peer.subscribe(kind, topic)
    got = outputs_of(peer, painted(np.full((32, 64), 4.0), 0.0), 1)
    assert np.isnan(array_of(got['depth/image'])).all()
    assert np.isnan(np.array(got['scan'].ranges)).all()
    assert got['points'].width == 0 and (array_of(got['range_mask']) == 128).all()
    diagnostics = peer.diagnostics()
    peer.until(lambda: any('100.00 % of pixels' in v.value for status in diagnostics
                           for v in status.values), 'disagreement in diagnostics')


def values_of(status) -> dict[str, str]:
    return {v.key: v.value for v in status.values}


def _broken_images() -> dict:
    good = painted(np.full((32, 64), 4.0))
    wrong_step = image_msg(good)
    wrong_step.step = 100
    short = image_msg(good)
    short.data = short.data[:-1]
    empty = image_msg(good)
    empty.height = empty.width = empty.step = 0
    empty.data = empty.data[:0]
    return {
        "image encoding 'jpeg' is not supported; use one of bgr8": image_msg(
            good, encoding='jpeg'),
        'has step 100, needs at least 192': wrong_step,
        'has 6143 bytes, needs 6144': short,
        'image is empty (0 x 0 px bgr8)': empty,
        '60 x 32 px, not twice as wide as high (32 rows need 64 columns)': image_msg(
            np.ascontiguousarray(good[:, :60]))}


def test_bad_images_are_named_publish_nothing_and_the_next_frame_is_served(start, peer, model):
    node = start(model=model)
    depth = peer.subscribe(Image, 'depth/image')
    for number, (text, broken) in enumerate(_broken_images().items()):
        peer.publish_until(broken, lambda text=text: text in node.log, text)
        assert node.log.count(text) == 1
        second = 10 + number
        peer.publish_until(
            image_msg(painted(np.full((32, 64), 4.0)), second * SECOND),
            lambda s=second: depth and depth[-1].header.stamp.sec == s, 'the next frame')
    assert {m.header.stamp.sec for m in depth} == set(range(10, 15))
    assert 'Traceback' not in node.log


def test_compressed_images_are_served_and_damaged_or_video_ones_refused(start, peer, model):
    node = start(model=model, image_transport='compressed')
    depth = peer.subscribe(Image, 'depth/image')
    image = painted(np.full((32, 64), 4.0))
    png = cv2.imencode('.png', image)[1].tobytes()
    jpeg = cv2.imencode('.jpg', np.full((32, 64, 3), 10, np.uint8))[1].tobytes()

    def send(data, name, condition, second=1):
        msg = CompressedImage(format=name, data=data)
        msg.header.stamp.sec = second
        peer.publish_until(msg, condition, f'{name} answered', 'image/compressed')

    send(png, 'png', lambda: depth, 2)
    assert np.allclose(array_of(depth[0]), 4)
    for data, name, text in (
            (jpeg[:-20], 'jpeg', f'JPEG of {len(jpeg) - 20} bytes is truncated'),
            (png[:-9], 'png', f'PNG of {len(png) - 9} bytes is truncated'),
            (b'\0' * 50, 'jpeg', 'is neither JPEG nor PNG'),
            (b'\0\0\0\1' * 20, 'h264', "'h264' is not a still image (jpeg, png); decode it first"),
    ):
        send(data, name, lambda text=text: text in node.log)
    peer.publish(CompressedImage(format='h264', data=b'\0\0\0\1' * 20), 'image/compressed')
    send(jpeg, 'bgr8; jpeg compressed bgr8', lambda: depth[-1].header.stamp.sec == 3, 3)
    assert {m.header.stamp.sec for m in depth} == {2, 3}
    assert node.log.count('is not a still image') == 1


@pytest.mark.parametrize('values, text', [
    (dict(range_mask_m=30.0), "30 is not in bundle 'stand_in', which has 10, 20, 50, 100"),
    (dict(range_mask_m=-5.0), 'range_mask_m'),
    (dict(min_range_m=11.0), 'min_range_m'),
    (dict(min_range_m=9.0, max_range_m=8.0), 'min_range_m 9 must be below max_range_m 8'),
    (dict(min_range_m=9.0, range_mask_m=10.0, max_range_m=9.0), 'must be below max_range_m 9'),
    (dict(mask_probability=1.5), 'mask_probability'),
    (dict(depth__encoding='16UC1'), '16UC1 holds at most 65.535 m, but the limit is 100 m'),
    (dict(depth__encoding='8UC1'), "depth.encoding '8UC1' is none of 32FC1, 16UC1"),
    (dict(model='elsewhere'), 'model is read at configure only'),
    (dict(range_mask_m='far'), "range_mask_m is 'far', a str; needs a float"),
    (dict(scan__beams=1.5), ('INTEGER', "expected '2'")),         # Jazzy and Kilted say it
    (dict(scan__beams=7), 'scan.beams'),
    (dict(scan__min_height_m=1.0), 'scan.min_height_m 1 must be below scan.max_height_m 0.2')])
def test_a_bad_set_of_parameters_is_rejected_whole_with_its_reason(running, values, text):
    before = running.set_parameters(points__max_points=1234)
    assert before.successful, before.reason
    result = running.set_parameters(points__max_points=77, **values)
    assert not result.successful
    assert any(word in result.reason for word in ((text,) if isinstance(text, str) else text))
    assert running.get_parameter('points.max_points') == 1234
    assert running.set_parameters(depth__encoding='32FC1', range_mask_m=100.0).successful


@pytest.fixture(scope='module')
def running(tmp_path_factory):
    """One active node for all tests that only talk to its parameters."""
    folder = tmp_path_factory.mktemp('running')
    bundle = write_stand_in_bundle(folder / 'stand_in')
    node = NodeProcess(folder / 'log', '/running', model=bundle.folder, backend='onnxruntime')
    peer = Peer('/running')
    peer.wait_for_state('active')
    yield peer
    peer.close()
    node.stop(signal.SIGKILL)


def test_sets_that_go_together_are_accepted_in_one_call(running):
    assert running.set_parameters(depth__encoding='16UC1', range_mask_m=20).successful
    assert running.set_parameters(depth__encoding='32FC1', range_mask_m=100).successful


def test_every_parameter_is_described_and_numbers_have_a_range(running):
    from dataclasses import fields

    from da_ros.config import Config, PREFIXES
    names = [prefix + item.name for group, prefix in PREFIXES.items()
             for item in fields(getattr(Config(), group))]
    for described in running.describe(*names):
        assert len(described.description) > 10, described.name
        if described.type in (2, 3):
            assert described.integer_range or described.floating_point_range, described.name


def test_the_camera_is_subscribed_only_while_an_output_is_wanted(start, peer, model):
    start(model=model)
    diagnostics = peer.diagnostics()
    peer.wait_for_state('active')
    camera = peer.node.create_publisher(Image, 'image', 2)
    said = len(diagnostics)
    peer.until(lambda: len(diagnostics) > said + 1, 'diagnostics')
    status, values = diagnostics[-1], values_of(diagnostics[-1])
    assert status.message == 'idle: no subscriber' and status.level == b'\x00'
    assert camera.get_subscription_count() == 0 and values['received'] == '0'
    assert values['subscription'] == 'none, because nobody takes an output'
    assert values['latency inference p50 / p99'] == 'no frame yet'
    assert values['backend'] == 'onnxruntime fp32' and 'p99 relative' in values['self-check']
    for _ in range(2):
        depth = peer.subscribe(Image, 'depth/image')
        peer.publish_until(image_msg(painted(np.full((32, 64), 4.0))), lambda d=depth: d, 'depth')
        peer.unsubscribe('depth/image')
        left = time.monotonic()
        peer.until(lambda: camera.get_subscription_count() == 0, 'the camera is left alone')
        assert time.monotonic() - left > 4        # somebody who comes back is served at once
        said = len(diagnostics)
        peer.until(lambda n=said: len(diagnostics) > n, 'diagnostics')
        assert diagnostics[-1].message == 'idle: no subscriber'


def test_newest_frame_wins_and_older_ones_are_counted(start, peer, tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'slow', work=20)
    start(model=bundle.folder)
    depth = peer.subscribe(Image, 'depth/image')
    diagnostics = peer.diagnostics()
    image = painted(np.full((32, 64), 4.0))
    for second in range(1, 31):
        peer.publish(image_msg(image, second * SECOND))
        peer.spin(0.01)
    peer.until(lambda: depth and depth[-1].header.stamp.sec == 30, 'the newest frame')
    peer.spin(2.2)
    seconds = [m.header.stamp.sec for m in depth]
    assert seconds == sorted(set(seconds)) and len(seconds) < 30
    values = values_of(diagnostics[-1])
    assert int(values['published']) == len(seconds)
    assert int(values['received']) == int(values['published']) + int(values['dropped'])


def test_runtime_options_change_the_messages_of_the_next_frame(start, peer, model):
    start(model=model, stamp_offset_s=-0.2)
    cloud, depth = peer.subscribe(PointCloud2, 'points'), peer.subscribe(Image, 'depth/image')
    assert peer.set_parameters(points__rgb=True, points__organised=True, depth__size='camera',
                               erp__yaw_deg=90, range_mask_m=50,
                               depth__encoding='16UC1').successful
    range_m = np.full((64, 128), 4.0)
    range_m[:, 60:68] = 8.0
    peer.publish_until(image_msg(painted(range_m), 5 * SECOND), lambda: cloud and depth, 'both')
    assert (depth[0].height, depth[0].width, depth[0].encoding) == (64, 128, '16UC1')
    assert array_of(depth[0])[32, 64] == 8000 and array_of(depth[0])[32, 0] == 4000
    assert depth[0].header.stamp.sec == 4 and depth[0].header.stamp.nanosec == 800_000_000
    points = np.frombuffer(cloud[0].data, np.float32).reshape(32, 64, 4)
    assert (cloud[0].height, cloud[0].width) == (32, 64)
    x, y, _, rgb = points[16, 16]                    # of the body: a quarter turn to the left
    assert y > 7.9 and abs(x) < 0.5                  # the image centre now looks left
    assert rgb.view(np.uint32) & 0xff == 20          # 8 m are painted as blue 20


def test_parameters_do_not_stop_the_frames(start, peer, model):
    start(model=model)
    depth = peer.subscribe(Image, 'depth/image')
    wait_until(lambda: peer.state() == 'active', 'active')
    for number in range(10):
        assert peer.set_parameters(range_mask_m=(10.0, 20.0)[number % 2]).successful
        peer.publish_until(
            image_msg(painted(np.full((32, 64), 16.0)), (1 + number) * SECOND),
            lambda n=number: depth and depth[-1].header.stamp.sec == 1 + n, 'a frame')
        assert np.isposinf(array_of(depth[-1])).all() == (number % 2 == 0)


def test_quality_of_service_can_be_overridden(start, peer, model):
    from rclpy.qos import ReliabilityPolicy
    start(model=model, **{'qos_overrides./points.publisher.reliability': 'best_effort'})
    peer.subscribe(LaserScan, 'scan')
    peer.until(lambda: peer.node.count_publishers('points'), 'points')
    assert peer.node.get_publishers_info_by_topic('/points')[0].qos_profile.reliability == \
        ReliabilityPolicy.BEST_EFFORT
    assert peer.node.get_publishers_info_by_topic('/scan')[0].qos_profile.reliability == \
        ReliabilityPolicy.RELIABLE
