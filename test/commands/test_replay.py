"""Replay and recording over real DDS, and live against offline bit for bit."""

import os
import signal
import subprocess
import sys
import time

from coded_bundle import paint, write_coded_bundle
import cv2
import numpy as np
import pytest

from da_ros.bag import BagError, BagReader, COMPRESSED, header_ns, IMAGE, range_image_of
from da_ros.bag_writer import BagWriter
from da_ros.replay import bag_frames, Frame, is_bag, pictures_of, stamp_of, with_stamp
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


def test_frames_of_a_bag_keep_order_time_and_bytes(tmp_path):
    with BagReader(write_bag(tmp_path / 'bag')) as bag:
        frames = list(bag_frames(bag, ['/cam/image']))
    assert [f.time_ns for f in frames] == [i * S // 20 for i in range(8)]
    assert stamp_of(frames[3]) == 1_700_000_000 * S + 3 * S // 20
    moved = with_stamp(frames[3], 5 * S + 7)
    assert stamp_of(Frame('', IMAGE, 0, 0, moved)) == 5 * S + 7
    assert moved[12:] == frames[3].cdr[12:]


def test_ros1_messages_become_ros2_bytes(tmp_path):
    from rosbags.typesys import get_typestore, Stores
    from test_bag import BGR, write_ros1
    with BagReader(write_ros1(tmp_path / 'one.bag')) as bag:
        frames = list(bag_frames(bag, ['/camera/image']))
    msg = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr(frames[1].cdr, IMAGE)
    assert header_ns(msg) == stamp_of(frames[1]) == S + 5
    np.testing.assert_array_equal(msg.data, BGR.reshape(-1))


def test_unstamped_types_keep_their_bytes_and_recording_time():
    frame = Frame('/tf', 'tf2_msgs/msg/TFMessage', 0, 77, b'\0\1\0\0abc')
    assert with_stamp(frame, 5) == frame.cdr and stamp_of(frame) == 77


def test_pictures_and_bags_are_told_apart(tmp_path):
    bag = write_bag(tmp_path / 'bag')
    assert is_bag(bag) and is_bag(bag / 'bag.mcap') and not is_bag(tmp_path)
    with pytest.raises(BagError, match='no bag and holds no JPEG or PNG'):
        pictures_of(tmp_path)
    cv2.imwrite(str(tmp_path / 'b.jpg'), np.zeros((8, 16, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((8, 16, 3), np.uint8))
    assert [p.name for p in pictures_of(tmp_path)] == ['a.png', 'b.jpg']


pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import environment, NodeProcess, Peer  # noqa: E402


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def replay(*args):
    return subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.replay', *map(str, args)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment() | os.environ | {
            'PYTHONPATH': environment()['PYTHONPATH']})


def finished(process, timeout=60):
    out, error = process.communicate(timeout=timeout)
    return process.returncode, out, error


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
    assert [header_ns(m) for m in images] == [
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
    stamps = [header_ns(m) for m in images]
    assert np.all(np.diff(stamps) == S // 20)
    assert {m.data[0] for m in images} == {0, 40} and images[0].encoding == 'bgr8'


def test_what_cannot_be_replayed_is_one_line(tmp_path):
    for args, text in (([tmp_path / 'none'], 'no bag or folder'),
                       ([tmp_path], 'holds no JPEG or PNG'),
                       ([write_bag(tmp_path / 'bag'), '--image', '/cam/imag'], 'did you mean')):
        code, _, error = finished(replay(*args, '--wait', 0))
        assert code == 1 and text in error and 'Traceback' not in error
    assert COMPRESSED.endswith('CompressedImage')


def test_live_node_and_offline_evaluator_agree_bit_for_bit(tmp_path):
    bag = write_bag(tmp_path / 'bag', frames=20)
    bundle = write_coded_bundle(tmp_path / 'coded')
    node = NodeProcess(tmp_path / 'node.log', namespace='/bits', model=str(bundle),
                       backend='onnxruntime', threads=1)
    try:
        node.wait_for_log('runs on')
        process = replay(bag, '--to', '/bits/image', '--keep-stamps', '--record',
                         tmp_path / 'live', '--rate', 0.5, '--prefix', '/bits')
        code, out, error = finished(process)
    finally:
        node.stop()
    assert code == 0, error + node.log
    assert evaluate_bag.main([
        str(bag), '--bundle', str(bundle), '--out', str(tmp_path / 'out'), '--backend',
        'onnxruntime', '--threads', '1', '--write-bag', str(tmp_path / 'offline')]) == 0
    live = depths(tmp_path / 'live', '/bits/depth/image')
    offline = depths(tmp_path / 'offline', '/da_ros/depth/image')
    common = sorted(set(live) & set(offline))
    assert len(common) >= 10 and len(offline) == 20, out
    for stamp in common:
        assert live[stamp].tobytes() == offline[stamp].tobytes()


def depths(path, topic):
    with BagReader(path) as bag:
        found = [m.decode() for m in bag.messages([topic])]
        return {header_ns(m): range_image_of(m) for m in found}
