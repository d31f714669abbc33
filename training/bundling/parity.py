# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What exported graphs give on the self-check panoramas, compared with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.gate import departure, GateReport, LIMITS, worst
from training.bundling.graph import (
    ExportError,
    FEATURES,
    GraphSet,
    MASK_OUTPUT,
    run_onnx,
    run_torch,
)
from training.bundling.precision import store_int8
from training.bundling.self_check import CAMERA_HEIGHTS_M

Arrays = dict[str, NDArray[np.float32]]
Case = tuple[NDArray[np.uint8], float, Arrays]       # panorama, camera height [m], outputs

PARITY_RELATIVE = 5e-4           # of a range of 1 m or more, torch against onnxruntime
PARITY_FROM_M = 1.0              # nearer ranges may depart as much as one of 1 m: .5 mm
PARITY_PROBABILITY = 1e-3
SELF_CHECK_IMAGES = 2


def check_parity(graphs: GraphSet, folder: Path, images: list[NDArray[np.uint8]]
                 ) -> tuple[list[Case], dict[str, float]]:
    """
    Compare torch and onnxruntime on the self-check panoramas.

    :return: panoramas with onnxruntime's outputs; largest departures by output
    :raises ExportError: if they differ by more than rounding
    """
    parity: dict[str, float] = {}
    cases = []
    heights = CAMERA_HEIGHTS_M if graphs.uses_camera_height else (0.0,)
    count = max(len(heights), min(SELF_CHECK_IMAGES, len(images)))
    for index in range(count):
        image, height_m = images[index % len(images)], heights[index % len(heights)]
        inputs = feeds(graphs, image, height_m)
        wanted = run_chain(graphs, inputs, run_torch)
        got = run_exported(graphs, folder, inputs)
        for name, largest in departures(got, wanted).items():
            parity[name] = float(np.maximum(parity.get(name, 0.0), largest))    # NaN stays
        cases.append((image, height_m, got))
    limits = {'range_m': PARITY_RELATIVE, MASK_OUTPUT: PARITY_PROBABILITY}
    for name, largest in parity.items():
        if not largest <= limits[name]:
            raise ExportError(f'{name} of onnxruntime departs from torch by {largest:.1e}, '
                              f'allowed {limits[name]:g}; nothing was written')
    return cases, parity


def store_weights(graphs: GraphSet, folder: Path, cases: list[Case]
                  ) -> tuple[list[Case], GateReport]:
    """
    Store the weights of all graphs in 8 bits.

    :return: the panoramas with the outputs of what is stored; the worst departures from before
    :raises ExportError: if that is more than int8 arithmetic may depart
    """
    for graph in (graphs.main, *graphs.masks.values()):
        store_int8(folder / graph.file)
    stored = [(image, height_m, run_exported(graphs, folder, feeds(graphs, image, height_m)))
              for image, height_m, _ in cases]
    report = worst([[departure(new['range_m'], old['range_m'], new.get(MASK_OUTPUT),
                               old.get(MASK_OUTPUT))]
                    for (*_, new), (*_, old) in zip(stored, cases)])
    if not report.within(LIMITS['int8']):
        raise ExportError(f'weights in 8 bits change too much: {report}; use --weights float')
    return stored, report


def run_exported(graphs: GraphSet, folder: Path, inputs: Arrays) -> Arrays:
    """Return what the graphs in a folder give in onnxruntime."""
    return run_chain(graphs, inputs, lambda graph, feed: run_onnx(folder / graph.file, feed))


def feeds(graphs: GraphSet, image: NDArray[np.uint8], camera_height_m: float) -> Arrays:
    """Return the inputs of the main graph."""
    inputs: Arrays = {'image': image}
    if graphs.uses_camera_height:
        inputs['camera_height_m'] = np.array([camera_height_m], np.float32)
    return inputs


def run_chain(graphs: GraphSet, inputs: Arrays, run) -> Arrays:
    """
    Run the main graph and every range-mask head on its features.

    :param run: function of a Graph and its inputs that returns outputs by name
    :return: `range_m` and, where the network has masks, `range_mask_probability` (K, H, W)
    """
    outputs = run(graphs.main, inputs)
    masks = [run(graph, outputs)[MASK_OUTPUT]
             for _, graph in sorted(graphs.masks.items())]
    if masks:
        outputs[MASK_OUTPUT] = np.concatenate(masks)
    return {name: array for name, array in outputs.items() if not name.startswith(FEATURES)}


def departures(got: Arrays, wanted: Arrays) -> dict[str, float]:
    """Return the largest error of the range, relative to 1 m or more, and of a probability."""
    allowed_for = np.maximum(wanted['range_m'], PARITY_FROM_M)
    found = {'range_m': float((np.abs(got['range_m'] - wanted['range_m']) / allowed_for).max())}
    if MASK_OUTPUT in wanted:
        found[MASK_OUTPUT] = float(np.abs(got[MASK_OUTPUT] - wanted[MASK_OUTPUT]).max())
    return found


def parity_text(parity: dict[str, float]) -> str:
    """Return one line for the user."""
    return 'onnxruntime against torch: ' + ', '.join(
        f'{name} {departure:.1e}' for name, departure in parity.items())
