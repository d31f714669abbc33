# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Golden files: inputs, outputs and intermediate stages computed by the authors' code."""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path

from formula_weights import formula_state_dict
import numpy as np
import torch

from training.networks.spherevit import imagenet_normalised

DATA = Path(__file__).parent / 'data' / 'released'
STAGE_TOLERANCE = 5e-5           # of the largest sample of the stage


class Golden:
    """One golden file."""

    def __init__(self, path: Path):
        self.arrays = np.load(path)
        self.meta = json.loads(str(self.arrays['meta']))

    def image(self) -> torch.Tensor:
        """Return what the network is fed: RGB, (batch, 3, height, width)."""
        rgb = self.arrays['net_rgb' if 'net_rgb' in self.arrays else 'rgb']
        image = torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255
        return imagenet_normalised(image) if self.meta.get('imagenet') else image

    def out(self, name: str) -> np.ndarray:
        """Return an output; every fourth pixel where `stride` says so."""
        return self.arrays[f'out/{name}']

    def like_out(self, output: torch.Tensor) -> np.ndarray:
        """Return our output at the pixels that the file holds."""
        stride = self.meta.get('stride', 1)
        return output.numpy()[:, ::stride, ::stride]

    def departures(self, stages: dict[str, torch.Tensor]) -> list[str]:
        """Return the stages that differ from the file, in the order of computation."""
        found = []
        for name, tensor in stages.items():
            samples = self.arrays[f'stage/{name}/sample'].ravel()
            if list(tensor.shape) != self.arrays[f'stage/{name}/shape'].tolist():
                found.append(f'{name} has shape {list(tensor.shape)}')
                continue
            flat = tensor.detach().numpy().ravel()
            count = flat.size
            index = (np.arange(count) if count <= 256
                     else np.arange(256) * (count - 1) // 255)
            error = np.abs(flat[index] - samples).max() / np.abs(samples).max()
            if not error <= STAGE_TOLERANCE:
                found.append(f'{name} departs by {error:.1e} of its largest sample')
        return found

    def stage_names(self) -> set[str]:
        """Return the stages that the file holds."""
        return {key[6:-6] for key in self.arrays.files
                if key.startswith('stage/') and key.endswith('/shape')}


def formula_state(manifest: Path, seed: int) -> dict[str, torch.Tensor]:
    """Return the released state dict filled with formula weights, aliases and unused included."""
    shapes = json.loads(manifest.read_text())['state_dict']
    return {name: torch.from_numpy(array)
            for name, array in formula_state_dict(shapes, seed).items()}


class Recorder:
    """Collects tensors by stage name while a network runs."""

    def __init__(self):
        self.stages: dict[str, torch.Tensor] = {}

    def output(self, module: torch.nn.Module, name: str,
               change: Callable = lambda tensor: tensor) -> None:
        """Record what a module returns; `{}` in the name counts its calls."""
        def hook(_module, _inputs, result):
            self._keep(name, change(result))
        module.register_forward_hook(hook)

    def input(self, module: torch.nn.Module, name: str) -> None:
        """Record the first argument of a module."""
        def hook(_module, inputs):
            self._keep(name, inputs[0])
        module.register_forward_pre_hook(hook)

    def method(self, module: torch.nn.Module, method: str, name: str) -> None:
        """Record what a method of a module returns."""
        inner = getattr(module, method)

        def recorded(*inputs):
            self.stages[name] = inner(*inputs)
            return self.stages[name]
        setattr(module, method, recorded)

    def _keep(self, name: str, tensor: torch.Tensor) -> None:
        calls = sum(key.startswith(name.split('{')[0]) for key in self.stages)
        self.stages[name.format(calls)] = tensor


def record_dap(network) -> Recorder:
    """Return a recorder of every stage of the DAP golden files."""
    recorder, encoder = Recorder(), network.encoder
    recorder.input(network.encoder, 'input')
    recorder.output(encoder.patch_embed, 'patch_embed',
                    lambda grid: grid.permute(0, 2, 3, 1))
    encoder.rope_embed.register_forward_hook(lambda _module, _inputs, table: (
        recorder.stages.update({'rope_sin': table[0], 'rope_cos': table[1]})))
    recorder.input(encoder.blocks[0], 'tokens_in')
    for index, block in enumerate(encoder.blocks):
        recorder.output(block, f'block{index}')
    recorder.output(encoder.norm, 'vit_norm{}')
    recorder.output(network.adapter_norm, 'adapter_norm{}')
    for head, name in ((network.range_head, 'depth_head'),
                       (network.mask_heads['100'], 'mask_head')):
        for k in range(4):
            recorder.input(head.project[k], f'{name}/grid{k}')
            recorder.output(head.project[k], f'{name}/project{k}')
            recorder.output(head.scale[k], f'{name}/resize{k}')
            recorder.output(head.reassemble[k], f'{name}/layer{k + 1}_rn')
            recorder.output(head.fuse[k], f'{name}/refinenet{k + 1}')
        recorder.output(head.neck, f'{name}/output_conv1')
        recorder.input(head.out, f'{name}/upsampled')
        recorder.output(head, f'{name}/logit')
    return recorder


def record_da2(network) -> Recorder:
    """Return a recorder of the stages of the DA2 golden files."""
    recorder, encoder, decoder = Recorder(), network.encoder, network.decoder
    recorder.input(network, 'input')
    recorder.input(encoder, 'dino_in')
    recorder.output(encoder.patch_embed, 'patch_embed',
                    lambda grid: grid.flatten(2).transpose(1, 2))
    recorder.input(encoder.blocks[0], 'tokens_in')
    for index in (0, 5, 11, 17, 23):
        recorder.output(encoder.blocks[index], f'block{index}')
    for k, tap in enumerate((5, 11, 17, 23)):
        recorder.input(network.align[k], f'dino_feature{tap}')
        recorder.output(network.align[k], f'aligner{k}')
        network.prompt[k].register_forward_pre_hook(lambda _module, inputs: (
            recorder.stages.update(
                sphere_embedding=inputs[1].expand(inputs[0].shape[0], -1, -1))))
        recorder.output(network.prompt[k], f'prompt{k}')
    recorder.output(decoder.latent, 'to_latents', lambda tokens: tokens.flatten(1, 2))
    for k in range(3):
        recorder.output(decoder.process[k], f'process{k}')
        recorder.output(decoder.up[k], f'upsampler{k}')
    recorder.output(decoder.mix, 'pred_head2')
    recorder.output(decoder.neck, 'to_depth_lr')
    recorder.output(decoder, 'log_distance_raw')
    recorder.method(network, 'scaled_range', 'distance_model_res')
    return recorder


def assert_parity(golden: Golden, stages: dict[str, torch.Tensor]) -> None:
    """Fail with the first stage that departs from the authors' code, or with a missing one."""
    missing = golden.stage_names() - set(stages)
    assert not missing, f'stages not recorded: {sorted(missing)}'
    departures = golden.departures(
        {name: tensor for name, tensor in stages.items() if name in golden.stage_names()})
    assert not departures, f'first stage that departs: {departures[0]}'
