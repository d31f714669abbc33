# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The truth gate: a runtime is used only after it has repeated the bundle's stored outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.backends.base import Arrays, Backend, BackendError, feeds_for
from da_ros.bundle import Bundle, BundleError, SelfCheck
from da_ros.errors import DaRosError
from da_ros.jpeg_png import decode_image

REPEAT_ERROR = 1e-3
BLOCKS = 16                   # of the worst-block figures, in the height of a panorama


@dataclass(frozen=True)
class Limits:
    """Largest departures from the stored onnxruntime fp32 outputs that are still trusted."""

    relative_error_p99: float
    scale_error: float
    mask_agreement: float
    block_error: float            # of the worst block: mean |log(predicted / stored)|
    block_agreement: float        # of the worst block and mask


# The first three are of the whole sphere, where a wrong tile of 25 x 25 degrees straight ahead,
# one pixel in a hundred, passes. Hence the blocks. Good runtimes on the shipped bundles and 20
# pictures gave at worst: OpenVINO fp32 2e-5 and 1.000, bf16 .12 and .88; onnxruntime fp16 .014
# and .958, int8 .11 and .84. bf16 keeps three bits less than fp16: of pano_base the 99th
# percentile is .0201 in its own two pictures, .013 in the median of 29 photographs. Of TensorRT
# no figure has been measured: unproven until it has run.
LIMITS = {
    'fp32': Limits(1e-3, 1e-3, 0.999, 1e-3, 0.99),
    'fp16': Limits(2e-2, 1e-2, 0.995, 0.2, 0.8),
    'bf16': Limits(3e-2, 1e-2, 0.995, 0.2, 0.8),
    'int8': Limits(1e-1, 3e-2, 0.98, 0.2, 0.7),
}


class GateError(BackendError):
    """A runtime that gives wrong numbers."""


@dataclass(frozen=True)
class GateReport:
    """The worst departures over all runs of all self-check panoramas."""

    relative_error_p99: float
    scale: float                 # median of predicted / stored range
    mask_agreement: float        # share of pixels on the same side of 0.5, worst head
    block_error: float           # mean |log(predicted / stored)| of the worst block
    block_agreement: float       # mask agreement of the worst block, worst head
    repeat_error: float = 0.0    # of the scale, any run against the first
    runs: int = 1

    def __str__(self) -> str:
        """Return one line for logs and diagnostics."""
        repeated = f', {self.runs} runs within {self.repeat_error:.2g}' if self.runs > 1 else ''
        return (f'p99 relative error {self.relative_error_p99:.2g}, scale {self.scale:.5f}, '
                f'mask agreement {self.mask_agreement:.4f}, worst block '
                f'{self.block_error:.2g} and {self.block_agreement:.3f}{repeated}')

    def within(self, limits: Limits) -> bool:
        """Return whether every figure keeps its limit; NaN keeps none."""
        return (self.relative_error_p99 <= limits.relative_error_p99
                and abs(self.scale - 1) <= limits.scale_error
                and self.mask_agreement >= limits.mask_agreement
                and self.block_error <= limits.block_error
                and self.block_agreement >= limits.block_agreement
                and self.repeat_error <= REPEAT_ERROR)


def prove(backend: Backend, bundle: Bundle, runs: int = 0) -> GateReport:
    """
    Check a runtime as often as it demands itself, and have it keep the verdict.

    :param runs: of each panorama; 0 = what the runtime demands
    :raises BackendError: naming the figure that is out of its limit
    :raises BundleError: if the bundle has no self-check or an unreadable one
    """
    runs = runs or backend.runs_to_prove()
    try:
        report = check(backend, bundle, runs)
    except GateError as error:   # not for a run that failed or was cancelled
        backend.keep_verdict(False, str(error), runs)
        raise
    backend.keep_verdict(True, str(report), runs)
    return report


def check(backend: Backend, bundle: Bundle, runs: int = 1) -> GateReport:
    """
    Run the stored panoramas and compare.

    :param runs: of each panorama
    :raises GateError: naming the figure that is out of its limit, or an output of wrong shape
    :raises BackendError: if the runtime fails
    :raises BundleError: if the bundle has no self-check or an unreadable one
    """
    if not bundle.self_checks:
        raise BundleError(f'bundle {bundle.name!r} has no self-check panorama, so no runtime can '
                          'be trusted with it; re-export with `python -m training.export`')
    found = worst([[report for _ in range(runs) for report in stored.compare(backend)]
                   for stored in (_Stored(bundle, check) for check in bundle.self_checks)], runs)
    limits = LIMITS[backend.variant]
    if not found.within(limits):
        repeated = f', {REPEAT_ERROR:g} from run to run' if runs > 1 else ''
        raise GateError(
            f'{backend.name} {backend.variant} fails the self-check of bundle {bundle.name!r}: '
            f'{found}; allowed for {backend.variant}: {limits.relative_error_p99:g}, '
            f'1 +- {limits.scale_error:g}, {limits.mask_agreement:g}, worst block '
            f'{limits.block_error:g} and {limits.block_agreement:g}{repeated}')
    return found


class _Stored:
    """One self-check in memory: what goes in, and what must come out."""

    def __init__(self, bundle: Bundle, stored: SelfCheck):
        what = f'self-check image {stored.image} of bundle {bundle.name!r}'
        try:
            image = decode_image((bundle.folder / stored.image).read_bytes(),
                                 bundle.size_hw[0] * bundle.size_hw[1]).image
        except (DaRosError, OSError) as error:
            raise BundleError(f'{what} is not readable ({error}); re-export') from error
        if image.shape[:2] != bundle.size_hw:
            raise BundleError(f'{what} is not a {bundle.size_hw} image; re-export')
        self._bundle = bundle
        self._range_m, self._mask = _expected(bundle, stored)
        self._feeds = feeds_for(bundle, image, stored.camera_height_m)

    def compare(self, backend: Backend) -> Iterator[GateReport]:
        """Run each separate head once, or the main graph alone, and yield the departures."""
        # Each head is an engine of its own and may be the one that is wrong; the range is compared
        # along with each, because features shared on the device may be overwritten between them.
        bundle = self._bundle
        for index, range_mask_m in enumerate(tuple(bundle.own.range_masks) or (0.0,)):
            outputs = backend.run(self._feeds, range_mask_m)
            range_m = _output(backend, outputs, 'range_m', bundle.size_hw)
            mask = wanted = None
            if self._mask is not None:
                wanted = self._mask[index:index + 1] if range_mask_m else self._mask
                mask = _output(backend, outputs, 'range_mask_probability', wanted.shape)
            yield departure(range_m, self._range_m, mask, wanted)


def departure(range_m: NDArray[Any], wanted_m: NDArray[Any], mask: NDArray[Any] | None,
              wanted_mask: NDArray[Any] | None) -> GateReport:
    """
    Compare one output with the wanted one.

    :param range_m: (H, W), as `wanted_m`
    :param mask: probabilities (K, H, W), as `wanted_mask`; None = no range mask
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        ratio = range_m.astype(np.float64) / wanted_m
        change = np.abs(np.log(ratio))
    finite = np.isfinite(ratio).all()
    error = np.quantile(np.abs(ratio - 1), 0.99) if finite else np.nan
    agreement = block_agreement = 1.0
    if mask is not None and wanted_mask is not None:
        # Sides of 0.5, because nothing else of a probability decides what is published.
        same = (mask > 0.5) == (wanted_mask > 0.5)
        usable = np.isfinite(mask).all()
        agreement = same.mean(axis=(1, 2)).min() if usable else np.nan
        block_agreement = min(_block_means(head).min() for head in same.astype(np.float64))
    return GateReport(float(error), float(np.median(ratio)), float(agreement),
                      float(_block_means(change).max()), float(block_agreement))


def _block_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return the means over all square blocks of 1/16 of the height.

    Each overlaps its neighbours by half, across the seam, too: else an error astride the border
    of two blocks would count a quarter in four of them.

    :param values: (H, W)
    """
    rows = min(2 * BLOCKS, values.shape[0])
    cells = np.asarray(cv2.resize(values, (2 * rows, rows), interpolation=cv2.INTER_AREA))
    cells = np.concatenate([cells, cells[:, :1]], axis=1)
    pairs = cells[1:] + cells[:-1]
    return np.asarray((pairs[:, 1:] + pairs[:, :-1]) / 4, np.float64)


def worst(checks: list[list[GateReport]], runs: int = 1) -> GateReport:
    """Return the worst of each figure, by panorama and run; NaN is the worst of all."""
    # numpy's max and min, never Python's: those lose a NaN unless it comes first.
    scales = np.array([[report.scale for report in reports] for reports in checks])
    every = [report for reports in checks for report in reports]
    with np.errstate(invalid='ignore', divide='ignore'):
        repeat_error = np.abs(scales / scales[:, :1] - 1).max()
    return GateReport(
        float(np.max([report.relative_error_p99 for report in every])),
        float(scales.flat[np.abs(scales - 1).argmax()]),
        float(np.min([report.mask_agreement for report in every])),
        float(np.max([report.block_error for report in every])),
        float(np.min([report.block_agreement for report in every])), float(repeat_error), runs)


def _expected(bundle: Bundle, stored: SelfCheck) -> tuple[NDArray[Any], NDArray[Any] | None]:
    masks = len(bundle.range_masks_m)
    try:
        with np.load(bundle.folder / stored.expected) as arrays:
            # A few kilobytes of zipped zeros become gigabytes; 8 bytes a value are enough.
            most = 8 * max(masks, 1) * bundle.size_hw[0] * bundle.size_hw[1] + 4096
            if any(entry.file_size > most for entry in arrays.zip.infolist()):
                raise ValueError(f'an array above {most} bytes')
            range_m = arrays['range_m']
            mask = arrays['range_mask_probability'] if masks else None
    except Exception as error:       # numpy, zipfile and zlib have a dozen kinds
        raise BundleError(f'self-check file {stored.expected} of bundle {bundle.name!r} is not '
                          f'readable ({error}); re-export') from error
    if range_m.shape != bundle.size_hw or (
            mask is not None and mask.shape != (masks, *bundle.size_hw)):
        raise BundleError(f'self-check file {stored.expected} of bundle {bundle.name!r} does not '
                          f'hold {masks} masks of {bundle.size_hw}; re-export')
    return range_m, mask


def _output(backend: Backend, outputs: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    got = outputs.get(name)
    if got is None or got.shape != shape:
        found = 'no such output' if got is None else f'shape {got.shape}'
        raise GateError(f'{backend.name}: the graph must give {name} of shape {shape}, but '
                        f'has {found}; re-export the bundle')
    return got
