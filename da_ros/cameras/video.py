# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
H.264 as cameras send it in messages: one decoder that waits for key frames and tells its losses.

A still image can be dropped at will; of a video every message must be decoded, because each
picture is told by what changed since the last. After a loss all pictures are wrong until the next
key frame, so none is given out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da_ros.cameras.h264 import IDR, Numbering, units
from da_ros.errors import DaRosError
from da_ros.jpeg_png import MAX_IMAGE_PIXELS

FORMATS = ('h264', 'avc')
WAITING = 'waiting for the next key frame'


class VideoError(DaRosError):
    """A video message that gives no picture to trust."""


def is_video(name: str) -> bool:
    """Return whether the format of a CompressedImage is one that this decoder takes."""
    return any(known in name.lower().replace('.', '') for known in FORMATS)


class VideoDecoder:
    """
    Turns H.264 messages (Annex B) into pictures, one after the other and in order.

    `waiting` counts the messages since the last picture that were of no use without a key frame.
    """

    def __init__(self) -> None:
        """
        Open the decoder.

        :raises VideoError: if PyAV is not installed
        """
        try:
            import av
            import av.logging
        except ImportError as error:
            raise VideoError("decoding h264 needs PyAV: pip install 'da_ros[video]'; or let the "
                             'camera driver decode and set image_transport to raw') from error
        self._av = av
        av.logging.set_level(av.logging.ERROR)
        self.waiting = 0
        self._restart()

    def _restart(self) -> None:
        self._context = self._av.CodecContext.create('h264', 'r')
        # Threads over frames would hold pictures back; those over slices, their complaints.
        self._context.thread_count = 1
        self._context.flags |= self._av.codec.context.Flags.low_delay
        # FFmpeg's own limit of 2^31 px would let a header of some bytes take gigabytes.
        self._context.options = {'max_pixels': str(MAX_IMAGE_PIXELS)}
        self._numbering = Numbering()
        self._has_key = False

    def decode(self, data: bytes) -> NDArray[np.uint8] | None:
        """
        Decode one message.

        :param data: one picture with start codes
        :return: (height, width, 3) uint8 BGR; None while no key frame has come, or if the message
            holds no picture
        :raises VideoError: if it is no H.264, damaged, or one before it is missing; pictures come
            again from the next key frame on
        """
        kinds = {unit.kind for unit in units(data)}
        if not kinds:
            raise VideoError(f'message of {len(data)} bytes holds no H.264 start code; the camera '
                             'must send a byte stream (Annex B), not length-prefixed units')
        if not self._has_key and IDR not in kinds:
            self.waiting += 1
            return None
        if self._numbering.missing(data):
            self._restart()
            raise VideoError(f'an h264 message was lost; {WAITING}')
        try:
            with self._av.logging.Capture(local=True) as complaints:
                frames = self._context.decode(self._av.Packet(data))
        except self._av.FFmpegError as error:
            self._restart()
            raise VideoError(f'h264 message of {len(data)} bytes is damaged; {WAITING}'
                             ) from error
        # The decoder conceals what it cannot read; only its log says so every time.
        if complaints or any(frame.is_corrupt for frame in frames):
            self._restart()
            raise VideoError(f'h264 message of {len(data)} bytes is damaged; {WAITING}')
        if not frames:
            return None
        self._has_key, self.waiting = True, 0
        return np.asarray(frames[-1].to_ndarray(format='bgr24'), np.uint8)
