# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera that does not show the world, seen through a node process."""

import time

from conftest import painted
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed (extra da_ros[ros] or a sourced ROS)')

from ros_peer import array_of, image_msg
from sensor_msgs.msg import Image


def stream(peer, make, seconds: float, hz: float = 10.0) -> None:
    """Publish images with the stamps of now."""
    for _ in range(round(seconds * hz)):
        peer.publish(image_msg(make(), time.time_ns()))
        peer.spin(1 / hz)


def test_a_frozen_camera_is_an_error_in_two_seconds_and_never_empty(start, peer, model):
    start(**{'model': model, 'image_health.act': True})
    depth, statuses = peer.subscribe(Image, 'depth/image'), peer.diagnostics()
    rng = np.random.default_rng(0)
    world = painted(np.full((32, 64), 12.0, np.float32))

    def living() -> np.ndarray:
        image = world.copy()
        image[..., 2] = rng.integers(60, 200, image.shape[:2])
        return image
    stream(peer, living, 1.5)
    assert np.isfinite(array_of(depth[-1])).all()
    still = living()
    stream(peer, lambda: still, 2.2)
    assert statuses[-1].level == b'\2' and 'the same picture for' in statuses[-1].message
    assert np.isnan(array_of(depth[-1])).all()
    stream(peer, living, 1.5)
    peer.until(lambda: 'same picture' not in statuses[-1].message, 'the error has gone')
    assert np.isfinite(array_of(depth[-1])).all()
