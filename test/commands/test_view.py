# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The viewer in a real browser: a page on disk, and the running node with its own answers."""

from contextlib import contextmanager
import shutil
import socket
import subprocess
import sys
import threading

from conftest import painted, ROOT
import cv2
import numpy as np
import pytest

pytest.importorskip('viser', reason='viser is not installed (extra da_ros[view])')

from da_ros.commands import view
from da_ros.commands.view_page import colours_of_range, scan_ring
from da_ros.scan import Scan

PATIENCE_MS = 120_000
DRAWN_BY_CPU = ('--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader',
                '--enable-unsafe-swiftshader')


@contextmanager
def browser():
    """Yield a page of a headless Chromium."""
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    if chromium is None:
        pytest.skip('chromium is not installed (apt-get install chromium)')
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=DRAWN_BY_CPU)
        page = started.new_page(viewport={'width': 600, 'height': 500})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        started.close()


def shot(page, path):
    """Return a screenshot as BGR."""
    page.screenshot(path=str(path), timeout=PATIENCE_MS)
    return cv2.imread(str(path))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def test_a_page_on_disk_shows_pictures_cloud_and_scan_without_a_server(tmp_path, stand_in):
    range_m = np.full((32, 64), 4.0)
    range_m[:10] = 90.0
    cv2.imwrite(str(tmp_path / 'room.png'), painted(range_m, np.where(range_m < 20, 1.0, 0.0)))
    out = tmp_path / 'scene.html'
    assert view.main([str(tmp_path / 'room.png'), '--html', str(out), '--backend', 'onnxruntime',
                      '--model', str(stand_in.folder)]) == 0
    assert 'http://' not in out.read_text().split('srcdoc=')[0]     # nothing is fetched
    with browser() as page:
        page.goto(f'file://{out}')
        widths = page.evaluate('[...document.images].map(i => i.naturalWidth)')
        assert len(widths) == 2 and min(widths) > 0
        page.frame_locator('iframe').locator('canvas').first.wait_for()
        found = 0
        for _ in range(60):                      # drawn by the CPU, and when it has the time
            page.wait_for_timeout(1000)
            red = shot(page, tmp_path / 'page.png')[400:]
            found = int(((red[..., 2] > 200) & (red[..., 1] < 120) & (red[..., 0] < 100)).sum())
            if found > 100:
                break
        assert found > 100, 'no scan ring is drawn'


def test_the_page_shows_the_running_node_and_passes_its_answers_on(start, peer, model, tmp_path):
    from ros_peer import environment, image_msg
    port = free_port()
    start(model=model)
    peer.wait_for_state('active')
    viewer = subprocess.Popen(
        [sys.executable, '-m', 'da_ros.commands.view', '--port', str(port)], cwd=ROOT,
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    going = threading.Event()
    going.set()
    msg = image_msg(painted(np.full((32, 64), 4.0)))
    publisher = peer.node.create_publisher(type(msg), 'image', 5)

    def camera():
        while going.is_set():
            publisher.publish(msg)
            threading.Event().wait(0.3)
    thread = threading.Thread(target=camera)
    thread.start()
    try:
        assert f'http://127.0.0.1:{port}' in viewer.stdout.readline()
        assert peer.node.count_subscribers('scan') == 0       # nobody watches yet
        with browser() as page:
            page.goto(f'http://127.0.0.1:{port}')
            page.get_by_text('latency total').first.wait_for()
            page.get_by_text('panorama').first.wait_for()
            assert peer.node.count_subscribers('scan') == 1
            field = page.get_by_label('range_mask_m')
            for value, answer in (('15', 'refused'), ('20', 'range_mask_m is 20')):
                field.fill(value)
                field.press('Enter')
                page.get_by_text(answer).first.wait_for()
            assert peer.get_parameter('range_mask_m') == 20
        peer.until(lambda: peer.node.count_subscribers('scan') == 0, 'no subscription is left')
    finally:
        going.clear()
        thread.join()
        viewer.terminate()
        viewer.wait(30)


@pytest.mark.parametrize('arguments, text', [
    (['{}/none.mcap'], 'none.mcap'), (['{}'], 'no JPEG or PNG'),
    (['{}/a.png', '--frame', '3'], '--frame 3 is not within 0 to 0'),
    (['{}/a.png', '--model', 'nothing'], 'bundle folder nothing does not exist'),
    (['{}/a.png', '--host', '203.0.113.1'], 'cannot be served')])
def test_what_is_wrong_is_one_line(arguments, text, tmp_path, capsys):
    if '{}' != arguments[0]:
        cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((32, 64, 3), np.uint8))
    code = view.main([a.format(tmp_path) for a in arguments])
    error = capsys.readouterr().err.strip()
    assert code == 1 and text in error and len(error.splitlines()) == 1, error


def test_a_page_needs_something_to_show(capsys):
    with pytest.raises(SystemExit):
        view.main(['--html', 'x.html'])
    assert '--html needs a bag, a folder or a picture' in capsys.readouterr().err


def test_the_ring_joins_neighbours_across_the_seam_and_leaves_gaps_open():
    ranges = np.full(360, 3.0, np.float32)
    ring = scan_ring(Scan(ranges, -np.pi + np.pi / 360, np.pi / 180, 0.3, 20.0))
    assert len(ring) == 360 and np.allclose(np.linalg.norm(ring, axis=2), 3, rtol=1e-5)
    ranges[10:20], ranges[100:200], ranges[300] = np.inf, 9.0, np.nan
    assert len(scan_ring(Scan(ranges, 0.0, np.pi / 180, 0.3, 20.0))) == 360 - 11 - 2 - 2


def test_what_is_near_is_warm():
    near, far = colours_of_range(np.float32([[0.4, 0, 0], [0, 15, 0]])).astype(int)
    assert near[0] > near[2] and far[2] > far[0]
