# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Cameras and consumers that misbehave, seen by a node process that goes on all the while."""

from contextlib import suppress
import os
from pathlib import Path
import re
import signal
import subprocess
import sys
import threading
import time

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

import psutil
from ros_peer import array_of, environment, image_msg, NodeProcess, Peer, wait_until
from sensor_msgs.msg import Image, LaserScan

SECOND = 10**9


NOISE = np.random.default_rng(0)


def picture(range_m: float = 4.0, height: int = 32) -> np.ndarray:
    """Return a picture of a sphere by a living camera: red is noise, and means nothing."""
    image = painted(np.full((height, 2 * height), range_m, np.float32))
    image[..., 2] = NOISE.integers(0, 256, image.shape[:2])
    return image


class Rig:
    """A node, a camera and a consumer that all tests of a module share."""

    def __init__(self, folder: Path, namespace: str, **parameters):
        bundle = write_stand_in_bundle(folder / 'stand_in')
        self.node = NodeProcess(folder / 'log', namespace, model=bundle.folder,
                                backend='onnxruntime', **parameters)
        self.peer = Peer(namespace)
        self.depth = self.peer.subscribe(Image, 'depth/image')
        self.statuses = self.peer.diagnostics()
        self.stamp = 0

    def frame(self, msg: Image | None = None) -> Image:
        """Send a picture with the next stamp until it is answered; return the answer."""
        self.stamp += 1
        msg = msg or image_msg(picture(), self.stamp * SECOND)
        before = len(self.depth)
        self.peer.publish_until(msg, lambda: any(
            out.header.stamp == msg.header.stamp for out in self.depth[before:]), 'an answer')
        return self.depth[-1]

    def told(self, text: str, seconds: float = 10.0) -> None:
        self.peer.until(lambda: self.statuses and text in self.statuses[-1].message, text, seconds,
                        lambda: self.statuses[-3:])

    def close(self) -> None:
        self.peer.close()
        self.node.stop(signal.SIGKILL)


@pytest.fixture(scope='module')
def rig(tmp_path_factory):
    rig = Rig(tmp_path_factory.mktemp('faults'), '/faults')
    rig.frame()
    yield rig
    rig.close()
    assert 'Traceback' not in rig.node.log and 'frame failed' not in rig.node.log


def test_every_stamped_image_below_capacity_gives_exactly_one_output_with_its_stamp(rig):
    isaac(rig, 300)


@pytest.mark.slow
def test_and_so_it_is_over_10_000_images(rig):
    isaac(rig, 10_000)


def isaac(rig: Rig, count: int) -> None:
    """Send each image when the one before it is answered, which is below capacity by itself."""
    began, sent = len(rig.depth), []
    for _ in range(count):
        rig.stamp += 1
        sent.append(rig.stamp)
        rig.peer.publish(image_msg(picture(), rig.stamp * SECOND + rig.stamp))
        rig.peer.until(lambda: len(rig.depth) - began >= len(sent), f'the answer to {sent[-1]}')
    rig.peer.spin(0.2)
    assert [msg.header.stamp.sec for msg in rig.depth[began:]] == sent
    assert [msg.header.stamp.nanosec for msg in rig.depth[began:]] == sent


def test_a_camera_that_stops_is_told_and_back_with_its_first_image(rig):
    rig.frame()
    rig.told('no image on /faults/image for ')
    came = rig.frame()
    assert came.header.stamp.sec == rig.stamp
    rig.peer.until(lambda: rig.frame() and 'no image' not in rig.statuses[-1].message,
                   'the word that it is back')


def test_size_and_encoding_change_in_flight(rig):
    for height, encoding in ((32, 'bgr8'), (64, 'rgb8'), (48, 'mono8'), (200, 'bgra8'),
                             (32, 'bgr8')):
        bgr = picture(8.0, height)
        pixels = {'bgr8': bgr, 'rgb8': bgr[..., ::-1], 'mono8': bgr[..., 0],
                  'bgra8': np.dstack([bgr, bgr[..., 0]])}[encoding]
        msg = image_msg(np.ascontiguousarray(pixels), (rig.stamp + 1) * SECOND, encoding=encoding)
        depth = array_of(rig.frame(msg))
        assert depth.shape == (32, 64) and np.allclose(depth[np.isfinite(depth)], 8), encoding
        # Its one colour is all three, so its range mask is not 1.
        assert np.isfinite(depth).all() == (encoding != 'mono8')


def test_stamps_that_jump_back_stop_nothing(rig):
    rig.frame()
    for stamp_ns in (7, 5, 3):
        stamp = rig.frame(image_msg(picture(), stamp_ns)).header.stamp
        assert (stamp.sec, stamp.nanosec) == (0, stamp_ns)
    assert rig.frame().header.stamp.sec == rig.stamp


def test_stamps_of_a_clock_that_is_ahead_are_told_and_kept(rig):
    ahead_s = int(time.time()) + 20

    def told() -> bool:
        msg = image_msg(picture(), ahead_s * SECOND)
        assert rig.frame(msg).header.stamp.sec == ahead_s
        return 'data is -' in rig.statuses[-1].message
    rig.peer.until(told, 'the clock that is ahead')
    rig.peer.spin(2.1)                       # of which the age is judged
    rig.frame()


@pytest.mark.slow
def test_no_newest_image_is_lost_in_ten_minutes_of_overload(start, peer, tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'slow', work=10)
    start(model=bundle.folder)
    scans, stamp = peer.subscribe(LaserScan, 'scan'), 0
    for _ in range(60):
        for _ in range(300):                 # ten seconds of 30 Hz; the network manages five
            stamp += 1
            peer.publish(image_msg(picture(), stamp * SECOND))
            peer.spin(1 / 30)
        peer.until(lambda newest=stamp: scans and scans[-1].header.stamp.sec == newest,
                   'the newest image')
    stamps = [scan.header.stamp.sec for scan in scans]
    assert stamps == sorted(set(stamps)) and len(stamps) < 0.9 * stamp


CONSUMER = """
import sys, rclpy, time
from sensor_msgs.msg import PointCloud2, LaserScan
rclpy.init()
node = rclpy.create_node('consumer', namespace='/faults')
def take(msg):
    print('got', flush=True)
    time.sleep(float(sys.argv[1]))
node.create_subscription(LaserScan, 'scan', take, 10)
rclpy.spin(node)
"""


@pytest.mark.parametrize('slow_s', ['0', '3600'])
def test_a_consumer_that_is_killed_or_never_takes_its_messages_stops_nobody_else(rig, slow_s,
                                                                                 tmp_path):
    log = tmp_path / 'log'
    with log.open('w') as stream:
        consumer = subprocess.Popen([sys.executable, '-c', CONSUMER, slow_s], stdout=stream,
                                    env=environment())
    wait_until(lambda: rig.frame() and 'got' in log.read_text(), 'a scan', detail=log.read_text)
    for number in range(30):
        rig.frame()
        if number == 10:
            consumer.kill()
            consumer.wait()


def test_sizes_and_parameters_that_never_rest_cost_no_memory(rig):
    memory = psutil.Process(rig.node.process.pid)
    for number in range(60):
        msg = image_msg(picture(4.0, 32 + 2 * (number % 20)), (rig.stamp + 1) * SECOND)
        rig.frame(msg)
        if number == 20:
            before = memory.memory_info().rss
    assert memory.memory_info().rss - before < 20e6


def test_parameters_that_several_clients_change_at_once_are_each_answered_and_stay_one_set(rig):
    results, frames = [], []

    def client(number: int) -> None:
        peer = Peer('/faults')
        try:
            for turn in range(15):
                mask = (10.0, 20.0, 50.0)[(number + turn) % 3]
                results.append(peer.set_parameters(range_mask_m=mask, max_range_m=mask)
                               .successful)
        finally:
            peer.close()
    clients = [threading.Thread(target=client, args=(number,)) for number in range(3)]
    scans = rig.peer.subscribe(LaserScan, 'scan')
    for thread in clients:
        thread.start()
    while any(thread.is_alive() for thread in clients):
        rig.frame()
        frames.append(scans[-1].range_max if scans else 10.0)
    assert results == [True] * 45 and set(frames) <= {10.0, 20.0, 50.0, 100.0}
    value = rig.peer.get_parameter('range_mask_m')
    assert rig.peer.get_parameter('max_range_m') == value
    rig.frame()
    rig.peer.until(lambda: scans[-1].range_max == value, 'the last set')
    assert rig.peer.set_parameters(range_mask_m=100.0, max_range_m=100.0).successful


def test_two_cameras_in_two_namespaces_do_not_hear_each_other(rig, tmp_path):
    other = Rig(tmp_path, '/other')
    try:
        for _ in range(3):
            mine = rig.frame(image_msg(picture(4.0), (rig.stamp + 1) * SECOND))
            theirs = other.frame(image_msg(picture(12.0), (other.stamp + 1) * SECOND))
            assert np.allclose(array_of(mine), 4) and np.allclose(array_of(theirs), 12)
        assert other.peer.set_parameters(range_mask_m=10.0).successful
        assert np.isposinf(array_of(other.frame(image_msg(picture(12.0), 9 * SECOND)))).all()
        assert rig.peer.get_parameter('range_mask_m') == 100.0 or \
            rig.peer.get_parameter('range_mask_m') == -1.0
        other.node.stop(signal.SIGKILL)            # and one dies without the other
        rig.frame()
    finally:
        other.close()


def test_a_simulated_clock_that_stands_still_stops_nothing(start, peer, model):
    start(model=model, use_sim_time=True)
    depth, statuses = peer.subscribe(Image, 'depth/image'), peer.diagnostics()
    for stamp in range(1, 4):
        peer.publish_until(image_msg(picture(), stamp * SECOND), lambda s=stamp: depth and
                           depth[-1].header.stamp.sec == s, 'a frame')
    peer.until(lambda: peer.publish(image_msg(picture(), 4 * SECOND)) or (
        statuses and 'old when published' in statuses[-1].message), 'the age of the stamps')
    assert peer.set_parameters(max_range_m=50.0).successful


def test_a_node_that_was_killed_is_followed_by_the_next_one_and_leaves_no_memory(start, peer,
                                                                                 model):
    held, segments = [], set()
    for turn in range(3):
        node = start(model=model)
        depth = peer.subscribe(Image, 'depth/image')
        peer.publish_until(image_msg(picture(), (turn + 1) * SECOND), lambda n=turn, d=depth: d and
                           d[-1].header.stamp.sec == n + 1, 'a frame')
        held.append(segments_of(node.process.pid))
        assert held[turn]
        node.stop(signal.SIGKILL)
        segments |= held[turn]
        for name in segments:                          # as if it had been a while ago
            with suppress(FileNotFoundError):
                os.utime(f'{name}_el', (0, 0))
    assert node.log and not [name for name in held[0] if Path(name).exists()]
    assert 'MiB of shared memory that' in node.log


def segments_of(pid: int) -> set[str]:
    """Return the segments of shared memory whose locks a process holds open."""
    return {file.path.removesuffix('_el') for file in psutil.Process(pid).open_files()
            if re.fullmatch(r'/dev/shm/fast(rtps|dds)_[0-9a-f]{16}_el', file.path)}
