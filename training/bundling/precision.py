# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Half precision and 8-bit integers: from one exported fp32 graph to a smaller or faster one.

`to_fp16` and `to_int8` change the arithmetic; `store_int8` only how weights are stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import logging
from pathlib import Path

import numpy as np

from training.bundling.graph import ExportError, FEATURES

Feeds = dict[str, np.ndarray]

# Kept in fp32 in an fp16 graph: sums and exponentials lose too much. So is everything between the
# last layer and the metres: near 100 m they would come in steps of 6 cm, their logarithm in .4 %.
FP32_ISLANDS = frozenset({
    'Cast', 'Clip', 'Constant', 'DequantizeLinear', 'Erf', 'Exp', 'LayerNormalization', 'Log',
    'Pow', 'ReduceMean', 'Resize', 'Sigmoid', 'Softmax', 'Sqrt'})
LAYERS = frozenset({'Conv', 'Gemm', 'MatMul'})
QUANTISED_NODES = ('Conv', 'MatMul')
# Layers with no more channels than this on one side stay float in an int8 graph: they carry the
# pixels in and the range out, and most of the error with few of the operations.
NARROW = 32
OUTPUT_AXES = {'Conv': 0, 'Gemm': 0, 'MatMul': 1}     # of a weight; torch transposes it in Gemm
# Of a pano network of 22 M parameters the 0.26 M in smaller weights cause 94 % of the departure.
STORED_FROM = 32768     # weights of fewer values stay float


def to_fp16(path: Path) -> None:
    """
    Rewrite a graph in half precision.

    Fp32 stay inputs, outputs, FP32_ISLANDS, and what follows the last layer of an output.
    """
    import onnx
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    casts = Casts(graph)
    nodes = list(graph.node)
    last = after_layers(graph)
    del graph.node[:]
    for node in nodes:
        # LayerNorm and softmax overflow in fp16, and a range near 100 m has steps of 3 to 6 cm.
        half = node.op_type not in FP32_ISLANDS and not last & set(node.output)
        for index, name in enumerate(node.input):
            node.input[index] = casts.as_type(name, half)
        casts.note_outputs(node, half)
        graph.node.append(node)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def after_layers(graph) -> set[str]:
    """
    Return the outputs and every tensor that reaches one without passing through a layer.

    Features are an output too, for range-mask heads; but what is behind them is layers all along,
    and the sums between these stay as fast as they are.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    found, ahead = set(), [output.name for output in graph.output
                           if not output.name.startswith(FEATURES)]
    while ahead:
        name = ahead.pop()
        node = made_by.get(name)
        if node is None or name in found or node.op_type in LAYERS:
            continue
        found.add(name)
        ahead.extend(node.input)
    return found | {output.name for output in graph.output}


class Casts:
    """Inserts each conversion of a float tensor once, where it is first needed."""

    def __init__(self, graph) -> None:
        from onnx import TensorProto
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        typed = (*graph.input, *graph.value_info, *graph.output)
        self._float = {value.name for value in typed
                       if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self._float |= {name for name, tensor in self._weights.items()
                        if tensor.data_type == TensorProto.FLOAT}
        self._half: set[str] = set()          # float tensors that are produced in fp16
        self._made: dict[tuple[str, bool], str] = {}

    def as_type(self, name: str, half: bool) -> str:
        """Return the name of this tensor in fp16 or fp32; other types stay as they are."""
        if name not in self._float or half == (name in self._half):
            return name
        if (name, half) not in self._made:
            self._made[name, half] = self._convert(name, half)
        return self._made[name, half]

    def note_outputs(self, node, half: bool) -> None:
        """Remember in which type a node writes."""
        if half:
            self._half |= set(node.output) & self._float

    def _convert(self, name: str, half: bool) -> str:
        from onnx import helper, numpy_helper, TensorProto
        converted = f'{name}_fp{16 if half else 32}'
        if name in self._weights:
            array = numpy_helper.to_array(self._weights[name]).astype(np.float16)
            self._graph.initializer.append(numpy_helper.from_array(array, converted))
        else:
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            self._graph.node.append(helper.make_node(
                'Cast', [name], [converted], name=f'cast_{converted}', to=kind))
        return converted


def to_int8(path: Path, calibration: list[Feeds]) -> None:
    """
    Rewrite a graph with 8-bit integer convolutions and matrix products (static QDQ).

    Symmetric, weights per channel, float bias: one file that onnxruntime, OpenVINO and TensorRT
    run. `float_layers` stay as they are.

    :param calibration: inputs of the graph on typical panoramas
    :raises ExportError: if the weights are stored in 8 bits already
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        quantize_static,
        QuantType,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds: Iterator[Feeds] = iter(calibration)

        def get_next(self) -> Feeds | None:
            return next(self._feeds, None)

    model = onnx.load(path)
    if any(node.op_type == 'DequantizeLinear' for node in model.graph.node):
        raise ExportError(f'{path.name} stores its weights in 8 bits, whose arithmetic needs '
                          'others; export the checkpoint with --precision int8')
    logging.disable(logging.WARNING)      # it advises a preparation that the exporter has done
    try:
        quantize_static(
            model, str(path), Reader(), quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED_NODES), per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
            nodes_to_exclude=float_layers(model), extra_options={
                'ActivationSymmetric': True, 'WeightSymmetric': True, 'QuantizeBias': False})
    finally:
        logging.disable(logging.NOTSET)


def float_layers(model) -> list[str]:
    """
    Return the layers that an int8 graph keeps in float.

    Products of two activations (attention), and layers of few channels (`NARROW`). What acts on
    one vector per image (Gemm: the camera height) is never quantised.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type in QUANTISED_NODES
            and (node.input[1] not in shapes or min(shapes[node.input[1]][:2]) <= NARROW)]


def store_int8(path: Path) -> None:
    """
    Store the large weights of an fp32 graph in 8 bits: a smaller file, the same arithmetic.

    Symmetric, one scale per output channel; a DequantizeLinear node makes the float weight of it,
    once at loading or in every run, as the runtime likes. Activations stay float, so nothing is
    calibrated and every runtime computes the same.
    """
    import onnx
    from onnx import helper, numpy_helper
    model = onnx.load(path)
    graph = model.graph
    users = [(name, index, node) for node in graph.node for index, name in enumerate(node.input)]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    shared = {name for name, count in Counter(name for name, *_ in users).items() if count > 1}
    for name, index, node in users:
        axis = OUTPUT_AXES.get(node.op_type) if index == 1 else None
        if axis is None or name in shared or name not in tensors:
            continue
        weight = numpy_helper.to_array(tensors[name])
        if weight.dtype != np.float32 or weight.size < STORED_FROM:
            continue
        weight = np.moveaxis(weight, axis, 0)
        scale = np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 1e-12) / 127
        rounded = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        parts = {f'{name}_int8': np.ascontiguousarray(np.moveaxis(rounded, 0, axis)),
                 f'{name}_scale': scale.astype(np.float32),
                 f'{name}_zero': np.zeros(len(scale), np.int8)}
        graph.initializer.remove(tensors[name])
        graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in parts.items())
        graph.node.insert(0, helper.make_node('DequantizeLinear', list(parts), [name],
                                              name=f'store_{name}', axis=axis))
    onnx.checker.check_model(model)
    onnx.save(model, path)
