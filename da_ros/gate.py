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

# Accelerators must also repeat themselves: the fault of TensorRT 10.3 on Jetson showed as a scale
# that varied from frame to frame.
RUNS_AFTER_BUILD, RUNS_AFTER_LOAD = 20, 3
REPEAT_ERROR = 1e-3


@dataclass(frozen=True)
class Limits:
    """Largest departures from the stored onnxruntime fp32 outputs that are still trusted."""

    relative_error_p99: float
    scale_error: float
    mask_agreement: float


LIMITS = {
    'fp32': Limits(1e-3, 1e-3, 0.999),
    'fp16': Limits(2e-2, 1e-2, 0.995),
    'bf16': Limits(2e-2, 1e-2, 0.995),
    'int8': Limits(1e-1, 3e-2, 0.98),
}


class GateError(BackendError):
    """A runtime that gives wrong numbers."""


@dataclass(frozen=True)
class GateReport:
    """The worst departures over all runs of all self-check panoramas."""

    relative_error_p99: float
    scale: float                 # median of predicted / stored range
    mask_agreement: float        # share of pixels on the same side of 0.5, worst head
    repeat_error: float = 0.0    # of the scale, any run against the first
    runs: int = 1

    def __str__(self) -> str:
        """Return one line for logs and diagnostics."""
        repeated = f', {self.runs} runs within {self.repeat_error:.2g}' if self.runs > 1 else ''
        return (f'p99 relative error {self.relative_error_p99:.2g}, scale {self.scale:.5f}, '
                f'mask agreement {self.mask_agreement:.4f}{repeated}')

    def within(self, limits: Limits) -> bool:
        """Return whether every figure keeps its limit; NaN keeps none."""
        return (self.relative_error_p99 <= limits.relative_error_p99
                and abs(self.scale - 1) <= limits.scale_error
                and self.mask_agreement >= limits.mask_agreement
                and self.repeat_error <= REPEAT_ERROR)


def prove(backend: Backend, bundle: Bundle, runs: int = 0) -> GateReport:
    """
    Check a runtime as often as its kind demands, and keep the verdict with its engines.

    :param runs: 0 = once on a CPU, three times on an accelerator, twenty times for an engine that
        has not passed since it was built
    :raises BackendError: naming the figure that is out of its limit
    :raises BundleError: if the bundle has no self-check or an unreadable one
    """
    if not backend.jobs:
        return check(backend, bundle, runs or (RUNS_AFTER_LOAD if backend.on_device else 1))
    from da_ros.engines.cache import CacheError, EngineCache
    cache = EngineCache()
    # Only what this backend has loaded: another process may have built since.
    entries = [entry if entry and entry.plan_sha256 == plan else None for entry, plan in zip(
        map(cache.entry, backend.jobs), backend.plans)]
    proven = all(entry is not None and entry.proven for entry in entries)
    runs = runs or (RUNS_AFTER_LOAD if proven else RUNS_AFTER_BUILD)

    def record(passed: bool, text: str) -> None:
        try:
            for entry in filter(None, entries):
                cache.record_check(entry, passed, text, runs)
        except CacheError:       # a cache that is read-only now: the next start checks in full
            pass

    try:
        report = check(backend, bundle, runs)
    except GateError as error:   # not for a run that failed or was cancelled
        record(False, str(error))
        raise
    record(True, str(report))
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
            f'1 +- {limits.scale_error:g}, {limits.mask_agreement:g}{repeated}')
    return found


class _Stored:
    """One self-check in memory: what goes in, and what must come out."""

    def __init__(self, bundle: Bundle, stored: SelfCheck):
        image = cv2.imread(str(bundle.folder / stored.image), cv2.IMREAD_COLOR)
        if image is None or image.shape[:2] != bundle.size_hw:
            raise BundleError(f'self-check image {stored.image} of bundle {bundle.name!r} is not '
                              f'a {bundle.size_hw} image; re-export')
        self._bundle = bundle
        self._range_m, self._mask = _expected(bundle, stored)
        self._feeds = feeds_for(bundle, np.asarray(image, np.uint8), stored.camera_height_m)

    def compare(self, backend: Backend) -> Iterator[GateReport]:
        """Run each separate head once, or the main graph alone, and yield the departures."""
        bundle = self._bundle
        for index, range_mask_m in enumerate(tuple(bundle.mask_graphs) or (0.0,)):
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
    ratio = range_m.astype(np.float64) / wanted_m
    finite = np.isfinite(ratio).all()
    error = np.quantile(np.abs(ratio - 1), 0.99) if finite else np.nan
    agreement = 1.0 if mask is None or wanted_mask is None else _agreement(mask, wanted_mask)
    return GateReport(float(error), float(np.median(ratio)), agreement)


def worst(checks: list[list[GateReport]], runs: int = 1) -> GateReport:
    """Return the worst of each figure, by panorama and run; NaN is the worst of all."""
    scales = np.array([[report.scale for report in reports] for reports in checks])
    every = [report for reports in checks for report in reports]
    with np.errstate(invalid='ignore', divide='ignore'):
        repeat_error = np.abs(scales / scales[:, :1] - 1).max()
    return GateReport(
        float(np.max([report.relative_error_p99 for report in every])),
        float(scales.flat[np.abs(scales - 1).argmax()]),
        float(np.min([report.mask_agreement for report in every])), float(repeat_error), runs)


def _expected(bundle: Bundle, stored: SelfCheck) -> tuple[NDArray[Any], NDArray[Any] | None]:
    masks = len(bundle.range_masks_m)
    try:
        with np.load(bundle.folder / stored.expected) as arrays:
            range_m = arrays['range_m']
            mask = arrays['range_mask_probability'] if masks else None
    except (OSError, ValueError, KeyError) as error:
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


def _agreement(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    same = (got > 0.5) == (wanted > 0.5)
    return float(same.mean(axis=(1, 2)).min()) if np.isfinite(got).all() else float('nan')
