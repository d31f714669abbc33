# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policy names what the live node has in the graph, and nothing else."""

from importlib.util import find_spec
import signal
from xml.etree import ElementTree

from conftest import ROOT, write_stand_in_bundle
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from rclpy.node import NodeNameNonExistentError
from ros_peer import NodeProcess, Peer
from sensor_msgs.msg import LaserScan

# Together they have everything that the node can have.
SETTINGS = ({'cliff.enabled': True, 'levelling.source': 'odometry', 'use_sim_time': True},
            {'image_transport': 'compressed', 'levelling.source': 'imu'})


def policy() -> dict[str, set[str]]:
    """Return the names of the policy by what they are for."""
    profile, = ElementTree.parse(ROOT / 'config/sros2_policy.xml').iter('profile')
    namespace, node = profile.get('ns'), profile.get('node')
    found = {}
    for kind in ('subscribe', 'publish', 'reply', 'request'):
        found[kind] = {
            name.text if name.text.startswith('/') else f'{namespace}{name.text}'.replace(
                '~', node) for group in profile if group.get(kind) == 'ALLOW' for name in group}
    return found


def graph_of(node: NodeProcess, scan: str, camera: str) -> dict[str, set[str]]:
    """Return what a live node has once it takes images of a camera for a scan, by kind."""
    peer = Peer()
    try:
        peer.wait_for_state('active')
        peer.subscribe(LaserScan, scan)                # else the camera is not subscribed
        seen = peer.node.get_subscriber_names_and_types_by_node

        def subscribed():
            try:
                return camera in dict(seen('pano_depth', '/'))
            except NodeNameNonExistentError:          # not discovered yet
                return False
        peer.until(subscribed, 'the camera')
        return {kind: {name for name, _ in ask('pano_depth', '/')} for kind, ask in (
            ('subscribe', seen), ('publish', peer.node.get_publisher_names_and_types_by_node),
            ('reply', peer.node.get_service_names_and_types_by_node),
            ('request', peer.node.get_client_names_and_types_by_node))}
    finally:
        peer.close()
        node.stop(signal.SIGKILL)


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """Return what live nodes have, by kind."""
    folder = tmp_path_factory.mktemp('graph')
    bundle, found = write_stand_in_bundle(folder / 'b'), {}
    for number, more in enumerate(SETTINGS):
        node = NodeProcess(folder / str(number), model=bundle.folder, backend='onnxruntime',
                           **more)
        for kind, names in graph_of(node, 'scan', '/image/compressed' if number else '/image'
                                    ).items():
            found.setdefault(kind, set()).update(names)
    return found


@pytest.mark.parametrize('kind', ['subscribe', 'publish', 'reply', 'request'])
def test_policy_and_live_graph_agree(graph, kind):
    allowed = policy()[kind]
    if not find_spec('tf2_msgs'):              # then no node of this machine can have them
        allowed -= {'/tf', '/tf_static'}
    extra = {name for name in graph[kind] if name.startswith('/fmu/')}
    assert graph[kind] - extra == allowed


def test_a_camera_with_a_name_has_the_topics_of_the_policy_after_its_name(graph, start, model):
    named = graph_of(start(model=model, cameras='[front, rear]', **{'cliff.enabled': True}),
                     'front/scan', '/front/image')
    shared = {name for name in graph['publish'] if name.startswith(
        ('/pano_depth/', '/diagnostics', '/parameter_events', '/rosout', '/tf'))}
    own = graph['publish'] - shared
    assert named['publish'] - shared == {f'/{camera}{name}' for camera in ('front', 'rear')
                                         for name in own}
    assert named['reply'] == graph['reply']
