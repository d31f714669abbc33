# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tiny bundles with real ONNX graphs whose outputs a test can paint pixel by pixel."""

from dataclasses import replace
from importlib import import_module
import os
from pathlib import Path
import signal
import sys

import hypothesis
import numpy as np
import pytest

from da_ros.bundle import Bundle, Graphs, load_bundle, SelfCheck, write_manifest

ROOT = Path(__file__).resolve().parents[1]      # of the project
METRES_PER_LEVEL = 0.4
PROBABILITY_PER_LEVEL = 1 / 255


def painted(range_m: np.ndarray, probability: np.ndarray | float = 1.0) -> np.ndarray:
    """
    Return the BGR image for which the stand-in network says these values.

    Blue carries the range in steps of 0.4 m, green P(range <= T) of every mask in steps of 1/255.
    """
    image = np.zeros((*range_m.shape, 3), np.uint8)
    image[..., 0] = np.round(range_m / METRES_PER_LEVEL)
    image[..., 1] = np.round(np.broadcast_to(probability, range_m.shape) / PROBABILITY_PER_LEVEL)
    return image


def write_stand_in_bundle(folder: Path, size_hw=(32, 64), masks=(10.0, 20.0, 50.0, 100.0),
                          separate_heads=False, uses_camera_height=False, work=0,
                          **changes) -> Bundle:
    """
    Write a bundle of the stand-in network: range = 0.4 m * blue (+ height), mask = green.

    `work` adds that many large matrix products (some 20 ms each) that change nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graphs = _write_graphs(folder, size_hw, masks, separate_heads, uses_camera_height, work)
    rng = np.random.default_rng(0)
    image = rng.integers(1, 256, (*size_hw, 3), dtype=np.uint8)
    (folder / 'self_check').mkdir(exist_ok=True)
    import cv2
    cv2.imwrite(str(folder / 'self_check/0.png'), image)
    range_m = image[..., 0].astype(np.float32) * np.float32(METRES_PER_LEVEL)
    probability = np.repeat(image[None, ..., 1] / np.float32(255), max(len(masks), 1), 0)
    np.savez(folder / 'self_check/0.npz', range_m=range_m, range_mask_probability=probability)
    fields = dict(
        folder=folder, name='stand_in', kind='metric', precision='fp32', licence='Apache-2.0',
        size_hw=size_hw, resize='area', uses_camera_height=uses_camera_height,
        metres_per_unit=1.0, max_range_m=100.0, output_quantile=None, range_masks_m=masks,
        graphs={changes.get('precision', 'fp32'): Graphs(folder / 'model.onnx', graphs)},
        self_checks=(SelfCheck('self_check/0.png', 'self_check/0.npz'),), files={})
    write_manifest(Bundle(**(fields | changes)))
    return load_bundle(folder)


def write_fragile_bundle(folder, output='range_m'):
    """Write a bundle whose network gives NaN where a pixel is black: x / x * x."""
    import onnx
    bundle = write_stand_in_bundle(folder)
    model = onnx.load(bundle.own.main)
    node, = (node for node in model.graph.node if output in node.output)
    node.output[0] = 'plain'
    model.graph.node.extend([onnx.helper.make_node('Div', ['plain', 'plain'], ['one']),
                             onnx.helper.make_node('Mul', ['plain', 'one'], [output])])
    onnx.save(model, bundle.own.main)
    write_manifest(replace(bundle, files={}))       # hash the changed file anew
    return load_bundle(bundle.folder)


def _write_graphs(folder, size_hw, masks, separate_heads, uses_camera_height, work):
    from onnx import checker, helper, numpy_helper, save, TensorProto
    float32, count = TensorProto.FLOAT, len(masks)

    def constant(name, value):
        return numpy_helper.from_array(np.asarray(value), name)

    def model(nodes, inputs, outputs, constants, path):
        graph = helper.make_graph(nodes, 'stand_in', inputs, outputs, constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)])
        made.ir_version = 9
        checker.check_model(made)
        save(made, path)

    inputs = [helper.make_tensor_value_info('image', TensorProto.UINT8, [*size_hw, 3])]
    constants = [constant('blue', np.int64(0)), constant('green', np.int64(1)),
                 constant('scale', np.float32(METRES_PER_LEVEL)),
                 constant('level', np.float32(1 / 255)), constant('axis', np.int64([0])),
                 constant('copies', np.int64([max(count, 1), 1, 1]))]
    nodes = [helper.make_node('Cast', ['image'], ['pixels'], to=float32),
             helper.make_node('Gather', ['pixels', 'blue'], ['blue_plane'], axis=2),
             helper.make_node('Mul', ['blue_plane', 'scale'], ['range']),
             helper.make_node('Gather', ['pixels', 'green'], ['green_plane'], axis=2),
             helper.make_node('Mul', ['green_plane', 'level'], ['features_0'])]
    for number in range(work):      # 2.1 GFLOP each; the product of zeros is added to the range
        matrix = nodes[-1].output[0] if number else 'zeros'
        nodes.append(helper.make_node('MatMul', [matrix, 'ones'], [f'work_{number}']))
    if work:
        constants += [constant('nought', np.float32(0)), constant('side', np.int64([1024, 1024])),
                      constant('ones', np.eye(1024, dtype=np.float32)),
                      constant('axes', np.int64([0, 1]))]
        spread = [helper.make_node('ReduceMax', ['range', 'axes'], ['peak'], keepdims=0),
                  helper.make_node('Mul', ['peak', 'nought'], ['zero']),
                  helper.make_node('Expand', ['zero', 'side'], ['zeros'])]
        nodes[3:3] = spread
        nodes += [helper.make_node('ReduceMax', [nodes[-1].output[0], 'axes'], ['nothing'],
                                   keepdims=0),
                  helper.make_node('Add', ['range', 'nothing'], ['range_after_work'])]
    final = 'range_after_work' if work else 'range'
    if uses_camera_height:
        inputs.append(helper.make_tensor_value_info('camera_height_m', float32, [1]))
        nodes.append(helper.make_node('Add', [final, 'camera_height_m'], ['range_m']))
    else:
        nodes.append(helper.make_node('Identity', [final], ['range_m']))
    head = [helper.make_node('Unsqueeze', ['features_0', 'axis'], ['plane']),
            helper.make_node('Tile', ['plane', 'copies'], ['range_mask_probability'])]
    features = helper.make_tensor_value_info('features_0', float32, list(size_hw))
    probability = helper.make_tensor_value_info(
        'range_mask_probability', float32, [max(count, 1), *size_hw])
    range_m = helper.make_tensor_value_info('range_m', float32, list(size_hw))
    path = folder / 'model.onnx'
    if not separate_heads:
        outputs = [range_m, probability] if count else [range_m]
        model(nodes + (head if count else []), inputs, outputs, constants, path)
        return {}
    model(nodes, inputs, [range_m, features], constants, path)
    graphs = {}
    for threshold in masks:
        graphs[threshold] = folder / f'mask_{threshold:g}.onnx'
        one = helper.make_tensor_value_info('range_mask_probability', float32, [1, *size_hw])
        model([helper.make_node('Unsqueeze', ['features_0', 'axis'], ['range_mask_probability'])],
              [features], [one], [constants[4]], graphs[threshold])
    return graphs


def pytest_configure(config):
    """Keep DDS on this host and away from other runs, and try the same inputs in every run."""
    hypothesis.settings.register_profile('same', derandomize=True, database=None)
    hypothesis.settings.load_profile('same')
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    domain = str(20 + os.getpid() % 80)
    if 'PYTEST_XDIST_WORKER' in os.environ:     # it inherits that of the process that started it
        os.environ['ROS_DOMAIN_ID'] = domain
    os.environ.setdefault('ROS_DOMAIN_ID', domain)


@pytest.fixture
def stand_in(tmp_path) -> Bundle:
    """Return a stand-in bundle of 32 x 64 px with four shared range masks."""
    return write_stand_in_bundle(tmp_path / 'stand_in')


@pytest.fixture
def model(stand_in) -> str:
    """Return the stand-in bundle as the node's parameter."""
    return str(stand_in.folder)


@pytest.fixture
def peer():
    """Return a camera and receiver in this process."""
    from ros_peer import Peer
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the node with parameters; each is ended after the test."""
    from ros_peer import NodeProcess
    started = []

    def start(**parameters):
        parameters.setdefault('backend', 'onnxruntime')
        started.append(NodeProcess(tmp_path / f'node{len(started)}.log', **parameters))
        return started[-1]

    yield start
    for node in started:
        node.stop(signal.SIGKILL)


@pytest.fixture
def fake_gpu(monkeypatch):
    """Return the fake CUDA driver, which is in place of the real one; it checks for leaks."""
    from fake_gpu import replaced_driver
    with replaced_driver(monkeypatch) as driver:
        yield driver


@pytest.fixture
def stand_in_tensorrt(fake_gpu, monkeypatch, tmp_path):
    """Return the stand-in for TensorRT and its RTX, on the fake GPU, with an empty cache."""
    from da_ros.engines.library import load_library
    monkeypatch.syspath_prepend(str(Path(__file__).with_name('stand_in')))
    monkeypatch.setenv('DA_ROS_ENGINE_CACHE', str(tmp_path / 'engines'))
    monkeypatch.delenv('STAND_IN_LIES', raising=False)
    for name in ('tensorrt', 'tensorrt_rtx'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    load_library.cache_clear()
    yield import_module('tensorrt')
    load_library.cache_clear()
    for name in ('tensorrt', 'tensorrt_rtx'):
        sys.modules.pop(name, None)


@pytest.fixture
def small_disk(tmp_path):
    """Return the folder of a file system of 64 KiB; needs root."""
    import subprocess
    folder = tmp_path / 'disk'
    folder.mkdir(mode=0o700)
    command = ['mount', '-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'cannot mount a small file system: {done.stderr.strip()}')
    yield folder
    subprocess.run(['umount', str(folder)], check=True)


@pytest.fixture
def one_thread():
    """Threads of tiny steps wait for each other, minutes long where the cores are shared."""
    import torch
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
