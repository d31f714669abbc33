# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The process of the node: signals and transitions at any moment, and disks that are full."""

from contextlib import suppress
import random
import signal
import time

from conftest import painted, write_stand_in_bundle
import numpy as np
import psutil
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import image_msg
from sensor_msgs.msg import Image, LaserScan

SECOND = 10**9
GOOD = painted(np.full((32, 64), 4.0, np.float32))
# state -> {transition: next state}
WAYS = {'unconfigured': {1: 'inactive'}, 'inactive': {2: 'unconfigured', 3: 'active'},
        'active': {4: 'inactive'}}


def ends_on_a_signal(start, peer, model, moments) -> None:
    """Start nodes side by side and end each at its moment, while images come."""
    camera = peer.node.create_publisher(Image, 'image', 5)
    peer.node.create_subscription(LaserScan, 'scan', lambda msg: None, 10)
    began = time.monotonic()
    nodes = {start(model=model): began + moment for moment in moments}
    while any(node.process.poll() is None for node in nodes):
        camera.publish(image_msg(GOOD, time.time_ns()))
        peer.spin(0.02)
        for node, moment in nodes.items():
            if moment < time.monotonic() and node.process.poll() is None:
                code, _ = node.stop(signal.SIGTERM)
                # Before its first line, Python ends by the signal itself.
                assert code in (0, -signal.SIGTERM), (code, node.log)
                assert 'Traceback' not in node.log and 'terminate called' not in node.log, node.log


def test_a_signal_at_a_random_moment_ends_cleanly(start, peer, model):
    rng = random.Random()
    ends_on_a_signal(start, peer, model, [rng.uniform(0.2, 5) for _ in range(6)])


@pytest.mark.slow
@pytest.mark.parametrize('turn', range(50))
def test_200_signals_at_random_moments(start, peer, model, turn):
    rng = random.Random(turn)
    ends_on_a_signal(start, peer, model, [rng.uniform(0.1, 6) for _ in range(4)])


def walk(start, peer, tmp_path, steps: int, seed: int = 0) -> None:
    """Go through the states by chance while images stream and frames are half done."""
    bundle = write_stand_in_bundle(tmp_path / 'slow', work=2)
    node = start(model=bundle.folder, autostart=False)
    rng, state = random.Random(seed), 'unconfigured'
    camera = peer.node.create_publisher(Image, 'image', 5)
    scans: list = []
    peer.node.create_subscription(LaserScan, 'scan', scans.append, 10)
    process, held, stamp = psutil.Process(node.process.pid), [], 0

    def stream(seconds: float) -> None:
        nonlocal stamp
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            stamp += 1
            camera.publish(image_msg(GOOD, stamp * SECOND))
            peer.spin(0.02)
    for step in range(steps):
        transition = rng.choice([*WAYS[state], *WAYS[state], 1, 2, 3, 4])
        stream(rng.uniform(0, 0.15))
        came = len(scans)
        assert peer.change_state(transition) == (transition in WAYS[state]), (state, transition)
        state = WAYS[state].get(transition, state)
        assert peer.state() == state
        if state != 'active':
            peer.spin(0.1)                   # what was under way
            came = len(scans)
            stream(0.05)
            assert len(scans) == came, 'published by a node that is not active'
        if state == 'unconfigured' and step > steps // 3:
            held.append((process.num_threads(), process.num_fds()))
    while state != 'active':
        transition, = [way for way in WAYS[state] if way in (1, 3)]
        assert peer.change_state(transition)
        state = WAYS[state][transition]
    stamps = [scan.header.stamp.sec for scan in scans]
    assert stamps == sorted(set(stamps))
    came = len(scans)
    peer.publish_until(image_msg(GOOD, (stamp + 1) * SECOND), lambda: len(scans) > came, 'a scan')
    assert not held or (held[-1][0] <= held[0][0] + 2 and held[-1][1] <= held[0][1] + 4), held
    assert node.stop()[0] == 0 and 'Traceback' not in node.log


def test_transitions_in_any_order_while_frames_are_half_done(start, peer, tmp_path):
    walk(start, peer, tmp_path, 25)


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(1, 6))
def test_many_transitions_in_any_order(start, peer, tmp_path, seed):
    walk(start, peer, tmp_path, 200, seed)


def test_a_full_disk_for_logs_stops_nothing(small_disk, start, peer, model):
    node = start(model=model, backend='onnxruntime', extra={'ROS_LOG_DIR': str(small_disk)})
    depth = peer.subscribe(Image, 'depth/image')
    peer.publish_until(image_msg(GOOD), lambda: depth, 'a frame')
    with (small_disk / 'full').open('wb', buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b'0' * 512)
    for stamp in range(2, 12):                           # each of them is a line of the log
        bad = image_msg(GOOD, stamp * SECOND, encoding=f'odd{"x" * stamp}')
        peer.publish(bad)
        assert peer.set_parameters(max_range_m=50.0 + stamp).successful
    peer.publish_until(image_msg(GOOD, 20 * SECOND),
                       lambda: depth[-1].header.stamp.sec == 20, 'a frame on a full disk')
    assert node.stop()[0] == 0
    node = start(model=model, extra={'ROS_LOG_DIR': str(small_disk / 'none')})
    count = len(depth)
    peer.publish_until(image_msg(GOOD, 30 * SECOND), lambda: len(depth) > count,
                       'a frame of a node that starts on a full disk')
