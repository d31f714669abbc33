# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A real browser without a screen, driven over its debugging pipe: nothing to install but it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')


def find_browser() -> str:
    """Return the path of a Chromium, or ''."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), '')


class Browser:
    """One page in a browser process of its own."""

    def __init__(self, url: str, profile: str, width: int = 1200, height: int = 700):
        """Open a page and wait until its title ends with `ready`."""
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # The browser takes its pipe as descriptors 3 and 4; in between nothing else may be open.
        line = ' '.join([
            f'exec 3<&{commands} 4>&{answers}; exec "$0"', '--headless', '--no-sandbox',
            '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe',
            f'--user-data-dir="{profile}"', f'--window-size={width},{height}', 'about:blank'])
        self._process = subprocess.Popen(
            ['bash', '-c', line, find_browser()], pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self._buffer, self._number, self._session = b'', 0, None
        target = self.call('Target.createTarget', url=url)
        self._session = self.call('Target.attachToTarget', targetId=target['targetId'],
                                  flatten=True)['sessionId']
        self.wait_for("document.title.endsWith('ready')")

    def __enter__(self) -> Browser:
        """Return the page itself."""
        return self

    def __exit__(self, *_) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **params):
        """Return the result of one command of the debugging protocol."""
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': params}
        if self._session:
            message['sessionId'] = self._session
        os.write(self._commands, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']

    def _read(self):
        while b'\0' not in self._buffer:
            chunk = os.read(self._answers, 1 << 16)
            assert chunk, 'the browser has ended'
            self._buffer += chunk
        text, self._buffer = self._buffer.split(b'\0', 1)
        return json.loads(text)

    def evaluate(self, script: str):
        """Return the value of an expression in the page; a promise is waited for."""
        result = self.call('Runtime.evaluate', expression=script, returnByValue=True,
                           awaitPromise=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def wait_for(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < end, f'never true: {script}'
            time.sleep(0.05)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button at a place of the page [px]."""
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', buttons=1,
                      clickCount=1)

    def wheel(self, x: float, y: float, delta: float) -> None:
        """Turn the wheel at a place [px]; negative = away from the user."""
        self.call('Input.dispatchMouseEvent', type='mouseWheel', x=x, y=y, deltaX=0, deltaY=delta)

    def key(self, key: str) -> None:
        """Press a key; a letter also types."""
        text = {'text': key} if len(key) == 1 else {}
        self.call('Input.dispatchKeyEvent', type='keyDown', key=key, **text)
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key)

    def picture(self, path) -> None:
        """Write what the page looks like as PNG."""
        import base64
        data = self.call('Page.captureScreenshot', format='png')['data']
        path.write_bytes(base64.b64decode(data))
