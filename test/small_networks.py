# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""PanoTiny small enough to be run many times, every weight of it random."""

from dataclasses import replace

import torch

from training.networks.pano_tiny import PanoTiny, PanoTinyConfig

SMALL = PanoTinyConfig(size_hw=(64, 128), stem=8, widths=(8, 16, 16, 28), blocks=(1, 1, 1, 1),
                       decoder=(8, 8, 16, 16))
FINE = replace(SMALL, size_hw=(128, 256), detail=8)


def make_network(config=SMALL, seed=0):
    """A network whose every parameter and statistic is random, so that no term is zero."""
    torch.manual_seed(seed)
    network = PanoTiny(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def noise_image(config=SMALL, seed=1):
    """Return a batch of one image (1, 3, H, W) of even noise in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, 3, *config.size_hw), generator=generator)
