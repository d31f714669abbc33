# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bundle's network in further precisions, beside its fp32 graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
import shutil

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros import gate
from da_ros.backends.base import feeds_for
from da_ros.backends.order import open_backend
from da_ros.bundle import Bundle, Graphs, load_bundle, write_manifest
from training.bundling.graph import ExportError, FEATURES, run_onnx
from training.bundling.precision import Feeds, to_fp16, to_int8
from training.bundling.self_check import CAMERA_HEIGHTS_M, read_panoramas

CALIBRATION_IMAGES = 16


def convert(graphs: Graphs, precision: str, inputs: list[Feeds]) -> None:
    """
    Rewrite fp32 graphs in another precision, in place.

    :param inputs: of the main graph, on typical panoramas; int8 is calibrated on them
    """
    if precision == 'fp16':
        for path in (graphs.main, *graphs.range_masks.values()):
            to_fp16(path)
    if precision == 'int8':
        if graphs.range_masks:
            outputs = [run_onnx(graphs.main, feeds) for feeds in inputs]
            features = [{name: array for name, array in output.items()
                         if name.startswith(FEATURES)} for output in outputs]
            for path in graphs.range_masks.values():
                to_int8(path, features)
        to_int8(graphs.main, inputs)


def add_variants(folder: Path, precisions: Sequence[str],
                 images: list[NDArray[np.uint8]]) -> Bundle:
    """
    Add graphs of further precisions to an fp32 bundle and prove each in onnxruntime.

    Works in place: give a copy (`export.new_folder`) that is thrown away after an error.

    :param precisions: fp16, int8
    :param images: panoramas at network size; int8 is calibrated on them
    :raises ExportError: if the bundle is not fp32 or has such graphs already
    :raises BackendError: if converted graphs depart too far from the stored outputs
    """
    bundle = load_bundle(folder)
    if bundle.precision != 'fp32':
        raise ExportError(f'bundle {bundle.name!r} is {bundle.precision}; other precisions are '
                          'made from fp32, so export it with --precision fp32')
    inputs = calibration(bundle, images)
    graphs = dict(bundle.graphs)
    for precision in precisions:
        if precision in graphs:
            raise ExportError(f'bundle {bundle.name!r} has {precision} graphs already')
        graphs[precision] = _copies(bundle, precision)
        convert(graphs[precision], precision, inputs)
    write_manifest(replace(bundle, graphs=graphs))
    bundle = load_bundle(folder)
    for precision in precisions:
        report = gate.check(open_backend('onnxruntime', bundle, precision), bundle)
        print(f'{precision}: {report}')
    return bundle


def calibration_images(images: list[NDArray[np.uint8]], proofs: list[NDArray[np.uint8]],
                       precisions: Sequence[str]) -> list[NDArray[np.uint8]]:
    """
    Return the panoramas that the self-check does not use.

    :raises ExportError: if int8 is wanted and none is left: what calibrates proves nothing
    """
    unseen = [image for image in images
              if not any(np.array_equal(image, proof) for proof in proofs)]
    if 'int8' in precisions and not unseen:
        raise ExportError('int8 is calibrated on other panoramas than those of the self-check, '
                          f'which prove it; --panoramas holds {len(images)}, and all of them are '
                          'used there; add more')
    return unseen[:CALIBRATION_IMAGES]


def calibration_folder(folder: Path | None, bundle: Bundle,
                       precisions: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Return the panoramas of a folder that calibrate a bundle which exists."""
    proofs = [np.asarray(cv2.imread(str(bundle.folder / check.image)), np.uint8)
              for check in bundle.self_checks]
    return calibration_images(
        read_panoramas(folder, bundle.size_hw, bundle.resize,
                       CALIBRATION_IMAGES + len(proofs)), proofs, precisions)


def calibration(bundle: Bundle, images: list[NDArray[np.uint8]]) -> list[Feeds]:
    """Return the main graph's inputs, camera heights unknown and known in turn."""
    return [feeds_for(bundle, image, height_m)
            for image, height_m in zip(images, cycle(CAMERA_HEIGHTS_M))]


def _copies(bundle: Bundle, precision: str) -> Graphs:
    def copy(path: Path) -> Path:
        return Path(shutil.copyfile(path, path.with_name(f'{path.stem}_{precision}.onnx')))

    return Graphs(copy(bundle.own.main),
                  {t: copy(path) for t, path in bundle.own.range_masks.items()})
