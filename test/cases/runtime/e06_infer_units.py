# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_infer with a scale-invariant bundle: unit-less numbers are cut at 0.3 'm' and written as millimetres."""
import common, tempfile, pathlib
import numpy as np, cv2
from conftest import painted, write_stand_in_bundle
from da_ros.commands.infer import main
d=pathlib.Path(tempfile.mkdtemp())
b=write_stand_in_bundle(d/'b',size_hw=(64,128),kind='scale_invariant',masks=(),max_range_m=None,metres_per_unit=None,output_quantile=0.98)
rng=np.linspace(1,40,128)[None]*np.ones((64,1))       # a scene from 1 to 40 units
cv2.imwrite(str(d/'p.png'),painted(rng))
print('exit',main([str(d/'p.png'),'--out',str(d/'o'),'--model',str(d/'b'),'--backend','onnxruntime']))
r=np.load(d/'o/p_range.npy'); print('-inf share', np.isneginf(r).mean(), 'finite min/max', r[np.isfinite(r)].min(), r[np.isfinite(r)].max())
mm=cv2.imread(str(d/'o/p_depth_mm.png'),-1); print('mm png', mm.min(), mm.max())
