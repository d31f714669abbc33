# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A network as ONNX graphs that every runtime of da_ros can run.

Each graph takes the camera's uint8 BGR image and gives metres and probabilities: colour order,
normalisation and units are inside. Graphs are static: no shape arithmetic, no control flow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import logging
import math
from pathlib import Path
import warnings

import numpy as np
import torch
from torch import nn, Tensor

from da_ros.backends.onnxruntime import FLOAT_ARITHMETIC
from da_ros.errors import DaRosError
from training.bundling.wrap_padding import wrap_convolutions
from training.networks.dap import Dap, METRES_PER_UNIT, scrambles_geometry
from training.networks.dinov2 import PATCH_PX as PATCH_PX_DA2
from training.networks.dinov3 import PATCH_PX as PATCH_PX_DAP
from training.networks.dpt import DptHead
from training.networks.pano_base import PanoBase
from training.networks.pano_tiny import PanoTiny
from training.networks.spherevit import (
    imagenet_normalised,
    network_size,
    OUTPUT_QUANTILE,
    SphereVit,
)

OPSET = 18
FORBIDDEN_NODES = frozenset({'If', 'Loop', 'Scan', 'Shape', 'Size', 'NonZero'})
MAIN_FILE = 'model.onnx'
MASK_OUTPUT = 'range_mask_probability'
FEATURES = 'features_'          # and a number: what separate range-mask heads read
RELEASED_SIZE_DAP = (512, 1024)
RELEASED_SIZE_DA2 = (546, 1092)


class ExportError(DaRosError):
    """An option that cannot be exported, or a graph that is not what it must be."""


@dataclass(frozen=True)
class Graph:
    """One ONNX file to be: module, example inputs by name, output names."""

    file: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Options:
    """What the user may choose about the graphs."""

    size_hw: tuple[int, int] | None = None    # None = the size of the released or trained network
    preprocessing: str = 'eval'               # DAP: eval = ImageNet-normalised, infer = only / 255
    sphere: str = 'released'                  # DA2: released | image (directions of the true size)
    wrap_padding: bool = False                # DAP, DA2: convolution heads see across the seam


@dataclass(frozen=True)
class GraphSet:
    """All graphs of a network, and what model.yaml must say about them."""

    main: Graph
    size_hw: tuple[int, int]
    masks: dict[float, Graph] = field(default_factory=dict)      # separate heads, by threshold [m]
    range_masks_m: tuple[float, ...] = ()
    kind: str = 'metric'
    resize: str = 'area'
    max_range_m: float | None = None
    output_quantile: float | None = None
    uses_camera_height: bool = False


def rgb_from_image(image: Tensor) -> Tensor:
    """
    Return RGB in 0..1, (1, 3, height, width).

    The cast comes first, because TensorRT cannot transpose uint8.

    :param image: (height, width, 3) uint8 BGR
    """
    blue, green, red = image.float().permute(2, 0, 1).split(1)
    return (torch.cat([red, green, blue]) / 255)[None]


class PanoTinyGraph(nn.Module):
    """`range_m` and `range_mask_probability` of our own network."""

    def __init__(self, network: PanoTiny):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, camera_height_m: Tensor) -> tuple[Tensor, Tensor]:
        log_range, logits = self.network(rgb_from_image(image), camera_height_m)
        return log_range[0].exp(), logits[0].sigmoid()


class DapGraph(nn.Module):
    """`range_m` and the feature grids that range-mask heads read."""

    def __init__(self, network: Dap, preprocessing: str):
        super().__init__()
        self.network = network
        self.normalise = preprocessing == 'eval'

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        rgb = rgb_from_image(image)
        grids = self.network.features(imagenet_normalised(rgb) if self.normalise else rgb)
        return self.network.range_head(grids).sigmoid()[0, 0] * METRES_PER_UNIT, *grids


class MaskGraph(nn.Module):
    """P(range <= threshold) of one head; the head itself says P(range > threshold)."""

    def __init__(self, head: DptHead):
        super().__init__()
        self.head = head

    def forward(self, *features: Tensor) -> Tensor:
        return (-self.head(features)).sigmoid()[0]


class SphereVitGraph(nn.Module):
    """Unscaled `range_m`; the division by its quantile is left to the host."""

    def __init__(self, network: SphereVit, sphere_hw: tuple[float, ...]):
        super().__init__()
        self.network = network
        self.sphere_hw = sphere_hw

    def forward(self, image: Tensor) -> Tensor:
        rgb = imagenet_normalised(rgb_from_image(image))
        return self.network.unscaled_range(rgb, self.sphere_hw)[0, 0]


def make_graphs(network: nn.Module, options: Options) -> GraphSet:
    """
    Return the graphs of a network at one image size.

    :raises ExportError: if the network cannot run at that size; says why
    """
    for network_class, make in MAKERS.items():
        if isinstance(network, network_class):
            return make(network, options)
    raise ExportError(f'{type(network).__name__} cannot be exported on its own')


def pano_tiny_graphs(network: PanoTiny, options: Options) -> GraphSet:
    """Return the one graph of our own network; it has the size it was trained at."""
    size_hw = tuple(network.config.size_hw)
    if options.wrap_padding:
        raise ExportError('this network has no seam to close; leave --wrap-padding away')
    if options.size_hw not in (None, size_hw):
        raise ExportError(f'this network was built for {size_text(size_hw)} px and runs at no '
                          f'other size; leave --size {size_text(options.size_hw)} away')
    inputs = {'image': example_image(size_hw), 'camera_height_m': torch.tensor([1.0])}
    main = Graph(MAIN_FILE, PanoTinyGraph(network), inputs, ('range_m', MASK_OUTPUT))
    return GraphSet(main, size_hw, range_masks_m=tuple(network.config.range_masks_m),
                    max_range_m=float(network.config.max_range_m), uses_camera_height=True)


def pano_base_graphs(network: PanoBase, options: Options) -> GraphSet:
    """Return the one graph of PanoBase; the positions of its encoder become constants."""
    graphs = pano_tiny_graphs(network, options)
    network.fix_size()
    return graphs


def dap_graphs(network: Dap, options: Options) -> GraphSet:
    """Return the main graph of DAP and one graph per range mask."""
    size_hw = options.size_hw or RELEASED_SIZE_DAP
    check_dap_size(size_hw)
    if options.wrap_padding:
        wrap_convolutions(network.range_head)
        wrap_convolutions(network.mask_heads)
    network.fix_size(*size_hw)
    names = tuple(f'{FEATURES}{k}' for k in range(len(network.config.vit.taps)))
    main = Graph(MAIN_FILE, DapGraph(network, options.preprocessing),
                 {'image': example_image(size_hw)}, ('range_m', *names))
    masks = {threshold: mask_graph(head, threshold, size_hw)
             for threshold, head in zip(network.config.range_masks_m, network.mask_heads.values())}
    return GraphSet(main, size_hw, masks, tuple(sorted(masks)), resize='cubic',
                    max_range_m=METRES_PER_UNIT)


def mask_graph(head: DptHead, range_mask_m: float, size_hw: tuple[int, int]) -> Graph:
    """Return the graph of one range-mask head."""
    grid = (1, head.config.in_dim, size_hw[0] // PATCH_PX_DAP, size_hw[1] // PATCH_PX_DAP)
    generator = torch.Generator().manual_seed(0)
    inputs = {f'{FEATURES}{k}': torch.randn(grid, generator=generator)
              for k in range(len(head.project))}
    return Graph(f'mask_{range_mask_m:g}.onnx', MaskGraph(head), inputs, (MASK_OUTPUT,))


def check_dap_size(size_hw: tuple[int, int]) -> None:
    """
    Refuse a size at which the released network would not see the whole image in its place.

    :raises ExportError: with the reason
    """
    check_multiple(size_hw, PATCH_PX_DAP)
    rows, cols = (side // PATCH_PX_DAP for side in size_hw)
    if scrambles_geometry(rows, cols):
        side = math.isqrt(rows * cols - 1)
        raise ExportError(
            f'size {size_text(size_hw)} has {rows} x {cols} patches, and {rows} * {cols} - 1 = '
            f'{side}^2 is a square: the released network would take it for a square image and '
            f'scramble the geometry; use e.g. {size_text(RELEASED_SIZE_DAP)}')


def da2_graphs(network: SphereVit, options: Options) -> GraphSet:
    """Return the one graph of DA2, scale-invariant."""
    size_hw = options.size_hw or RELEASED_SIZE_DA2
    check_multiple(size_hw, PATCH_PX_DA2)
    sphere_hw: tuple[float, ...] = tuple(float(side) for side in size_hw)
    aligned = (network_size(network.config, *size_hw) == (size_hw, 1.0)
               and tuple(network.config.sphere_hw) in ((), sphere_hw))
    if options.sphere == 'released' and not aligned:
        raise ExportError(
            f'at size {size_text(size_hw)} the released network looks into wrong directions; use '
            f'{size_text(RELEASED_SIZE_DA2)}, or --sphere image for directions of the true size')
    if options.wrap_padding:
        wrap_convolutions(network.decoder)
    network.fix_size(*size_hw, sphere_hw)
    main = Graph(MAIN_FILE, SphereVitGraph(network, sphere_hw), {'image': example_image(size_hw)},
                 ('range_m',))
    return GraphSet(main, size_hw, kind='scale_invariant', output_quantile=OUTPUT_QUANTILE)


# the first class that fits makes them
MAKERS = {PanoBase: pano_base_graphs, PanoTiny: pano_tiny_graphs, Dap: dap_graphs,
          SphereVit: da2_graphs}


def check_multiple(size_hw: tuple[int, int], patch_px: int) -> None:
    """
    Refuse a size that is no panorama of whole patches.

    :raises ExportError: naming the nearest size that fits
    """
    height, width = size_hw
    if height < patch_px or height % patch_px or width != 2 * height:
        near = max(1, round(height / patch_px)) * patch_px
        raise ExportError(f'size {size_text(size_hw)} is not a 2:1 panorama of whole {patch_px} '
                          f'px patches; the nearest one is {near}x{2 * near}')


def size_text(size_hw: tuple[int, int]) -> str:
    """Return a size as the command line takes it."""
    return f'{size_hw[0]}x{size_hw[1]}'


def example_image(size_hw: tuple[int, int]) -> Tensor:
    """Return a seeded uint8 image."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (*size_hw, 3), dtype=torch.uint8, generator=generator)


def write_graph(graph: Graph, folder: Path) -> Path:
    """
    Export one graph and check it.

    :return: the ONNX file
    :raises ExportError: if the graph holds a node that some runtime cannot take
    """
    path = folder / graph.file
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)      # "torchvision is not installed"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)           # from inside torch
        program = torch.onnx.export(
            graph.module.eval(), tuple(graph.inputs.values()), dynamo=True, opset_version=OPSET,
            input_names=list(graph.inputs), output_names=list(graph.outputs), verbose=False)
    program.save(str(path), external_data=False)
    del program
    drop_traces(path)
    check_graph(path, graph.outputs)
    return path


def drop_traces(path: Path) -> None:
    """Remove from every node where in which source file it was made: over 1 MB of a large one."""
    import onnx
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    onnx.save(model, path)


def check_graph(path: Path, outputs: tuple[str, ...]) -> None:
    """
    Refuse a graph that is not static or that some runtime gets wrong.

    :raises ExportError: naming the node or output
    """
    import onnx
    model = onnx.load(path, load_external_data=False)
    found = {node.op_type for node in model.graph.node} & FORBIDDEN_NODES
    wrapped = [node.name for node in model.graph.node if node.op_type == 'Pad'
               for attribute in node.attribute if attribute.s == b'wrap']
    if found or wrapped:
        raise ExportError(f'{path.name} holds {", ".join(sorted(found) + wrapped)}; runtimes need '
                          'a static graph without these nodes, change the network')
    named = tuple(output.name for output in model.graph.output)
    dynamic = [value.name for value in (*model.graph.input, *model.graph.output)
               if any(not dim.HasField('dim_value') for dim in value.type.tensor_type.shape.dim)]
    if named != outputs or dynamic:
        raise ExportError(f'{path.name} has outputs {named} instead of {outputs}, '
                          f'and dynamic shapes of {dynamic}')


def run_torch(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of the torch module by name."""
    with torch.inference_mode():
        results = graph.module.eval()(*(torch.from_numpy(inputs[name]) for name in graph.inputs))
    results = results if isinstance(results, tuple) else (results,)
    return {name: result.numpy() for name, result in zip(graph.outputs, results)}


def run_onnx(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of an ONNX file by name, in onnxruntime on the CPU; not for int8."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(*FLOAT_ARITHMETIC)
    session = onnxruntime.InferenceSession(str(path), options, ['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    feeds = {name: array for name, array in inputs.items() if name in wanted}
    return dict(zip(names, session.run(names, feeds)))
