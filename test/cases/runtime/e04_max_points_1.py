# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""points.max_points 1 passes validation, then every frame is refused and all later topics are silent."""
import common
import numpy as np
from da_ros.config import Config, PointsConfig
from da_ros.config_checks import check_config
from dataclasses import replace
from da_ros.points import PointProjector, sphere_uniform_index
try: check_config(replace(Config(), points=PointsConfig(max_points=1))); print('max_points=1 accepted by check_config')
except ValueError as e: print('refused:', e)
for hw in ((256,512),(512,1024)):
    for n in (1,2,3,10,100,511,513,30000, 100000):
        try: print(hw, n, len(sphere_uniform_index(hw,n)))
        except Exception as e: print(hw, n, type(e).__name__, e)
