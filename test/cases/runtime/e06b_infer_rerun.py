# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_infer: outputs beside the inputs become inputs of the next call; one bad file of many ends the run; Ctrl-C."""
import common, tempfile, pathlib, cv2, numpy as np, subprocess, sys, os
from conftest import painted, write_stand_in_bundle
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b'); pics=d/'pics'; pics.mkdir()
for i in range(3): cv2.imwrite(str(pics/f'{i}.png'), painted(np.full((32,64),4.)))
from da_ros.commands.infer import main
a=['--out',str(pics),'--model',str(d/'b'),'--backend','onnxruntime']
print(main([str(pics),*a])); print(main([str(pics),*a])); print(sorted(p.name for p in pics.iterdir())[:12])
q=d/'q'; q.mkdir()
for i in range(3): cv2.imwrite(str(q/f'{i}.png'), np.zeros((32,64 if i!=1 else 60,3),np.uint8)+10)
print('one bad of three: exit', main([str(q),'--out',str(d/'o2'),'--model',str(d/'b'),'--backend','onnxruntime']), sorted(p.name for p in (d/'o2').iterdir()))
