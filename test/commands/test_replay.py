# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Replay and recording over real DDS, and live against offline bit for bit."""

import signal
import time

from coded_bundle import paint, write_coded_bundle
import cv2
import numpy as np
import pytest

from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.contents import range_image_of
from da_ros.stamps import stamp_ns
from training import evaluate_bag

S = 10**9


def write_bag(path, frames=8, compressed=False):
    """Write painted panoramas of 20 Hz, each with another range."""
    with BagWriter(path) as bag:
        for i in range(frames):
            stamp = 1_700_000_000 * S + i * S // 20
            image = paint(np.full((64, 128), 1.0 + i, np.float32) + np.linspace(0, 1, 128))
            if compressed:
                bag.write('/cam/image/compressed', bag.compressed(stamp, 'cam', image), stamp)
            else:
                bag.write('/cam/image', bag.image(stamp, 'cam', image, 'bgr8'), stamp)
            bag.write('/tf', bag.transform(stamp, 'odom', 'cam', (i, 0, 0), (0, 0, 0, 1)), stamp)
    return path


pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import finished, NodeProcess, replay  # noqa: E402


@pytest.mark.parametrize('compressed', [False, True])
def test_replay_publishes_every_frame_with_its_stamp_and_clock(tmp_path, peer, compressed):
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CompressedImage, Image
    bag = write_bag(tmp_path / 'bag', compressed=compressed)
    process = replay(bag, '--sim-time')
    topic = 'image/compressed' if compressed else 'image'
    images = peer.subscribe(CompressedImage if compressed else Image, topic)
    clocks = peer.subscribe(Clock, '/clock')
    peer.until(lambda: len(images) == 8, 'eight images')
    code, out, error = finished(process)
    assert code == 0 and f'8 images to {topic}' in out, error
    assert [stamp_ns(m) for m in images] == [
        1_700_000_000 * S + i * S // 20 for i in range(8)]
    assert len(clocks) >= 8 and clocks[-1].clock.sec == 1_700_000_000


def test_folder_is_played_in_a_loop_with_rising_stamps_until_interrupted(tmp_path, peer):
    from sensor_msgs.msg import Image
    for i in range(2):
        cv2.imwrite(str(tmp_path / f'{i}.png'), np.full((8, 16, 3), 40 * i, np.uint8))
    process = replay(tmp_path, '--loop', '--fps', 20, '--keep-stamps')
    images = peer.subscribe(Image, 'image')
    peer.until(lambda: len(images) >= 7, 'three rounds')
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    code, _, error = finished(process)
    assert code == 0 and time.monotonic() - started < 3, error
    stamps = [stamp_ns(m) for m in images]
    assert np.all(np.diff(stamps) == S // 20)
    assert {m.data[0] for m in images} == {0, 40} and images[0].encoding == 'bgr8'


def test_what_cannot_be_replayed_is_one_line(tmp_path):
    for args, text in (([tmp_path / 'none'], 'no bag or folder'),
                       ([tmp_path], 'holds no JPEG or PNG'),
                       ([write_bag(tmp_path / 'bag'), '--image', '/cam/imag'], 'did you mean')):
        code, _, error = finished(replay(*args, '--wait', 0))
        assert code == 1 and text in error and 'Traceback' not in error


def test_live_node_and_offline_evaluator_agree_bit_for_bit(tmp_path):
    bag = write_bag(tmp_path / 'bag', frames=20)
    bundle = write_coded_bundle(tmp_path / 'coded')
    node = NodeProcess(tmp_path / 'node.log', namespace='/bits', model=str(bundle),
                       backend='onnxruntime', threads=1)
    try:
        node.wait_for_log('runs on')
        process = replay(bag, '--to', '/bits/image', '--keep-stamps', '--record',
                         tmp_path / 'live', '--prefix', '/bits', '--wait-answers')
        code, out, error = finished(process)
    finally:
        node.stop()
    assert code == 0 and not error, error + node.log
    assert evaluate_bag.main([
        str(bag), '--bundle', str(bundle), '--out', str(tmp_path / 'out'), '--backend',
        'onnxruntime', '--threads', '1', '--write-bag', str(tmp_path / 'offline')]) == 0
    live = depths(tmp_path / 'live', '/bits/depth/image')
    offline = depths(tmp_path / 'offline', '/da_ros/depth/image')
    assert len(live) == 20 and set(live) == set(offline), out     # on any machine
    for stamp in live:
        assert live[stamp].tobytes() == offline[stamp].tobytes()


def depths(path, topic):
    with BagReader(path) as bag:
        found = [m.decode() for m in bag.messages([topic])]
        return {stamp_ns(m): range_image_of(m) for m in found}
