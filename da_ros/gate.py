"""The truth gate: a runtime is used only after it has repeated the bundle's stored outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.backends.base import Arrays, Backend, BackendError, feeds_for
from da_ros.bundle import Bundle, BundleError, SelfCheck


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


@dataclass(frozen=True)
class GateReport:
    """The worst departures over all self-check panoramas; NaN where there was none to run."""

    relative_error_p99: float
    scale: float             # median of predicted / stored range
    mask_agreement: float    # share of pixels on the same side of 0.5, worst head

    def __str__(self) -> str:
        """Return one line for logs and diagnostics."""
        return (f'p99 relative error {self.relative_error_p99:.2g}, scale {self.scale:.5f}, '
                f'mask agreement {self.mask_agreement:.4f}')


def check(backend: Backend, bundle: Bundle) -> GateReport:
    """
    Run the stored panoramas and compare.

    :raises BackendError: naming the figure that is out of its limit
    :raises BundleError: if the bundle has no self-check or an unreadable one
    """
    if not bundle.self_checks:
        raise BundleError(f'bundle {bundle.name!r} has no self-check panorama, so no runtime can '
                          'be trusted with it; re-export with `python -m training.export`')
    reports = [_check_one(backend, bundle, stored) for stored in bundle.self_checks]
    worst = GateReport(
        max(r.relative_error_p99 for r in reports),
        max((r.scale for r in reports), key=lambda s: abs(s - 1)),
        min(r.mask_agreement for r in reports))
    precision = backend.variant if bundle.precision == 'fp32' else bundle.precision
    limits = LIMITS[precision]
    # written so that NaN fails
    passed = (worst.relative_error_p99 <= limits.relative_error_p99
              and abs(worst.scale - 1) <= limits.scale_error
              and worst.mask_agreement >= limits.mask_agreement)
    if not passed:
        raise BackendError(
            f'{backend.name} {backend.variant} fails the self-check of bundle {bundle.name!r}: '
            f'{worst}; allowed for {precision}: {limits.relative_error_p99:g}, '
            f'1 +- {limits.scale_error:g}, {limits.mask_agreement:g}')
    return worst


def _check_one(backend: Backend, bundle: Bundle, stored: SelfCheck) -> GateReport:
    image = cv2.imread(str(bundle.folder / stored.image), cv2.IMREAD_COLOR)
    if image is None or image.shape[:2] != bundle.size_hw:
        raise BundleError(f'self-check image {stored.image} of bundle {bundle.name!r} is not a '
                          f'{bundle.size_hw} image; re-export')
    wanted_range, wanted_mask = _expected(bundle, stored)
    feeds = feeds_for(bundle, np.asarray(image, np.uint8), stored.camera_height_m)
    selections = tuple(bundle.mask_graphs) or (0.0,)
    agreement, outputs = 1.0, {}
    for index, range_mask_m in enumerate(selections):
        outputs = backend.run(feeds, range_mask_m)
        if wanted_mask is not None:
            wanted = wanted_mask[index:index + 1] if range_mask_m else wanted_mask
            count = 1 if range_mask_m else len(bundle.range_masks_m)
            got = _output(backend, outputs, 'range_mask_probability', (count, *bundle.size_hw))
            agreement = min(agreement, _agreement(got, wanted))
    return _report(_output(backend, outputs, 'range_m', bundle.size_hw), wanted_range, agreement)


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
        raise BackendError(f'{backend.name}: the graph must give {name} of shape {shape}, but '
                           f'has {found}; re-export the bundle')
    return got


def _report(got: NDArray[Any], wanted: NDArray[Any], agreement: float) -> GateReport:
    ratio = got.astype(np.float64) / wanted
    return GateReport(float(np.quantile(np.abs(ratio - 1), 0.99)), float(np.median(ratio)),
                      agreement)


def _agreement(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    same = (got > 0.5) == (wanted > 0.5)
    return float(same.mean(axis=(1, 2)).min()) if np.isfinite(got).all() else float('nan')
