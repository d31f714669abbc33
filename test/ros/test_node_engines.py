# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node while its engines are built: it answers, then starts, and leaves nothing behind."""

import os
import signal
import time

from conftest import painted, ROOT, write_stand_in_bundle
from fake_gpu import fake_library
import numpy as np
import psutil
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import array_of, image_msg, wait_until
from sensor_msgs.msg import Image

CONFIGURE, CLEANUP, ACTIVATE, SHUTDOWN_UNCONFIGURED = 1, 2, 3, 5
WARN = b'\x01'
PATIENCE_S = 90.0                 # three Python processes start one after the other


@pytest.fixture
def gpu_machine(tmp_path, monkeypatch):
    """Let processes see the fake driver and the stand-in for TensorRT; return their cache."""
    driver = tmp_path / 'driver'
    driver.mkdir()
    (driver / 'libcuda.so.1').symlink_to(fake_library())
    monkeypatch.setenv('LD_LIBRARY_PATH', str(driver), prepend=os.pathsep)
    monkeypatch.setenv('PYTHONPATH', str(ROOT / 'test' / 'stand_in'))
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(tmp_path / 'engines'))
    return tmp_path / 'engines'


def builders(node) -> list:
    return [child for child in psutil.Process(node.process.pid).children(recursive=True)
            if 'da_ros.engines.worker' in child.cmdline()]


def test_node_answers_while_it_builds_and_then_starts_by_itself(start, peer, model, gpu_machine,
                                                                monkeypatch):
    monkeypatch.setenv('STAND_IN_STEP_S', '1')
    diagnostics = peer.diagnostics()
    node = start(model=model, backend='tensorrt')
    peer.until(lambda: any(status.message.startswith('building engine, ')
                           and 'tensorrt engine stand_in/model.onnx' in status.message
                           and status.level == WARN for status in diagnostics),
               'the build in diagnostics', PATIENCE_S)
    assert peer.set_parameters(range_mask_m=50.0).successful
    assert peer.state() == 'unconfigured' and not peer.change_state(CONFIGURE)
    wait_until(lambda: peer.state() == 'active', 'active', PATIENCE_S)
    shares = [int(status.message.split()[2]) for status in diagnostics
              if status.message.startswith('building engine, ')]
    assert shares == sorted(shares) and node.log.count('must be built') == 2
    depth = peer.subscribe(Image, 'depth/image')
    peer.publish_until(image_msg(painted(np.full((32, 64), 4.0))), lambda: depth, 'a frame')
    assert np.allclose(array_of(depth[0]), 4)
    values = {v.key: v.value for v in diagnostics[-1].values}
    assert values['backend'] == 'tensorrt fp32' and ', 20 runs within' in values['self-check']
    assert not builders(node) and node.stop()[0] == 0


def test_another_backend_chosen_during_a_build_is_taken_at_once(start, peer, model, gpu_machine,
                                                                monkeypatch):
    monkeypatch.setenv('STAND_IN_STEP_S', '300')
    node = start(model=model, backend='tensorrt')
    wait_until(lambda: builders(node), 'a builder', PATIENCE_S)
    assert peer.set_parameters(backend='onnxruntime').successful
    wait_until(lambda: peer.state() == 'active', 'active', PATIENCE_S)
    assert not builders(node) and 'runs on onnxruntime fp32' in node.log
    assert 'build ended, because something else is wanted now' in node.log


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_build_ends_all_and_leaves_nothing(start, model, gpu_machine,
                                                             monkeypatch, how):
    monkeypatch.setenv('STAND_IN_STEP_S', '30')
    began = time.monotonic()
    node = start(model=model, backend='tensorrt')
    node.wait_for_log('must be built', PATIENCE_S)
    loading_s = time.monotonic() - began      # as slow as this machine is at the moment
    wait_until(lambda: builders(node), 'a builder', PATIENCE_S)
    builder, = builders(node)
    wait_until(lambda: list(gpu_machine.glob('*')), 'the build', PATIENCE_S)
    code, seconds = node.stop(how)
    assert code == 0 and seconds < max(2, loading_s / 2), (code, seconds, loading_s, node.log)
    assert not psutil.pid_exists(builder.pid) and 'Traceback' not in node.log
    assert not [path for path in gpu_machine.iterdir() if path.suffix != '.lock']


def test_without_autostart_it_is_configured_again_and_shutdown_ends_a_build(
        start, peer, model, tmp_path, gpu_machine, monkeypatch):
    pace = tmp_path / 'pace'
    pace.write_text('0.1')
    monkeypatch.setenv('STAND_IN_STEP_S', str(pace))
    node = start(model=model, backend='tensorrt', autostart=False)
    assert not peer.change_state(CONFIGURE)
    node.wait_for_log('tensorrt fp32: engine built in', PATIENCE_S)
    assert peer.state() == 'unconfigured'
    assert peer.change_state(CONFIGURE) and peer.change_state(CLEANUP)

    other = write_stand_in_bundle(tmp_path / 'other', masks=(10.0,))
    assert peer.set_parameters(model=str(other.folder)).successful
    pace.write_text('300')
    assert not peer.change_state(CONFIGURE)
    wait_until(lambda: builders(node), 'a builder', PATIENCE_S)
    assert peer.change_state(SHUTDOWN_UNCONFIGURED)
    assert not builders(node) and peer.state() == 'finalized'


def test_what_cannot_be_built_is_told_and_the_next_runtime_is_taken(start, peer, model,
                                                                    gpu_machine, monkeypatch):
    monkeypatch.setenv('STAND_IN_LIES', 'no_build')
    diagnostics = peer.diagnostics()
    node = start(model=model, backend='auto')
    wait_until(lambda: peer.state() == 'active', 'active', PATIENCE_S)
    peer.until(lambda: diagnostics and any(v.key == 'backend' for v in diagnostics[-1].values),
               'the backend in diagnostics')
    values = {v.key: v.value for v in diagnostics[-1].values}
    assert values['backend'].startswith(('openvino', 'onnxruntime'))
    for name in ('tensorrt', 'tensorrt_rtx'):
        assert f'{name} fp32: engine not built: {name} ' in node.log
        assert f'{name} has no engine for stand_in/model.onnx: ' in values['backends refused']
    assert 'could not find any implementation for node MatMul_7' in values['backends refused']
    assert 'not on this machine: onnxruntime_cuda' in node.log
