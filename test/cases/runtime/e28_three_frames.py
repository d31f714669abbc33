# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Three odd frames move a robot to a slower runtime for good; the self-check still passes; diagnostics say OK."""
import common, pathlib, tempfile, time, numpy as np
from ros_peer import NodeProcess, Peer, image_msg
from conftest import painted
from conftest import write_fragile_bundle
from da_ros.backends.order import open_backend
from da_ros import gate
from sensor_msgs.msg import Image
d=pathlib.Path(tempfile.mkdtemp()); b=write_fragile_bundle(d/'b')
n=NodeProcess(d/'log','/e28',model=b.folder,backend='auto'); p=Peer('/e28')
try:
    p.wait_for_state('active'); diag=p.diagnostics(); depth=p.subscribe(Image,'depth/image'); p.spin(1.2)
    v=lambda: {x.key:x.value for x in diag[-1].values}
    print('before:', v()['backend'])
    black=np.zeros((32,64,3),np.uint8); p.publish(image_msg(black,10**9)); 
    [(p.publish(image_msg(black,10**9)), p.spin(.3)) for _ in range(5)]
    for k in range(60): p.publish(image_msg(painted(np.full((32,64),4.)),(5+k)*10**9)); p.spin(.05)
    p.spin(1.2); k=0
    for k in range(40): p.publish(image_msg(painted(np.full((32,64),4.)),(90+k)*10**9)); p.spin(.05)
    print('after :', v()['backend'], '| level', diag[-1].level, diag[-1].message, '| refused:', v().get('backends refused'))
    print('openvino passes the gate still:', gate.check(open_backend('openvino',b,'fp32'),b))
finally:
    n.stop(9); p.close(); print([l[-150:] for l in n.log.splitlines() if 'ERROR' in l])
