# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""H.264 messages: pictures in order, key frames waited for, losses told, never a wrong picture."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import da_ros
from da_ros.cameras.h264 import Numbering, units
from da_ros.cameras.video import is_video, VideoDecoder, VideoError

av = pytest.importorskip('av', reason='the extra da_ros[video] is not installed')
KEYS_EVERY = 8


@pytest.fixture(scope='module', params=['baseline', 'high', 'bframes-off-refs-3'])
def stream(request):
    """Return pictures and their messages, as three kinds of encoders send them."""
    from video_frames import encoded
    options = {'baseline': {'profile': 'baseline'}, 'high': {'profile': 'high'},
               'bframes-off-refs-3': {'profile': 'high', 'refs': '3'}}[request.param]
    lounge = cv2.imread(str(Path(da_ros.__file__).parent / 'samples/lounge.jpg'))
    lounge = cv2.resize(lounge, (320, 160), interpolation=cv2.INTER_AREA)
    pictures = [np.roll(lounge, 7 * k, 1) for k in range(24)]
    return pictures, encoded(pictures, KEYS_EVERY, options)


def decoded(messages, decoder=None):
    """Return what each message gives: the picture, None, or the error's text."""
    decoder = decoder or VideoDecoder()
    results = []
    for message in messages:
        try:
            results.append(decoder.decode(message))
        except VideoError as error:
            results.append(str(error))
    return results


def off(picture, true) -> float:
    return float(np.abs(picture.astype(int) - true).mean())


def test_every_message_gives_its_own_picture_at_once(stream):
    pictures, messages = stream
    assert len(messages) == len(pictures)
    for number, (got, true) in enumerate(zip(decoded(messages), pictures)):
        assert off(got, true) < 6 < off(got, pictures[number - 3])


def test_a_stream_that_is_joined_midway_waits_for_a_key_frame(stream):
    pictures, messages = stream
    decoder = VideoDecoder()
    assert decoded(messages[3:KEYS_EVERY], decoder) == [None] * 5 and decoder.waiting == 5
    got = decoded(messages[KEYS_EVERY:], decoder)
    assert decoder.waiting == 0
    assert all(off(a, b) < 6 for a, b in zip(got, pictures[KEYS_EVERY:]))


def test_a_lost_message_is_told_and_no_wrong_picture_comes_out(stream):
    """The decoder itself would go on from the wrong picture without a word."""
    pictures, messages = stream
    got = decoded(messages[:4] + messages[5:])
    assert got[4] == 'an h264 message was lost; waiting for the next key frame'
    assert got[5:7] == [None] * 2
    assert all(off(a, b) < 6 for a, b in zip(got[7:], pictures[8:]))


@pytest.mark.parametrize('damage', [lambda m: m[:len(m) // 2], lambda m: m[:-30],
                                    lambda m: m[:40] + bytes(len(m) - 40)])
def test_a_damaged_message_is_told_and_no_wrong_picture_comes_out(stream, damage):
    pictures, messages = stream
    got = decoded([*messages[:4], damage(messages[4]), *messages[5:]])
    assert isinstance(got[4], str) and 'waiting for the next key frame' in got[4]
    for number, result in enumerate(got):
        assert result is None or isinstance(result, str) or off(result, pictures[number]) < 6
    assert not isinstance(got[KEYS_EVERY], str) and got[KEYS_EVERY] is not None


@pytest.mark.parametrize('data', [b'', b'\xff\xd8 no video', b'\0\0\0c' + b'x' * 99])
def test_what_is_no_byte_stream_is_refused(data):
    with pytest.raises(VideoError, match=f'of {len(data)} bytes holds no H.264 start code'):
        VideoDecoder().decode(data)


def test_noise_never_gives_a_picture_nor_another_error():
    rng = np.random.default_rng(0)
    decoder = VideoDecoder()
    for _ in range(200):
        noise = b'\0\0\1' + bytes([rng.integers(256)]) + rng.bytes(int(rng.integers(0, 300)))
        for result in decoded([noise], decoder):
            assert result is None or isinstance(result, str)


def test_numbers_go_round_and_pictures_that_none_refers_to_may_be_missing(stream):
    numbering = Numbering()
    assert not any(numbering.missing(message) for message in stream[1] * 3)
    kinds = [unit.kind for unit in units(stream[1][0])]
    assert 7 in kinds and 5 in kinds and numbering.missing(stream[1][3])


def test_formats_by_name():
    assert is_video('h264') and is_video('H.264') and is_video('h264; bgr8')
    assert not any(map(is_video, ('jpeg', 'png', 'hevc', 'av1', '')))


def test_without_pyav_the_remedy_is_named(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(VideoError, match=r"needs PyAV: pip install 'da_ros\[video\]'; or let the"):
        VideoDecoder()
