# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""cv2.resize does not wrap: linear/cubic upscaling (a camera smaller than the network) clamps at the seam."""
import common
import numpy as np
from da_ros.panorama import resize_erp
# a smooth panorama, sampled exactly at two sizes
def pano(h,w):
    az=(np.arange(w)+.5)/w*2*np.pi; v=127+100*np.sin(az+1.0); return np.repeat(np.repeat(v[None],h,0)[...,None],3,2).round().astype(np.uint8)
for m in ('area','linear','cubic'):
    for h in (16,24,32,48,480):
        d=np.abs(resize_erp(pano(h,2*h),(64,128),m).astype(int)-pano(64,128))[...,0]
        print(m,h,'error at the seam columns',d[:,[0,1,-2,-1]].max(0),'elsewhere max',d[:,3:-3].max())
