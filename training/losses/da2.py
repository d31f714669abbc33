# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The distance loss of DA2 (arXiv 2509.26618); its normal loss is `dap.normal_l1`."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.means import image_mean, range_where_used, weighted_mean


def aligned_distance(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """
    Return mean |D_med - D*| in metres, D_med = D median(D*) / median(D).

    Medians per image over pixels with weight, the lower of the two middle values where their
    number is even.

    :param pred: (B, H, W) log range of any unit
    :param target: (B, H, W) log metres
    """
    shift = masked_median(target, weight > 0) - masked_median(pred, weight > 0)
    aligned = range_where_used(pred + shift[:, None, None], target, weight)
    error = (aligned - target.exp()).abs()
    return image_mean(weighted_mean(error, weight), weight)


def masked_median(value: Tensor, used: Tensor) -> Tensor:
    """Return (B,) medians over the used pixels; 0 where there is none."""
    kept = torch.where(used, value, torch.nan).flatten(1)
    median = kept.nanmedian(1).values
    return torch.where(used.flatten(1).any(1), median, 0.0)
