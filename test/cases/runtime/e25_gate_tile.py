# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The gate passes an engine that loses one tile of the picture: everything there is at 100 m."""
import common
import numpy as np
from da_ros.bundle import load_bundle
from da_ros import gate
from da_ros.backends.onnxruntime import OnnxRuntimeBackend
b=load_bundle(None)
class Broken(OnnxRuntimeBackend):
    tile=None; prob=False
    def run(self,f,m=0.0):
        o=super().run(f,m); r=o['range_m'].copy(); y,x,h,w=self.tile; r[y:y+h,x:x+w]=99.; o['range_m']=r
        if self.prob:
            p=o['range_mask_probability'].copy(); p[:, y:y+h,x:x+w]=0; o['range_mask_probability']=p
        return o
for variant,tile,prob in (('fp32',(128,238,36,36),False),('fp32',(128,251,11,11),True),('fp16',(128,240,25,25),True),('int8',(120,238,36,36),True)):
    x=Broken(b); x.variant=variant; x.tile=tile; x.prob=prob
    h,w=tile[2:]
    try: print('PASS', variant, f'tile {w*360/512:.0f} x {h*180/256:.0f} deg dead ahead, masks too: {prob}', gate.check(x,b))
    except Exception as e: print('refused', variant, tile, prob, e)
