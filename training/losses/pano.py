# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Our own losses on log range, one function each.

`pred` and `target` are log metres (B, H, W); `weight` (B, H, W) >= 0 is the solid angle where the
target may be used and 0 elsewhere. Every mean is a weighted mean per image, averaged over images
that have a valid pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from da_ros.sphere import erp_rays
from training.losses.means import image_mean, near_floor, near_obstacles, weighted_mean

FLOOR_M = 0.025         # what the floor may rise unpunished: half of the lowest obstacle
LEAST_LOG = 0.03        # of floor and obstacle in one direction: under a high camera low things
                        # hardly differ from floor, and would count without bound
MOST_LOST = 2.0         # what goes through the floor is punished no more than twice its height


def log_l1(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return mean |pred - target|: the metric error, dominated by the unknown scale."""
    return image_mean(weighted_mean((pred - target).abs(), weight), weight)


def scale_free_l1(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return mean |d - mean(d)| with d = pred - target: any common factor of range is free."""
    difference = pred - target
    centre = weighted_mean(difference, weight)[:, None, None]
    return image_mean(weighted_mean((difference - centre).abs(), weight), weight)


def multi_scale_gradient(pred: Tensor, target: Tensor, weight: Tensor, scales: int = 4) -> Tensor:
    """
    Return the mean difference of gradients of log range over a pyramid.

    Sum over scales of mean |d(x + 1) - d(x)| + |d(y + 1) - d(y)|, d = pred - target sampled at
    every 2^k-th pixel (MegaDepth, Li and Snavely 2018, equation 6). Columns wrap.
    """
    total = pred.new_zeros(())
    for scale in range(scales):
        step = 2 ** scale
        # Sampled, not averaged: a mean over an edge asks for a slope where there is a step.
        d = (pred - target)[:, ::step, ::step]
        w = weight[:, ::step, ::step]
        across = (torch.roll(d, -1, 2) - d).abs()
        across_weight = torch.minimum(torch.roll(w, -1, 2), w)
        down = (d[:, 1:] - d[:, :-1]).abs()
        down_weight = torch.minimum(w[:, 1:], w[:, :-1])
        for value, used in ((across, across_weight), (down, down_weight)):
            total = total + image_mean(weighted_mean(value, used), used)
    return total / scales


def range_mask_bce(logits: Tensor, range_m: Tensor, thresholds_m, solid_angle: Tensor) -> Tensor:
    """
    Return the binary cross entropy of P(range <= T).

    :param logits: (B, K, H, W)
    :param range_m: (B, H, W) metres, +inf = empty counts as beyond, NaN is ignored
    :param solid_angle: (H, W)
    """
    known = ~torch.isnan(range_m)
    weight = (solid_angle * known)[:, None].expand_as(logits)
    within = torch.stack([range_m <= t for t in thresholds_m], 1).to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, within, reduction='none')
    return image_mean(weighted_mean(loss, weight), weight)


def empty_hinge(pred: Tensor, range_m: Tensor, far_m: float, solid_angle: Tensor) -> Tensor:
    """
    Return max(0, log far - pred) of empty pixels: an empty ray must not look near.

    The mean is over the whole sphere: a few rays through the cracks of a room weigh little.
    """
    shortfall = F.relu(torch.log(pred.new_tensor(far_m)) - pred) * torch.isposinf(range_m)
    return weighted_mean(shortfall, solid_angle.expand_as(shortfall)).mean()


def floor_hinge(log_shape: Tensor, range_m: Tensor, height_m: Tensor,
                solid_angle: Tensor) -> Tensor:
    """
    Return by how much floor within 3 m rises from the floor: each such pixel is a false obstacle.

    Per pixel max(0, log s - log s' + log(1 - 0.025 m / h)) with the true and the predicted shape s
    and s' (range / camera height h): a wrong scale is not punished here, and neither is floor that
    seems to sink. At h = 1.5 m a range 3.3 % too short makes an obstacle of 0.05 m, at 0.3 m one
    of 17 %: a plain relative error says nothing of that. The mean is over the whole sphere, images
    without a known camera height count as 0.

    :param log_shape: (B, H, W) predicted log range minus the log camera height it was built with
    :param range_m: (B, H, W) metres, NaN = unknown, +inf = empty
    :param height_m: (B,) true camera height, 0 = unknown
    :param solid_angle: (H, W)
    """
    floor = near_floor(range_m, height_m)
    height = height_m.clamp(min=2 * FLOOR_M)[:, None, None]
    lowest = torch.log(torch.where(floor, range_m, height) / height) + torch.log1p(
        -FLOOR_M / height)
    rise = F.relu(lowest - log_shape) * floor
    return weighted_mean(rise, solid_angle.expand_as(rise)).mean()


def obstacle_hinge(log_shape: Tensor, range_m: Tensor, height_m: Tensor,
                   solid_angle: Tensor) -> Tensor:
    """
    Return how much of their height near obstacles lose: each that sinks to the floor is a miss.

    Per pixel within 3 m and below the horizon max(0, log s' - log s) / (log f - log s), with the
    true and the predicted shape s and s' and that of the floor f = 1 / sin(-elevation): 0 where
    the obstacle stands where it is or nearer, 1 where it looks like floor, and at most 2. The
    other side of `floor_hinge`: an obstacle of 0.1 m that looks like floor is a relative error of
    7 % for a camera at 1.5 m, which the other terms hardly see. The mean is over the whole
    sphere, images without a known camera height count as 0.

    :param log_shape: (B, H, W) predicted log range minus the log camera height it was built with
    :param range_m: (B, H, W) metres, NaN = unknown, +inf = empty
    :param height_m: (B,) true camera height, 0 = unknown
    :param solid_angle: (H, W)
    """
    up = torch.from_numpy(erp_rays(*range_m.shape[1:])[:, :1, 2].copy()).to(range_m)
    judged = near_obstacles(range_m, height_m) & (up < 0)
    height = height_m.clamp(min=2 * FLOOR_M)[:, None, None]
    true = torch.log(torch.where(judged, range_m, height) / height)
    whole = (-torch.log(up.abs()) - true).clamp(min=LEAST_LOG)
    lost = ((log_shape - true) / whole).clamp(0.0, MOST_LOST) * judged
    return weighted_mean(lost, solid_angle.expand_as(lost)).mean()
