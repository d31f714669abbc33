# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a process sets for itself so that large messages arrive, and what it leaves alone."""

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import time
from xml.etree import ElementTree

from conftest import ROOT
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import environment
from sensor_msgs.msg import LaserScan

from da_ros.ros.transport import profile_path, TRANSPORT_VARIABLES

SEGMENT = 24 << 20
# Prints what was said, the sizes of the shared-memory segments that it maps, and how many bytes of
# a large allocation are still in the process after it was freed.
PROCESS = """
import re, sys
from da_ros.ros.transport import use_shared_memory_profile
print('said:', use_shared_memory_profile())
import rclpy
rclpy.init()
node = rclpy.create_node('transport_test')
for line in open('/proc/self/maps'):
    if '/dev/shm/' in line:
        begin, end = (int(edge, 16) for edge in re.match('(.+?)-(.+?) ', line).groups())
        print('mapped:', end - begin)
rclpy.try_shutdown()
"""
FREED = """
from da_ros.ros.transport import keep_freed_memory
def pages():
    return int(open('/proc/self/statm').read().split()[1])
keep_freed_memory()
before = pages()
block = bytearray(b'1' * 1) * (20 << 20)
del block
print(pages() - before > 2000)
"""


def run(code: str, folder: Path, **extra: str) -> str:
    """Run code in a process of its own, without any setting of the transport but those given."""
    done = subprocess.run([sys.executable, '-c', code], env=environment() | extra, cwd=folder,
                          timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def largest_segment(output: str) -> int:
    return max(map(int, re.findall(r'mapped: (\d+)', output)), default=0)


def test_a_process_without_settings_gets_a_segment_that_holds_a_4k_frame(tmp_path):
    output = run(PROCESS, tmp_path)
    assert f'said: FastDDS profile {ROOT / "config/fastdds.xml"}' in output
    assert largest_segment(output) >= SEGMENT > 1920 * 3840 * 3


@pytest.mark.parametrize('name', TRANSPORT_VARIABLES)
def test_what_the_user_has_set_stays(tmp_path, name):
    mine = tmp_path / 'mine.xml'
    mine.write_text((ROOT / 'config/fastdds.xml').read_text().replace(str(SEGMENT), '3000000'))
    value = 'UDPv4' if name == 'FASTDDS_BUILTIN_TRANSPORTS' else str(mine)
    output = run(PROCESS, tmp_path, **{name: value})
    assert f'said: transports as {name}={value} says' in output
    assert largest_segment(output) < SEGMENT


def test_a_profile_in_the_working_directory_stays(tmp_path):
    mine = tmp_path / 'DEFAULT_FASTRTPS_PROFILES.xml'
    mine.write_text((ROOT / 'config/fastdds.xml').read_text().replace(str(SEGMENT), '3000000'))
    output = run(PROCESS, tmp_path)
    assert f'said: transports as {mine} says' in output
    assert 3000000 <= largest_segment(output) < SEGMENT


@pytest.mark.skipif(sys.platform != 'linux', reason='mallopt is of glibc')
def test_freed_memory_stays_in_the_process_unless_the_environment_says_how(tmp_path):
    assert run(FREED, tmp_path).split() == ['True']
    assert run(FREED, tmp_path, MALLOC_TRIM_THRESHOLD_='131072').split() == ['False']


@pytest.mark.parametrize('packages', ['lib/python3.12/site-packages', 'local/lib/dist-packages'])
def test_the_profile_of_an_installation_is_found_under_its_prefix(tmp_path, packages):
    module = tmp_path / packages / 'da_ros/ros/transport.py'
    config = tmp_path / 'share/da_ros/config'
    for folder in (module.parent, config):
        folder.mkdir(parents=True)
    shutil.copy2(ROOT / 'da_ros/ros/transport.py', module)
    ask = ('import runpy, sys; '
           'print(runpy.run_path(sys.argv[1])["use_shared_memory_profile"]())')

    def said() -> str:
        return subprocess.run([sys.executable, '-c', ask, str(module)], cwd=tmp_path, text=True,
                              env=environment(), stdout=subprocess.PIPE, check=True).stdout.strip()
    assert said() == 'transports of the middleware: config/fastdds.xml is not installed'
    shutil.copy2(ROOT / 'config/fastdds.xml', config)
    assert said() == f'FastDDS profile {config / "fastdds.xml"}'


def test_two_processes_with_the_profile_fit_into_64_mib():
    tree = ElementTree.parse(profile_path())
    size, = (int(item.text) for item in tree.iter() if item.tag.endswith('segment_size'))
    assert size == SEGMENT and 2 * size * 1.05 < 64 << 20      # 5 % is what FastDDS adds


@pytest.mark.parametrize('shm, camera', [('host', 'stock'), ('container', 'profile')])
def test_every_image_of_a_camera_arrives(shm, camera):
    """5.5 MB each; from a process that knows nothing of the profile, and in a container."""
    done = subprocess.run([sys.executable, '-m', 'bench.transport', '--quick', '--shm', shm,
                           '--camera', camera, '--backend', 'onnxruntime'],
                          cwd=ROOT, env=environment(), capture_output=True, text=True,
                          timeout=250)
    if 'skipped:' in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    row = [cell.strip() for cell in done.stdout.splitlines()[-1].split('|')[1:-1]]
    assert row[:2] == [camera, shm] and row[4:7] == ['6', '6', '0']  # published, received, lost


@pytest.mark.parametrize('given, remedy', [
    ({}, 'let the camera publish reliably, or give its process the profile of docs/speed.md'),
    ({'qos_overrides./image.subscription.reliability': 'best_effort'},
     'set qos_overrides./image.subscription.reliability to reliable, or for the camera: give its '
     'process the profile of docs/speed.md')])
def test_lost_images_are_told_with_the_remedy_in_log_and_diagnostics(start, peer, model, given,
                                                                    remedy):
    node = start(model=model, **given)
    diagnostics = peer.diagnostics()
    peer.subscribe(LaserScan, 'scan')
    plain = environment() | {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}
    told = f'lost on the way to /image: {remedy}'
    # A loss is reported with an image that arrives, and on a busy machine no large one does.
    camera = subprocess.Popen(
        [sys.executable, '-m', 'bench.stock_camera', '--height', '1920', '--rate', '8',
         '--frames', '2000', '--small-between', *([] if given else ['--best-effort'])],
        cwd=ROOT, env=plain, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and told not in node.log:
            peer.spin(0.1)
        assert told in node.log, node.log
        peer.until(lambda: any(
            told in status.message
            and status.level in (b'\x01', b'\x02') for status in diagnostics), 'the diagnostics',
            detail=lambda: str([status.message for status in diagnostics]))
    finally:
        camera.kill()
        camera.wait()
    assert not any('nobody' in status.message for status in diagnostics[-2:])


def test_only_the_shared_memory_of_dead_processes_is_removed(tmp_path):
    import fcntl

    from da_ros.ros.transport import remove_dead_segments
    names = {'dead': 'fastrtps_0123456789abcdef', 'alive': 'fastrtps_1123456789abcdef',
             'young': 'fastdds_2123456789abcdef', 'port': 'fastrtps_port7411',
             'other': 'somebody_3123456789abcdef'}
    for kind, name in names.items():
        (tmp_path / name).write_bytes(bytes(1 << 20))
        (tmp_path / f'{name}_el').touch()
        if kind != 'young':
            os.utime(tmp_path / f'{name}_el', (0, 0))
    with (tmp_path / f'{names["alive"]}_el').open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert remove_dead_segments(tmp_path) == (
            'removed 1 MiB of shared memory that 1 killed processes left')
        assert remove_dead_segments(tmp_path) == ''
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {name + end for kind, name in names.items() if kind != 'dead'
                    for end in ('', '_el')}
