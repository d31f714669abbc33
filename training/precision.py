"""Half precision and 8-bit integers: from one exported fp32 graph to a smaller, faster one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

Feeds = dict[str, np.ndarray]

# Kept in fp32 in an fp16 graph: sums and exponentials lose too much, and metres at 100 m would
# come in steps of 6 cm.
FP32_ISLANDS = ('LayerNormalization', 'Softmax', 'Exp', 'Sigmoid', 'Log', 'ReduceMean', 'Pow',
                'Sqrt', 'Resize', 'Clip', 'Erf')
QUANTISED_NODES = ('Conv', 'MatMul', 'Gemm')


def to_fp16(path: Path) -> None:
    """Rewrite a graph in half precision; inputs, outputs and FP32_ISLANDS stay fp32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    model = onnx.load(path)
    last = output_nodes(model)
    model = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=list(FP32_ISLANDS), node_block_list=last)
    onnx.save(model, path)


def output_nodes(model) -> list[str]:
    """Return the names of the nodes that write the graph's outputs."""
    outputs = {output.name for output in model.graph.output}
    return [node.name for node in model.graph.node if outputs & set(node.output)]


def to_int8(path: Path, calibration: list[Feeds]) -> None:
    """
    Rewrite a graph with 8-bit integer convolutions and matrix products (static QDQ).

    Symmetric, weights per channel, float bias: one file that onnxruntime, OpenVINO and TensorRT
    run. Products of two activations (attention) stay float.

    :param calibration: inputs of the graph on typical panoramas
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
    weights = {tensor.name for tensor in model.graph.initializer}
    excluded = [node.name for node in model.graph.node
                if node.op_type in QUANTISED_NODES and not weights & set(node.input)]
    quantize_static(
        model, str(path), Reader(), quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTISED_NODES), per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, nodes_to_exclude=excluded,
        extra_options={'ActivationSymmetric': True, 'WeightSymmetric': True,
                       'QuantizeBias': False})
