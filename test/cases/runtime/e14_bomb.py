# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small PNG that becomes gigabytes: what does the message path allow?"""
import common, time, resource
import numpy as np, cv2
from types import SimpleNamespace as N
from da_ros.pixels import picture_of
h,w=12000,24000
png=cv2.imencode('.png',np.zeros((h,w),np.uint8),[cv2.IMWRITE_PNG_COMPRESSION,9])[1].tobytes()
t=time.time(); i=picture_of(N(format='png',data=png)).image; print(f'{len(png)/1e3:.0f} kB message -> {i.nbytes/1e6:.0f} MB in {time.time()-t:.1f} s, peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1e3:.0f} MB')
