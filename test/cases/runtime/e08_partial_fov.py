# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Free outdoor field seen by a partial panorama: what does the scan say?"""
import common
import numpy as np
from da_ros.range_map import RangeMap
from da_ros.scan import ScanProjector
from da_ros.sphere import erp_rays
H,W=256,512
el=np.rad2deg(np.arcsin(erp_rays(H,W)[...,2]))
for h,band in ((0,(-.2,.2)),(1.2,(.17-1.2,1.5-1.2))):
    rays=erp_rays(H,W)
    with np.errstate(divide='ignore'):
        floor=1.2
        r=np.where(rays[...,2]<0,-floor/rays[...,2],np.inf)
    for span in ((-90,90),(-60,60),(-45,45),(-40,40),(-30,60),(-30,30)):
        m=np.where(r>=20,np.inf,r).astype(np.float32); m[(el<span[0])|(el>span[1])]=np.nan
        got=ScanProjector((H,W),720,band,.3,20.).project(RangeMap(m,20.,.3,np.zeros((H,W,3),np.uint8))).ranges
        print(f'camera_height {h} band {band[0]:+.2f}..{band[1]:+.2f} span {span}: +inf {np.isposinf(got).mean():.0%} NaN {np.isnan(got).mean():.0%} finite {np.isfinite(got).mean():.0%}')
