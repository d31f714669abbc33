# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The way back from a bundle: the weights of an exported graph, in the network they are of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn, Tensor
from torch.nn import functional as F

from da_ros.bundle import Bundle
from da_ros.errors import DaRosError
from da_ros.gate import departure, LIMITS
from training.bundling.graph import MASK_OUTPUT, PanoTinyGraph
from training.networks import build_network
from training.networks.dinov2 import GRID
from training.networks.pano_base import PanoBase
from training.networks.pano_tiny import PanoTiny

PREFIX = 'network.'
PANO = ('pano_tiny', 'pano_base')


class WeightsError(DaRosError):
    """A bundle whose weights cannot be taken over."""


def network_of_bundle(bundle: Bundle) -> PanoTiny:
    """
    Return the network of an fp32 bundle; its batch norms are identities.

    Weights stored in 8 bits are those of the graph: rounded, and so they stay when the network
    is exported in 8 bits again.

    :raises WeightsError: if it is another network, a weight is not to be found in its graph, or
        the weights found do not say what the bundle says
    """
    provenance = bundle.provenance
    if provenance.get('network') not in PANO or bundle.precision != 'fp32':
        raise WeightsError(
            f'bundle {bundle.name!r} holds {provenance.get("network", "an unnamed network")} in '
            f'{bundle.precision}; only fp32 bundles of pano_tiny and pano_base can be gone on '
            'from')
    network = build_network(provenance['network'], provenance['config']).eval()
    stored = graph_weights(bundle.own.main)
    for number, (block, table) in enumerate(zip(network.attention, stored.pop('folded'))):
        bias = np.zeros(tuple(block.bias.shape), np.float32)
        bias[:, block.index.numpy()] = table.reshape(len(bias), -1)
        stored[f'attention.{number}.bias'] = bias
    if isinstance(network, PanoBase):
        stored |= encoder_positions(network, stored)
    state, folded = network.state_dict(), set()
    for name, norm in network.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            folded |= {f'{name}.weight', f'{name}.bias'}
            state[f'{name}.running_var'].fill_(1 - norm.eps)
            state[f'{name}.bias'].copy_(take(
                stored, f'{name.removesuffix(".norm")}.conv.weight_bias', state[f'{name}.bias']))
    for name in dict(network.named_parameters()):
        if name not in folded:
            state[name].copy_(take(stored, name, state[name]))
    check_says_the_same(network, bundle)
    return network


def check_says_the_same(network: PanoTiny, bundle: Bundle) -> None:
    """:raises WeightsError: if the network departs from the bundle on the bundle's panoramas."""
    graph = PanoTinyGraph(network).eval()
    for check in bundle.self_checks:
        image = np.ascontiguousarray(cv2.imread(str(bundle.folder / check.image)))
        with np.load(bundle.folder / check.expected) as arrays:
            wanted = dict(arrays)
        with torch.inference_mode():
            said = graph(torch.from_numpy(image), torch.tensor([check.camera_height_m]))
        report = departure(said[0].numpy(), wanted['range_m'], said[1].numpy(),
                           wanted.get(MASK_OUTPUT))
        if not report.within(LIMITS['fp32']):
            raise WeightsError(f'the weights found in bundle {bundle.name!r} do not say what it '
                               f'says ({report}); export the bundle again')


def take(stored: dict[str, Any], name: str, like: Tensor) -> Tensor:
    """:raises WeightsError: if the weight is absent or of another size."""
    if name not in stored or stored[name].size != like.numel():
        found = 'is not in the graph' if name not in stored else f'has shape {stored[name].shape}'
        raise WeightsError(f'weight {name} {found}; export the bundle again')
    return torch.from_numpy(stored[name].copy()).reshape(like.shape)


def graph_weights(path: Path) -> dict[str, Any]:
    """
    Return the tensors of an exported graph by their names in the network.

    The exporter renames the matrices that it transposes; they stand before the bias that keeps
    its name, and the tables of attention before their index. Of small images it writes these
    tables as looked up, one value per pair of tokens: `folded` lists them. What the encoder of
    pano_base makes of positions is computed: `cls`, `rows`, and `factors` in the order of blocks.
    """
    import onnx
    graph = onnx.load(path).graph
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if node.op_type == 'DequantizeLinear':      # weights stored in 8 bits
            rounded, scale = (stored[name] for name in node.input[:2])
            around = [-1 if i == node.attribute[0].i else 1 for i in range(rounded.ndim)]
            stored[node.output[0]] = rounded * scale.reshape(around)
    made_by = {output: node for node in graph.node for output in node.output}
    named = {name.removeprefix(PREFIX): array for name, array in stored.items()
             if name.startswith(PREFIX)}
    added = [stored[name] for node in graph.node if node.op_type == 'Add'
             for name in node.input if name in stored]
    named['folded'] = [a[0] for a in added if a.ndim == 4 and a.shape[2] == a.shape[3] > 1]
    named |= position_constants(graph.node, stored, made_by)
    # Names survive only on what the exporter left as it was; the rest is known by its neighbour.
    for node in graph.node:
        before = [made_by.get(name) for name in node.input]
        for bias in (name for name in node.input if name.endswith('.bias')):
            for maker in before:
                if node.op_type == 'Add' and maker is not None and maker.op_type == 'MatMul':
                    weight = bias.removeprefix(PREFIX).removesuffix('bias') + 'weight'
                    named[weight] = stored[maker.input[1]].T
        index = before[-1].input[0] if before and before[-1] is not None else ''
        if node.op_type == 'GatherND' and index.endswith('.index'):
            named[index.removeprefix(PREFIX).removesuffix('index') + 'bias'] = \
                stored[node.input[0]].T
    if 'prior' not in named:       # the exporter gives it two more axes and no name
        rows = [a for a in stored.values() if a.ndim == 3 and a.shape[::2] == (1, 1)]
        named.update({'prior': rows[0]} if len(rows) == 1 else {})
    return named


def position_constants(nodes: Iterable, stored: dict[str, np.ndarray], made_by: dict[str, Any]
                       ) -> dict[str, Any]:
    """
    Return what an encoder's positions became: constants without names, known by their place.

    :return: `cls` (1, 1, dim), `rows` (1, dim, rows, 1), `factors`: (heads, 2 harmonics) of each
        block; the first two only where there is an encoder
    """
    found: dict[str, Any] = {'factors': []}
    folded = []
    for node in nodes:
        constants = [stored[name] for name in node.input if name in stored]
        makers = [made_by[name] for name in node.input if name in made_by]
        if len(constants) != 1 or len(makers) != 1:
            continue
        constant, maker = constants[0], makers[0]
        if node.op_type == 'Add' and maker.op_type == 'Conv' and constant.ndim == 4 and (
                maker.input[1].endswith('encoder.patch_embed.proj.weight')):
            found['rows'] = constant
        if node.op_type == 'Concat' and constant.shape[:2] == (1, 1) and constant.ndim == 3:
            found['cls'] = constant
        if node.op_type == 'Mul' and maker.op_type == 'Concat' and constant.ndim == 3 and (
                constant.shape[1] == 1):
            found['factors'].append(constant[:, 0])
        if node.op_type == 'Concat' and constant.ndim == 4 and constant.shape[0] == 1:
            folded.append(constant[0])      # of small images: times the waves, and the waves
    # the first patch has azimuth 0, where every cosine is 1
    found['factors'] += [table[:, 1] for table in folded[::2]]
    return found


def encoder_positions(network: PanoBase, stored: dict[str, Any]) -> dict[str, np.ndarray]:
    """
    Return the parameters of an encoder that say at this size what the graph's constants say.

    :raises WeightsError: if there are none, or those of another number of blocks
    """
    config, factors = network.config.vit, stored.pop('factors')
    wanted = config.depth if config.harmonics else 0
    if 'rows' not in stored or 'cls' not in stored or len(factors) != wanted:
        raise WeightsError('the graph lacks positions of the encoder; export the bundle again')
    grid = np.repeat(grid_of_rows(stored['rows'][0, :, :, 0].T)[:, None], GRID, 1)
    width = (config.dim // config.heads) ** 0.5         # see Attention._with_azimuth
    return {'encoder.cls_token': stored['cls'],
            'encoder.pos_embed': np.concatenate(
                [np.zeros((1, config.dim)), grid.reshape(-1, config.dim)]).astype(np.float32),
            **{f'encoder.blocks.{index}.attn.harmonics': factor[:, config.harmonics:] / width
               for index, factor in enumerate(factors)}}


def grid_of_rows(rows: np.ndarray) -> np.ndarray:
    """
    Return positions (37, dim) whose resizing to some rows gives these, (rows, dim).

    Of the many the one next to a straight interpolation, so that other sizes are not far off.
    """
    basis = torch.eye(GRID, dtype=torch.float64)[None, :, :, None].expand(-1, -1, -1, GRID)
    size = (len(rows), 2 * len(rows))
    resize = F.interpolate(basis, size=size, mode='bicubic').mean(-1)[0].T.numpy()
    at = (np.arange(GRID) + 0.5) * len(rows) / GRID - 0.5
    near = np.stack([np.interp(at, np.arange(len(rows)), values)
                     for values in rows.T.astype(float)], 1)
    return near + np.linalg.pinv(resize) @ (rows - resize @ near)
