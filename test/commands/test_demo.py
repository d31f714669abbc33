# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo is the real thing: three processes, DDS, the default bundle."""

from pathlib import Path
import subprocess
import sys

from conftest import ROOT
import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')
pytest.importorskip('matplotlib', reason='matplotlib is not installed (requirements/demo.txt)')

from plyfile import PlyData
from ros_peer import environment

from da_ros.bundle import shipped_bundles

NAMES = ('city', 'lobby', 'lounge')


def demo(out: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-m', 'da_ros.commands.demo', '--out', str(out), *arguments],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=240)


def test_demo_writes_every_picture_and_prints_the_table(tmp_path):
    done = demo(tmp_path, '--seconds', '1', '--rate', '5')
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    page = (tmp_path / 'index.html').read_text()
    for name in NAMES:
        preview = cv2.imread(str(tmp_path / f'{name}_preview.png'))
        depth = cv2.imread(str(tmp_path / f'{name}_depth_mm.png'), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16 and depth.any()
        assert preview.shape == (*depth.shape, 3) and depth.shape[1] == 2 * depth.shape[0]
        cloud = PlyData.read(str(tmp_path / f'{name}.ply'))['vertex']
        assert 1000 < len(cloud) <= 30000 and len(set(cloud['red'])) > 10
        assert (tmp_path / f'{name}_scan.png').stat().st_size > 5000
        assert f'{name}_preview.png' in page and name in done.stdout
    assert 'front left' in done.stdout and 'p99' in done.stdout
    assert (tmp_path / 'overview.jpg').is_file()
    models = cv2.imread(str(tmp_path / 'models.jpg'))
    assert models.shape[1] == 512 * (1 + len(shipped_bundles())) and models.shape[0] > 3 * 256
    assert 'pano_base' in page and 'pano_tiny' in page


def test_a_demo_that_cannot_show_its_outputs_fails_with_the_reason(tmp_path):
    done = demo(tmp_path, '--backend', 'abacus', '--patience', '20')
    assert done.returncode == 1
    assert 'demo failed: ' in done.stderr and "backend 'abacus' is none of auto" in done.stderr
    assert not (tmp_path / 'index.html').exists()
