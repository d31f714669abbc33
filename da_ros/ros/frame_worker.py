"""The thread that serves frames, always the newest one."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any


class FrameWorker:
    """One thread and one slot: the newest frame waits there, an older one is pushed out."""

    def __init__(self, process: Callable[[Any], None]):
        """Start the thread; `process` serves one frame and raises nothing."""
        self._process = process
        self._slot: Any = None
        self._news = threading.Condition()
        self.stopping = False
        self._thread = threading.Thread(target=self._run, name='pano_depth', daemon=True)
        self._thread.start()

    def submit(self, msg: Any) -> bool:
        """Hand over a frame; return True if that pushed out one that had not begun."""
        with self._news:
            pushed_out, self._slot = self._slot is not None, msg
            self._news.notify()
        return pushed_out

    def stop(self) -> None:
        """Finish the frame in progress and end."""
        with self._news:
            self.stopping, self._slot = True, None
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._slot is not None or self.stopping)
                if self.stopping:
                    return
                msg, self._slot = self._slot, None
            self._process(msg)
