# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""
Range-mask heads as separate parts: taken from a network, attached to and detached from a bundle.

A head reads the features of exactly one trunk (encoder and adapter); the hash of the trunk's
weights travels with both and must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
import hashlib
from pathlib import Path
import shutil

import cv2
import numpy as np
import torch

from da_ros.bundle import Bundle, BundleError, Graphs, MANIFEST, write_manifest
from training.bundling.graph import (
    ExportError,
    FEATURES,
    Graph,
    mask_graph,
    MASK_OUTPUT,
    run_onnx,
    run_torch,
    write_graph,
)
from training.bundling.wrap_padding import wrap_convolutions
from training.checkpoints.checkpoint import build, Checkpoint
from training.networks.dap import mask_key, MaskHeadConfig

PARITY = 1e-3        # of a probability, torch against onnxruntime
TRUNK = ('encoder.', 'adapter_norm.')


def trunk_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """Return the hash of the weights that make the features which heads read."""
    digest = hashlib.sha256()
    for name in sorted(name for name in state if name.startswith(TRUNK)):
        digest.update(name.encode())
        digest.update(state[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def head_checkpoint(checkpoint: Checkpoint, range_mask_m: float) -> Checkpoint:
    """
    Return one range-mask head of a DAP checkpoint, ready for `save_checkpoint`.

    :raises ExportError: if the network has no such head; lists those it has
    """
    prefix = f'mask_heads.{mask_key(range_mask_m)}.'
    state = {name.removeprefix(prefix): tensor for name, tensor in checkpoint.state.items()
             if name.startswith(prefix)}
    if not state:
        raise ExportError(f'no range mask {range_mask_m:g} m in the checkpoint; it has '
                          f'{list(checkpoint.config.get("range_masks_m", ()))}')
    config = {'encoder': checkpoint.config['encoder'], 'range_mask_m': range_mask_m}
    provenance = dict(checkpoint.provenance) | {'trunk_sha256': trunk_sha256(checkpoint.state)}
    return Checkpoint('dap_mask_head', config, state, provenance)


def add_head(bundle: Bundle, head: Checkpoint, folder: Path) -> None:
    """
    Write a copy of a bundle with one more range mask.

    :param head: checkpoint of network `dap_mask_head`
    :param folder: empty folder for the copy
    :raises ExportError: if the head does not belong to this bundle
    """
    check_one_precision(bundle)
    if bundle.precision != 'fp32':
        raise ExportError(f'bundle {bundle.name!r} is {bundle.precision}, and what its heads must '
                          'say comes from fp32; add the head to the fp32 bundle, then convert '
                          'that with --precision or --also')
    config = MaskHeadConfig(**head.config) if head.network == 'dap_mask_head' else None
    check_fits(bundle, head, config)
    network = build(head)
    if bundle.provenance.get('padding') == 'wrap':
        wrap_convolutions(network)
    graph = mask_graph(network, config.range_mask_m, bundle.size_hw)
    copy_bundle(bundle, folder)
    write_graph(graph, folder)
    probabilities = check_head(bundle, graph, folder)
    graphs = {path_t: folder / path.name for path_t, path in bundle.own.range_masks.items()}
    graphs = dict(sorted((graphs | {config.range_mask_m: folder / graph.file}).items()))
    store_expected(bundle, folder, tuple(graphs).index(config.range_mask_m), probabilities)
    rewrite(bundle, folder, graphs)


def remove_head(bundle: Bundle, range_mask_m: float, folder: Path) -> None:
    """
    Write a copy of a bundle without one of its separate range masks.

    :raises BundleError: if the bundle has no such separate head; lists those it has
    """
    check_one_precision(bundle)
    if range_mask_m not in bundle.own.range_masks:
        known = ', '.join(f'{t:g}' for t in bundle.own.range_masks) or 'none'
        raise BundleError(f'no separate range-mask head {range_mask_m:g} m in bundle '
                          f'{bundle.name!r}; it has: {known}')
    copy_bundle(bundle, folder)
    (folder / bundle.own.range_masks[range_mask_m].name).unlink()
    index = sorted(bundle.own.range_masks).index(range_mask_m)
    for check in bundle.self_checks:
        expected = dict(np.load(folder / check.expected))
        expected[MASK_OUTPUT] = np.delete(expected[MASK_OUTPUT], index, axis=0)
        np.savez_compressed(folder / check.expected, **expected)
    rewrite(bundle, folder, {t: folder / path.name for t, path in bundle.own.range_masks.items()
                             if t != range_mask_m})


def check_one_precision(bundle: Bundle) -> None:
    """:raises ExportError: if it has further graphs, which would not change along."""
    if also := [name for name in bundle.precisions if name != bundle.precision]:
        raise ExportError(f'bundle {bundle.name!r} also has {", ".join(also)} graphs; '
                          'change the heads of the plain bundle, then run --also')


def check_fits(bundle: Bundle, head: Checkpoint, config: MaskHeadConfig | None) -> None:
    """
    Refuse a head that was not trained on the trunk of this bundle.

    :raises ExportError: with the reason
    """
    trunk = bundle.provenance.get('trunk_sha256')
    if config is None:
        raise ExportError(f'the checkpoint holds network {head.network!r}, not a range-mask head '
                          "('dap_mask_head')")
    if trunk is None:
        raise ExportError(f'bundle {bundle.name!r} takes no separate range-mask heads')
    if head.provenance.get('trunk_sha256') != trunk:
        raise ExportError(f'the head was trained on another encoder than that of bundle '
                          f'{bundle.name!r}; train it on this one')
    if config.range_mask_m in bundle.own.range_masks:
        raise ExportError(f'bundle {bundle.name!r} has a {config.range_mask_m:g} m head already; '
                          f'run --remove-head {config.range_mask_m:g} first')


def check_head(bundle: Bundle, graph: Graph, folder: Path) -> list[np.ndarray]:
    """
    Compare torch and onnxruntime on the features of the bundle's self-check panoramas.

    :return: probabilities (1, H, W) per self-check
    :raises ExportError: if they differ by more than rounding
    """
    probabilities = []
    for features in self_check_features(bundle):
        got = run_onnx(folder / graph.file, features)[MASK_OUTPUT]
        departure = np.abs(got - run_torch(graph, features)[MASK_OUTPUT]).max()
        if not departure <= PARITY:
            raise ExportError(f'{graph.file} departs from torch by {departure:.1e}, '
                              f'allowed {PARITY:g}')
        print(f'{graph.file}: onnxruntime against torch {departure:.1e}')
        probabilities.append(got)
    return probabilities


def self_check_features(bundle: Bundle) -> list[dict[str, np.ndarray]]:
    """Return the feature grids of the bundle's self-check panoramas."""
    images = [cv2.imread(str(bundle.folder / check.image)) for check in bundle.self_checks]
    return [{name: array for name, array in run_onnx(bundle.own.main, {'image': image}).items()
             if name.startswith(FEATURES)} for image in images]


def store_expected(bundle: Bundle, folder: Path, index: int,
                   probabilities: list[np.ndarray]) -> None:
    """Insert a head's outputs at its place among the expected ones."""
    for check, probability in zip(bundle.self_checks, probabilities):
        expected = dict(np.load(folder / check.expected))
        known = expected.get(MASK_OUTPUT, probability[:0])
        expected[MASK_OUTPUT] = np.insert(known, index, probability[0], axis=0)
        np.savez_compressed(folder / check.expected, **expected)


def copy_bundle(bundle: Bundle, folder: Path) -> None:
    """Copy model.yaml and every file that it names."""
    for name in (MANIFEST, *bundle.files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.folder / name, folder / name)


def copy_the_rest(bundle: Bundle, folder: Path) -> None:
    """Copy what else lies in a bundle's folder, such as its model card."""
    for path in bundle.folder.rglob('*'):
        name = path.relative_to(bundle.folder)
        if path.is_file() and str(name) not in (MANIFEST, *bundle.files):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)


def rewrite(bundle: Bundle, folder: Path, graphs: dict[float, Path]) -> None:
    """Write model.yaml of the copy with these separate heads."""
    write_manifest(replace(
        bundle, folder=folder, range_masks_m=tuple(graphs),
        graphs={bundle.precision: Graphs(folder / bundle.own.main.name, graphs)}))
