# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Training losses, one function each: `losses.silog(pred, target, weight)`.

All take log metres `pred` and `target` (B, H, W) and `weight` (B, H, W) >= 0, 0 where the target
is unusable. Every mean is a weighted mean per image, averaged over the images that have a usable
pixel; without any the loss is 0 and its gradient 0, never NaN.
"""

from training.losses.da2 import aligned_distance
from training.losses.dap import (
    dense_fidelity,
    edge_gradient,
    normal_l1,
    points_l1,
    range_mask_dice,
    seam,
    silog,
)
from training.losses.means import (
    has_weight,
    near_floor,
    near_obstacles,
    pixel_weights,
    usable_target,
)
from training.losses.pano import (
    empty_hinge,
    floor_hinge,
    log_l1,
    multi_scale_gradient,
    obstacle_hinge,
    range_mask_bce,
    scale_free_l1,
)

__all__ = [
    'aligned_distance', 'dense_fidelity', 'edge_gradient', 'empty_hinge', 'floor_hinge',
    'has_weight', 'log_l1', 'multi_scale_gradient', 'near_floor', 'near_obstacles', 'normal_l1',
    'obstacle_hinge', 'pixel_weights', 'points_l1', 'range_mask_bce', 'range_mask_dice',
    'scale_free_l1', 'seam', 'silog', 'usable_target']
