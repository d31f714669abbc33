# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Live: images stream, nobody subscribes for 8 s, then somebody does."""
import common, pathlib, tempfile, time, numpy as np
from ros_peer import NodeProcess, Peer, image_msg
from conftest import write_stand_in_bundle, painted
from sensor_msgs.msg import Image
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b',work=20)
n=NodeProcess(d/'log','/e2',model=b.folder,backend='onnxruntime'); p=Peer('/e2')
try:
    p.wait_for_state('active'); diag=p.diagnostics(); img=painted(np.full((32,64),4.)); pub=p.node.create_publisher(Image,'image',5)
    def stream(s):
        e=time.time()+s
        while time.time()<e:
            m=image_msg(img,time.time_ns()); pub.publish(m); p.spin(.1)
    for k in range(3):
        stream(7); c=len(diag); p.subscribe(Image,'depth/image'); stream(3.2); print([(s.level[0],s.message[:70]) for s in diag[c:]]); p.unsubscribe('depth/image')
finally: n.stop(9); p.close()
