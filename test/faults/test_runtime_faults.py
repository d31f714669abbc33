# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Runtimes that fail while frames stream: the next one serves, or the node says why none does."""

from pathlib import Path
import shutil
import threading

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')
pytest.importorskip('openvino', reason='openvino is not installed (extra da_ros[openvino])')

from ros_peer import array_of, image_msg
from sensor_msgs.msg import Image

from da_ros.backends.base import BackendError
from da_ros.estimator import RangeEstimator
from da_ros.ros import frame_worker
from da_ros.ros.frame_worker import FrameWorker

PROGRAM = (str(Path(__file__).with_name('faulty_node.py')),)
SECOND = 10**9
GOOD = painted(np.full((32, 64), 4.0, np.float32))


@pytest.fixture
def faulty(start, peer, model):
    """Return a function that starts a node of a faulty runtime and streams until it has failed."""
    def begin(fault: str, backend: str, failed):
        node = start(model=model, backend=backend, program=PROGRAM, extra={'FAULT': fault})
        depth = peer.subscribe(Image, 'depth/image')
        peer.publish_until(image_msg(GOOD), lambda: depth, 'a good frame')
        for stamp in range(2, 60):
            peer.publish(image_msg(GOOD, stamp * SECOND))
            peer.spin(0.05)
            if failed(node, stamp):
                return node, depth
        raise AssertionError(f'it did not fail: {node.log}')
    return begin


def says(text: str):
    return lambda node, _stamp: text in node.log


@pytest.mark.parametrize('fault, told', [
    ('raises', 'the device was lost'),
    pytest.param('memory', 'std::bad_alloc', marks=pytest.mark.slow),
    ('nan', 'gave a non-finite range in 3 frames in a row')])
def test_the_next_runtime_takes_over_and_it_is_said(faulty, peer, fault, told):
    node, depth = faulty(fault, 'auto', says('now running on onnxruntime'))
    statuses = peer.diagnostics()
    assert 'inference failed: openvino' in node.log and told in node.log
    peer.publish_until(image_msg(GOOD, 50 * SECOND),
                       lambda: depth[-1].header.stamp.sec == 50, 'a frame of the next runtime')
    assert all(np.allclose(array_of(msg), 4) for msg in depth)
    stamps = [msg.header.stamp.sec for msg in depth]
    assert stamps == sorted(set(stamps))
    peer.until(lambda: statuses and any(value.key == 'backends refused' and told in value.value
                                        for value in statuses[-1].values), 'the fall-back is told')
    assert node.stop()[0] == 0


@pytest.mark.parametrize('fault, told', [
    ('panics', 'frame failed: SystemExit: a library gave up'),
    ('raises', 'and no other runtime is left')])
def test_where_none_is_left_the_node_says_so_answers_and_can_start_anew(faulty, peer, fault, told):
    node, depth = faulty(f'{fault} onnxruntime', 'onnxruntime', says(told))
    statuses = peer.diagnostics()
    count = len(depth)
    peer.publish_until(image_msg(GOOD, 60 * SECOND),
                       lambda: statuses and statuses[-1].level == b'\2', 'an error')
    assert len(depth) == count
    for transition in (4, 2, 1, 3):
        assert peer.change_state(transition)
    peer.publish_until(image_msg(GOOD, 70 * SECOND),
                       lambda: depth[-1].header.stamp.sec == 70, 'a frame after a new start')
    assert node.stop()[0] == 0


def test_a_hung_runtime_hangs_neither_services_nor_the_end(faulty, peer):
    node, _ = faulty('hangs', 'auto', lambda node, stamp: stamp == 20)
    assert peer.set_parameters(max_range_m=50.0).successful
    assert not peer.change_state(4)                        # and it does not take for ever
    node.wait_for_log('its runtime or its device hangs; start the node anew')
    assert peer.state() in ('finalized', 'unconfigured')
    code, seconds = node.stop()
    assert code == 0 and seconds < 10


def test_a_process_that_dies_leaves_nothing_that_stops_the_next_one(faulty, start, peer, model):
    node, depth = faulty('dies', 'auto', lambda node, _: node.process.poll() is not None)
    assert node.process.returncode < 0
    count = len(depth)
    start(model=model)
    peer.publish_until(image_msg(GOOD, 80 * SECOND),
                       lambda: len(depth) > count and depth[-1].header.stamp.sec == 80,
                       'a frame of the next process')


def test_a_frame_that_never_ends_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(frame_worker, 'HUNG_S', 0.2)
    hang, begun = threading.Event(), threading.Event()

    def serve(_msg) -> None:
        begun.set()
        hang.wait(30)
    worker = FrameWorker(serve)
    worker.submit(1)
    assert begun.wait(10)
    with pytest.raises(TimeoutError, match='a frame does not end within 0.2 s: its runtime or'):
        worker.stop()
    hang.set()
    worker.stop()


def test_a_bundle_replaced_while_it_runs_is_served_on_but_never_mixed(tmp_path):
    pytest.importorskip('onnx', reason='onnx is not installed (extra da_ros[training])')
    bundle = write_stand_in_bundle(tmp_path / 'b')
    with_other_units = write_stand_in_bundle(tmp_path / 'other', metres_per_unit=3.0, masks=())
    for backend in ('openvino', 'onnxruntime'):
        estimator = RangeEstimator(bundle, backend)
        assert np.allclose(estimator.predict(GOOD).range_m, 4)
        kept = tmp_path / f'kept_{backend}'
        shutil.copytree(bundle.folder, kept)
        # In place, as `cp` does it: what maps the files would see it.
        shutil.copytree(with_other_units.folder, bundle.folder, dirs_exist_ok=True)
        assert np.allclose(estimator.predict(GOOD).range_m, 4)
        estimator.chain._attempts = [('onnxruntime', 'fp32')]
        with pytest.raises(BackendError, match='the bundle has changed since it was loaded .*'
                                               'sha256 differs.*; configure the node anew'):
            estimator.fall_back('lost')
        estimator.close()
        shutil.copytree(kept, bundle.folder, dirs_exist_ok=True)
