# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An exception in activate (rclpy swallows it): state, log, and what is left."""
import common, pathlib, tempfile
import rclpy
from rclpy.parameter import Parameter
from conftest import write_stand_in_bundle
from da_ros.ros import node as N
d=pathlib.Path(tempfile.mkdtemp()); b=write_stand_in_bundle(d/'b')
rclpy.init(args=['--ros-args','-p',f'model:={b.folder}','-p','backend:=onnxruntime','-p','autostart:=false','-r','__ns:=/e18c'])
n=N.PanoDepthNode()
print('configure', n.trigger_configure())
real=N.FrameWorker
def broken(*a): raise RuntimeError("can't start new thread")
N.FrameWorker=broken
print('activate', n.trigger_activate(), 'state', n._state_machine.current_state)
print('estimator still loaded:', n._estimator is not None, '| failure told:', repr(n._failure), '| diagnostics:', N.health(N.Statistics(), n._state(), 0.))
print('set backend:', n.set_parameters([Parameter('backend', value='openvino')])[0].reason)
N.FrameWorker=real
print('activate again', n.trigger_activate(), 'publishers of scan', n.count_publishers('/e18c/scan'))
n.close(); n.destroy_node(); rclpy.shutdown()
