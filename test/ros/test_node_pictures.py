# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the node says of odd camera pictures, and which of them it serves."""

from conftest import painted
import cv2
import numpy as np
from pictures import CROP, in_jpeg, jpeg, packet, two_circles
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import array_of, image_msg
from sensor_msgs.msg import CompressedImage, Image

FOUR_M = painted(np.full((32, 64), 4.0))


def compressed(data: bytes) -> CompressedImage:
    msg = CompressedImage(format='jpeg', data=data)
    msg.header.frame_id = 'camera_frame'
    return msg


def test_a_partial_panorama_that_never_clears_says_so_at_configure(start, peer, model):
    node = start(model=model, **{'erp.elevation_min_deg': -30.0, 'erp.elevation_max_deg': 60.0})
    node.wait_for_log('scan: 720 of 720 beams can never be seen empty')
    assert 'the camera shows elevation -30 to 60 deg; raise min_range_m to 0.3' in node.log
    for wide in (dict(), {'erp.elevation_min_deg': -60.0, 'erp.elevation_max_deg': 60.0}):
        node = start(model=model, **wide)
        node.wait_for_log('runs on onnxruntime')
        assert 'can never be seen empty' not in node.log


def test_what_is_odd_of_a_picture_is_told_once_in_log_and_diagnostics_and_served(
        start, peer, model):
    node = start(model=model)
    statuses = peer.diagnostics()
    depth = peer.subscribe(Image, 'depth/image')
    noise = np.random.default_rng(0).integers(90, 255, (128, 256, 3), dtype=np.uint8)
    circles = two_circles(noise, 128, 256)
    typed = image_msg(circles)
    typed.encoding = '8UC3'
    peer.publish_until(typed, lambda: len(depth) >= 3, 'three depth images')
    for text in ('it looks like two fisheye circles side by side', "encoding '8UC3' says nothing"):
        assert node.log.count(text) == 1
        peer.until(lambda text=text: any(
            text in value.value for status in statuses for value in status.values
            if value.key == 'camera image'), f'diagnostics say {text!r}')


def test_a_panorama_of_a_column_less_is_served_in_its_own_size(start, peer, model):
    node = start(model=model, **{'depth.size': 'camera'})
    depth = peer.subscribe(Image, 'depth/image')
    wide = np.full((96, 191, 3), FOUR_M[0, 0], np.uint8)
    peer.publish_until(image_msg(wide), lambda: depth, 'a depth image')
    assert (depth[-1].height, depth[-1].width) == (96, 191)
    assert np.allclose(array_of(depth[-1]), 4.0)
    assert '191 x 96 px is taken for a full panorama, though 96 rows need 192' in node.log


def test_compressed_pictures_are_read_as_files_are(start, peer, model):
    """Trailers and GPano crops are served; what is cut or too large is refused by name."""
    node = start(model=model, image_transport='compressed', max_image_pixels=200 * 100)
    depth = peer.subscribe(Image, 'depth/image')
    data = cv2.imencode('.jpg', FOUR_M, (cv2.IMWRITE_JPEG_QUALITY, 100))[1].tobytes()
    topic = 'image/compressed'
    for bad, text in ((data[:-9], 'is truncated'),
                      (jpeg(np.zeros((200, 400, 3), np.uint8)), '400 x 200 px is larger')):
        peer.publish_until(compressed(bad), lambda text=text: text in node.log, text, topic)
    assert not depth
    peer.publish_until(compressed(data + bytes(range(256)) * 20), lambda: depth, 'depth', topic)
    assert np.isfinite(array_of(depth[-1])).all()
    depth.clear()
    crop = np.full((32, 64, 3), FOUR_M[0, 0], np.uint8)
    peer.publish_until(compressed(in_jpeg(packet(**CROP), jpeg(crop))), lambda: depth, 'crop',
                       topic)
    seen = np.isfinite(array_of(depth[-1]))
    assert seen[8:24, 16:48].all() and seen.sum() == 16 * 32
    assert 'the picture shows elevation -45 to 45 deg, azimuth -90 to 90 deg' in node.log
