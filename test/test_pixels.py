"""Every camera encoding becomes the same BGR picture."""

from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from da_ros.pixels import ENCODINGS, image_from_compressed_msg, image_from_msg, MessageError

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
    blue, green, red = (image[..., k] for k in range(3))
    full = np.full_like(blue, 255)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    yuv = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    height, width = blue.shape
    luma = yuv[:height]
    chroma = yuv[height:].reshape(2, height // 2, width // 2)
    if encoding in ('bgr8', 'rgb8', 'bgra8', 'rgba8'):
        planes = {'b': blue, 'g': green, 'r': red, 'a': full}
        return np.stack([planes[letter] for letter in encoding[:-1]], -1)
    if encoding == 'mono8':
        return grey
    if encoding == 'mono16':
        return grey.astype('<u2') * 257
    if encoding == 'nv12':
        return np.vstack([luma, np.stack([chroma[0], chroma[1]], -1).reshape(-1, width)])
    if encoding.startswith('yuv422'):
        u, v = (plane.repeat(2, 0).repeat(2, 1) for plane in chroma)
        mixed = np.where(np.arange(width) % 2 == 0, u, v)
        order = (luma, mixed) if encoding.endswith('yuy2') else (mixed, luma)
        return np.stack(order, -1)
    pattern, bits = encoding.removeprefix('bayer_')[:4], encoding[-2:]
    planes = {'b': blue, 'g': green, 'r': red}
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
    if encoding.startswith('mono'):
        wanted = np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None], 3, -1)
    inner = np.r_[2:6, 10:14]                               # away from the colour edge
    assert np.abs(got[2:6, inner].astype(int) - wanted[2:6, inner]).max() <= 3


def test_big_endian_mono16_uses_its_upper_byte():
    rows = (np.full((2, 4), 0x1234, '>u2'))
    assert (image_from_msg(message('mono16', rows, 2, 4, big=1)) == 0x12).all()
    assert (image_from_msg(message('mono16', rows.astype('<u2'), 2, 4)) == 0x12).all()


def test_bgr8_is_not_copied():
    msg = message('bgr8', picture(), 8, 16)
    assert np.shares_memory(image_from_msg(msg), np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize('changes, text', [
    (dict(encoding='8UC3'), "encoding '8UC3' is not supported; use one of bgr8, rgb8"),
    (dict(height=0), 'image is empty (16 x 0 px bgr8)'),
    (dict(step=47), 'has step 47, needs at least 48'),
    (dict(step=49), 'with step 49 has 384 bytes, needs 392'),
    (dict(encoding='nv12', height=7, step=16), '16 x 7 px nv12 needs even sides'),
    (dict(encoding='yuv422', width=15), '15 x 8 px yuv422 needs even sides')])
def test_a_wrong_message_is_named(changes, text):
    msg = message('bgr8', picture(), 8, 16)
    for name, value in changes.items():
        setattr(msg, name, value)
    with pytest.raises(MessageError) as caught:
        image_from_msg(msg)
    assert text in str(caught.value)


@pytest.mark.parametrize('suffix, name', [('.png', 'png'), ('.png', ''), ('.jpg', 'jpeg'),
                                          ('.jpg', 'bgr8; jpeg compressed bgr8')])
def test_stills_are_decoded_and_truncation_is_noticed(suffix, name):
    data = cv2.imencode(suffix, picture())[1].tobytes()
    got = image_from_compressed_msg(SimpleNamespace(format=name, data=array('B', data)))
    assert np.abs(got[:, 2:6].astype(int) - COLOUR).max() <= 6
    for cut in (len(data) // 2, len(data) - 1):
        with pytest.raises(MessageError, match=f'of {cut} bytes is truncated'):
            image_from_compressed_msg(SimpleNamespace(format=name, data=array('B', data[:cut])))


def test_damaged_and_video_data_are_refused():
    for data in (b'', b'\0' * 40):
        with pytest.raises(MessageError, match='is neither JPEG nor PNG'):
            image_from_compressed_msg(SimpleNamespace(format='jpeg', data=array('B', data)))
    hollow = b'\xff\xd8' + b'\0' * 40 + b'\xff\xd9'
    with pytest.raises(MessageError, match='cannot be decoded'):
        image_from_compressed_msg(SimpleNamespace(format='jpeg', data=array('B', hollow)))
    with pytest.raises(MessageError, match="'h264' is not a still image .* decode it first"):
        image_from_compressed_msg(SimpleNamespace(format='h264', data=array('B', b'abc')))


def test_zeros_after_a_jpeg_are_a_padded_buffer_not_a_truncation():
    data = cv2.imencode('.jpg', picture())[1].tobytes() + b'\0' * 5000
    msg = SimpleNamespace(format='jpeg', data=array('B', data))
    assert image_from_compressed_msg(msg).shape == (8, 16, 3)
