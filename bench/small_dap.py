# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
A DAP of 8 M parameters trained for minutes: shows what random weights cannot.

    python -m bench.small_dap --data shards/train --val shards/val --out runs/small --minutes 30

Trains encoder and range head, then, with both frozen, one head per range mask. Exports a bundle
with the 100 m mask, attaches the other heads, selects each in the estimator, and prints how well
mask and truth agree (mean intersection over union of both sides) on held-back pictures before and
after. Then makes fp16 and int8 bundles of it and prints their self-checks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
import time

import cv2
import numpy as np
import torch
from torch import nn, Tensor

from da_ros.sphere import solid_angles
from training import export, losses
from training.bundling.heads import head_checkpoint
from training.checkpoints.checkpoint import Checkpoint, save_checkpoint
from training.data.augment import roll_azimuth
from training.data.sample import Sample
from training.data.shards import ShardSet
from training.networks.dap import (
    Dap,
    DapConfig,
    ENCODERS,
    freeze_all_but_masks,
    HEADS,
    mask_key,
    METRES_PER_UNIT,
)
from training.networks.dpt import DptConfig
from training.networks.spherevit import imagenet_normalised
from training.networks.vit import LayerScale, VitConfig
from training.scoring.metrics import mask_counts, mask_metrics, within_threshold
from training.scoring.predictors import BundlePredictor

MASKS_M = (10.0, 20.0, 50.0, 100.0)
BATCH = 4
ENCODERS['micro'] = VitConfig(dim=192, depth=6, heads=3, taps=(1, 2, 4, 5))
HEADS['micro'] = DptConfig(192, 64, (48, 96, 192, 192))
LAYER_SCALE = 0.3               # from scratch, 1e-5 would leave every block out
Batch = tuple[Tensor, Tensor]   # RGB (B, 3, H, W) normalised; range (B, H, W) m


def main() -> None:
    """Train, export and measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, nargs='+', required=True, help='folders of shards')
    parser.add_argument('--val', type=Path, required=True, help='folder of held-back shards')
    parser.add_argument('--out', type=Path, required=True, help='new folder')
    parser.add_argument('--size', type=export.size_argument, default=(96, 192))
    parser.add_argument('--minutes', type=float, default=30, help='half of it on the range')
    parser.add_argument('--panoramas', type=Path, help='to calibrate int8; default: none of it')
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network, seconds = small_dap(), options.minutes * 30
    train_range(network, batches(ShardSet(options.data), options.size), seconds)
    before = attach(network, options.out / 'untrained', options.size)
    train_heads(network, batches(ShardSet(options.data), options.size), seconds)
    after = attach(network, options.out / 'trained', options.size)
    print_ious(options, before, after)
    for precision in ('fp16', 'int8') if options.panoramas else ():
        run_export('--bundle', after, '--precision', precision, '--panoramas', options.panoramas,
                   '--out', options.out / precision)


def small_dap() -> Dap:
    """Return an untrained small DAP with four range masks."""
    network = Dap(DapConfig('micro', MASKS_M))
    for module in network.modules():
        if isinstance(module, LayerScale):
            nn.init.constant_(module.gamma, LAYER_SCALE)
    return network


def each(shards: ShardSet) -> Iterator[Sample]:
    """Yield every sample in order."""
    return (shards[index] for index in range(len(shards)))


def batches(shards: ShardSet, size_hw: tuple[int, int], seed: int = 0) -> Iterator[Batch]:
    """Yield batches of randomly turned samples without end."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = [shards[int(index)] for index in rng.integers(len(shards), size=BATCH)]
        yield batch_of([roll_azimuth(sample, int(rng.integers(sample.image.shape[1])))
                        for sample in drawn], size_hw)


def batch_of(samples: list[Sample], size_hw: tuple[int, int]) -> Batch:
    """Return samples at network size."""
    size = size_hw[::-1]
    rgb = np.stack([cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
                    for sample in samples])
    range_m = np.stack([cv2.resize(sample.range_m, size, interpolation=cv2.INTER_NEAREST)
                        for sample in samples])
    image = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
    return imagenet_normalised(image), torch.from_numpy(range_m)


def train_range(network: Dap, data: Iterator[Batch], seconds: float) -> None:
    """Train encoder and range head on log range."""
    parameters = [parameter for name, parameter in network.named_parameters()
                  if not name.startswith('mask_heads.')]

    def loss(image: Tensor, range_m: Tensor, solid_angle: Tensor) -> Tensor:
        unit = network.range_head(network.features(image)).float().sigmoid()[:, 0]
        log_range = torch.log(METRES_PER_UNIT * unit)
        usable = range_m < METRES_PER_UNIT
        target = torch.log(torch.where(usable, range_m, 1.0))
        weight = solid_angle * usable
        return (losses.log_l1(log_range, target, weight)
                + losses.multi_scale_gradient(log_range, target, weight)
                + losses.empty_hinge(log_range, range_m, METRES_PER_UNIT, solid_angle))
    descend(parameters, loss, data, seconds)


def train_heads(network: Dap, data: Iterator[Batch], seconds: float) -> list[float]:
    """
    Train every range-mask head on the frozen encoder; return the losses.

    No parameter belongs to two heads, so their sum trains each as if it were alone.
    """
    def loss(image: Tensor, range_m: Tensor, solid_angle: Tensor) -> Tensor:
        return losses.range_mask_bce(
            within_logits(network, image).float(), range_m, MASKS_M, solid_angle)
    return descend(freeze_all_but_masks(network, MASKS_M), loss, data, seconds)


def within_logits(network: Dap, image: Tensor) -> Tensor:
    """Return the logits of P(range <= T), (B, K, H, W); a DAP head says the opposite."""
    with torch.no_grad():
        grids = network.features(image)
    return -torch.cat([network.mask_heads[mask_key(threshold)](grids) for threshold in MASKS_M], 1)


def descend(parameters: list[nn.Parameter], loss, data: Iterator[Batch], seconds: float,
            rate: float = 1e-3) -> list[float]:
    """
    Minimise by AdamW for a time, the rate falling to zero; print and return the losses.

    :param loss: function of image, range and solid angle
    """
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.02)
    start, found = time.monotonic(), []
    while (progress := (time.monotonic() - start) / seconds) < 1:
        image, range_m = next(data)
        solid_angle = torch.from_numpy(solid_angles(*range_m.shape[1:]).astype(np.float32))
        with torch.autocast('cpu', torch.bfloat16):
            value = loss(image, range_m, solid_angle)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.param_groups[0]['lr'] = rate * min(1, len(found) / 20) * (1 - progress)
        optimiser.step()
        found.append(value.item())
        if len(found) % 50 == 0:
            print(f'{progress:4.0%} step {len(found)} loss {np.mean(found[-50:]):.3f}', flush=True)
    return found


def attach(network: Dap, out: Path, size_hw: tuple[int, int]) -> Path:
    """Export the network with its last mask, attach the other heads; return the bundle."""
    whole = Checkpoint('dap', asdict(network.config), dict(network.state_dict()), {})
    *apart, kept = MASKS_M
    state = {name: tensor for name, tensor in whole.state.items()
             if not name.startswith('mask_heads.') or name.startswith(f'mask_heads.{kept:g}.')}
    path = save_checkpoint(out / 'dap.safetensors', 'dap',
                           whole.config | {'range_masks_m': [kept]}, state, {})
    run_export('--checkpoint', path, '--size', f'{size_hw[0]}x{size_hw[1]}', '--out',
               out / 'bundle')
    for threshold in apart:
        head = head_checkpoint(whole, threshold)
        path = save_checkpoint(out / f'head_{threshold:g}.safetensors', head.network, head.config,
                               head.state, head.provenance)
        run_export('--bundle', out / 'bundle', '--add-head', path)
    return out / 'bundle'


def run_export(*arguments) -> None:
    """Run `training.export` in this process, which alone knows the small encoder."""
    parser = export.make_parser()
    export.run(parser.parse_args([str(argument) for argument in arguments]), parser)


def print_ious(options: argparse.Namespace, before: Path, after: Path) -> None:
    """Print a row per range mask."""
    samples = [*each(ShardSet([options.val]))]
    predictors = [BundlePredictor(bundle, 'onnxruntime') for bundle in (before, after)]
    print('| mask | all within | untrained head | trained head |\n|---|---|---|---|')
    for threshold in MASKS_M:
        targets = [within_threshold(cv2.resize(
            sample.range_m, options.size[::-1], interpolation=cv2.INTER_NEAREST), threshold)
            for sample in samples]
        everything = [np.ones(options.size, bool)] * len(targets)
        values = [two_sided_iou(within, targets) for within in (everything, *(
            [predictor.within(np.ascontiguousarray(sample.image[..., ::-1]), threshold)
             for sample in samples] for predictor in predictors))]
        print(f'| {threshold:g} m | ' + ' | '.join(f'{value:.3f}' for value in values) + ' |')


def two_sided_iou(within: list[np.ndarray], targets: list[np.ndarray]) -> float:
    """Return the mean of the IoU of what is within the threshold and of what is beyond."""
    sides = ([mask_counts(w, t) for w, t in zip(within, targets)],
             [mask_counts(~w, 1 - t) for w, t in zip(within, targets)])
    return float(np.mean([mask_metrics(np.sum(counts, axis=0))['iou'] for counts in sides]))


if __name__ == '__main__':
    main()
