# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Label the free floor in own photographs, in a browser.

    python -m training.label_free_space PHOTOS

serves a page on this machine alone and writes NAME.json beside each picture, which
`training.evaluate --benchmark free-space --data PHOTOS` scores. docs/free_space.md says what to
click. The pictures are whole level panoramas, twice as wide as high.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
import mimetypes
import os
from pathlib import Path
import sys
from urllib.parse import unquote

from da_ros.errors import DaRosError
from training.data.files import IMAGE_SUFFIXES
from training.data.free_space import FreeSpaceError, rasterise
from training.labelling.strokes import intervals_of, strokes_of

PAGE = Path(__file__).resolve().parent / 'labelling' / 'free_space.html'
KEPT = ('notes', 'licence', 'camera_height_m')
LARGEST_BYTES = 10_000_000


class LabelServer(ThreadingHTTPServer):
    """Serves the page, the pictures of one folder and their labels; to this machine alone."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0):
        """
        Open the port; 0 = any free one.

        :raises FreeSpaceError: if the folder holds no picture
        :raises OSError: if the port is taken
        """
        self.pictures = {path.name: path for path in sorted(folder.glob('*'))
                         if path.suffix.lower() in IMAGE_SUFFIXES}
        if not self.pictures:
            raise FreeSpaceError(f'no picture in {folder}; it takes {", ".join(IMAGE_SUFFIXES)}')
        super().__init__(('127.0.0.1', port), _Handler)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f'http://127.0.0.1:{self.server_address[1]}/'

    def read_label(self, name: str) -> dict:
        """Return what the page shows of a picture: its strokes and remarks."""
        file = self.pictures[name].with_suffix('.json')
        if not file.is_file():
            return {'strokes': []}
        try:
            label = json.loads(file.read_text(encoding='utf-8'))
            return {**{key: label.get(key) for key in KEPT}, 'strokes': strokes_of(label)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FreeSpaceError(f'{file} is no label: {error!r}; move it away') from error

    def write_label(self, name: str, drawn: dict) -> str:
        """Check and write a label, keeping what the page does not know; return what was done."""
        file = self.pictures[name].with_suffix('.json')
        label = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
        label |= {'image': name, **{key: drawn[key] for key in KEPT if drawn.get(key)}}
        label['intervals'] = intervals_of(drawn['strokes'])
        truth = rasterise(label)
        part = file.with_name(f'.{file.name}.part')
        part.write_text(label_text(label), encoding='utf-8')
        os.replace(part, file)          # a full disk must not leave half a label
        unsure = sum(i['azimuth_deg'][1] - i['azimuth_deg'][0] for i in label['intervals']
                     if i['kind'] == 'unsure')
        return (f'saved {file.name}: {len(label["intervals"])} intervals, nearest '
                f'{truth.nearest.min():.2f} camera heights away, {unsure:.0f} degrees not judged')


def label_text(label: dict) -> str:
    """Return a label as JSON with one interval per line, so that two versions can be compared."""
    head = json.dumps({key: value for key, value in label.items() if key != 'intervals'})
    lines = ',\n'.join(f'  {json.dumps(interval)}' for interval in label['intervals'])
    return f'{head[:-1]}, "intervals": [\n{lines}\n]}}\n'


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer

    def do_GET(self) -> None:
        """Answer with the page, the list, a picture or a label."""
        if not self._from_here():
            return
        kind, _, name = unquote(self.path.lstrip('/')).partition('/')
        if kind == '':
            self._send(200, PAGE.read_bytes(), 'text/html; charset=utf-8')
        elif kind == 'pictures':
            self._send(200, json.dumps(list(self.server.pictures)).encode(), 'application/json')
        elif kind == 'picture' and name in self.server.pictures:
            path = self.server.pictures[name]
            self._send(200, path.read_bytes(), mimetypes.guess_type(name)[0] or 'image/jpeg')
        elif kind == 'label' and name in self.server.pictures:
            try:
                label = self.server.read_label(name)
            except FreeSpaceError as error:
                self._text(409, str(error))
            else:
                self._send(200, json.dumps(label).encode(), 'application/json')
        else:
            self._text(404, f'no {self.path}')

    def do_PUT(self) -> None:
        """Check and write a label."""
        if not self._from_here():
            return
        kind, _, name = unquote(self.path.lstrip('/')).partition('/')
        size = int(self.headers.get('Content-Length') or 0)
        if kind != 'label' or name not in self.server.pictures or size > LARGEST_BYTES:
            self._text(404, f'no {self.path}')
            return
        try:
            text = self.server.write_label(name, json.loads(self.rfile.read(size)))
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            self._text(400, f'not saved: {error}')
        else:
            self._text(200, text)

    def _from_here(self) -> bool:
        """Refuse a page of another site that has been given this machine's address as its own."""
        here = self.headers.get('Host', '').rsplit(':', 1)[0] in ('127.0.0.1', 'localhost')
        if not here:
            self._text(403, 'only http://127.0.0.1 and http://localhost are served')
        return here

    def _text(self, status: int, text: str) -> None:
        self._send(status, text.encode(), 'text/plain; charset=utf-8')

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        """Say nothing per request."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; a known error is one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog='python -m training.label_free_space', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of panoramas')
    parser.add_argument('--port', type=int, default=0, help='0 = any free one')
    args = parser.parse_args(argv)
    try:
        server = LabelServer(args.folder, args.port)
    except (DaRosError, OSError) as error:
        print(f'label_free_space: {error}', file=sys.stderr)
        return 1
    with server:
        print(f'{len(server.pictures)} pictures; open {server.url}  (Ctrl-C ends)', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == '__main__':
    sys.exit(main())
