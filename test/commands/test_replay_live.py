# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Replay beside a live graph: one time for all topics, no mixture, every image accounted for."""

import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
from da_ros.stamps import stamp_ns

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from geometry_msgs.msg import PoseStamped
from ros_peer import environment, finished, NodeProcess, Peer, replay
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, Imu, PointCloud2
from std_msgs.msg import Header

from da_ros.commands import replay as command

S, START_S = 10**9, 1_700_000_000
PICTURE = np.full((32, 64, 3), 10, np.uint8)


@pytest.fixture
def peer():
    peer = Peer('/live')
    yield peer
    peer.close()


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Return a recorded drive whose images, IMU and poses are stamped alike, 20 Hz."""
    path = tmp_path_factory.mktemp('bags') / 'bag'
    with BagWriter(path) as bag:
        numbers = np.zeros(9)
        vector = bag.new('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=9.81)
        turn = bag.new('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0)
        point = bag.new('geometry_msgs/msg/Point', x=1.0, y=2.0, z=3.0)
        for i in range(10):
            stamp = START_S * S + i * S // 20
            header = bag.header(stamp, 'camera')
            late = stamp + 30_000_000
            bag.write('/live/pose', bag.new('geometry_msgs/msg/PoseStamped', header=header,
                      pose=bag.new('geometry_msgs/msg/Pose', position=point, orientation=turn)),
                      late)
            bag.write('/live/imu', bag.new(
                'sensor_msgs/msg/Imu', header=header, orientation=turn,
                orientation_covariance=numbers, angular_velocity=vector,
                angular_velocity_covariance=numbers, linear_acceleration=vector,
                linear_acceleration_covariance=numbers), late)
            bag.write('/live/obstacles', bag.points(stamp, 'camera', np.ones((3, 3), np.float32)),
                      late)
            bag.write('/live/image', bag.image(stamp, 'camera', PICTURE, 'bgr8'), late)
    return path


@pytest.mark.parametrize('options, rate', [((), 1), (('--rate', 2), 2), (('--keep-stamps',), 1),
                                           (('--sim-time',), 1)])
def test_all_topics_keep_one_time_over_all_rounds(bag, peer, options, rate):
    before = time.time_ns()
    process = replay(bag, '--to', '/live/image', '--all', '--loop', *options)
    poses, imu = peer.subscribe(PoseStamped, 'pose'), peer.subscribe(Imu, 'imu')
    images = peer.subscribe(Image, 'image')
    peer.until(lambda: min(map(len, (images, poses, imu))) >= 25, 'three rounds')
    process.send_signal(signal.SIGINT)
    assert finished(process)[0] == 0
    stamps = [stamp_ns(m) for m in images]
    assert set(stamps) <= {stamp_ns(m) for m in poses} | {stamps[-1]}
    assert set(stamps[:-1]) <= {stamp_ns(m) for m in imu}
    steps = np.diff(stamps)
    assert set(np.unique(steps)) <= {S // 20 // rate, S // 10 // rate}, steps    # 10 Hz between
    if options and rate == 1:
        assert stamps[0] // S == START_S
    else:
        assert before < stamps[0] < time.time_ns()


def test_what_somebody_publishes_live_is_left_out_and_told(bag, peer):
    alive = peer.node.create_publisher(PointCloud2, 'obstacles', 10)
    clouds = peer.subscribe(PointCloud2, 'obstacles')
    process = replay(bag, '--to', '/live/image', '--all')
    images = peer.subscribe(Image, 'image')
    peer.until(lambda: len(images) == 10, 'ten images')
    code, _, error = finished(process)
    assert code == 0 and 'not replayed: /live/obstacles: test_peer publishes it live' in error
    assert not clouds and alive.get_subscription_count() >= 1


def test_a_second_clock_is_refused(bag, peer):
    clock = peer.node.create_publisher(Clock, '/clock', 10)
    peer.node.create_subscription(Image, 'image', lambda _: None, 10)
    process = replay(bag, '--to', '/live/image', '--sim-time')
    while process.poll() is None:
        peer.spin(0.1)
    code, _, error = finished(process)
    assert code == 1 and '/clock is published by test_peer already; two clocks mix' in error
    assert clock is not None


def test_images_without_an_answer_are_counted_and_fail_the_recording(bag, tmp_path):
    code, out, error = finished(replay(
        bag, '--to', '/nobody/image', '--prefix', '/nobody', '--wait', 0, '--linger', 0.2,
        '--record', tmp_path / 'answers'))
    assert code == 1 and f'recorded: {tmp_path / "answers"}' in out
    assert '10 of 10 images have no answer; let each image wait' in error
    with BagReader(tmp_path / 'answers') as answers:
        assert answers.duration_s == 0


def test_waiting_for_answers_that_never_come_ends_with_what_to_look_at(
        bag, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, 'ANSWER_S', 0.1)
    assert command.main([str(bag), '--to', '/nobody/image', '--prefix', '/nobody', '--wait', '0',
                         '--wait-answers']) == 1
    assert '3 images in a row to /nobody/image had no answer within 0.1 s each; does the node ' \
           'run' in capsys.readouterr().err


def test_a_folder_with_a_bad_picture_is_played_without_it_and_fails_at_the_end(
        stand_in, tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    good = cv2.imencode('.jpg', PICTURE)[1].tobytes()
    for name, data in (('a.jpg', good), ('cut.jpg', good[:len(good) // 2]), ('b.jpg', good),
                       ('._a.jpg', b'\0\5\x16\7')):
        (folder / name).write_bytes(data)
    node = NodeProcess(tmp_path / 'node.log', namespace='/some', model=str(stand_in.folder),
                       backend='onnxruntime')
    try:
        node.wait_for_log('runs on')
        code, out, error = finished(replay(
            folder, '--to', '/some/image', '--prefix', '/some', '--wait-answers', '--record',
            tmp_path / 'answers'))
    finally:
        node.stop()
    assert code == 1 and '2 images to /some/image' in out
    assert error.count('left out') == 1 and 'cut.jpg' in error and '._a.jpg' not in error
    with BagReader(tmp_path / 'answers') as answers:
        assert answers.counts['/some/scan'] == 2 == answers.counts['/some/points']


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_a_recording_that_is_interrupted_is_closed_and_whole(bag, peer, tmp_path, how):
    images = []
    peer.node.create_subscription(Image, 'image', images.append, 10)
    answers = peer.node.create_publisher(PointCloud2, 'points', 10)
    process = replay(bag, '--to', '/live/image', '--prefix', '/live', '--loop', '--record',
                     tmp_path / 'answers')
    end = time.monotonic() + 30
    while len(images) < 15 and time.monotonic() < end:
        peer.spin(0.05)
        answers.publish(PointCloud2(header=images[-1].header if images else Header()))
    process.send_signal(how)
    for _ in range(20):                          # answers go on while it ends
        answers.publish(PointCloud2())
        peer.spin(0.01)
    assert finished(process)[0] == 0
    with BagReader(tmp_path / 'answers') as recorded:
        found = len(list(recorded.messages(['/live/points'])))
        assert found == recorded.counts['/live/points'] > 3


OVERTAKEN = """
import os, signal, sys, time
from da_ros.commands import player, replay
import rclpy
advertise = player.Player.advertise
def overtaken(self, *args):
    if sys.argv.pop(1) == 'signal':
        os.kill(os.getpid(), signal.SIGINT)
        while rclpy.ok():
            time.sleep(0.01)
    advertise(self, *args)
    raise RuntimeError('a fault of ours')
player.Player.advertise = overtaken
sys.exit(replay.main(sys.argv[2:]))
"""


@pytest.mark.parametrize('what, code', [('signal', 0), ('fault', 1)])
def test_a_signal_that_overtakes_a_call_ends_without_a_traceback_but_faults_have_one(
        bag, what, code):
    process = subprocess.Popen(
        [sys.executable, '-c', OVERTAKEN, what, str(bag)], text=True, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code and ('a fault of ours' in error) == (what == 'fault'), error
    assert error.count('Traceback') == code


INTERRUPTED = """
import importlib, os, signal, sys, time
importlib.import_module(sys.argv[1])
if sys.argv[2] == 'fault':
    raise RuntimeError('a fault of ours')
os.kill(os.getpid(), signal.SIGINT)
time.sleep(30)
"""


@pytest.mark.parametrize('package', ['da_ros.commands', 'da_ros.ros', 'training'])
@pytest.mark.parametrize('what, lines', [('signal', 1), ('fault', 3)])
def test_ctrl_c_while_a_command_is_still_being_imported_is_one_line(package, what, lines):
    done = subprocess.run([sys.executable, '-c', INTERRUPTED, package, what], text=True,
                          capture_output=True, env=environment(), timeout=60)
    assert done.returncode == (1 if what == 'fault' else -signal.SIGINT)
    assert len(done.stderr.splitlines()) == lines, done.stderr


def test_a_player_that_cannot_keep_up_says_so_and_its_stamps_stay_those_of_now(peer, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.jpg'), PICTURE)
    process = replay(tmp_path, '--to', '/live/image', '--loop', '--fps', 10000, '--height', 1920)
    images = peer.subscribe(Image, 'image')
    peer.until(lambda: images, 'an image')
    began, first = time.time_ns(), stamp_ns(images[0])
    peer.spin(3)
    images.clear()
    peer.until(lambda: images, 'one more')
    passed = time.time_ns() - began
    process.send_signal(signal.SIGINT)
    code, _, error = finished(process)
    assert code == 0 and error.count('behind and goes slower than asked') == 1, error
    assert stamp_ns(images[0]) - first > passed / 2


def test_damaged_messages_cost_only_themselves_and_no_stamp_stays_none(tmp_path, peer):
    with BagWriter(tmp_path / 'bag') as bag:
        for i in range(3):
            now = START_S * S + i * S // 20
            for raw in (b'', b'\0\1\0\0\1'):
                bag.write_raw('/live/image', 'sensor_msgs/msg/Image', raw, now)
            bag.write('/live/image', bag.image(now if i else 0, 'camera', PICTURE, 'bgr8'), now)
    process = replay(tmp_path / 'bag', '--to', '/live/image')
    images = peer.subscribe(Image, 'image')
    peer.until(lambda: len(images) == 3, 'three images')
    code, out, error = finished(process)
    assert code == 0 and '3 images' in out
    assert error.count('left out: a message of /live/image') == 1
    assert stamp_ns(images[0]) == 0 and stamp_ns(images[2]) - stamp_ns(images[1]) == S // 20
    assert abs(stamp_ns(images[1]) - time.time_ns()) < 60 * S
