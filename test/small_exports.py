# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Each network exported tiny, with seeded weights, for its constructs and not its accuracy."""

from pathlib import Path
import shutil
from unittest.mock import patch

import numpy as np
import torch

from da_ros.bundle import Graphs
from training.bundling.graph import make_graphs, Options, write_graph
from training.bundling.variants import convert
from training.networks import build_network, dap, spherevit
from training.networks.dpt import DptConfig
from training.networks.vit import VitConfig

NETWORKS = {
    'dap': ({'encoder': 'vits'}, Options((64, 128))),
    'da2': ({'encoder': 'vits'}, Options((56, 112), sphere='image')),
    'pano_tiny': ({'size_hw': [64, 128]}, Options()),
    'pano_base': ({'size_hw': [64, 128], 'encoder_depth': 2, 'taps': [0, 1], 'harmonics': 2},
                  Options())}
FOUR_BLOCKS = VitConfig(dim=128, depth=4, heads=2, taps=(0, 1, 2, 3))


def small_export(name: str, precision: str, folder: Path) -> Graphs:
    """Write the graphs of a network in one precision."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config, options = NETWORKS[name]
    source = folder / f'{name}_fp32'
    with (patch.dict(dap.ENCODERS, vits=FOUR_BLOCKS),
          patch.dict(dap.HEADS, vits=DptConfig(128, 32, (16, 32, 64, 64))),
          patch.dict(spherevit.ENCODERS, vits=FOUR_BLOCKS)):
        made = make_graphs(build_network(name, config), options)
    if not source.exists():
        source.mkdir()
        for graph in (made.main, *made.masks.values()):
            write_graph(graph, source)
    target = folder / f'{name}_{precision}'
    if target != source:
        shutil.copytree(source, target)
    graphs = Graphs(target / made.main.file,
                    {t: target / graph.file for t, graph in made.masks.items()})
    image = np.random.default_rng(0).integers(0, 256, (*made.size_hw, 3), dtype=np.uint8)
    feeds = {'image': image}
    if made.uses_camera_height:
        feeds['camera_height_m'] = np.zeros(1, np.float32)
    convert(graphs, precision, [feeds])
    return graphs
