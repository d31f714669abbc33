# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A process of another DDS sends the camera's images and gets, byte for byte, what ROS gets."""

from pathlib import Path
import struct
import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')
pytest.importorskip('cyclonedds', reason='cyclonedds is not installed (requirements/test.txt)')

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from ros_peer import environment
from sensor_msgs.msg import LaserScan, PointCloud2

KINDS = {'scan': LaserScan, 'points': PointCloud2, 'diagnostics': DiagnosticArray}
def messages(path: Path) -> list[bytes]:
    """Return the whole messages of a file that may still be written."""
    data, found, at = path.read_bytes() if path.exists() else b'', [], 0
    while at + 4 <= len(data):
        size, = struct.unpack_from('<I', data, at)
        if at + 4 + size > len(data):
            break
        found.append(data[at + 4:at + 4 + size])
        at += 4 + size
    return found


def test_a_foreign_peer_sends_images_and_receives_what_ros_receives(start, peer, model, tmp_path):
    node = start(model=model)
    mine = {name: peer.subscribe(kind, f'/{name}') for name, kind in KINDS.items()}
    script = Path(__file__).with_name('foreign_peer.py')
    foreign = subprocess.Popen([sys.executable, str(script), str(tmp_path), '10'],
                               env=environment(), stderr=subprocess.PIPE, text=True)

    def both(name: str) -> list[tuple]:
        """Return what both have received of one stamp: theirs as bytes, and mine."""
        known = {(msg.header.stamp.sec, msg.header.stamp.nanosec): msg for msg in mine[name]}
        return [(theirs, known[stamp]) for theirs in messages(tmp_path / f'{name}.bin')
                if (stamp := struct.unpack_from('<iI', theirs, 4)) in known]
    try:
        peer.until(lambda: foreign.poll() is not None or all(
            len(both(name)) >= 3 for name in KINDS), 'the same messages')
        assert foreign.poll() is None, foreign.stderr.read()
    finally:
        foreign.kill()
        foreign.wait()
    for name, kind in KINDS.items():
        for theirs, msg in both(name):
            # Padding between fields is whatever lay there, so fields are compared, bit by bit.
            assert deserialize_message(theirs, kind) == msg, name
    assert all(theirs == serialize_message(msg) for theirs, msg in both('scan'))   # no padding
    assert np.allclose(np.array(mine['scan'][-1].ranges), 4, rtol=0.01)
    assert mine['scan'][-1].header.stamp.nanosec == 7                # of the foreign image
    stamps = [msg.header.stamp.sec for msg in mine['scan']]
    assert stamps == sorted(set(stamps)) and node.stop()[0] == 0
