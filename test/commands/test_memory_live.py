# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory in the live node: what it publishes, bit for bit what the offline evaluation has."""

import signal
import subprocess
import sys

from coded_bundle import paint, write_coded_bundle
import numpy as np
import pytest

from da_ros.bags.bag import BagReader
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.contents import points_of, range_image_of
from da_ros.config import PointsConfig
from da_ros.sphere import erp_rays
from da_ros.stamps import stamp_ns
from training import evaluate_bag

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')
pytest.importorskip('nav_msgs', reason='nav_msgs is not installed')

from ros_peer import environment, NodeProcess, Peer

S = 10**9
START_NS = 1_700_000_000 * S
MOUNT = '0.2 0 0.5 0 0 0'
OPTIONS = {'memory.source': 'odometry', 'memory.odometry_topic': '/odom', 'memory.near_s': 5.0,
           'memory.wait_s': 0.5, 'base_from_camera': MOUNT, 'points.age': True,
           'points.max_points': 0}


def seen_from(x, post):
    """Return the range inside a ball of 6 m, with a post that is lost in some frames."""
    along = erp_rays(64, 128)[..., 0] * x
    range_m = np.sqrt(along ** 2 + 36 - x ** 2) - along
    if post:
        range_m[20:44, 60:66] = 2.5 - x
    return range_m


def write_drive(path, frames=12, second_source=False, back=False):
    with BagWriter(path) as bag:
        for n in range(frames):
            stamp = START_NS + n * S // 10 - (5 * S if back and n >= frames // 2 else 0)
            x = 0.05 * n
            pose = (x - 0.2, 0.0, -0.5), (0.0, 0.0, 0.0, 1.0)
            bag.write('/odom', bag.odometry(stamp, 'odom', 'base_link', *pose), stamp)
            if second_source and n == frames // 2:
                bag.write('/odom', bag.odometry(stamp, 'map', 'base_link', *pose), stamp)
            image = paint(seen_from(x, n % 4 != 3).astype(np.float32))
            bag.write('/cam/image', bag.image(stamp, 'cam', image, 'bgr8'),
                      START_NS + n * S // 10 + 1)
    return path


def write_crooked_drive(path, frames=26):
    """Odometry of 23 Hz that turns and is silent for 1.1 s, a camera recorded 60 ms late."""
    events = [(START_NS + round(k / 23 * S), True, k / 23) for k in range(60)
              if not 0.8 < k / 23 < 1.9]
    events += [(START_NS + n * S // 10 + 60_000_000, False, n) for n in range(frames)]
    with BagWriter(path) as bag:
        for log_ns, is_pose, value in sorted(events):
            if is_pose:
                turn = 0.0, 0.0, np.sin(0.2 * value), np.cos(0.2 * value)
                bag.write('/odom', bag.odometry(log_ns, 'odom', 'base_link',
                                                (0.5 * value, 0.1 * value, 0.0), turn), log_ns)
                continue
            stamp = START_NS + value * S // 10
            image = paint(seen_from(0.05 * value, value % 4 != 3).astype(np.float32))
            bag.write('/cam/image', bag.image(stamp, 'cam', image, 'bgr8'), log_ns)
    return path


def played(bag, folder, namespace, **options):
    """Return the log of a node that answered a bag frame by frame; its answers are recorded."""
    node = NodeProcess(folder / 'node.log', namespace=namespace, backend='onnxruntime', threads=1,
                       model=str(write_coded_bundle(folder / 'coded')), **OPTIONS | options)
    try:
        node.wait_for_log('runs on')
        done = subprocess.run(
            [sys.executable, '-m', 'da_ros.commands.replay', str(bag), '--to',
             f'{namespace}/image', '--keep-stamps', '--all', '--record', str(folder / 'live'),
             '--prefix', namespace, '--wait-answers'], text=True, capture_output=True, timeout=120,
            env=environment())
    finally:
        node.stop()
    assert done.returncode == 0, done.stderr + node.log
    return node.log


def answers(path, topic, read):
    with BagReader(path) as bag:
        return [(stamp_ns(msg), read(msg)) for msg in (
            m.decode() for m in bag.messages([topic]))]


def scans_of(msg):
    return np.asarray(msg.ranges, np.float32)


def evaluated(bag, folder, **options):
    """Return the scans of a bag with memory, live and offline alike, and those without."""
    played(bag, folder, '/mem', **options)
    base = [str(bag), '--bundle', str(folder / 'coded'), '--backend', 'onnxruntime',
            '--threads', '1', '--truth', 'none']
    assert evaluate_bag.main([
        *base, '--out', str(folder / 'out'), '--write-bag', str(folder / 'offline'),
        '--memory', '--base-from-camera', MOUNT, '--memory-near', '5']) == 0
    assert evaluate_bag.main([
        *base, '--out', str(folder / 'out0'), '--write-bag', str(folder / 'plain')]) == 0
    live = answers(folder / 'live', '/mem/scan', scans_of)
    offline = answers(folder / 'offline', '/da_ros/scan', scans_of)
    assert [stamp for stamp, _ in live] == [stamp for stamp, _ in offline]
    for (_, ranges), (_, expected) in zip(live, offline):
        assert ranges.tobytes() == expected.tobytes()
    return live, answers(folder / 'plain', '/da_ros/scan', scans_of)


def test_they_agree_under_odometry_of_another_rate_that_turns_and_is_silent_for_a_second(
        tmp_path, capsys):
    live, plain = evaluated(write_crooked_drive(tmp_path / 'bag'), tmp_path, **{
        'points.age': False, 'points.max_points': PointsConfig().max_points})
    assert len(live) == 26
    clouds = zip(answers(tmp_path / 'live', '/mem/points', points_of),
                 answers(tmp_path / 'offline', '/da_ros/points', points_of), strict=True)
    assert all(np.array_equal(cloud, other) for (_, cloud), (_, other) in clouds)
    differ = [not np.array_equal(m, p) for (_, m), (_, p) in zip(live, plain)]
    assert not any(differ[10:19]) and sum(differ[2:9]) >= 4 and any(differ[21:])
    said = capsys.readouterr().out
    assert 'Scores are those of memory between frames, moved by /odom; started anew 1 ' in said
    assert 'times: transform odometry -> base has no pose within #.# s of' in said


def test_live_memory_and_offline_memory_agree_bit_for_bit(tmp_path):
    live, plain = evaluated(write_drive(tmp_path / 'bag'), tmp_path)
    assert len(live) == 12
    # frames 3, 7 and 11 lack the post; memory holds it, and only there
    ahead = [(float(m[1][358:362].min()), float(p[1][358:362].min()))
             for m, p in zip(live, plain)]
    assert [p > 4 for _, p in ahead] == [n % 4 == 3 for n in range(12)]
    assert all(m < 2.6 for m, _ in ahead)
    # depth image and mask are of the one frame
    assert [d.tobytes() for _, d in answers(tmp_path / 'live', '/mem/depth/image', range_image_of)
            ] == [d.tobytes() for _, d in answers(tmp_path / 'plain', '/da_ros/depth/image',
                                                  range_image_of)]
    with BagReader(tmp_path / 'live') as recorded:
        clouds = [m.decode() for m in recorded.messages(['/mem/points'])]
    assert [field.name for field in clouds[3].fields] == ['x', 'y', 'z', 'age']
    held = np.frombuffer(clouds[3].data, np.float32).reshape(-1, 4)
    assert (held[held[:, 3] > 0, 3] == pytest.approx(0.1)) and (held[:, 3] > 0).sum() > 50
    assert len(points_of(clouds[2]))


@pytest.mark.parametrize('fault, said', [
    ('second_source', 'two sources of odometry on one topic: odom -> base_link and map -> '
                      'base_link'),
    ('back', 'memory starts anew: time went back by')])
def test_a_faulty_odometry_is_one_line_and_no_crash(tmp_path, fault, said):
    log = played(write_drive(tmp_path / 'bag', **{fault: True}), tmp_path, '/faulty')
    assert log.count(said) == 1 and 'Traceback' not in log
    assert len(answers(tmp_path / 'live', '/faulty/scan', scans_of)) == 12


def test_without_odometry_the_node_serves_as_without_memory_and_says_so(tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import LaserScan
    peer = Peer()
    node = NodeProcess(tmp_path / 'node.log', namespace='/alone', backend='onnxruntime', threads=1,
                       model=str(write_coded_bundle(tmp_path / 'coded')), **OPTIONS)
    try:
        node.wait_for_log('runs on')
        scans = peer.subscribe(LaserScan, '/alone/scan')
        told = peer.subscribe(DiagnosticArray, '/diagnostics')
        process = subprocess.Popen(
            [sys.executable, '-m', 'da_ros.commands.replay', str(write_drive(tmp_path / 'bag')),
             '--to', '/alone/image', '--loop'], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env=environment())
        peer.until(lambda: len(scans) >= 3 and any(
            value.key == 'memory' and 'no pose' in value.value
            for msg in told for status in msg.status for value in status.values),
            'scans and diagnostics of memory')
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        node.stop()
        peer.close()
    assert 'memory: no odometry yet; frames are published without memory' in node.log
