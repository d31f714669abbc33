# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Turn a panorama into what a dual-fisheye camera delivers before stitching: two circles side by side, 2:1."""
import sys
import cv2
import numpy as np
pano, out = cv2.imread(sys.argv[1]), sys.argv[2]
size, fov = 736, np.deg2rad(200)
y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
radius, angle = np.hypot(x, y), np.arctan2(y, x)
theta = radius * fov / 2
halves = []
for turn in (0.0, np.pi):                     # front lens, rear lens
    right, down, front = np.sin(theta) * np.cos(angle), np.sin(theta) * np.sin(angle), np.cos(theta)
    azimuth = np.arctan2(right, front) + turn
    col = ((azimuth / (2 * np.pi) + 0.5) % 1) * pano.shape[1] - 0.5
    row = (np.arcsin(np.clip(down, -1, 1)) / np.pi + 0.5) * pano.shape[0] - 0.5
    half = cv2.remap(pano, col.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    half[radius > 1] = 0
    halves.append(half)
cv2.imwrite(out, np.hstack(halves))
