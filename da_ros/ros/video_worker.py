# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The thread that decodes video: every message in order, whatever becomes of the pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
import threading
import time
from typing import Any

from da_ros.cameras.video import is_video, VideoDecoder, VideoError
from da_ros.panorama import Picture

MOST_WAITING = 60           # messages, two seconds of a camera at 30 Hz


@dataclass(frozen=True)
class DecodedFrame:
    """A picture of a video, with the header of its message."""

    header: Any
    picture: Picture


class VideoWorker:
    """
    Decodes CompressedImage messages and hands on their pictures.

    A picture may be dropped later, a message must not: so they wait in a queue of their own, and
    not in the slot where the newest frame wins.
    """

    def __init__(self, on_picture: Callable[[DecodedFrame, float], None],
                 on_error: Callable[[str], None]):
        """
        Start the thread.

        :param on_picture: takes a frame and how long it took to decode [s]
        :param on_error: takes what went wrong with a message
        :raises VideoError: if PyAV is not installed
        """
        self._decoder = VideoDecoder()
        self._on_picture, self._on_error = on_picture, on_error
        self._queue: deque[Any] = deque()
        self._news = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='video', daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Messages since the last picture that were of no use without a key frame."""
        return self._decoder.waiting

    def submit(self, msg: Any) -> None:
        """Hand over a message."""
        with self._news:
            self._queue.append(msg)
            self._news.notify()

    def stop(self) -> None:
        """Finish the message in progress and end."""
        with self._news:
            self._stopping = True
            self._queue.clear()
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    return
                behind = len(self._queue) > MOST_WAITING
                if behind:
                    self._queue.clear()         # the gap is told by the numbers of the pictures
                else:
                    msg = self._queue.popleft()
            if behind:
                self._on_error('decoding h264 is slower than the camera; lower its rate or size')
                continue
            try:
                self._decode(msg)
            except VideoError as error:
                self._on_error(str(error))
            except Exception as error:
                self._on_error(f'{type(error).__name__}: {error}')

    def _decode(self, msg: Any) -> None:
        if msg.format and not is_video(msg.format):
            raise VideoError(f'compressed format {msg.format!r} is not h264; set image_transport '
                             'to compressed for jpeg and png')
        began = time.perf_counter()
        image = self._decoder.decode(bytes(msg.data))
        if image is not None:
            self._on_picture(DecodedFrame(msg.header, Picture(image)),
                             time.perf_counter() - began)
