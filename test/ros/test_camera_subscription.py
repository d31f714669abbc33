# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How the camera is subscribed, and what is said of a topic from which nothing comes."""

import re

from conftest import painted
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_peer import image_msg
from sensor_msgs.msg import CompressedImage, Image, LaserScan

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
OVERRIDE = 'qos_overrides./image.subscription.'


def camera(peer, reliability=RELIABLE, kind=Image, topic='image', **policies):
    return peer.node.create_publisher(
        kind, topic, QoSProfile(depth=2, reliability=reliability, **policies))


def reliability_of_subscription(peer):
    infos = peer.node.get_subscriptions_info_by_topic('/image')
    return infos[0].qos_profile.reliability if len(infos) == 1 else None


def stream_until(peer, publishers, condition, what: str) -> None:
    """Let cameras publish until something has happened."""
    msg = image_msg(painted(np.full((32, 64), 4.0)))

    def spin() -> bool:
        for publisher in publishers:
            publisher.publish(msg)
        peer.spin(0.1)
        return condition()
    peer.until(spin, what)


def test_the_subscription_follows_what_its_publishers_offer(start, peer, model):
    node = start(model=model)
    diagnostics = peer.diagnostics()
    scans = peer.subscribe(LaserScan, 'scan')

    def served_as(reliability, publishers) -> bool:
        scans.clear()
        stream_until(peer, publishers, lambda: scans and
                     reliability_of_subscription(peer) == reliability, f'scans by {reliability}')

    first = camera(peer)
    served_as(RELIABLE, [first])
    node.wait_for_log('/image: subscribed reliable volatile, depth 5')
    poor = camera(peer, BEST_EFFORT)
    served_as(BEST_EFFORT, [first])
    node.wait_for_log('subscribed best-effort volatile, depth 5: /test_peer offers no more')
    served_as(BEST_EFFORT, [poor])
    said = len(diagnostics)
    peer.until(lambda: len(diagnostics) > said, 'diagnostics')
    values = {value.key: value.value for value in diagnostics[-1].values}
    assert values['subscription'] == 'best-effort volatile, depth 5: /test_peer offers no more'
    peer.node.destroy_publisher(poor)
    served_as(RELIABLE, [first])
    node.wait_for_log('depth 5: every publisher offers it')
    peer.node.destroy_publisher(first)
    served_as(BEST_EFFORT, [camera(peer, BEST_EFFORT)])
    assert not [name for name in peer.parameter_names() if '/image.subscription' in name]
    assert 'incompatible' not in node.log and 'Traceback' not in node.log


@pytest.mark.parametrize('given, publisher, wanted', [
    ('best_effort', RELIABLE, BEST_EFFORT), ('reliable', RELIABLE, RELIABLE)])
def test_an_override_wins_for_good(start, peer, model, given, publisher, wanted):
    node = start(model=model, **{OVERRIDE + 'reliability': given, OVERRIDE + 'depth': 7})
    scans, source = peer.subscribe(LaserScan, 'scan'), camera(peer, publisher)
    stream_until(peer, [source], lambda: scans, 'a scan')
    assert reliability_of_subscription(peer) == wanted
    node.wait_for_log('depth 7: qos_overrides say so')
    assert peer.get_parameter(OVERRIDE + 'reliability') == given
    peer.unsubscribe('scan')
    peer.until(lambda: source.get_subscription_count() == 0, 'the camera is left alone')
    scans = peer.subscribe(LaserScan, 'scan')             # the second subscription keeps it
    stream_until(peer, [source], lambda: scans, 'a scan')
    assert reliability_of_subscription(peer) == wanted


def explained(peer, diagnostics, text: str) -> None:
    """Wait until the diagnostics say that there is no image, and why."""
    def said() -> str:
        return re.sub(r'for \d+ s', 'for # s', diagnostics[-1].message) if diagnostics else ''
    peer.until(lambda: said().startswith(f'no image on /image for # s: {text}'), text,
               detail=lambda: str([status.message for status in diagnostics]))
    assert diagnostics[-1].level == b'\x01'


def test_no_image_is_explained_by_what_the_graph_shows(start, peer, model):
    start(model=model)
    diagnostics = peer.diagnostics()
    peer.subscribe(LaserScan, 'scan')
    explained(peer, diagnostics, 'nobody publishes it')
    camera(peer, topic='front/image')
    explained(peer, diagnostics, 'nobody publishes it; its type is that of /front/image')
    other = camera(peer, kind=CompressedImage)
    explained(peer, diagnostics, '/test_peer publishes sensor_msgs/msg/CompressedImage, needed is '
                                 'sensor_msgs/msg/Image; see image_transport')
    peer.node.destroy_publisher(other)
    camera(peer)
    explained(peer, diagnostics, 'it is published, so either nothing is sent, or all of it is '
                                 'lost on the way; then the camera is too fast')


@pytest.mark.parametrize('parameters, publisher, text', [
    ({OVERRIDE + 'reliability': 'reliable'}, dict(reliability=BEST_EFFORT),
     '/test_peer offers best-effort volatile, but asked is reliable volatile'),
    ({OVERRIDE + 'durability': 'transient_local'}, {},
     '/test_peer offers reliable volatile, but asked is reliable transient-local')])
def test_qualities_that_never_match_are_explained(start, peer, model, parameters, publisher, text):
    start(model=model, **parameters)
    diagnostics = peer.diagnostics()
    camera(peer, **publisher)
    peer.subscribe(LaserScan, 'scan')
    explained(peer, diagnostics, f'{text}, which never match')


def test_a_transient_local_camera_is_served(start, peer, model):
    start(model=model)
    scans = peer.subscribe(LaserScan, 'scan')
    stream_until(peer, [camera(peer, durability=DurabilityPolicy.TRANSIENT_LOCAL)],
                 lambda: scans, 'a scan')
