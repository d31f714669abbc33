# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The thread that serves frames: of each camera always the newest one, the cameras in turn."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

HUNG_S = 30.0            # a frame that takes longer will never end: its device hangs


class FrameWorker:
    """
    One thread, and one slot for each camera: the newest frame waits there and pushes out an older.

    The camera after the one that was served last comes first, so that a fast camera cannot keep a
    slow one waiting for more than one frame of each other.
    """

    def __init__(self, *serve: Callable[[Any], None]):
        """Start the thread; each of `serve` serves a frame of its camera and raises nothing."""
        self._serve = serve
        self._slots: list[Any] = [None] * len(serve)
        self._news = threading.Condition()
        self.stopping = False
        self._thread = threading.Thread(target=self._run, name='pano_depth', daemon=True)
        self._thread.start()

    def submit(self, msg: Any, camera: int = 0) -> bool:
        """Hand over a frame; return True if that pushed out one that had not begun."""
        # One slot and no queue: behind a network that is slower than the camera a queue would only
        # grow the age of what is published.
        with self._news:
            pushed_out, self._slots[camera] = self._slots[camera] is not None, msg
            self._news.notify()
        return pushed_out

    def stop(self) -> None:
        """
        Finish the frame in progress and end.

        :raises TimeoutError: if the frame does not end; nothing that it uses may be freed then
        """
        with self._news:
            self.stopping, self._slots = True, [None] * len(self._slots)
            self._news.notify()
        self._thread.join(HUNG_S)
        if self._thread.is_alive():
            raise TimeoutError(f'a frame does not end within {HUNG_S:g} s: its runtime or its '
                               'device hangs; start the node anew')

    def _run(self) -> None:
        camera = len(self._slots) - 1
        while True:
            with self._news:
                self._news.wait_for(lambda: self.stopping or self._waiting())
                if self.stopping:
                    return
                camera = next(number for number in (*range(camera + 1, len(self._slots)),
                                                    *range(camera + 1))
                              if self._slots[number] is not None)
                msg, self._slots[camera] = self._slots[camera], None
            self._serve[camera](msg)

    def _waiting(self) -> bool:
        return any(msg is not None for msg in self._slots)
