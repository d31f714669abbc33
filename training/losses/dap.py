# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
The losses of DAP (arXiv 2512.16913, section 3.3), and a seam term of our own.

`pred` and `target` are log metres (B, H, W), `weight` (B, H, W) >= 0 is the distortion map where
the target may be used and 0 elsewhere (`means.usable_target`): the distortion map of equation 6
is the weight of every mean. What the paper leaves open is said in each docstring.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from training.losses.geometry import (
    all_around,
    normals_from_range,
    rays,
    sample_views,
    sphere_pad,
    view_grid,
)
from training.losses.means import EPS, image_mean, range_where_used, weighted_mean

ROOT_EPS = 1e-10
VIEW_PX = 64
VIEW_FIELD_DEG = 75.0           # 12 squares of 75 degrees just cover the sphere
METRES_PER_UNIT = 100.0         # DAP's range 1
DICE_WEIGHT = 0.5
DICE_EPS = 1e-3                 # share of the sphere


def safe_root(value: Tensor) -> Tensor:
    """Return the square root, 0 at 0, with a finite slope there."""
    return torch.sqrt(value.clamp(min=0) + ROOT_EPS) - ROOT_EPS ** 0.5


def silog(pred: Tensor, target: Tensor, weight: Tensor, lam: float = 0.5) -> Tensor:
    """
    Return sqrt(mean(g^2) - lambda mean(g)^2), g = pred - target (Eigen et al. 2014).

    :param lam: 0 = error of log range, 1 = blind to a common factor (open; Eigen trained with 0.5)
    """
    g = pred - target
    square, mean = weighted_mean(g * g, weight), weighted_mean(g, weight)
    return image_mean(safe_root(square - lam * mean * mean), weight)


def edge_gradient(pred: Tensor, target: Tensor, weight: Tensor, lam: float = 0.5,
                  threshold: float = 0.05) -> Tensor:
    """
    Return SILog over the edges of the target (equation 3).

    :param threshold: Sobel magnitude of log range per pixel that makes an edge: 0.05 is a jump of
        5 % from pixel to pixel (open)
    """
    edges = edge_mask(target, weight > 0, threshold)
    return silog(pred, target, weight * edges, lam)


def edge_mask(target: Tensor, used: Tensor, threshold: float) -> Tensor:
    """Return (B, H, W) bool: Sobel magnitude / 8 above the threshold, all neighbours usable."""
    padded = sphere_pad(target)[:, None]
    kernel = padded.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    slopes = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])
    return (slopes.norm(dim=1) > threshold) & all_around(used)


def normal_l1(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """
    Return mean |N - N*|_1, normals from range (equation 4; DA2 equation 9).

    A pixel counts where it and its eight neighbours are usable.
    """
    range_m = range_where_used(pred, target, weight)
    weight = weight * all_around(weight > 0)
    difference = normals_from_range(range_m) - normals_from_range(target.exp())
    return image_mean(weighted_mean(difference.abs().sum(1), weight), weight)


def points_l1(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """
    Return mean |P - P*|_1, P = range * ray (equation 5).

    In units of 100 m, the unit of DAP's output (open: in metres a street would drown all else).
    """
    reach = rays(*pred.shape[-2:], pred.device).abs().sum(0)
    difference = range_where_used(pred, target, weight) - target.exp()
    difference = difference.abs() * reach / METRES_PER_UNIT
    return image_mean(weighted_mean(difference, weight), weight)


def dense_fidelity(pred: Tensor, target: Tensor, weight: Tensor, size_px: int = VIEW_PX,
                   field_of_view_deg: float = VIEW_FIELD_DEG) -> Tensor:
    """
    Return the mean over 12 views of mean (D D^T - D* D*^T)^2 / n^2 (equation 2).

    D is the (n, n) z-depth of a view at an icosahedron vertex, 0 where unusable, divided by its
    own mean over the usable pixels. Open in the paper and chosen here: square views of 75 degrees
    and n = 64; the mean over entries and the division by n keep the size of the loss apart from
    the size of the view. Memory: 12 n^2 floats per image and tensor, 200 kB at n = 64; the pairs
    of rows are n x n (never all pairs of pixels, n^2 x n^2).
    """
    _, cosine = view_grid(*pred.shape[-2:], size_px, field_of_view_deg, pred.device)
    # A bilinear sample that touches one unusable pixel is made of nonsense: all four must be good.
    used = sample_views((weight > 0).float(), size_px, field_of_view_deg) > 0.999
    count = used.sum((2, 3), keepdim=True)

    def gram(range_m: Tensor) -> Tensor:
        depth = sample_views(range_m, size_px, field_of_view_deg) * cosine
        depth = torch.where(used, depth, 0.0)
        # Without its own scale the product would measure scale, which the other terms do.
        mean = depth.sum((2, 3), keepdim=True) / count.clamp(min=1)
        depth = depth / mean.clamp(min=EPS)
        return depth @ depth.mT / size_px

    difference = gram(range_where_used(pred, target, weight)) - gram(target.exp())
    per_view = difference.square().mean((2, 3))
    seen = (count[..., 0, 0] > 0).to(per_view.dtype)
    return image_mean(weighted_mean(per_view, seen), seen)


def range_mask_dice(logits: Tensor, range_m: Tensor, thresholds_m, area: Tensor,
                    kind: str = 'square') -> Tensor:
    """
    Return mean |M - M*|^2 + 0.5 Dice (equation 1), or binary cross entropy + 0.5 Dice (text).

    Dice = 1 - (2 sum M M* + e) / (sum M + sum M* + e), sums over the usable sphere.

    :param logits: (B, K, H, W) of M = P(range <= T)
    :param range_m: (B, H, W) metres; +inf = empty counts as beyond, NaN is ignored
    :param area: (H, W) weights
    :param kind: `square` or `bce`
    """
    known = ~torch.isnan(range_m)
    weight = (area * known)[:, None].expand_as(logits).flatten(0, 1)
    within = torch.stack([range_m <= t for t in thresholds_m], 1).to(logits.dtype).flatten(0, 1)
    logits = logits.flatten(0, 1)
    mask = logits.sigmoid()
    per_pixel = ((mask - within).square() if kind == 'square' else
                 F.binary_cross_entropy_with_logits(logits, within, reduction='none'))
    both, own, true = (weighted_mean(m, weight) for m in (mask * within, mask, within))
    dice = 1 - (2 * both + DICE_EPS) / (own + true + DICE_EPS)
    return image_mean(weighted_mean(per_pixel, weight) + DICE_WEIGHT * dice, weight)


def seam(pred: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """
    Return the error of the step of log range over the seam, mean over rows.

    |(pred_last - pred_first) - (target_last - target_first)|: what the gradient of range is asked
    anywhere else, asked where a network that does not wrap has no neighbour to look at. Ours.
    """
    error = pred - target
    step = (error[..., -1] - error[..., 0]).abs()
    used = torch.minimum(weight[..., -1], weight[..., 0])
    return image_mean(weighted_mean(step, used), used)
