# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import os, sys
import cv2
import numpy as np
jpeg = cv2.imencode('.jpg', np.full((256, 512, 3), 90, np.uint8))[1].tobytes()
open(sys.argv[1], 'wb').write(jpeg + os.urandom(4000) + b'8db42d694ccc418790edff439fe026bf')
