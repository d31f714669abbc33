# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""points.max_points:=1 on the live node: who goes silent?"""
import common, pathlib, tempfile, numpy as np
from ros_peer import NodeProcess, Peer, image_msg
from conftest import write_stand_in_bundle, painted
from sensor_msgs.msg import Image, PointCloud2, LaserScan
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b')
n=NodeProcess(d/'log','/e4',model=b.folder,backend='onnxruntime'); p=Peer('/e4')
try:
    p.wait_for_state('active'); s=p.subscribe(LaserScan,'scan'); c=p.subscribe(PointCloud2,'points'); i=p.subscribe(Image,'depth/image')
    print('set:', p.set_parameters(points__max_points=1)); 
    for k in range(30): p.publish(image_msg(painted(np.full((32,64),4.)),(5+k)*10**9)); p.spin(.05)
    print('scans',len(s),'clouds',len(c),'depth images',len(i)); print([l[-120:] for l in n.log.splitlines() if 'ERROR' in l])
finally: n.stop(9); p.close()
