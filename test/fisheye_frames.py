# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of a dual-fisheye camera with known lenses, rendered from the sample panoramas."""

from pathlib import Path

import cv2
import numpy as np

import da_ros
from da_ros.cameras.models import ErpCamera, FisheyeCamera, Lens
from da_ros.sphere import rotation_from_rpy

CAMERA = FisheyeCamera((720, 1440), (
    Lens((361.3, 358.2), 352, 196), Lens((1078.4, 361.9), 351, 196, roll_deg=2.2, pitch_deg=-1.1,
                                         yaw_deg=181.3)))


def fisheye_frames(camera: FisheyeCamera, count: int) -> list[np.ndarray]:
    """Return frames with vignetting, unequal exposure and noise, of a camera that turns."""
    rng = np.random.default_rng(1)
    height, width = camera.size_hw
    col, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    frames = []
    for number, name in enumerate(('lounge', 'city', 'lobby')[:count]):
        panorama = cv2.imread(str(Path(da_ros.__file__).parent / f'samples/{name}.jpg'))
        turn = rotation_from_rpy(0.1 * number, 0.05 * number, 0.7 * number)
        frame = np.zeros((height, width, 3))
        for lens, exposure in zip(camera.lenses, (1.0, 0.85)):
            off = np.hypot(col - lens.centre_px[0], row - lens.centre_px[1]) / lens.radius_px
            inside = off <= 1
            seen = ErpCamera().samples(lens.rays(col, row) @ turn.T, *panorama.shape[:2])
            values = cv2.remap(panorama, np.float32(seen.cols[0] - 0.5),
                               np.float32(seen.rows[0] - 0.5), cv2.INTER_CUBIC,
                               borderMode=cv2.BORDER_WRAP)
            shading = exposure * (1 - 0.3 * off[inside] ** 4)
            frame[inside] = values[inside] * shading[:, None] + 12
        frame += rng.normal(0, 2, frame.shape) * (frame > 0)
        frames.append(np.clip(np.round(frame), 0, 255).astype(np.uint8))
    return frames
