# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Look at panorama, range, cloud and scan in a browser: live, or of a bag, a folder or a picture.

    da_ros_view                                    # what the running node publishes
    da_ros_view drive.mcap --camera-height 1.2     # with a time slider, estimated here
    da_ros_view panorama.jpg --html scene.html     # a page that opens from disk

The page is at http://127.0.0.1:8080, for this machine only unless --host says otherwise; nothing
is subscribed and nothing estimated while no browser is open. Needs `pip install "da_ros[view]"`.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
import sys
import time

from da_ros.backends.order import BACKEND_CHOICES
from da_ros.commands.foreground import open_in_foreground
from da_ros.commands.view_foxglove import FoxgloveServer
from da_ros.commands.view_page import CHANGEABLE, Page, ViewError
from da_ros.commands.view_recorded import pictures_at, Recorded
from da_ros.config import ConfigError, RangeRule
from da_ros.errors import DaRosError
from da_ros.estimator import RangeEstimator
from da_ros.files import whole_file

PAGE_PORT, FOXGLOVE_PORT = 8080, 8765
LOOK_S = 0.1             # between two looks at whether somebody watches


def main(args: list[str] | None = None) -> int:
    """Run the command; 1 and one line if something is wrong."""
    options = _arguments(args)
    try:
        if options.source is None:
            from da_ros.commands.view_live import watch
            watch(options, open_page(options))
        else:
            recorded(options)
    except (DaRosError, ConfigError, ValueError, OSError) as error:
        print(f'da_ros_view: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def recorded(options: argparse.Namespace) -> None:
    """
    Serve, or write, what a bag, a folder or a picture shows.

    :raises DaRosError: nothing to read, no runtime, no viewer
    """
    pictures = pictures_at(options.source, options.topic)
    if not 0 <= options.frame < len(pictures):
        raise ViewError(f'--frame {options.frame} is not within 0 to {len(pictures) - 1}')
    rule = RangeRule(range_mask_m=options.range_mask, camera_height_m=options.camera_height)
    estimator = open_in_foreground(lambda given_up: RangeEstimator(
        options.model or None, options.backend, rule=rule, given_up=given_up))
    page = open_page(options)
    try:
        session = Recorded(pictures, estimator, page.show)
        if options.html:
            session.choose(options.frame)
            assert isinstance(page, Page)
            with whole_file(options.html) as part:
                part.write_text(page.html(session.shown(), str(options.source.name)),
                                encoding='utf-8')
            print(f'{options.source} -> {options.html}')
            return
        page.add_parameters({name: value for name, value in asdict(rule).items()
                             if name in CHANGEABLE}, session.change)
        if len(pictures) > 1:
            page.add_slider('frame', len(pictures), session.choose)
        print(f'open {page.url}; Ctrl-C ends')
        while not page.watched:
            time.sleep(LOOK_S)
        session.choose(options.frame)
        while True:
            time.sleep(3600)
    finally:
        page.close()
        estimator.close()


def open_page(options: argparse.Namespace) -> Page | FoxgloveServer:
    """
    Begin to serve: a page for browsers, or what the Foxglove app connects to.

    :raises ViewError: if it cannot be served
    """
    if options.foxglove:
        return FoxgloveServer(
            options.host, FOXGLOVE_PORT if options.port is None else options.port)
    port = PAGE_PORT if options.port is None else options.port
    return Page(options.host, 0 if options.html else port)


def _arguments(args: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='da_ros_view', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', nargs='?', type=Path,
                        help='bag, folder or picture; left out: the running node')
    parser.add_argument('--html', type=Path, help='write a page instead of serving one')
    parser.add_argument('--frame', type=int, default=0, help='of the source [%(default)s]')
    parser.add_argument('--host', default='127.0.0.1', help='address to serve on [%(default)s]')
    parser.add_argument('--port', type=int,
                        help=f'0 = any [{PAGE_PORT}, with --foxglove {FOXGLOVE_PORT}]')
    parser.add_argument('--foxglove', action='store_true',
                        help='serve the Foxglove app instead of browsers (layout: '
                        'config/foxglove_layout.json)')
    parser.add_argument('--topic', default='', help='image topic of a bag')
    parser.add_argument('--model', default='', help='bundle folder or name; default: pano_tiny')
    parser.add_argument('--backend', default='auto', choices=BACKEND_CHOICES)
    parser.add_argument('--range-mask', type=float, default=-1.0, metavar='METRES',
                        help='-1 = the largest of the bundle, 0 = off [%(default)g]')
    parser.add_argument('--camera-height', type=float, default=0.0, metavar='METRES',
                        help='above the floor; 0 = unknown [%(default)g]')
    parser.add_argument('--node', default='pano_depth', help='live: the node [%(default)s]')
    parser.add_argument('--namespace', default='/', help='live: of node and topics [%(default)s]')
    parser.add_argument('--image', default='image', help='live: topic of the camera [%(default)s]')
    options = parser.parse_args(args)
    if options.html and options.foxglove:
        parser.error('--html and --foxglove: choose one')
    if options.html and options.source is None:
        parser.error('--html needs a bag, a folder or a picture')
    return options


if __name__ == '__main__':
    raise SystemExit(main())
