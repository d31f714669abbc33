# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""CPU of the node with a 4K camera, with nobody subscribed and with a subscriber."""
import common, os, pathlib, tempfile, time, sys, subprocess, psutil
prof=os.path.abspath('.')+'/config/fastdds.xml'
os.environ.update({'FASTRTPS_DEFAULT_PROFILES_FILE':prof,'MALLOC_MMAP_THRESHOLD_':'33554432','MALLOC_TRIM_THRESHOLD_':'268435456','MALLOC_TOP_PAD_':'33554432','PYTHONPATH':os.path.abspath('.')})
from ros_peer import NodeProcess, Peer
from sensor_msgs.msg import LaserScan
d=pathlib.Path(tempfile.mkdtemp())
n=NodeProcess(d/'log','/e12'); p=Peer('/e12')
cam=None
try:
    p.wait_for_state('active'); diag=p.diagnostics(); p.spin(1)
    cam=subprocess.Popen([sys.executable,'-m','da_ros.commands.replay',os.path.abspath('.')+'/da_ros/samples/lobby.jpg','--loop','--wait','0','--to','/e12/image','--fps','60','--height','1920'],stdout=subprocess.DEVNULL)
    ps=psutil.Process(n.process.pid); p.spin(5)
    def measure(what, s=8):
        c0=sum(ps.cpu_times()[:2]); v0={v.key:v.value for v in diag[-1].values}; t0=time.time(); p.spin(s); c=sum(ps.cpu_times()[:2])-c0; t=time.time()-t0
        v={v.key:v.value for v in diag[-1].values}
        print(f'{what}: {100*c/t:.0f} % of a core, received {(int(v["received"])-int(v0["received"]))/t:.1f} Hz, published {(int(v["published"])-int(v0["published"]))/t:.1f} Hz, RSS {ps.memory_info().rss/1e6:.0f} MB; {diag[-1].message}; total {v["latency total p50 / p99"]}; convert {v["latency convert p50 / p99"]}; age {v["data age p50 / p99"]}')
    measure('idle (nobody subscribes)'); p.subscribe(LaserScan,'scan'); p.spin(3); measure('one scan subscriber'); measure('again')
finally:
    if cam: cam.terminate(); cam.wait()
    n.stop(9); p.close(); print(n.log[-300:])
