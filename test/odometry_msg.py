# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A nav_msgs/Odometry as far as it is read, without ROS."""

from types import SimpleNamespace as Of

S = 10**9


def odometry(time_ns, x=0.0, frames=('odom', 'base_link'), turn=(0.0, 0.0, 0.0, 1.0)):
    pose = Of(position=Of(x=x, y=0.0, z=0.0), orientation=Of(**dict(zip('xyzw', turn))))
    stamp = Of(sec=time_ns // S, nanosec=time_ns % S)
    return Of(header=Of(frame_id=frames[0], stamp=stamp), child_frame_id=frames[1],
              pose=Of(pose=pose))
