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


def test_a_runtime_that_gives_nan_in_every_frame_is_replaced(start, peer, tmp_path):
    pytest.importorskip('openvino', reason='the extra da_ros[openvino] is not installed')
    from test_estimator import write_fragile_bundle
    node = start(model=write_fragile_bundle(tmp_path / 'fragile').folder, backend='auto')
    peer.subscribe(Image, 'depth/image')
    black = np.zeros((32, 64, 3), np.uint8)
    peer.publish_until(image_msg(black), lambda: 'now running on onnxruntime fp32 instead'
                       in node.log, 'the last runtime')
    assert 'non-finite range in 3 frames in a row' in node.log and peer.state() == 'active'
    assert not peer.received['depth/image']
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
    from da_ros import node
    node.main(['--help'])
    assert 'pano_depth --ros-args -p camera_height_m:=1.2' in capsys.readouterr().out
