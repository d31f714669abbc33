# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is learnt: loss terms by name, and the weights that each objective gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training import losses
from training.run.batches import Batch
from training.run.config import TrainConfig, TrainError
from training.run.forward import Prediction

# What a plain `objective:` means. DAP: arXiv 2512.16913, equation 6; DA2: arXiv 2509.26618.
WEIGHTS = {
    'pano': {'log_l1': 0.35, 'scale_free': 1.0, 'gradient': 2.0, 'mask': 0.3, 'empty': 0.3,
             'height': 0.15, 'floor': 4.0},
    'dap': {'silog': 1.0, 'dense_fidelity': 0.4, 'edge_gradient': 5.0, 'normal': 2.0,
            'points': 2.0, 'mask_dice': 2.0},
    'da2': {'distance': 1.0, 'normal': 2.0},
}
DISTILLATION = {'distil': 1.0, 'distil_gradient': 1.0}     # added where there is a teacher
PIXEL_WEIGHTS = {'pano': 'floored', 'dap': 'solid_angle', 'da2': 'none'}
MASK_TERMS = ('mask', 'mask_dice')


@dataclass(frozen=True)
class Case:
    """One batch with what was said about it."""

    config: TrainConfig
    prediction: Prediction
    batch: Batch
    target: Tensor                # (B, H, W) log metres, 0 where unusable
    weight: Tensor                # (B, H, W), 0 where the target is unusable
    area: Tensor                  # (H, W) pixel weights
    range_masks_m: tuple[float, ...]
    teacher: Prediction | None = None

    @property
    def maps(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.prediction.log_range, self.target, self.weight

    @property
    def teacher_maps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return prediction, the teacher's, and weight where the teacher sees a surface."""
        own, other = self.prediction, self.teacher
        weight = self.area.expand_as(own.log_range)
        if other.mask_logits.shape[1]:
            weight = weight * (other.mask_logits[:, -1] > 0)
        return own.log_range, other.log_range, weight


def height_error(case: Case) -> Tensor:
    """Return the error of the log camera height of images that were not told theirs."""
    batch = case.batch
    unknown = ((batch.told_height_m == 0) & (batch.height_m > 0)).float()
    truth = torch.log(batch.height_m.clamp(min=0.02))
    return (unknown * (case.prediction.log_height - truth).abs()).mean()


def of_shape(loss: Callable[..., Tensor]) -> Callable[[Case], Tensor]:
    """Return a loss of the shape, by the camera height that the network was told or guessed."""
    def term(case: Case) -> Tensor:
        batch, prediction = case.batch, case.prediction
        told = batch.told_height_m
        used = torch.where(told > 0, torch.log(told.clamp(min=0.02)), prediction.log_height)
        return loss(prediction.log_range - used[:, None, None], batch.range_m, batch.height_m,
                    case.area)
    return term


TERMS = {
    'log_l1': lambda c: losses.log_l1(*c.maps),
    'scale_free': lambda c: losses.scale_free_l1(*c.maps),
    'gradient': lambda c: losses.multi_scale_gradient(*c.maps),
    'mask': lambda c: losses.range_mask_bce(
        c.prediction.mask_logits, c.batch.range_m, c.range_masks_m, c.area),
    'empty': lambda c: losses.empty_hinge(
        c.prediction.log_range, c.batch.range_m, c.config.max_target_m, c.area),
    'height': height_error,
    'floor': of_shape(losses.floor_hinge),
    'obstacle': of_shape(losses.obstacle_hinge),
    'silog': lambda c: losses.silog(*c.maps, c.config.silog_lambda),
    'dense_fidelity': lambda c: losses.dense_fidelity(*c.maps),
    'edge_gradient': lambda c: losses.edge_gradient(
        *c.maps, c.config.silog_lambda, c.config.edge_threshold),
    'normal': lambda c: losses.normal_l1(*c.maps),
    'points': lambda c: losses.points_l1(*c.maps),
    'mask_dice': lambda c: losses.range_mask_dice(
        c.prediction.mask_logits, c.batch.range_m, c.range_masks_m, c.area, c.config.mask_loss),
    'distance': lambda c: losses.aligned_distance(*c.maps),
    'seam': lambda c: losses.seam(*c.maps),
    'distil': lambda c: losses.log_l1(*c.teacher_maps),
    'distil_gradient': lambda c: losses.multi_scale_gradient(*c.teacher_maps),
}


@dataclass(frozen=True)
class Objective:
    """The weighted sum of some terms."""

    config: TrainConfig
    weights: dict[str, float]              # terms that count, all > 0
    area: Tensor                           # (H, W) pixel weights, on the device
    range_masks_m: tuple[float, ...]

    def __call__(self, prediction: Prediction, batch: Batch,
                 teacher: Prediction | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Return the sum to minimise and its parts, unweighted.

        The part `valid_images` is the share of images with a usable pixel: at 0 the batch
        taught no range.
        """
        target, weight = losses.usable_target(
            batch.range_m, self.area, self.config.min_target_m, self.config.max_target_m)
        if self.config.near_weight != 1:
            near = losses.near_obstacles(batch.range_m, batch.height_m)
            weight = torch.where(near, weight * self.config.near_weight, weight)
        case = Case(self.config, prediction, batch, target, weight, self.area,
                    self.range_masks_m, teacher)
        parts = {name: TERMS[name](case) for name in self.weights}
        total = sum(self.weights[name] * value for name, value in parts.items())
        # an output without a term counts 0 times: processes exchange every parameter's gradient
        total = total + 0.0 * sum(o.mean() for o in prediction if o is not None and o.numel())
        parts = {name: value.detach() for name, value in parts.items()}
        return total, parts | {'valid_images': losses.has_weight(weight).float().mean()}


def make_objective(config: TrainConfig, size_hw: tuple[int, int],
                   range_masks_m: tuple[float, ...], knows_height: bool, has_teacher: bool,
                   device: torch.device, only: tuple[str, ...] = ()) -> Objective:
    """
    Return the objective of a run.

    :param range_masks_m: those of the network
    :param knows_height: whether the network estimates the camera height
    :param only: terms that may count, all if empty
    :raises TrainError: if the config names an unknown objective or term, or one that the network
        has no output for
    """
    if config.objective not in WEIGHTS:
        raise TrainError(f'objective {config.objective!r} does not exist; there are: '
                         f'{", ".join(WEIGHTS)}')
    if unknown := sorted(set(config.loss) - set(TERMS)):
        raise TrainError(f'loss {unknown[0]!r} does not exist; there are: {", ".join(TERMS)}')
    impossible = {'distil', 'distil_gradient'} if not has_teacher else set()
    impossible |= set(MASK_TERMS) if not range_masks_m else set()
    impossible |= {'height', 'floor', 'obstacle'} if not knows_height else set()
    if wrong := sorted(n for n in impossible & set(config.loss) if config.loss[n]):
        raise TrainError(f'loss {wrong[0]!r} needs an output that this run does not have '
                         '(a range mask, a camera height, or --teacher); leave it away')
    weights = WEIGHTS[config.objective] | DISTILLATION | config.loss
    weights = {name: float(weight) for name, weight in weights.items()
               if weight and name not in impossible and (not only or name in only)}
    if not weights:
        raise TrainError('no loss has a weight; see loss: in the config')
    kind = config.pixel_weight or PIXEL_WEIGHTS[config.objective]
    area = losses.pixel_weights(kind, *size_hw).to(device)
    return Objective(config, weights, area, range_masks_m)
