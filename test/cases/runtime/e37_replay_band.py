# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the overridden parameters mean: the user's floor band with camera_height 0 passes every check, and the scan looks above the camera."""
import common, numpy as np
from dataclasses import replace
from da_ros.config import Config, RangeRule, ScanConfig
from da_ros.config_checks import check_config
from da_ros.range_map import RangeMap
from da_ros.scan import ScanProjector
from da_ros.sphere import erp_rays
H,W=256,512; rays=erp_rays(H,W)
with np.errstate(divide='ignore'): floor=np.where(rays[...,2]<0,-1.2/rays[...,2],np.inf)
az=np.arctan2(rays[...,1],rays[...,0]); pl=np.hypot(rays[...,0],rays[...,1])
r=2.0/pl; z=r*rays[...,2]                                # a box 1 m high, 2 m ahead, camera 1.2 m up
m=np.where((np.abs(az)<.2)&(z>-1.2)&(z<-.2),r,floor); m=np.where(m>=20,np.inf,m).astype(np.float32)
for h in (1.2,0.0):
    c=replace(Config(),rule=RangeRule(camera_height_m=h,range_mask_m=20.),scan=ScanConfig(min_height_m=.17,max_height_m=1.5)); check_config(c)
    g=ScanProjector((H,W),720,(.17-h,1.5-h),.3,20.).project(RangeMap(m,20.,.3,np.zeros((H,W,3),np.uint8))).ranges
    print('camera_height_m',h,'accepted; beams ahead:',g[358:362])
