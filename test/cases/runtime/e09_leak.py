# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A QoS override that cannot be taken: configure fails, and each retry leaves publishers behind."""
import common, pathlib, tempfile, time, sys
from ros_peer import NodeProcess, Peer
from conftest import write_stand_in_bundle
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b')
n=NodeProcess(d/'log','/e9',model=b.folder,backend='onnxruntime',**{'qos_overrides./e9/range_mask.publisher.reliability':'nonsense'}); p=Peer('/e9')
try:
    n.wait_for_log('cannot configure'); time.sleep(1)
    for i in range(3):
        p.spin(1.0); print('state', p.state(), 'publishers of scan:', p.node.count_publishers('scan'), 'points:', p.node.count_publishers('points'))
        print('configure ->', p.change_state(1))
    p.spin(1.0); print('publishers of scan:', p.node.count_publishers('scan'))
finally:
    print(n.log[-900:]); n.stop(9) if n.process.poll() is None else None; p.close()
