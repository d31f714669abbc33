# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The Foxglove server, asked by a client of its protocol."""

import json
import struct
import time

from conftest import ROOT
import numpy as np
import pytest

pytest.importorskip('foxglove', reason='foxglove-sdk is not installed (extra da_ros[foxglove])')
pytest.importorskip('websockets', reason='websockets is not installed')

from websockets.sync.client import connect

from da_ros.commands.view_foxglove import FoxgloveServer
from da_ros.commands.view_page import Shown, ViewError
from da_ros.scan import Scan

POINTS = np.float32([[1, 2, 3], [-4, 5, 0.5]])
SHOWN = Shown(
    panorama=np.full((32, 64, 3), 90, np.uint8), preview=np.zeros((32, 64, 3), np.uint8),
    points=POINTS, colours=np.uint8([[1, 2, 3], [4, 5, 6]]), text='**10 Hz**',
    scan=Scan(np.float32([1.5, np.inf, 2.5]), 0.0, 0.1, 0.3, 20.0))
DEADLINE_S = 30


class Client:
    """Subscribes to every topic and keeps the last payload of each."""

    def __init__(self, url):
        self.socket = connect(url, subprotocols=['foxglove.sdk.v1'], open_timeout=DEADLINE_S)
        self.topics, self.payloads, self.texts = {}, {}, []

    def until(self, condition):
        for _ in range(200):
            if condition():
                return
            message = self.socket.recv(timeout=DEADLINE_S)
            if isinstance(message, bytes):
                if message[0] == 1:
                    self.payloads[struct.unpack_from('<I', message, 1)[0]] = message[13:]
                continue
            said = json.loads(message)
            self.texts.append(said)
            for channel in said.get('channels', []):
                self.topics[channel['topic']] = channel['id']
        raise AssertionError('the server says something else')

    def say(self, **request):
        self.socket.send(json.dumps(request))

    def said(self, op):
        return [text for text in self.texts if text['op'] == op]


@pytest.fixture
def served():
    server = FoxgloveServer(port=0)
    client = Client(server.url)
    yield server, client
    client.socket.close()
    server.close()


def test_a_client_gets_every_topic_with_its_own_bytes(served):
    server, client = served
    client.until(lambda: len(client.topics) == 5)
    assert set(client.topics) == {'/points', '/scan', '/panorama', '/range', '/status'}
    assert not server.watched
    client.say(op='subscribe', subscriptions=[
        {'id': number, 'channelId': channel} for number, channel in
        enumerate(client.topics.values())])
    for _ in range(400):
        if len(server._watching) == 5:
            break
        time.sleep(0.05)
    assert server.watched
    server.show(SHOWN)
    client.until(lambda: len(client.payloads) == 5)
    got = dict(zip(client.topics, (client.payloads[k] for k in range(5))))
    assert POINTS[0].tobytes() + bytes([1, 2, 3, 255]) in got['/points']
    assert struct.pack('<d', 2.5) in got['/scan'] and struct.pack('<d', np.inf) in got['/scan']
    assert b'\xff\xd8\xff' in got['/panorama'] and b'jpeg' in got['/range']
    assert json.loads(got['/status']) == {'text': '**10 Hz**'}


def test_parameters_are_offered_changed_and_refused_with_the_reason(served):
    server, client = served
    asked = []

    def change(name, value):
        asked.append((name, value))
        return 'mask 15 is none of 10, 20' if value == 15 else ''
    server.add_parameters({'range_mask_m': 10.0, 'min_range_m': 0.3}, change)
    server.add_slider('frame', 5, lambda index: asked.append(index))
    client.say(op='getParameters', parameterNames=[], id='all')
    client.until(lambda: client.said('parameterValues'))
    values = {p['name']: p['value'] for p in client.said('parameterValues')[0]['parameters']}
    assert values == {'range_mask_m': 10, 'min_range_m': 0.3, 'frame': 0}
    client.say(op='setParameters', id='set', parameters=[
        {'name': 'range_mask_m', 'value': 20, 'type': 'float64'},
        {'name': 'frame', 'value': 9, 'type': 'float64'}])
    client.until(lambda: len(client.said('parameterValues')) == 2)
    assert asked == [('range_mask_m', 20.0), 4]
    client.say(op='setParameters', id='bad', parameters=[
        {'name': 'range_mask_m', 'value': 15, 'type': 'float64'}])
    client.until(lambda: client.said('status') and len(client.said('parameterValues')) == 3)
    assert 'mask 15 is none of' in client.said('status')[0]['message']
    assert client.said('parameterValues')[2]['parameters'][0]['value'] == 20


def test_the_layout_shows_topics_that_are_served():
    layout = json.loads((ROOT / 'config/foxglove_layout.json').read_text())
    text = json.dumps(layout['configById'])
    for topic in ('/points', '/scan', '/panorama', '/range', '/status'):
        assert f'"{topic}' in text
    panels = json.dumps(layout['layout'])
    assert all(panel in panels for panel in layout['configById'])


def test_a_taken_port_is_one_line(served):
    server, _ = served
    port = int(server.url.rsplit(':', 1)[1])
    with pytest.raises(ViewError, match=f'port {port} of 127.0.0.1 cannot be served'):
        FoxgloveServer(port=port)
