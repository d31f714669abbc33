# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle manager asks an already active node (autostart) to configure: what happens to the process?"""
import common, pathlib, tempfile, time, sys
from ros_peer import NodeProcess, Peer, image_msg
from conftest import write_stand_in_bundle
from lifecycle_msgs.srv import ChangeState
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b')
n=NodeProcess(d/'log','/e18',model=b.folder,backend='onnxruntime'); p=Peer('/e18')
try:
    p.wait_for_state('active'); print('active; sending CONFIGURE (id 1)')
    c=p._client(ChangeState,'pano_depth/change_state'); p.spin(.7)
    r=ChangeState.Request(); r.transition.id=1; f=c.call_async(r)
    t=time.time()
    while time.time()-t<5 and not f.done() and n.process.poll() is None: p.executor.spin_once(timeout_sec=.05)
    p.spin(2.5)
    print('answer', f.result().success if f.done() else None, 'process exit code', n.process.poll())
finally:
    print(n.log[-1200:]); n.stop(9) if n.process.poll() is None else None; p.close()
