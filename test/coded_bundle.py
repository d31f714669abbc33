# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bundle whose network reads the range that was painted into the blue channel."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

from da_ros.bundle import Bundle, Graphs, SelfCheck, write_manifest

METRES_PER_LEVEL = 0.04
MASKS_M = (5.0, 10.0)


def paint(range_m):
    """Return a BGR panorama whose blue channel holds the range; +inf and NaN give 255."""
    level = np.rint(np.nan_to_num(range_m, nan=1e9, posinf=1e9) / METRES_PER_LEVEL)
    image = np.full((*range_m.shape, 3), 90, np.uint8)
    image[..., 0] = np.clip(level, 1, 255)
    return image


def write_coded_bundle(folder: Path, size_hw=(64, 128), scale=1.0, offset_per_height=0.0,
                       **changes):
    """Write a bundle with range = scale * painted + offset_per_height * camera_height_m."""
    folder.mkdir(parents=True)
    height, width = size_hw
    constants = {
        'gain': np.float32(METRES_PER_LEVEL * scale), 'per_height': np.float32(offset_per_height),
        'limits': np.array(MASKS_M, np.float32).reshape(-1, 1, 1), 'steep': np.float32(20),
        'zero': np.array([0], np.int64), 'one': np.array([1], np.int64),
        'two': np.array([2], np.int64), 'flat': np.array(size_hw, np.int64)}
    nodes = [
        helper.make_node('Slice', ['image', 'zero', 'one', 'two'], ['blue']),
        helper.make_node('Cast', ['blue'], ['level'], to=TensorProto.FLOAT),
        helper.make_node('Reshape', ['level', 'flat'], ['map']),
        helper.make_node('Mul', ['map', 'gain'], ['metres']),
        helper.make_node('Mul', ['camera_height_m', 'per_height'], ['offset']),
        helper.make_node('Add', ['metres', 'offset'], ['range_m']),
        helper.make_node('Sub', ['limits', 'range_m'], ['room']),
        helper.make_node('Mul', ['room', 'steep'], ['logit']),
        helper.make_node('Sigmoid', ['logit'], ['range_mask_probability'])]
    inputs = [helper.make_tensor_value_info('image', TensorProto.UINT8, [height, width, 3]),
              helper.make_tensor_value_info('camera_height_m', TensorProto.FLOAT, [1])]
    outputs = [helper.make_tensor_value_info('range_m', TensorProto.FLOAT, [height, width]),
               helper.make_tensor_value_info('range_mask_probability', TensorProto.FLOAT,
                                             [len(MASKS_M), height, width])]
    graph = helper.make_graph(nodes, 'coded', inputs, outputs, [
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()])
    onnx.save(helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9), folder / 'model.onnx')
    range_m = np.broadcast_to(np.linspace(1, 9, width, dtype=np.float32), size_hw)
    image = paint(range_m)
    cv2.imwrite(str(folder / 'check.png'), image)
    painted = image[..., 0].astype(np.float32) * np.float32(METRES_PER_LEVEL * scale)
    room = np.array(MASKS_M, np.float32)[:, None, None] - painted
    np.savez(folder / 'check.npz', range_m=painted,
             range_mask_probability=1 / (1 + np.exp(np.clip(-20 * room, -80, 80))))
    bundle = Bundle(
        folder=folder, name='coded', kind='metric', precision='fp32', licence='Apache-2.0',
        size_hw=size_hw, resize='area', uses_camera_height=True, metres_per_unit=1.0,
        max_range_m=100.0, output_quantile=None, range_masks_m=MASKS_M,
        graphs={'fp32': Graphs(folder / 'model.onnx')},
        self_checks=(SelfCheck('check.png', 'check.npz'),), files={})
    write_manifest(replace(bundle, **changes))
    return folder
