# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import subprocess, signal, time, os, pathlib, tempfile
d=pathlib.Path(tempfile.mkdtemp()); (d/'in').mkdir()
for i in range(600): os.symlink(os.path.abspath('.')+'/da_ros/samples/lobby.jpg', d/f'in/{i}.jpg')
p=subprocess.Popen(['.venv/bin/da_ros_infer',str(d/'in'),'--out',str(d/'o'),'--backend','onnxruntime'],stderr=subprocess.PIPE,stdout=subprocess.PIPE,text=True)
time.sleep(4); p.send_signal(signal.SIGINT); o,e=p.communicate(timeout=20); print('infer exit',p.returncode,e.splitlines()[-1][:100] if e else '', 'Traceback' in e, len(list((d/'o').iterdir())),'files')
n=0
for k in range(6):
    p=subprocess.Popen(['.venv/bin/da_ros_replay',str(d/'in'),'--wait','0','--loop','--fps','60'],stderr=subprocess.PIPE,stdout=subprocess.PIPE,text=True,env=os.environ|{'ROS_DOMAIN_ID':'71','ROS_AUTOMATIC_DISCOVERY_RANGE':'LOCALHOST'})
    time.sleep(2.2+.03*k); p.send_signal(signal.SIGINT); o,e=p.communicate(timeout=20); n+='Traceback' in e; print('replay exit',p.returncode,'Traceback' in e)
