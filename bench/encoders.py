# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
What do encoders know of the floor in photographs, before anything is trained on them?

    python -m bench.encoders --data SHARDS/train --data SHARDS/put \
        --base START_BASE.safetensors --tiny START_TINY.safetensors --lite lite0.safetensors

A ridge regression on frozen features (floor or not, per token of 16 px of the body) is fitted on
renderings and read on the labelled photographs. One Markdown row per encoder and grid: the area
under the ROC curve over all tokens below the horizon, its mean over photographs, and what the
encoder costs. `START_*` come from `training.warm_start --bundle`, `lite0.safetensors` from
`training.pretrained efficientnet_lite0`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
import time

import numpy as np

from da_ros.sphere import erp_rays
from training.data.free_space import read_photographs, Truth
from training.data.shards import ShardSet

ROWS = (14, 18, 24)         # of patches
FLAT_M = 0.05               # a point this near to the floor belongs to it
MOSTLY = 0.75               # share of a token that decides
BESIDE = 0.05               # of the distance: nearer to the boundary than this is not judged
RIDGE = 100.0               # per channel of unit variance


def main() -> None:
    """Probe what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', action='append', required=True, metavar='SHARDS')
    parser.add_argument('--base', help='checkpoint of pano_base')
    parser.add_argument('--tiny', help='checkpoint of pano_tiny')
    parser.add_argument('--lite', help='weights of EfficientNet-Lite0')
    parser.add_argument('--images', type=int, default=144, help='renderings to fit on')
    args = parser.parse_args()
    renderings = ShardSet(args.data)
    chosen = np.linspace(0, len(renderings) - 1, min(args.images, len(renderings))).astype(int)
    samples = [renderings[int(index)] for index in dict.fromkeys(chosen)]
    photographs = [(photo.load(), photo.truth) for photo in read_photographs()]
    print('| encoder | tokens | channels | area | mean area | ms an image |')
    print('|---|---|---|---|---|---|')
    for name, rows, encode in encoders(args):
        began = time.process_time()
        fit = [(encode(sample.image), floor_of_range(sample.range_m, sample.camera_height_m, rows))
               for sample in samples if sample.camera_height_m > 0]
        cost_s = (time.process_time() - began) / len(fit)
        probe = ridge(np.concatenate([tokens for tokens, _ in fit]),
                      np.concatenate([label for _, label in fit]))
        said = [(probe(encode(image)), floor_of_truth(truth, rows))
                for image, truth in photographs]
        areas = [area(value, label) for value, label in said]
        pooled = area(*(np.concatenate(part) for part in zip(*said)))
        print(f'| {name} | {rows} x {2 * rows} | {fit[0][0].shape[1]} | {pooled:.3f} | '
              f'{np.nanmean(areas):.3f} | {1e3 * cost_s:.0f} |', flush=True)


def encoders(args: argparse.Namespace
             ) -> Iterator[tuple[str, int, Callable[[np.ndarray], np.ndarray]]]:
    """Yield a name, the rows of tokens, and (H, W, 3) uint8 RGB -> (rows * cols, C) features."""
    import torch
    from torch.nn import functional as F

    from da_ros.panorama import resize_erp
    from training.checkpoints.checkpoint import load_checkpoint, load_strictly, read_safetensors
    from training.networks import build_network
    from training.networks.efficientnet_lite import EfficientNetLite

    def taken(rows: int, maps: Callable) -> Callable[[np.ndarray], np.ndarray]:
        @torch.inference_mode()
        def encode(image: np.ndarray) -> np.ndarray:
            small = resize_erp(image, (16 * rows, 32 * rows), 'area')
            batch = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None] / 255
            grids = [F.interpolate(grid, (rows, 2 * rows)) if grid.shape[-2] < rows
                     else F.adaptive_avg_pool2d(grid, (rows, 2 * rows)) for grid in maps(batch)]
            return torch.cat(grids, 1)[0].flatten(1).T.numpy()
        return encode

    if args.base:
        state = load_checkpoint(args.base).state
        own = {name.removeprefix('encoder.'): value for name, value in state.items()
               if name.startswith('encoder.')}
        for rows in ROWS:
            network = build_network('pano_base', {'size_hw': [16 * rows, 32 * rows]}).eval()
            load_strictly(network.encoder, own)
            yield 'DINOv2-S as in pano_base', rows, taken(rows, lambda x, n=network: [
                n.features(x)])
    if args.lite:
        lite = EfficientNetLite().eval()
        load_strictly(lite, read_safetensors(Path(args.lite))[0])

        def stages(batch):
            maps = [batch]
            for stage in range(5):
                maps.append(lite.part(stage, maps[-1]))
            return maps[3:]
        yield 'EfficientNet-Lite0, strides 8 to 32', 16, taken(16, stages)
    if args.tiny:
        checkpoint = load_checkpoint(args.tiny)
        tiny = build_network(checkpoint.network, checkpoint.config).eval()
        load_strictly(tiny, checkpoint.state)

        def body(batch):
            x, maps = tiny.stem_rows(tiny.stem((batch - 0.45) * 4.0)), []
            for stage in tiny.stages:
                x = stage(x)
                maps.append(x)
            return maps[1:]
        yield 'pano_tiny as trained, strides 8 to 32', 16, taken(16, body)


def floor_of_range(range_m: np.ndarray, height_m: float, rows: int) -> np.ndarray:
    """Return (rows * cols,) 1 floor, -1 something else, 0 not judged, of a true range map."""
    up = erp_rays(*range_m.shape)[..., 2] * range_m + height_m
    flat = np.where(np.isfinite(range_m), np.abs(up) < FLAT_M, False).astype(np.float32)
    side = range_m.shape[0] // rows
    part = flat[:side * rows, :2 * side * rows].reshape(rows, side, 2 * rows, side).mean((1, 3))
    label = np.where(part > MOSTLY, 1, np.where(part < 1 - MOSTLY, -1, 0))
    label[:rows // 2] = 0                       # above the horizon nothing is asked
    return label.ravel()


def floor_of_truth(truth: Truth, rows: int) -> np.ndarray:
    """Return the same of a labelled photograph, at the middle of each token."""
    down = np.tan(np.pi * ((np.arange(rows) + 0.5) / rows - 0.5))
    distance = np.where(down > 0, 1 / np.maximum(down, 1e-6), np.inf)[:, None]      # [h]
    degree = ((np.arange(2 * rows) + 0.5) * 360 / (2 * rows)).astype(int)
    nearest, foot = truth.nearest[degree][None], truth.clear[degree][None]
    label = np.where(distance < (1 - BESIDE) * nearest, 1, 0)
    behind = (distance > (1 + BESIDE) * foot) & (foot <= nearest) & np.isfinite(foot)
    label[np.broadcast_to(behind, label.shape)] = -1
    label[:rows // 2] = 0
    return label.ravel()


def ridge(tokens: np.ndarray, label: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the regression of the labels that are not 0."""
    x, y = tokens[label != 0].astype(np.float64), label[label != 0].astype(np.float64)
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x = (x - mean) / deviation
    weight = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return lambda tokens: ((tokens - mean) / deviation) @ weight


def area(value: np.ndarray, label: np.ndarray) -> float:
    """Return the area under the ROC curve of the labels that are not 0; NaN without both."""
    value, positive = value[label != 0], label[label != 0] > 0
    order = np.empty(len(value))
    order[np.argsort(value)] = np.arange(1, len(value) + 1)
    count = positive.sum()
    if not 0 < count < len(value):
        return float('nan')
    return float((order[positive].sum() - count * (count + 1) / 2)
                 / (count * (len(value) - count)))


if __name__ == '__main__':
    main()
