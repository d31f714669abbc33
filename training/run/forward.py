# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One forward for all networks: image and camera height to log range, masks and log height."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file
import torch
from torch import nn, Tensor
from torch.nn import functional as F

from training.checkpoints.checkpoint import build, load_checkpoint, load_strictly
from training.networks.dap import Dap, METRES_PER_UNIT
from training.networks.pano_tiny import PanoTiny
from training.networks.spherevit import imagenet_normalised, network_size, SphereVit
from training.run.batches import Batch
from training.run.config import TrainError

# modules that a pre-trained encoder brings along, and that a frozen trunk freezes
ENCODERS = {'dap': ('encoder.', 'adapter_norm.'), 'da2': ('encoder.',),
            # all but the path of the features: what a trained pano_tiny brings
            'pano_base': ('encoder.', 'stem', 'stages.', 'height_in.', 'height_out.', 'attention.',
                          'lateral.', 'reduce.', 'smooth.', 'refine.', 'out.', 'prior'),
            'pano_tiny': ('stem', 'stages.', 'height_in.', 'attention.')}
DEFAULT_SIZES = {'dap': (512, 1024), 'da2': (546, 1092)}
# tensors of published encoder weights that the networks never run
UNUSED_ENCODER_TENSORS = {'mask_token', 'register_tokens'}


def encoder_prefixes(network: nn.Module, name: str) -> tuple[str, ...]:
    """Return how the parameters begin that a pretrained encoder brings along."""
    own = name == 'pano_tiny' and network.config.encoder
    return ('encoder.',) if own else ENCODERS[name]


class Prediction(NamedTuple):
    """What a network says of a batch."""

    log_range: Tensor                   # (B, H, W) log metres; of no unit for DA2
    mask_logits: Tensor                 # (B, K, H, W) of P(range <= T); K may be 0
    log_height: Tensor | None = None    # (B,) estimate of the log camera height


class Forward(nn.Module):
    """
    A network as training sees it.

    forward(image (B, 3, H, W) RGB in 0..1, camera_height_m (B,), 0 = unknown) -> Prediction
    """

    def __init__(self, network: nn.Module) -> None:
        """:raises TrainError: if the network cannot be trained on its own."""
        super().__init__()
        for kind, function in FORWARDS.items():
            if isinstance(network, kind):
                self.network, self._function = network, function
                return
        raise TrainError(f'{type(network).__name__} cannot be trained on its own; '
                         'a range-mask head is trained with --heads')

    @property
    def range_masks_m(self) -> tuple[float, ...]:
        return tuple(getattr(self.network.config, 'range_masks_m', ()))

    def forward(self, image: Tensor, camera_height_m: Tensor,
                features: Tensor | None = None) -> Prediction:
        if features is not None:        # of a frozen encoder, kept: pano_base only
            return Prediction(*self.network.predict(image, camera_height_m, features))
        return self._function(self.network, image, camera_height_m)


def forward_pano(network: PanoTiny, image: Tensor, camera_height_m: Tensor) -> Prediction:
    return Prediction(*network.predict(image, camera_height_m))


def forward_dap(network: Dap, image: Tensor, _: Tensor) -> Prediction:
    """Range is 100 m * sigmoid; a mask head says P(range > T), hence the sign."""
    grids = network.features(imagenet_normalised(image))
    log_range = F.logsigmoid(network.range_head(grids)[:, 0].float()) + math.log(METRES_PER_UNIT)
    logits = [-head(grids)[:, 0] for head in network.mask_heads.values()]
    return Prediction(log_range, torch.stack(logits, 1) if logits else no_masks(image))


def forward_da2(network: SphereVit, image: Tensor, _: Tensor) -> Prediction:
    """As `SphereVit.forward` without the division by a quantile of the whole batch."""
    size_hw, factor = network_size(network.config, *image.shape[-2:])
    resized = F.interpolate(image, size=size_hw, mode='bilinear', align_corners=False)
    sphere_hw = tuple(side * factor for side in network.config.sphere_hw) or size_hw
    log_range = network.unscaled_range(imagenet_normalised(resized), sphere_hw).float().log()
    return Prediction(F.interpolate(log_range, size=image.shape[-2:], mode='bilinear',
                                    align_corners=False)[:, 0], no_masks(image))


def no_masks(image: Tensor) -> Tensor:
    return image.new_zeros(len(image), 0, *image.shape[-2:])


FORWARDS = {PanoTiny: forward_pano, Dap: forward_dap, SphereVit: forward_da2}


def image_size(network: nn.Module, name: str, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """
    Return the (height, width) [px] to train at.

    :param wanted: size_hw of the run's config, or None
    :raises TrainError: if the network was built for another size
    """
    built = getattr(network.config, 'size_hw', None)
    if built and wanted and tuple(built) != tuple(wanted):
        raise TrainError(f'size_hw {tuple(wanted)} differs from {tuple(built)} of the network; '
                         'set it under model:')
    return tuple(wanted or built or DEFAULT_SIZES[name])


def load_initial(network: nn.Module, name: str, path: Path) -> None:
    """
    Copy the weights of a checkpoint, ours or released, into a network.

    :raises DaRosError: if it is unreadable or of another network
    """
    from training.checkpoints.reading import read_checkpoint
    load_strictly(network, read_checkpoint(path, name).state)


def load_encoder(network: nn.Module, path: Path) -> None:
    """
    Copy published weights into the encoder of a network that has one: DAP, DA2, pano_base, or a
    pano_tiny with `encoder: efficientnet_lite0`.

    :param path: safetensors, or a torch pickle of a flat state dict
    :raises DaRosError: if the network has no such encoder, the file is damaged or a tensor does
        not fit
    """
    if not hasattr(network, 'encoder'):
        raise TrainError(f'{type(network).__name__} has no published encoder; '
                         'leave --init-encoder away')
    if not path.is_file():
        raise TrainError(f'no file {str(path)!r} for --init-encoder')
    load_strictly(network.encoder, {key: tensor for key, tensor in encoder_state(path).items()
                                    if key not in UNUSED_ENCODER_TENSORS})


def encoder_state(path: Path) -> dict[str, Tensor]:
    """:raises TrainError: if the file is damaged or no flat state dict."""
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:      # a damaged pickle raises nearly anything
        raise TrainError(f'--init-encoder {path} cannot be read; it is truncated or of another '
                         'kind, download it again') from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise TrainError(f'--init-encoder {path} is not a flat state dict of tensors; save the '
                         "encoder's state_dict() alone")
    return state


def load_teacher(path: Path) -> tuple[Forward, tuple[int, int]]:
    """
    Return a trained network that gives targets, and the (height, width) it was trained at.

    :raises DaRosError: if the checkpoint is unreadable, or its ranges have no unit
    """
    checkpoint = load_checkpoint(path)
    teacher = Forward(build(checkpoint))
    if isinstance(teacher.network, SphereVit):
        raise TrainError(f'--teacher {path} gives ranges without a unit, which would be learnt as '
                         'metres; take a metric network (pano_tiny, dap)')
    size_hw = checkpoint.provenance.get('config', {}).get('size_hw')
    return (teacher.requires_grad_(False).eval(),
            image_size(teacher.network, checkpoint.network, size_hw))


def teach(teacher: Forward, batch: Batch, teacher_hw: tuple[int, int],
          size_hw: tuple[int, int]) -> Prediction:
    """
    Return what the teacher says at the student's size, told every camera height that is known.

    Nearest pixels: a mean of near and far would teach points in the air.
    """
    said = teacher(batch.resized(teacher_hw).image, batch.height_m)
    return Prediction(nearest(said.log_range, size_hw), nearest(said.mask_logits, size_hw))


def nearest(maps: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Return maps (B, H, W) or (B, K, H, W) at another size."""
    if tuple(maps.shape[-2:]) == tuple(size_hw) or not maps.numel():
        return maps.new_zeros(*maps.shape[:-2], *size_hw) if not maps.numel() else maps
    four = maps if maps.ndim == 4 else maps[:, None]
    return F.interpolate(four, size=size_hw, mode='nearest-exact').view(*maps.shape[:-2],
                                                                        *size_hw)
