# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace
import cv2
import numpy as np
from da_ros.pixels import image_from_msg
image = np.full((64, 128, 3), (40, 90, 200), np.uint8)
for name, pixels in (('yuv422_yuy2', cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUY2)), ('yuyv', cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUY2)),
                     ('uyvy', cv2.cvtColor(image, cv2.COLOR_BGR2YUV_UYVY)), ('8UC3', image), ('8UC1', image[..., 0])):
    data = np.ascontiguousarray(pixels).reshape(-1)
    try:
        print(name, image_from_msg(SimpleNamespace(encoding=name, width=128, height=64, step=data.size // 64, is_bigendian=0, data=data)).shape)
    except Exception as error:
        print(name, str(error)[:60])
