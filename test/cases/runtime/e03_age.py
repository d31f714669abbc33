# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How long until the diagnostics notice that data has become 5 s old?"""
import common
from da_ros.ros.diagnostics import health, State, Statistics
for hz in (30,10,2,1):
    s=Statistics(); s.want(True,0); t=0
    for _ in range(600): t+=1/hz; s.arrived(t); s.finish(.1,t)
    n=0
    while health(s,State(active=True,backend='x'),t)[0]!='warn': t+=1/hz; n+=1; s.arrived(t); s.finish(5.,t)
    print(f'{hz} Hz: WARN after {n} frames = {n/hz:.0f} s of 5 s old data')
