# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path
import sys
os.environ['OPENCV_IO_ENABLE_OPENEXR'] = '1'
import cv2
import numpy as np
folder = Path(sys.argv[1])
folder.mkdir()
image = np.random.default_rng(0).integers(0, 255, (256, 512, 3), np.uint8)
jpeg = cv2.imencode('.jpg', image)[1].tobytes()
(folder / 'a.jpg').write_bytes(jpeg)
(folder / 'cut.jpg').write_bytes(jpeg[:len(jpeg) // 3])
(folder / '._a.jpg').write_bytes(b'\0\5\x16\7' + bytes(4092))
cv2.imwrite(str(folder / 'x.exr'), image.astype(np.float32) / 255)
