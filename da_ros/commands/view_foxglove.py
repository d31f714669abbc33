# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The same moments for Foxglove: a WebSocket server that its app connects to."""

from __future__ import annotations

from collections.abc import Callable
import socket
from typing import Any

import cv2
import numpy as np

from da_ros.commands.view_page import colours_of_range, Image, Shown, ViewError

INSTALL = 'foxglove-sdk is not installed: pip install "da_ros[foxglove]"'
FRAME = 'camera_link'


class FoxgloveServer:
    """
    Serves /points, /scan, /panorama, /range and /status, and numbers as parameters.

    Open `config/foxglove_layout.json` in the app. It takes the place of `view_page.Page`.
    """

    def __init__(self, host: str = '127.0.0.1', port: int = 8765):
        """
        Begin to serve.

        :raises ViewError: if foxglove-sdk is not installed or the port cannot be served
        """
        try:
            import foxglove
        except ImportError as error:
            raise ViewError(INSTALL) from error
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            raise ViewError(f'port {port} of {host} cannot be served: {error.strerror or error}; '
                            'choose another --port, 0 = any') from error
        self._sdk = foxglove
        self._watching: set[tuple[Any, Any]] = set()
        self._values: dict[str, float] = {}
        self._change: Callable[[str, float], str] = lambda _name, _value: 'not to be changed'
        context = self._context = foxglove.Context()      # channels close with it
        channels = foxglove.channels
        self._points = channels.PointCloudChannel('/points', context=context)
        self._scan = channels.LaserScanChannel('/scan', context=context)
        self._images = {name: channels.CompressedImageChannel(f'/{name}', context=context)
                        for name in ('panorama', 'range')}
        self._status = foxglove.Channel('/status', message_encoding='json', context=context)
        listener: Any = _Listener(self)
        self._server = foxglove.start_server(
            name='da_ros', host=host, port=port, context=context, server_listener=listener,
            capabilities=[foxglove.Capability.Parameters])
        self.url = f'ws://{host}:{self._server.port}'

    @property
    def watched(self) -> bool:
        """Whether somebody has subscribed to a topic."""
        return bool(self._watching)

    def show(self, shown: Shown) -> None:
        """Send what is new."""
        messages = self._sdk.messages
        if shown.points is not None:
            self._points.log(self._cloud(shown))
        if shown.scan is not None:
            scan = shown.scan
            self._scan.log(messages.LaserScan(
                frame_id=FRAME, pose=_origin(messages), start_angle=scan.angle_min,
                end_angle=scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1),
                ranges=scan.ranges.astype(float).tolist()))
        for name, picture in (('panorama', shown.panorama), ('range', shown.preview)):
            if picture is not None:
                self._images[name].log(messages.CompressedImage(
                    frame_id=FRAME, data=_jpeg(picture), format='jpeg'))
        if shown.text:
            self._status.log({'text': shown.text})

    def _cloud(self, shown: Shown) -> Any:
        messages, points = self._sdk.messages, shown.points
        assert points is not None
        colours = colours_of_range(points) if shown.colours is None else shown.colours
        records = np.empty((len(points), 16), np.uint8)
        records[:, :12] = np.ascontiguousarray(points, np.float32).view(np.uint8)
        records[:, 12:15], records[:, 15] = colours, 255
        kinds = messages.PackedElementFieldNumericType
        fields = [messages.PackedElementField(name=name, offset=4 * k, type=kinds.Float32)
                  for k, name in enumerate('xyz')]
        fields += [messages.PackedElementField(name=name, offset=12 + k, type=kinds.Uint8)
                   for k, name in enumerate(('red', 'green', 'blue', 'alpha'))]
        return messages.PointCloud(frame_id=FRAME, pose=_origin(messages), point_stride=16,
                                   fields=fields, data=records.tobytes())

    def add_parameters(self, values: dict[str, float],
                       change: Callable[[str, float], str]) -> None:
        """Offer numbers as parameters; `change` returns '' or why not."""
        self._values, self._change = dict(values), change

    def add_slider(self, label: str, count: int, changed: Callable[[int], None]) -> None:
        """Offer the moments 0 ... count - 1 as one more parameter."""
        change = self._change

        def with_moment(name: str, value: float) -> str:
            if name != label:
                return change(name, value)
            changed(min(max(int(value), 0), count - 1))
            return ''
        self._values[label], self._change = 0.0, with_moment

    def parameters(self, names: list[str]) -> list[Any]:
        """Return the present values, of all parameters where none is named."""
        return [self._sdk.Parameter(name, value=value) for name, value in self._values.items()
                if not names or name in names]

    def set_parameters(self, parameters: list[Any]) -> list[Any]:
        """Change parameters; return what they are afterwards, and tell a refusal as a status."""
        for parameter in parameters:
            if parameter.name not in self._values:
                continue
            value = float(parameter.get_value())
            if refused := self._change(parameter.name, value):
                self._server.publish_status(refused, self._sdk.StatusLevel.Warning)
            else:
                self._values[parameter.name] = value
        return self.parameters([parameter.name for parameter in parameters])

    def close(self) -> None:
        """End the server."""
        self._server.stop()


class _Listener:
    """What clients ask for; the SDK looks for methods of these names only."""

    def __init__(self, owner: FoxgloveServer):
        self._owner = owner

    def on_subscribe(self, client: Any, channel: Any) -> None:
        self._owner._watching.add((client.id, channel.id))

    def on_unsubscribe(self, client: Any, channel: Any) -> None:
        self._owner._watching.discard((client.id, channel.id))

    def on_get_parameters(self, _client: Any, names: list[str], _request: Any = None) -> list[Any]:
        return self._owner.parameters(names)

    def on_set_parameters(self, _client: Any, parameters: list[Any],
                          _request: Any = None) -> list[Any]:
        return self._owner.set_parameters(parameters)


def _origin(messages: Any) -> Any:
    return messages.Pose(position=messages.Vector3(x=0.0, y=0.0, z=0.0),
                         orientation=messages.Quaternion(x=0.0, y=0.0, z=0.0, w=1.0))


def _jpeg(picture: Image) -> bytes:
    return cv2.imencode('.jpg', picture, (cv2.IMWRITE_JPEG_QUALITY, 85))[1].tobytes()
