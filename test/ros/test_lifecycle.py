# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The life of the node: configuring, failing, recovering, and leaving on a signal."""

import signal
import time

from conftest import painted, write_stand_in_bundle
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import array_of, image_msg
from sensor_msgs.msg import Image

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE, SHUTDOWN_ACTIVE = 1, 2, 3, 4, 7
SECOND = 10**9


def test_missing_bundle_leaves_the_node_unconfigured_alive_and_curable(start, peer, model):
    node = start(model='/nonexistent/bundle')
    node.wait_for_log('cannot configure: bundle folder /nonexistent/bundle does not exist')
    diagnostics = peer.diagnostics()
    peer.until(lambda: any('/nonexistent/bundle' in status.message and status.level == b'\x02'
                           for status in diagnostics), 'error told')
    assert peer.state() == 'unconfigured'
    assert peer.set_parameters(model=model).successful
    assert peer.change_state(CONFIGURE) and peer.change_state(ACTIVATE)
    depth = peer.subscribe(Image, 'depth/image')
    peer.publish_until(image_msg(painted(np.full((32, 64), 4.0))), lambda: depth, 'a frame')


def test_wrong_start_value_is_told_and_curable(start, peer, model):
    node = start(model=model, mask_probability=7.0, max_rnge_m=3)
    node.wait_for_log('cannot configure: parameter mask_probability')
    node.wait_for_log("'max_rnge_m' is not known and has no effect; did you mean 'max_range_m'")
    assert peer.state() == 'unconfigured'
    assert peer.set_parameters(mask_probability=0.5).successful
    assert peer.change_state(CONFIGURE)


def test_what_rclpy_would_swallow_is_told(start, peer, model):
    node = start(model=model, **{'qos_overrides./points.publisher.reliability': 'besteffort'})
    node.wait_for_log('cannot configure: ')
    assert peer.state() == 'unconfigured'
    assert peer.set_parameters(model=model).successful


def test_shutdown_transition_in_the_middle_of_a_frame(start, peer, tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'slow', work=60)
    node = start(model=bundle.folder)
    peer.subscribe(Image, 'depth/image')
    peer.publish(image_msg(painted(np.full((32, 64), 4.0))))
    time.sleep(0.2)
    assert peer.change_state(SHUTDOWN_ACTIVE)
    assert peer.state() == 'finalized' and 'instead' not in node.log


def test_lifecycle_without_autostart_can_go_round_twice(start, peer, model):
    start(model=model, autostart=False)
    assert peer.state() == 'unconfigured'
    for second in (1, 2):
        assert peer.change_state(CONFIGURE) and peer.change_state(ACTIVATE)
        depth = peer.subscribe(Image, 'depth/image')
        peer.publish_until(image_msg(painted(np.full((32, 64), 4.0)), second * SECOND),
                           lambda depth=depth: depth, 'a frame')
        assert depth[0].header.stamp.sec == second
        peer.unsubscribe('depth/image')
        assert peer.change_state(DEACTIVATE) and peer.change_state(CLEANUP)
    assert peer.state() == 'unconfigured'


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_frames_stream_ends_cleanly(start, peer, model, how):
    node = start(model=model)
    peer.subscribe(Image, 'depth/image')
    image = image_msg(painted(np.full((32, 64), 4.0)))
    for number in range(100):
        peer.publish(image)
        if number == 60:
            node.process.send_signal(how)
        time.sleep(0.01)
    code, _ = node.stop(how)
    assert code == 0 and 'Traceback' not in node.log, node.log


def test_a_signal_while_the_model_loads_ends_cleanly(start, tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'slow', work=100)
    node = start(model=bundle.folder)
    time.sleep(1.0)                      # importing, or in the self-check
    code, seconds = node.stop()
    assert code in (0, -signal.SIGINT) and seconds < 10, (code, seconds, node.log)
    assert 'Traceback' not in node.log or 'KeyboardInterrupt' in node.log


@pytest.mark.parametrize('how, backend', [
    (signal.SIGINT, 'onnxruntime'), (signal.SIGTERM, 'onnxruntime'), (signal.SIGINT, 'openvino')])
def test_a_signal_in_the_middle_of_a_frame_ends_cleanly(start, peer, tmp_path, how, backend):
    pytest.importorskip(backend, reason=f'{backend} is not installed')
    bundle = write_stand_in_bundle(tmp_path / 'slow', work=100)
    began = time.monotonic()
    node = start(model=bundle.folder, backend=backend)
    node.wait_for_log('runs on')
    loading_s = time.monotonic() - began      # as slow as this machine is at the moment
    peer.subscribe(Image, 'depth/image')
    peer.publish(image_msg(painted(np.full((32, 64), 4.0))))
    time.sleep(0.3)
    code, seconds = node.stop(how)
    assert code == 0 and seconds < max(2, loading_s / 2), (code, seconds, loading_s, node.log)
    assert 'Traceback' not in node.log and not peer.received['depth/image']


def test_odd_frames_are_refused_and_the_runtime_stays(start, peer, tmp_path):
    from conftest import write_fragile_bundle
    node = start(model=write_fragile_bundle(tmp_path / 'fragile').folder, backend='auto')
    peer.subscribe(Image, 'depth/image')
    diagnostics = peer.diagnostics()
    black = np.zeros((32, 64, 3), np.uint8)

    def refused() -> int:
        return max((int(value.value) for status in diagnostics for value in status.values
                    if value.key == 'refused'), default=0)
    peer.publish_until(image_msg(black), lambda: refused() >= 4, 'four frames refused')
    assert 'instead' not in node.log and 'gave a non-finite range; frame refused' in node.log
    assert peer.state() == 'active' and not peer.received['depth/image']
    peer.publish_until(image_msg(painted(np.full((32, 64), 4.0))),
                       lambda: peer.received['depth/image'], 'a good frame')


def test_a_scale_invariant_bundle_needs_a_scale_source(start, peer, tmp_path):
    bundle = write_stand_in_bundle(tmp_path / 'b', kind='scale_invariant', masks=(),
                                   max_range_m=None, metres_per_unit=None)
    node = start(model=bundle.folder)
    node.wait_for_log("bundle 'stand_in' is scale_invariant: it gives no metres by itself")
    assert peer.state() == 'unconfigured'
    assert peer.set_parameters(scale__source='fixed', scale__metres_per_unit=0.5).successful
    assert peer.change_state(CONFIGURE) and peer.change_state(ACTIVATE)
    assert 'gives no metres' in peer.set_parameters(scale__source='none').reason
    depth = peer.subscribe(Image, 'depth/image')
    peer.publish_until(image_msg(painted(np.full((32, 64), 8.0))), lambda: depth, 'a frame')
    assert np.allclose(array_of(depth[0]), 4)


def test_help_shows_usage_and_starts_nothing(capsys):
    from da_ros.ros import node
    node.main(['--help'])
    assert 'pano_depth --ros-args -p camera_height_m:=1.2' in capsys.readouterr().out


VALID = {
    'unconfigured': {CONFIGURE: 'inactive', 5: 'finalized'},
    'inactive': {CLEANUP: 'unconfigured', ACTIVATE: 'active', 6: 'finalized'},
    'active': {DEACTIVATE: 'inactive', 7: 'finalized'},
    'finalized': {}}
# Those of the state machine itself, those that only callbacks may give, and none at all.
TRANSITIONS = (*range(9), 10, 12, 20, 32, 40, 52, 60, 62, 255)


def test_every_transition_is_answered_in_every_state(start, peer, model):
    node = start(model=model, autostart=False)
    for state, way in (('unconfigured', CONFIGURE), ('inactive', ACTIVATE), ('active', 7),
                       ('finalized', None)):
        for transition in TRANSITIONS:
            if transition not in VALID[state]:
                assert not peer.change_state(transition), (state, transition)
                assert peer.state() == state
        assert f"is not possible in state '{state}'" in node.log
        if way is not None:
            assert peer.change_state(way) and peer.state() == VALID[state][way]
    assert node.process.poll() is None and 'Traceback' not in node.log
    assert node.stop()[0] == 0


def test_a_lifecycle_manager_may_configure_a_node_that_started_by_itself(start, peer, model):
    node = start(model=model)
    peer.wait_for_state('active')
    assert not peer.change_state(CONFIGURE) and not peer.change_state(ACTIVATE)
    node.wait_for_log("change_state refused: transition 1 is not possible in state 'active'")
    depth = peer.subscribe(Image, 'depth/image')
    peer.publish_until(image_msg(painted(np.full((32, 64), 4.0))), lambda: depth, 'a frame')


def test_a_quality_of_service_that_cannot_be_leaks_nothing_and_loads_nothing(start, peer, model):
    node = start(model=model, **{'qos_overrides./range_mask.publisher.reliability': 'nonsense'})
    node.wait_for_log('cannot configure: qos_overrides of range_mask: ')
    for _ in range(3):
        assert not peer.change_state(CONFIGURE) and peer.state() == 'unconfigured'
    peer.spin(0.5)
    assert peer.node.count_publishers('scan') == 0 and 'runs on' not in node.log


def test_a_quality_of_service_of_the_camera_is_checked_before_loading(start, peer, model):
    node = start(model=model, **{'qos_overrides./image.subscription.reliability': 'besteffort'})
    node.wait_for_log('cannot configure: qos_overrides of /image: ')
    assert 'runs on' not in node.log and peer.state() == 'unconfigured'


@pytest.mark.parametrize('name, value, source', [
    ('image_topic', 'front camera', 'fixed'), ('image_topic', '', 'fixed'),
    ('image_topic', '/a//b', 'fixed'), ('levelling.imu_topic', '9dof/imu', 'imu')])
def test_a_name_that_no_topic_can_have_is_told_by_parameter_and_value(start, peer, model, name,
                                                                      value, source):
    node = start(model=model, **{name: f'"{value}"', 'levelling.source': source})
    node.wait_for_log(f'cannot configure: {name} {value!r} is no name of a topic; use letters')
    assert '.c:' not in node.log and 'Traceback' not in node.log
    assert peer.state() == 'unconfigured'


def test_what_fails_in_a_transition_is_undone_told_and_curable(model, monkeypatch):
    """In this process, because nothing outside can make a thread fail to start."""
    import rclpy
    from rclpy.lifecycle import TransitionCallbackReturn

    from da_ros.ros import node as module
    context = rclpy.Context()
    rclpy.init(args=['--ros-args', '-p', f'model:={model}', '-p', 'backend:=onnxruntime', '-p',
                     'autostart:=false', '-r', '__ns:=/undone'], context=context)
    node = module.PanoDepthNode(context=context)
    success, failure, error = (TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE,
                               TransitionCallbackReturn.ERROR)

    def broken(*_args):
        raise RuntimeError("can't start new thread")

    try:
        assert node.trigger_configure() == success
        with monkeypatch.context() as faulty:
            faulty.setattr(module, 'FrameWorker', broken)
            assert node.trigger_activate() == failure
        assert node._state().failure == "RuntimeError: can't start new thread"
        assert module.state_of(node) == 'inactive' and node.trigger_activate() == success
        assert node._state().failure == ''
        real, calls = module.FrameWorker.stop, []

        def broken_once(worker):
            calls.append(worker)
            return real(worker) if len(calls) > 1 else broken()

        with monkeypatch.context() as faulty:
            faulty.setattr(module.FrameWorker, 'stop', broken_once)
            assert node.trigger_deactivate() == error          # and on_error frees everything
        assert module.state_of(node) == 'unconfigured' and node._estimator is None
        assert node.count_publishers('scan') == 0
        assert node._state().failure == "RuntimeError: can't start new thread"
        assert node.trigger_configure() == node.trigger_activate() == success
        with monkeypatch.context() as faulty:
            faulty.setattr(module.FrameWorker, 'stop', broken)
            assert node.trigger_deactivate() == error          # and on_error fails as well
        assert module.state_of(node) == 'finalized'
        assert "can't start new thread" in node._state().failure
    finally:
        node.close()
        node.destroy_node()
        rclpy.shutdown(context=context)
