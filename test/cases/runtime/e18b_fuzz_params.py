# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which parameter requests kill the node?"""
import common, pathlib, tempfile, time, sys, math
from ros_peer import NodeProcess, Peer
from conftest import write_stand_in_bundle
from rcl_interfaces.srv import *
from rcl_interfaces.msg import Parameter, ParameterValue as V
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b')
n=NodeProcess(d/'log','/e18b',model=b.folder,backend='onnxruntime'); p=Peer('/e18b')
P=lambda name,**k: Parameter(name=name,value=V(**k))
tries=[('nan',[P('max_range_m',type=3,double_value=math.nan)]),('inf',[P('max_range_m',type=3,double_value=math.inf)]),
('unset',[P('max_range_m',type=0)]),('unset str',[P('model',type=0)]),('int huge',[P('points.max_points',type=2,integer_value=2**62)]),
('float with huge int',[P('max_range_m',type=2,integer_value=2**62)]),('array',[P('range_mask_m',type=8,double_array_value=[1.,2.])]),
('string array',[P('depth.encoding',type=9,string_array_value=['a'])]),('bytes',[P('depth.encoding',type=5,byte_array_value=[b'a'])]),
('undeclared',[P('no_such',type=2,integer_value=1)]),('empty name',[P('',type=2,integer_value=1)]),('weird name',[P('a b/c',type=2,integer_value=1)]),
('dup',[P('range_mask_m',type=3,double_value=10.),P('range_mask_m',type=3,double_value=20.)]),
('sim str',[P('use_sim_time',type=4,string_value='x')]),('sim',[P('use_sim_time',type=1,bool_value=True)]),('sim off',[P('use_sim_time',type=1,bool_value=False)]),
('qos',[P('qos_overrides./e18b/scan.publisher.depth',type=2,integer_value=7)]),('empty set',[]),('bool as float',[P('min_range_m',type=1,bool_value=True)]),('type 77',[P('min_range_m',type=77)]),
('max_points 1',[P('points.max_points',type=2,integer_value=1)]),('max_points 30000',[P('points.max_points',type=2,integer_value=30000)])]
try:
    p.wait_for_state('active')
    for kind,name in ((SetParametersAtomically,'set_parameters_atomically'),(SetParameters,'set_parameters')):
        c=p._client(kind,'pano_depth/'+name); p.spin(.5)
        for what,ps in tries:
            f=c.call_async(kind.Request(parameters=ps)); t=time.time()
            while time.time()-t<4 and not f.done() and n.process.poll() is None: p.executor.spin_once(timeout_sec=.02)
            if f.done():
                r=f.result(); r=r.result if hasattr(r,'result') else r.results; r=r[0] if isinstance(r,list) and r else r
                print(name[:18],what,'->',getattr(r,'successful',r),getattr(r,'reason','')[:90])
            else: print('***',name,what,'no answer; exit code',n.process.poll())
            if n.process.poll() is not None: break
        if n.process.poll() is not None: break
finally:
    print(n.log[-900:]); n.stop(9) if n.process.poll() is None else None; p.close()
