# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""After an idle spell the first summary is a false ERROR."""
import common, time
from da_ros.ros.diagnostics import health, State, Statistics
now=time.perf_counter()
s=Statistics(); s.want(True,now-700); s.arrived(now-600); s.finish(.1,now-600); s.want(False,now-590); s.want(True,now-.5)
print(health(s,State(active=True,topic='/image',backend='x'),now))
