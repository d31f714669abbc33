# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""H.264 messages as a live camera's encoder makes them, one per picture; needs PyAV."""

from fractions import Fraction

import numpy as np


def encoded(pictures: list[np.ndarray], keys_every: int, options: dict[str, str]) -> list[bytes]:
    """Return one message per BGR picture; parameters are repeated with each key frame."""
    import av
    context = av.CodecContext.create('libx264', 'w')
    context.height, context.width = pictures[0].shape[:2]
    context.pix_fmt, context.time_base, context.gop_size = 'yuv420p', Fraction(1, 30), keys_every
    context.options = {'tune': 'zerolatency', 'preset': 'veryfast', 'crf': '18',
                       'x264-params': 'repeat-headers=1:annexb=1:scenecut=0', **options}
    messages = []
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format='bgr24')
        frame.pts = number
        messages += [bytes(packet) for packet in context.encode(frame)]
    return messages + [bytes(packet) for packet in context.encode(None)]
