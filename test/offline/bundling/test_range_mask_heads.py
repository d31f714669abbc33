# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A range mask trained on a frozen encoder, attached to a bundle and selected while it runs."""

import pytest

pytest.importorskip('torch', reason='torch is not installed (extra da_ros[training])')

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from da_ros.sphere import solid_angles
from training import export
from training.bundling.heads import head_checkpoint
from training.checkpoints.checkpoint import Checkpoint, save_checkpoint
from training.losses import range_mask_bce
from training.networks.dap import Dap, DapConfig, ENCODERS, freeze_all_but_masks, HEADS
from training.networks.dpt import DptConfig
from training.networks.spherevit import imagenet_normalised
from training.networks.vit import LayerScale, VitConfig
from training.scoring.metrics import mask_counts, mask_metrics, within_threshold
from training.scoring.predictors import BundlePredictor
from training.simulator.box_room import Box, panorama

SIZE_HW = (64, 128)
MASKS_M = (5.0, 10.0)
HALL = (Box((-20.0, -4.0, 0), (20.0, 4.0, 3.5), (200, 205, 210), 0.5),
        Box((-9.0, -4.0, 0), (-8.0, -2.5, 2.0), (90, 140, 90), 0.3),
        Box((6.0, 2.0, 0), (7.0, 4.0, 1.2), (70, 110, 160), 0.2))


def hall(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture (BGR) from a drawn place in a hall of 40 m, and its range."""
    rng = np.random.default_rng(seed)
    pose, turn = np.eye(4), rng.uniform(-np.pi, np.pi)
    pose[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    pose[:3, 3] = rng.uniform([-15, -2, 1.0], [15, 2, 1.6])
    return panorama(HALL, pose, *SIZE_HW)


def untrained(monkeypatch) -> Dap:
    monkeypatch.setitem(ENCODERS, 'micro', VitConfig(dim=64, depth=4, heads=1, taps=(0, 1, 2, 3)))
    monkeypatch.setitem(HEADS, 'micro', DptConfig(64, 16, (16, 16, 32, 32)))
    torch.manual_seed(0)
    network = Dap(DapConfig('micro', MASKS_M))
    for module in network.modules():
        if isinstance(module, LayerScale):
            torch.nn.init.constant_(module.gamma, 0.3)
    torch.nn.init.constant_(network.range_head.out[2].bias, -8)     # near: the mask alone decides
    return network


def train(network: Dap, steps: int) -> list[float]:
    """Train every mask on the frozen encoder; return the losses."""
    pictures = [hall(seed) for seed in range(16)]
    image = torch.stack([torch.from_numpy(bgr[..., ::-1].copy()).permute(2, 0, 1) / 255
                         for bgr, _ in pictures])
    range_m = torch.stack([torch.from_numpy(r) for _, r in pictures])
    weight = torch.from_numpy(solid_angles(*SIZE_HW).astype(np.float32))
    parameters = freeze_all_but_masks(network, MASKS_M)
    with torch.no_grad():
        grids = network.features(imagenet_normalised(image))
    optimiser, found = torch.optim.Adam(parameters, lr=3e-3), []
    for _ in range(steps):
        logits = -torch.cat([head(grids) for head in network.mask_heads.values()], 1)
        loss = range_mask_bce(logits, range_m, MASKS_M, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found


def bundle_with_heads(network: Dap, folder: Path) -> Path:
    """Export with the last mask alone, then attach the other one."""
    *apart, kept = MASKS_M
    whole = Checkpoint('dap', asdict(network.config), dict(network.state_dict()), {})
    state = {name: tensor for name, tensor in whole.state.items()
             if not name.startswith('mask_heads.') or name.startswith(f'mask_heads.{kept:g}.')}
    save_checkpoint(folder / 'dap.safetensors', 'dap',
                    whole.config | {'range_masks_m': [kept]}, state, {})
    command('--checkpoint', folder / 'dap.safetensors', '--out', folder / 'bundle',
            '--size', f'{SIZE_HW[0]}x{SIZE_HW[1]}')
    for threshold in apart:
        head = head_checkpoint(whole, threshold)
        path = save_checkpoint(folder / f'head_{threshold:g}.safetensors', head.network,
                               head.config, head.state, head.provenance)
        command('--bundle', folder / 'bundle', '--add-head', path)
    return folder / 'bundle'


def command(*arguments) -> None:
    parser = export.make_parser()
    export.run(parser.parse_args([str(argument) for argument in arguments]), parser)


def two_sided_iou(within: np.ndarray, range_m: np.ndarray, threshold_m: float) -> float:
    target = within_threshold(range_m, threshold_m)
    return np.mean([mask_metrics(mask_counts(w, t))['iou']
                    for w, t in ((within, target), (~within, 1 - target))])


@pytest.mark.slow
def test_trained_heads_tell_near_from_far_and_switch_while_running(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    network = untrained(monkeypatch)
    losses = train(network, 80)
    assert np.mean(losses[-5:]) < 0.4 * losses[0]
    predictor = BundlePredictor(bundle_with_heads(network, tmp_path), 'onnxruntime')
    assert predictor.range_masks_m == MASKS_M
    for threshold in MASKS_M:
        scores = []
        for seed in range(100, 106):       # places that training never saw
            image, range_m = hall(seed)
            scores.append([two_sided_iou(within, range_m, threshold) for within in (
                np.ones(SIZE_HW, bool), predictor.within(image, threshold))])
        everything, trained = np.mean(scores, axis=0)
        print(f'{threshold:g} m: all within {everything:.3f}, trained head {trained:.3f}')
        assert trained > everything + 0.2
