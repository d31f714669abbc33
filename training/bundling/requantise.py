# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An fp32 bundle in another precision, as a bundle of its own: its weights need not be at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.bundle import Bundle, Graphs, load_bundle, write_manifest
from training.bundling.graph import ExportError
from training.bundling.heads import copy_bundle
from training.bundling.variants import calibration, convert


def requantise(bundle: Bundle, precision: str, images: list[NDArray[np.uint8]], folder: Path,
               name: str) -> Bundle:
    """
    Write a copy of an fp32 bundle in another precision; the self-check stays that of fp32.

    :param precision: fp16 | int8
    :param images: panoramas at network size, BGR; int8 is calibrated on them
    :param folder: empty folder for the copy
    :raises ExportError: if the bundle is not a plain one in fp32
    """
    if precision == 'fp32' or bundle.precisions != ('fp32',):
        raise ExportError(f'bundle {bundle.name!r} holds {", ".join(bundle.precisions)}; give one '
                          'that is fp32 alone, and --precision fp16 or int8')
    copy_bundle(bundle, folder)
    graphs = Graphs(folder / bundle.own.main.name,
                    {t: folder / path.name for t, path in bundle.own.range_masks.items()})
    convert(graphs, precision, calibration(bundle, images))
    write_manifest(replace(
        bundle, folder=folder, name=name, precision=precision, graphs={precision: graphs},
        provenance=bundle.provenance | {'fp32_sha256': bundle.files[bundle.own.main.name]}))
    return load_bundle(folder)
