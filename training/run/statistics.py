# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Batch-norm statistics at the end of a run: of training images, as the network is used."""

from __future__ import annotations

import torch

from training.run.batches import Batches, good_batch
from training.run.forward import Forward
from training.run.optimise import batch_norms

STATISTICS_IMAGES = 512


@torch.no_grad()
def reestimate_statistics(forward: Forward, batches: Batches, size_hw: tuple[int, int],
                          device: torch.device, plain: bool) -> bool:
    """
    Replace the batch-norm statistics by their plain mean over training images.

    :param size_hw: of the images that the network is made for; a teacher's may be larger
    :param plain: leave them as they are, only look at one batch
    :return: whether all that the network says is finite
    """
    norms = [] if plain else batch_norms(forward)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    finite = True
    for number in range(max(2, STATISTICS_IMAGES // batches.config.batch) if norms else 1):
        batch = good_batch(batches[number]).on(device).resized(size_hw)
        said = forward(batch.image, batch.told_height_m, batch.features)
        finite &= bool(torch.isfinite(said.log_range).all())
    for norm in norms:
        norm.momentum = 0.1
    forward.eval()
    return finite
