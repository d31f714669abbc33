# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""GPano data: crops are placed, tilt is told, contradictions are refused."""

import numpy as np
from pictures import CROP, in_jpeg, in_png, jpeg, packet, png, still
import pytest

from da_ros.gpano import GPanoError, NAMESPACE, read_gpano
from da_ros.jpeg_png import decode_image, StillError
from da_ros.panorama import Extent, FULL_SPHERE
from da_ros.pixels import MessageError, picture_of

FRONT = Extent(-45, 45, -90, 90)


@pytest.mark.parametrize('style', ['attributes', 'single quotes', 'elements'])
@pytest.mark.parametrize('prefix', ['GPano', 'pano360'])
def test_the_six_numbers_of_a_crop_become_its_angles(style, prefix):
    got = read_gpano(packet(style, prefix, **CROP))
    assert got.extent == FRONT
    assert got.warnings == ('GPano data: the picture shows elevation -45 to 45 deg, azimuth -90 '
                            'to 90 deg; the rest is unknown',)


@pytest.mark.parametrize('packed', [None, False, True])
def test_a_crop_is_placed_whether_it_comes_as_jpeg_or_png(packed):
    image = np.full((64, 128, 3), (40, 90, 200), np.uint8)
    xmp = packet(**CROP)
    data = in_jpeg(xmp, jpeg(image)) if packed is None else in_png(xmp, png(image), packed)
    for got in (decode_image(data), picture_of(still(data, ''))):
        assert got.image.shape == (128, 256, 3) and got.extent == FRONT
        assert np.abs(got.image[32:96, 64:192].astype(int) - image).max() <= 3


@pytest.mark.parametrize('scale', [0.25, 0.5, 2])
def test_a_crop_that_was_scaled_later_lies_at_the_same_angles(scale):
    size = (round(64 * scale), round(128 * scale), 3)
    got = decode_image(in_jpeg(packet(**CROP), jpeg(np.full(size, 90, np.uint8))))
    assert got.image.shape[:2] == (2 * size[0], 2 * size[1]) and got.extent == FRONT


def test_a_crop_across_the_seam_keeps_its_left_edge():
    got = read_gpano(packet(**CROP | dict(CroppedAreaLeftPixels=192))).extent
    assert (got.azimuth_max_deg, got.azimuth_min_deg) == (-90, -270)


@pytest.mark.parametrize('values', [
    {}, dict(ProjectionType='equirectangular', PoseHeadingDegrees=77.5),
    dict(FullPanoWidthPixels=256, FullPanoHeightPixels=128, CroppedAreaImageWidthPixels=256,
         CroppedAreaImageHeightPixels=128),
    dict(FullPanoWidthPixels=256, FullPanoHeightPixels=128, CroppedAreaImageWidthPixels=256,
         CroppedAreaImageHeightPixels=128, CroppedAreaLeftPixels=0, CroppedAreaTopPixels=0,
         PosePitchDegrees=0.4, PoseRollDegrees=-0.9)])
def test_data_of_a_whole_level_panorama_change_nothing(values):
    got = read_gpano(packet(**values))
    assert got.extent == FULL_SPHERE and got.warnings == ()
    assert read_gpano(b'') == read_gpano(b'\xff\xfe\0no xml at all') == got


@pytest.mark.parametrize('pitch, roll', [(5.25, 0), (0, -3.5), (-12, 40)])
def test_a_tilted_camera_is_told_with_its_angles(pitch, roll):
    text, = read_gpano(packet(PosePitchDegrees=pitch, PoseRollDegrees=roll)).warnings
    assert f'pitched by {pitch:g} and rolled by {roll:g} deg' in text and 'erp.pitch_deg' in text


@pytest.mark.parametrize('changes, text', [
    (dict(ProjectionType='cylindrical'), "picture is 'cylindrical'; stitch it"),
    (dict(CroppedAreaTopPixels='nan'), "give CroppedAreaTopPixels as 'nan', which is no number"),
    (dict(CroppedAreaLeftPixels='left'), "CroppedAreaLeftPixels as 'left'"),
    (dict(FullPanoHeightPixels=100), 'describe no part of a panorama .FullPanoWidthPixels 256'),
    (dict(CroppedAreaTopPixels=80), 'no part'), (dict(CroppedAreaTopPixels=-1), 'no part'),
    (dict(CroppedAreaImageWidthPixels=0), 'no part'), (dict(CroppedAreaLeftPixels=256), 'no part'),
    (dict(CroppedAreaImageWidthPixels=512), 'no part')])
def test_a_contradiction_is_refused_by_value(changes, text):
    with pytest.raises(GPanoError, match=text):
        read_gpano(packet(**CROP | changes))
    with pytest.raises(MessageError, match=text):
        picture_of(still(in_jpeg(packet(**CROP | changes), jpeg())))


@pytest.mark.parametrize('name', CROP)
def test_a_crop_with_one_number_missing_is_refused_by_name(name):
    values = {key: value for key, value in CROP.items() if key != name}
    with pytest.raises(GPanoError, match=f'of a crop lack {name}'):
        read_gpano(packet(**values))


def test_a_picture_of_another_shape_than_its_crop_is_refused():
    with pytest.raises(StillError, match='GPano data do not fit: image is 64 x 16 px, but '
                       'elevation -45 to 45 deg, azimuth -90 to 90 deg of 64 columns are 32.0'):
        decode_image(in_jpeg(packet(**CROP), jpeg(np.zeros((16, 64, 3), np.uint8))))


def test_a_small_crop_of_a_huge_panorama_is_refused_by_its_whole_size():
    huge = dict(FullPanoWidthPixels=64000, FullPanoHeightPixels=32000,
                CroppedAreaImageWidthPixels=64, CroppedAreaImageHeightPixels=32,
                CroppedAreaLeftPixels=0, CroppedAreaTopPixels=0)
    with pytest.raises(StillError, match='part of a panorama of 64000 x 32000 px, larger than '
                       'max_image_pixels'):
        decode_image(in_jpeg(packet(**huge), jpeg()))


def test_entities_of_the_packet_are_not_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "' + b'x' * 9999 + b'"><!ENTITY b "' + b'&a;' * 999 + b'">]>'
    assert read_gpano(bomb + packet(**CROP)).extent == FRONT


def test_the_data_may_stand_in_a_second_packet():
    image = jpeg(np.full((64, 128, 3), 90, np.uint8))
    assert decode_image(in_jpeg(b'<x:xmpmeta/>', in_jpeg(packet(**CROP), image))).extent == FRONT


@pytest.mark.parametrize('text', [
    b'<GPano:a ' * 200_000, b'GPano:a="' * 200_000, b'<GPano:a>' * 200_000, b'xmlns:' * 300_000,
    b''.join(b'xmlns:p%d="%s"' % (k, NAMESPACE.encode()) for k in range(50_000))],
    ids=['elements', 'attributes', 'open elements', 'prefixes', 'many prefixes'])
def test_hostile_packets_end(text):
    assert read_gpano(text).extent == FULL_SPHERE
