# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""da_ros_replay --all: images and scans are stamped anew, TF and IMU keep the recorded time; --loop shifts only the former."""
import common, pathlib, tempfile
import numpy as np
from types import SimpleNamespace as N
from da_ros.bags.bag_writer import BagWriter
from da_ros.bags.bag import BagReader
from da_ros.bags.frames import bag_frames
from da_ros.commands.player import Player
from rosbags.typesys import get_typestore, Stores
store=get_typestore(Stores.ROS2_JAZZY); d=pathlib.Path(tempfile.mkdtemp()); S=10**9; t0=1_700_000_000*S
with BagWriter(d/'b') as bag:
    bag.write('/cam/image', bag.image(t0,'cam',np.zeros((8,16,3),np.uint8),'bgr8'), t0)
    bag.write('/tf', bag.transform(t0,'odom','cam',(0,0,0),(0,0,0,1)), t0+1)
    q=bag.new('geometry_msgs/msg/Quaternion',x=0.,y=0.,z=0.,w=1.); v=bag.new('geometry_msgs/msg/Vector3',x=0.,y=0.,z=0.); z=np.zeros(9)
    bag.write('/imu', bag.new('sensor_msgs/msg/Imu',header=bag.header(t0,'imu'),orientation=q,orientation_covariance=z,angular_velocity=v,angular_velocity_covariance=z,linear_acceleration=v,linear_acceleration_covariance=z), t0+2)
class Node:
    context=N(ok=lambda: True)
    def get_clock(self): return N(now=lambda: N(nanoseconds=1_795_892_000*S))
def stamp(kind,raw):
    m=store.deserialize_cdr(raw,kind); m=m.transforms[0] if kind.endswith('TFMessage') else m
    return m.header.stamp.sec
for what,keep,shift in (('--all',False,0),('--all --keep-stamps --loop, second round (+10 s)',True,10*S)):
    p=Player(Node(),1.,keep,False,{}); p._epochs=[(-2**63,1_795_892_000*S)]; out={}
    with BagReader(d/'b') as bag:
        for f in bag_frames(bag,list(bag.kinds)):
            p._publishers[f.topic]=N(publish=lambda raw,f=f: out.__setitem__(f.topic,stamp(f.kind,raw))); p._send(f,shift)
    print(what,out)
