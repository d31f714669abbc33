# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of `da_ros_view`: pictures, cloud and scan ring in a browser, by viser."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
import html
from io import StringIO
import socket
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.errors import DaRosError
from da_ros.scan import Scan

Image = NDArray[np.uint8]
INSTALL = 'viser is not installed: pip install "da_ros[view]"'
SCAN_RGB, ROBOT_RGB = (255, 60, 40), (80, 160, 255)
# Parameters of the node that the page may change.
CHANGEABLE = ('range_mask_m', 'mask_probability', 'min_range_m', 'max_range_m', 'camera_height_m')
PICTURE_PX = 512                      # width of the pictures beside the scene
NEAR_M = 0.3                          # gets the warmest colour, as in the preview
GAP_M = 0.5                           # neighbouring beams farther apart are not joined


class ViewError(DaRosError):
    """A page that cannot be served, or nothing to show on it."""


@dataclass
class Shown:
    """What one moment looks like; None = leave what is there."""

    panorama: Image | None = None             # (H, W, 3) BGR
    preview: Image | None = None              # (H, W, 3) BGR
    points: NDArray[np.float32] | None = None     # (N, 3) m, x forward, y left, z up
    colours: Image | None = None              # (N, 3) RGB
    scan: Scan | None = None
    text: str = ''                            # markdown
    floor_m: float = 0.0                      # below the camera; 0 = not known


def colours_of_range(points: NDArray[np.float32], far_m: float = 20.0) -> Image:
    """Return RGB (N, 3): warm = near, cool = far, as in the preview."""
    range_m = np.maximum(np.sqrt((points ** 2).sum(axis=1)), NEAR_M)
    level = np.clip(np.log(range_m / NEAR_M) * (255 / np.log(far_m / NEAR_M)), 0, 255)
    painted = cv2.applyColorMap((255 - level).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)
    return np.ascontiguousarray(painted[:, 0, ::-1], np.uint8)


def scan_ring(scan: Scan) -> NDArray[np.float32]:
    """Return line segments (N, 2, 3) that join neighbouring finite beams, across the seam too."""
    angle = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
    finite = np.isfinite(scan.ranges)
    range_m = np.where(finite, scan.ranges, 0)
    ends = np.stack([range_m * np.cos(angle), range_m * np.sin(angle), 0 * angle], -1)
    following = np.roll(ends, -1, axis=0)
    gap_m = np.maximum(GAP_M, 0.2 * range_m)
    joined = finite & np.roll(finite, -1) & (np.linalg.norm(following - ends, axis=1) < gap_m)
    return np.stack([ends, following], 1)[joined].astype(np.float32)


class Page:
    """A viser server with one scene; what is shown is replaced moment by moment."""

    def __init__(self, host: str = '127.0.0.1', port: int = 8080):
        """
        Begin to serve.

        :raises ViewError: if viser is not installed or the port is taken
        """
        try:
            import viser
        except ImportError as error:
            raise ViewError(INSTALL) from error
        try:
            socket.create_server((host, port)).close()     # viser itself would wait for ever
        except OSError as error:
            raise ViewError(f'port {port} of {host} cannot be served: {error.strerror or error}; '
                            'choose another --port, 0 = any') from error
        with redirect_stdout(StringIO()):                  # its banner
            self._server: Any = viser.ViserServer(host=host, port=port, verbose=False)
        self.url = f'http://{host}:{self._server.get_port()}'
        self._pictures: dict[str, Any] = {}
        self._server.scene.set_up_direction('+z')
        self._server.initial_camera.position = (-4.0, -4.0, 4.0)
        self._server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self._server.scene.add_frame('/camera', axes_length=0.5, axes_radius=0.02)
        self._grid = self._server.scene.add_grid(
            '/floor', width=20.0, height=20.0, cell_size=1.0, position=(0.0, 0.0, -1.0))
        self._status = self._server.gui.add_markdown('waiting for data')

    @property
    def watched(self) -> bool:
        """Whether a browser is open on the page."""
        return bool(self._server.get_clients())

    def show(self, shown: Shown) -> None:
        """Replace what is shown."""
        scene = self._server.scene
        with self._server.atomic():
            if shown.points is not None:
                colours = (colours_of_range(shown.points) if shown.colours is None
                           else shown.colours)
                # float32, because float16 puts a point at 40 m on a grid of 3 cm
                scene.add_point_cloud('/points', shown.points, colours, point_size=0.03,
                                      point_shape='circle', precision='float32')
            if shown.scan is not None:
                scene.add_line_segments('/scan', scan_ring(shown.scan), SCAN_RGB, thickness=3.0,
                                        thickness_units='screen')
            self._picture('panorama', shown.panorama)
            self._picture('range', shown.preview)
            if shown.floor_m:
                self._grid.position = (0.0, 0.0, -shown.floor_m)
            if shown.text:
                self._status.content = shown.text

    def _picture(self, name: str, bgr: Image | None) -> None:
        if bgr is None:
            return
        rgb = np.ascontiguousarray(small(bgr)[..., ::-1])
        if name not in self._pictures:
            self._pictures[name] = self._server.gui.add_image(
                rgb, label=name, format='jpeg', jpeg_quality=80)
        else:
            self._pictures[name].image = rgb

    def add_slider(self, label: str, count: int, changed: Callable[[int], None]) -> None:
        """Let a moment 0 ... count - 1 be chosen."""
        slider = self._server.gui.add_slider(label, 0, max(count - 1, 1), 1, 0)
        slider.on_update(lambda _event: changed(min(int(slider.value), count - 1)))

    def add_parameters(self, values: dict[str, float],
                       change: Callable[[str, float], str]) -> None:
        """
        Let numbers be changed; what `change` answers is shown below them.

        :param values: by name of the parameter
        :param change: takes name and value, returns '' or why not
        """
        with self._server.gui.add_folder('parameters'):
            fields = {name: self._server.gui.add_number(name, float(value))
                      for name, value in values.items()}
            answer = self._server.gui.add_markdown('')
        for name, field in fields.items():
            def on_update(_event: Any, name: str = name, field: Any = field) -> None:
                refused = change(name, float(field.value))
                answer.content = (f'**refused**: {refused}' if refused
                                  else f'{name} is {field.value:g}')
            field.on_update(on_update)

    def html(self, shown: Shown, title: str) -> str:
        """Return a page that opens from disk, without a server: pictures above, scene below."""
        self.show(shown)
        scene = self._server.get_scene_serializer().as_html(dark_mode=True)
        pictures = ''.join(
            f'<img alt="{name}" src="data:image/jpeg;base64,{_jpeg(picture)}">'
            for name, picture in (('panorama', shown.panorama), ('range', shown.preview))
            if picture is not None)
        return HTML.format(
            title=html.escape(title), pictures=pictures, scene=html.escape(scene),
            text=html.escape(shown.text.replace('**', '')))

    def close(self) -> None:
        """End the server."""
        with redirect_stdout(StringIO()):
            self._server.stop()


HTML = """<!doctype html>
<html><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ margin: 0; background: #111; color: #ddd; font: 14px sans-serif; display: flex;
       flex-direction: column; height: 100vh }}
header {{ padding: 6px 10px; white-space: pre-line }}
.pictures {{ display: flex; gap: 4px }} .pictures img {{ width: 50%; min-width: 0 }}
iframe {{ flex: 1; border: 0 }}
</style></head>
<body><header><b>{title}</b> {text}</header><div class="pictures">{pictures}</div>
<iframe srcdoc="{scene}"></iframe></body></html>
"""


def small(picture: Image) -> Image:
    """Return a picture no wider than the page shows it."""
    if picture.shape[1] <= PICTURE_PX:
        return picture
    height = round(picture.shape[0] * PICTURE_PX / picture.shape[1])
    return np.asarray(cv2.resize(picture, (PICTURE_PX, height), interpolation=cv2.INTER_AREA),
                      np.uint8)


def _jpeg(bgr: Image) -> str:
    _, data = cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, 85))
    return base64.b64encode(data.tobytes()).decode()
