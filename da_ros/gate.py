"""The truth gate: a runtime is used only after it has repeated the bundle's stored outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros.backends.base import Backend, BackendError, feeds_for
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
    with np.load(bundle.folder / stored.expected) as expected:
        wanted_range = expected['range_m']
        wanted_mask = expected['range_mask_probability'] if bundle.range_masks_m else None
    feeds = feeds_for(bundle, np.asarray(image, np.uint8), stored.camera_height_m)
    selections = tuple(bundle.mask_graphs) or (0.0,)
    agreement, outputs = 1.0, {}
    for index, range_mask_m in enumerate(selections):
        outputs = backend.run(feeds, range_mask_m)
        if wanted_mask is not None:
            wanted = wanted_mask[index:index + 1] if range_mask_m else wanted_mask
            agreement = min(agreement, _agreement(outputs['range_mask_probability'], wanted))
    return _report(outputs['range_m'], wanted_range, agreement)


def _report(got: NDArray[Any], wanted: NDArray[Any], agreement: float) -> GateReport:
    if got.shape != wanted.shape:
        raise BackendError(f'runtime gave range_m of shape {got.shape}, bundle stores '
                           f'{wanted.shape}')
    ratio = got.astype(np.float64) / wanted
    return GateReport(float(np.quantile(np.abs(ratio - 1), 0.99)), float(np.median(ratio)),
                      agreement)


def _agreement(got: NDArray[Any], wanted: NDArray[Any]) -> float:
    same = (got > 0.5) == (wanted > 0.5)
    return float(same.mean(axis=(1, 2)).min()) if np.isfinite(got).all() else float('nan')
