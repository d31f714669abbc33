# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every camera encoding becomes the same BGR picture."""

from array import array
import sys
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
from pictures import still
import pytest

from da_ros.encodings import ENCODINGS
from da_ros.pixels import image_from_msg, MessageError, picture_of

COLOUR = np.array([200, 120, 40], np.uint8)                 # B G R


def picture(height=8, width=16) -> np.ndarray:
    """Return a picture whose left half is one colour and whose right half is another."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, :width // 2], image[:, width // 2:] = COLOUR, COLOUR[::-1]
    return image


def message(encoding: str, rows: np.ndarray, height: int, width: int, padding=0, big=0):
    rows = np.ascontiguousarray(rows).reshape(rows.shape[0], -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(encoding=encoding, height=height, width=width, step=rows.shape[1],
                           is_bigendian=big, data=array('B', rows.tobytes()))


def encoded(encoding: str, image: np.ndarray) -> np.ndarray:
    """Return the rows of a picture in an encoding, written from the encoding's definition."""
    encoding = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8', '16UC3': 'bgr16',
                '16UC4': 'bgra16', 'yuyv': 'yuv422_yuy2', 'uyvy': 'yuv422'}.get(encoding, encoding)
    blue, green, red = (image[..., k] for k in range(3))
    full = np.full_like(blue, 255)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    height, width = blue.shape
    luma = yuv[:height]
    chroma = yuv[height:].reshape(2, height // 2, width // 2)
    planes = {'b': blue, 'g': green, 'r': red, 'a': full, 'm': grey}
    letters = encoding.removesuffix('8').removesuffix('16')
    if encoding in ('mono8', 'mono16'):
        return grey if encoding == 'mono8' else grey.astype('<u2') * 257
    if set(letters) <= set('bgra'):
        values = np.stack([planes[letter] for letter in letters], -1)
        return values.astype('<u2') * 257 if encoding.endswith('16') else values
    if encoding in ('nv12', 'nv21'):
        order = (chroma[0], chroma[1]) if encoding == 'nv12' else (chroma[1], chroma[0])
        return np.vstack([luma, np.stack(order, -1).reshape(-1, width)])
    u, v = (plane.repeat(2, 0).repeat(2, 1) for plane in chroma)
    if encoding == 'nv24':
        return np.vstack([luma, np.stack([u, v], -1).reshape(-1, width)])
    if encoding.startswith('yuv422'):
        mixed = np.where(np.arange(width) % 2 == 0, u, v)
        order = (luma, mixed) if encoding.endswith('yuy2') else (mixed, luma)
        return np.stack(order, -1)
    pattern, bits = encoding.removeprefix('bayer_')[:4], encoding[-2:]
    mosaic = np.empty_like(blue)
    for k, letter in enumerate(pattern):
        mosaic[k // 2::2, k % 2::2] = planes[letter][k // 2::2, k % 2::2]
    return mosaic.astype('<u2') * 257 if bits == '16' else mosaic


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_the_picture_back(encoding, padding):
    image = picture()
    got = image_from_msg(message(encoding, encoded(encoding, image), 8, 16, padding))
    assert got.shape == image.shape and got.dtype == np.uint8
    wanted = image
    if encoding.startswith('mono') or encoding == '8UC1':
        wanted = np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None], 3, -1)
    inner = np.r_[2:6, 10:14]                               # away from the colour edge
    assert np.abs(got[2:6, inner].astype(int) - wanted[2:6, inner]).max() <= 3


def test_one_format_under_two_names_is_the_same_picture():
    noise = np.random.default_rng(0).integers(0, 256, (8, 32), dtype=np.uint8)
    for new, old in (('yuyv', 'yuv422_yuy2'), ('uyvy', 'yuv422'), ('8UC3', 'bgr8'),
                     ('8UC1', 'mono8'), ('8UC4', 'bgra8'), ('16UC3', 'bgr16'),
                     ('16UC4', 'bgra16')):
        width = 32 // {'bgr8': 3, 'mono8': 1, 'bgra8': 4, 'bgr16': 6, 'bgra16': 8}.get(old, 2)
        rows = noise[:, :width * (32 // width)]
        got, wanted = (image_from_msg(message(name, rows, 8, width)) for name in (new, old))
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize('encoding', ['mono16', 'bgr16', 'rgba16', 'bayer_rggb16'])
def test_wide_values_give_their_upper_byte_in_either_byte_order(encoding):
    channels = ENCODINGS[encoding].channels
    rows = np.full((8, 16 * channels), 0x1234, '>u2')
    for big, order in ((1, '>u2'), (0, '<u2')):
        got = image_from_msg(message(encoding, rows.astype(order), 8, 16, big=big))
        assert (got[2:6, 2:14] == 0x12).all()


def test_bgr8_is_not_copied():
    msg = message('bgr8', picture(), 8, 16)
    assert np.shares_memory(image_from_msg(msg), np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize('encoding, meant', [('8UC1', 'mono8'), ('8UC3', 'bgr8'),
                                             ('8UC4', 'bgra8'), ('16UC3', 'bgr16')])
def test_an_encoding_that_names_no_colours_is_told_with_what_it_is_taken_for(encoding, meant):
    got = picture_of(message(encoding, encoded(encoding, picture()), 8, 16))
    text, = got.warnings
    assert f'{encoding!r} says nothing of colours and is taken for {meant}' in text
    assert picture_of(message(meant, encoded(meant, picture()), 8, 16)).warnings == ()


@pytest.mark.parametrize('changes, text', [
    (dict(height=0), 'image is empty (16 x 0 px bgr8)'),
    (dict(step=47), 'has step 47, needs at least 48'),
    (dict(step=49), 'with step 49 has 384 bytes, needs 392'),
    (dict(encoding='nv12', height=7, step=16), '16 x 7 px nv12 needs even sides'),
    (dict(encoding='nv21', width=15, step=16), '15 x 8 px nv21 needs even sides'),
    (dict(encoding='nv24', step=16), 'nv24 with step 16 has 384 bytes, needs 384'),
    (dict(encoding='uyvy', width=15), '15 x 8 px uyvy needs even sides')])
def test_a_wrong_message_is_named(changes, text):
    msg = message('bgr8', picture(), 8, 16)
    for name, value in changes.items():
        setattr(msg, name, value)
    if 'needs 384' in text:                 # that is a whole one: one byte less is not
        msg.data.pop()
        text = text.replace('has 384', 'has 383')
    with pytest.raises(MessageError) as caught:
        image_from_msg(msg)
    assert text in str(caught.value)


def test_an_unknown_encoding_names_those_known_and_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv_bridge', None)        # as if it were not installed
    with pytest.raises(MessageError, match="encoding '16SC3' is not supported; use one of bgr8, "
                       'rgb8, .* or install cv_bridge'):
        image_from_msg(message('16SC3', np.zeros((8, 96), np.uint8), 8, 16))


@pytest.mark.parametrize('answer, text', [
    (picture(), None), (ValueError('is not a color\nformat'), 'convert it either: is not a color'),
    (np.zeros((8, 16), np.uint8), r'convert it either: it gave \(8, 16\) uint8')])
def test_what_the_table_lacks_is_asked_of_cv_bridge(monkeypatch, answer, text):
    """A stand-in for the module, which only an installed ROS has; asked as the real one is."""
    class CvBridge:
        def imgmsg_to_cv2(self, msg, desired_encoding='passthrough'):
            assert desired_encoding == 'bgr8' and msg.encoding == 'from_tomorrow'
            if isinstance(answer, Exception):
                raise answer
            return answer
    module = ModuleType('cv_bridge')
    module.CvBridge = CvBridge
    monkeypatch.setitem(sys.modules, 'cv_bridge', module)
    msg = message('from_tomorrow', picture(), 8, 16)
    if text is None:
        np.testing.assert_array_equal(image_from_msg(msg), picture())
    else:
        with pytest.raises(MessageError, match=text) as caught:
            image_from_msg(msg)
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix, name', [('.png', 'png'), ('.png', ''), ('.jpg', 'jpeg'),
                                          ('.jpg', 'bgr8; jpeg compressed bgr8')])
def test_stills_are_decoded(suffix, name):
    data = cv2.imencode(suffix, picture())[1].tobytes()
    got = picture_of(still(data, name))
    assert np.abs(got.image[:, 2:6].astype(int) - COLOUR).max() <= 6 and got.warnings == ()


def test_video_and_damaged_data_are_refused_with_the_remedy():
    with pytest.raises(MessageError, match="'h264' is not a still image .* decode it first"):
        picture_of(still(b'abc', 'h264'))
    with pytest.raises(MessageError, match=r"compressed image \('jpeg'\): JPEG of 2 bytes is "
                       'truncated .*check the camera driver or the link'):
        picture_of(still(b'\xff\xd8'))
