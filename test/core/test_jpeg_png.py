# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG bytes: whole ones are decoded whatever lies behind, others are named."""

import struct
import tracemalloc

import cv2
import numpy as np
from pictures import chunk, jpeg, NOISE, png, segment, still, with_segment
import pytest

from da_ros.files import FileError, read_panorama
from da_ros.jpeg_png import decode_image, StillError
from da_ros.pixels import MessageError, picture_of

KINDS = {
    'baseline': jpeg(), 'progressive': jpeg(NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'restart marks': jpeg(NOISE, cv2.IMWRITE_JPEG_RST_INTERVAL, 1), 'png': png(),
    'thumbnail': with_segment(jpeg(), 0xE1, b'Exif\0\0' + jpeg(NOISE[:8, :16])),
    'two thumbnails': with_segment(with_segment(jpeg(), 0xE2, jpeg(NOISE[:8, :16])), 0xE1,
                                   jpeg(NOISE[:4, :8])),
    'comment of marks': with_segment(jpeg(), 0xFE, b'\xff\xd9\xff\xda\xff\xd8')}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('trailer', [
    b'', b'\0' * 100_000, np.random.default_rng(1).bytes(30_000), b'\xff\xd8\xff\xd9' * 9,
    jpeg(NOISE[:16, :32]), png(NOISE[:16, :32]), b'8db42d694ccc418790edff439fe026bf'])
def test_what_a_camera_appends_is_left_alone(kind, trailer):
    data = KINDS[kind]
    wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_image(data + trailer).image, wanted)


@pytest.mark.parametrize('kind', KINDS)
def test_a_cut_anywhere_is_refused_by_message_and_file_alike(kind, tmp_path):
    data = KINDS[kind]
    for cut in (*range(2, len(data), max(len(data) // 40, 1)), len(data) - 1):
        with pytest.raises(StillError, match=f'of {cut} bytes is (truncated|neither)'):
            decode_image(data[:cut])
    with pytest.raises(MessageError, match='is truncated'):
        picture_of(still(data[:cut]))
    path = tmp_path / 'cut.jpg'
    path.write_bytes(data[:cut])
    with pytest.raises(FileError, match=f'{path}: .* is truncated'):
        read_panorama(path)


@pytest.mark.parametrize('cut', [0.3, 0.6, 0.9])
def test_the_end_mark_of_another_picture_does_not_end_a_truncated_one(cut):
    data = jpeg()
    broken = data[:int(cut * len(data))] + jpeg(NOISE[:16, :32])      # a stale rest of the buffer
    with pytest.raises(StillError, match='truncated or damaged .mark FFD8 at byte'):
        decode_image(broken)


@pytest.mark.parametrize('options', [
    (), (cv2.IMWRITE_JPEG_RST_INTERVAL, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)])
@pytest.mark.parametrize('grey_rows', [0, 40])
def test_an_end_mark_behind_a_cut_makes_no_whole_picture(options, grey_rows):
    picture = cv2.resize(NOISE, (160, 80))
    picture[80 - grey_rows:] = 128           # what a decoder paints where data are missing
    data = jpeg(picture, *options)
    wanted = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_image(data).image, wanted)
    begin = data.index(b'\xff\xda') + 14
    for cut in range(begin, begin + 9 * (len(data) - begin) // 10, len(data) // 25):
        with pytest.raises(StillError, match='is truncated .its data end before the last row'):
            decode_image(data[:cut].rstrip(b'\xff') + b'\xff\xd9')


@pytest.mark.parametrize('data, text', [
    (b'', 'of 0 bytes is neither JPEG nor PNG'), (b'\0' * 40, 'is neither JPEG nor PNG'),
    (b'\0\5\x16\7' + bytes(4092), 'is neither'), (b'\x89P', 'PNG of 2 bytes is truncated'),
    (b'\xff\xd8' + b'\0' * 40 + b'\xff\xd9', 'JPEG of 44 bytes cannot be decoded'),
    (b'\xff\xd8\xff\xc0\0\0\xff\xd9', 'JPEG of 8 bytes'),
    (b'\xff\xd8\xff\xc0\0\1\xff\xd9', 'JPEG of 8 bytes'),
    (b'\xff\xd8\xff\xe1\xff\xff', 'JPEG of 6 bytes is truncated'),
    (b'\x89PNG\r\n\x1a\n' + chunk(b'IEND', b''), 'PNG of 20 bytes cannot be decoded'),
    (b'\x89PNG\r\n\x1a\n' + b'\xff\xff\xff\xffIHDR' + bytes(30), 'PNG of 46 bytes is truncated')])
def test_what_is_no_picture_is_named(data, text):
    with pytest.raises(StillError, match=text):
        decode_image(data)


FRAME_HEADERS = [code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC)]


@pytest.mark.parametrize('code', FRAME_HEADERS)
def test_the_size_of_every_kind_of_jpeg_is_checked_before_it_is_decoded(code):
    frame = segment(code, struct.pack('>BHHB', 8, 20000, 40000, 1) + b'\1\x11\0')
    with pytest.raises(StillError, match='JPEG of 40000 x 20000 px is larger than '
                       'max_image_pixels 134217728'):
        decode_image(b'\xff\xd8' + frame + b'\xff\xd9')


@pytest.mark.parametrize('data', [
    b'\x89PNG\r\n\x1a\n' + chunk(
        b'IHDR', struct.pack('>IIBBBBB', 40000, 20000, 8, 0, 0, 0, 0)) + chunk(b'IEND', b''),
    with_segment(jpeg(), 0xC1, struct.pack('>BHHB', 8, 60000, 60000, 1))])
def test_a_bomb_takes_no_memory(data):
    tracemalloc.start()
    with pytest.raises(StillError, match='larger than max_image_pixels'):
        decode_image(data)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_the_largest_allowed_size_is_allowed_and_one_pixel_less_is_not(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(png())
    assert read_panorama(path, 32 * 64).image.shape == (32, 64, 3)
    for read in (lambda: read_panorama(path, 32 * 64 - 1), lambda: picture_of(
            still(png(), 'png'), 32 * 64 - 1)):
        with pytest.raises((FileError, MessageError), match='64 x 32 px is larger'):
            read()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / 'x.exr').write_bytes(b'v/1\1' + bytes(100))
    for name, text in (('absent.jpg', 'No such file'), ('.', 'Is a directory'),
                       ('x.exr', 'neither JPEG nor PNG')):
        with pytest.raises(FileError, match=text) as caught:
            read_panorama(tmp_path / name)
        assert '\n' not in str(caught.value)


def test_an_orientation_tag_does_not_turn_a_panorama():
    tag = b'Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0'
    assert decode_image(with_segment(jpeg(), 0xE1, tag)).image.shape == (32, 64, 3)
