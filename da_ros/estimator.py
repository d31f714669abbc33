"""RangeEstimator: a camera panorama becomes a RangeMap. Resize, run, units, range mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da_ros import gate
from da_ros.backends.base import (
    Backend,
    BackendAbsent,
    BackendError,
    BACKENDS,
    EngineMissing,
    feeds_for,
    open_backend,
    variants_of,
)
from da_ros.bundle import Bundle, BundleError, load_bundle
from da_ros.config import check_values, ConfigError, RangeRule, ScaleConfig
from da_ros.errors import DaRosError
from da_ros.range_map import RangeMap
from da_ros.scale import check_scale, metres_per_unit
from da_ros.sphere import check_erp_size, elevation_from_row

INTERPOLATION = {'area': cv2.INTER_AREA, 'linear': cv2.INTER_LINEAR, 'cubic': cv2.INTER_CUBIC}
FULL_SPAN_DEG = (-90.0, 90.0)
MOST_BAD_FRAMES = 3               # in a row; then it is the runtime that has failed

Attempt = tuple[str, str]         # name and variant of a runtime


class FrameError(DaRosError):
    """One frame for which the network gave no usable numbers."""


class RangeEstimator:
    """
    A bundle opened in the first runtime that passes the bundle's self-check.

    Not thread-safe, except `cancel`. `rule` may be replaced between frames.
    """

    def __init__(self, bundle: str | Path | Bundle | None = None, backend: str = 'auto',
                 threads: int = 0, rule: RangeRule | None = None,
                 elevation_span_deg: tuple[float, float] = FULL_SPAN_DEG,
                 given_up: Mapping[Attempt, str] | None = None):
        """
        Load a bundle and prove the runtime against its stored outputs.

        :param bundle: folder or name, loaded bundle, or None for the default bundle
        :param backend: a name of `backends.base.BACKENDS`, or auto for the first that works
        :param threads: CPU threads; 0 = the runtime's choice
        :param rule: thresholds; None = the defaults
        :param elevation_span_deg: lowest and highest elevation that the camera image shows
        :param given_up: why runtimes are not to be tried: engines that could not be built
        :raises BundleError: unreadable bundle, or no such range mask
        :raises EngineMissing: the first runtime that may work needs engines to be built
        :raises BackendError: no runtime passes; names each with its reason
        :raises ConfigError: if a value of the rule is out of its range
        """
        self.bundle = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        self.span_deg = elevation_span_deg
        self.scale = ScaleConfig()        # of a scale_invariant bundle; `none` keeps its units
        self.rule = rule or RangeRule()
        self.refused: list[str] = []      # why runtimes earlier in the order were not taken
        self.absent: dict[str, str] = {}  # and those that this machine does not have
        self._threads = threads
        self._attempts = [(name, variant) for name in
                          (BACKENDS if backend == 'auto' else [backend])
                          for variant in variants_of(name, self.bundle)]
        self._given_up = given_up or {}
        self._bad_frames = 0
        self._backend: Backend | None = None
        self._backend, self.report = self._open_next()

    def _open_next(self) -> tuple[Backend, gate.GateReport]:
        while self._attempts:
            attempt = self._attempts.pop(0)
            try:
                return self._open(attempt)
            except BackendAbsent as error:
                self.absent[attempt[0]] = str(error)
                self._attempts = [other for other in self._attempts if other[0] != attempt[0]]
            except (BackendError, BundleError) as error:
                if self._backend is None and isinstance(error, (EngineMissing, BundleError)):
                    raise
                self.refused.append(str(error))
        reasons = '; '.join([*self.refused, *self.absent.values()])
        raise BackendError(f'no inference runtime works: {reasons}')

    def _open(self, attempt: Attempt) -> tuple[Backend, gate.GateReport]:
        if attempt in self._given_up:
            raise BackendError(self._given_up[attempt])
        name, variant = attempt
        backend = open_backend(name, self.bundle, variant, self._threads)
        try:
            return backend, gate.prove(backend, self.bundle)
        except (BackendError, BundleError):
            backend.close()
            raise

    def fall_back(self) -> None:
        """
        Replace a runtime that failed by the next one of the declared order.

        Engines that are not built yet are passed over: a robot that moves cannot wait.

        :raises BackendError: if none is left; the failed one stays in place
        """
        self._bad_frames = 0
        failed = self._backend
        self._backend, self.report = self._open_next()
        if failed is not None:
            failed.close()

    @property
    def backend(self) -> str:
        """Name and arithmetic of the runtime in use, for logs and diagnostics."""
        assert self._backend is not None
        return f'{self._backend.name} {self._backend.variant}'

    @property
    def warning(self) -> str:
        """What the user must know of the runtime's version, mostly ''."""
        assert self._backend is not None
        return self._backend.warning

    @property
    def rule(self) -> RangeRule:
        """Thresholds applied from the next frame on."""
        return self._rule

    @rule.setter
    def rule(self, rule: RangeRule) -> None:
        check_values(rule)
        self._mask_m, self._limit_m = self.resolve(rule)
        self._rule = rule

    def resolve(self, rule: RangeRule) -> tuple[float, float]:
        """
        Return the range mask that a rule selects and the limit beyond which all is empty [m].

        :raises BundleError: if the bundle has no such range mask
        :raises ConfigError: if nothing could ever be within the limit
        """
        mask_m = self.bundle.select_mask(rule.range_mask_m)
        limit_m = min(rule.max_range_m, self.bundle.max_range_m or np.inf, mask_m or np.inf)
        if limit_m <= rule.min_range_m:
            raise ConfigError(f'min_range_m {rule.min_range_m:g} must be below the limit '
                              f'{limit_m:g} m (range mask, max_range_m, bundle maximum)')
        return mask_m, limit_m

    @property
    def limit_m(self) -> float:
        """Range from which on a pixel is +inf [m]."""
        return self._limit_m

    def check_metric(self, scale: ScaleConfig, camera_height_m: float) -> None:
        """Raise ConfigError if this bundle gives no metres under a scale configuration."""
        check_scale(self.bundle.kind, self.bundle.name, scale, camera_height_m)

    def predict(self, image: NDArray[np.uint8]) -> RangeMap:
        """
        Estimate the range in every direction.

        :param image: (h, w, 3) uint8 BGR panorama of any size, 2:1 if it is a full one
        :return: RangeMap at network size
        :raises ValueError: wrong type or shape, naming it
        :raises BackendError: if the runtime fails or is cancelled, also by FrameError three
            times in a row
        :raises FrameError: if a range or probability is not finite
        :raises ScaleError: if the scale is to come from a floor that is not seen
        """
        return self.infer(self.network_image(image))

    def infer(self, net_image: NDArray[np.uint8]) -> RangeMap:
        """Estimate from what `network_image` returned; otherwise as `predict`."""
        rule, mask_m, limit_m = self._rule, self._mask_m, self._limit_m
        assert self._backend is not None
        outputs = self._backend.run(
            feeds_for(self.bundle, net_image, rule.camera_height_m), mask_m)
        probability = self._probability(outputs.get('range_mask_probability'), mask_m)
        self._check_finite(outputs['range_m'], probability)
        range_m = self._metres(outputs['range_m'])
        published, disagreements = apply_rule(range_m, probability, mask_m, limit_m, rule)
        published[self._padding_rows()] = np.nan
        return RangeMap(published, limit_m, rule.min_range_m, net_image, disagreements)

    def network_image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a camera image as the network sees it: full sphere, network size, BGR."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'image must be (height, width, 3) uint8, got {image.shape} '
                             f'{image.dtype}')
        full = pad_to_full_sphere(image, *self.span_deg)
        return resize_erp(full, self.bundle.size_hw, self.bundle.resize)

    def cancel(self) -> None:
        """Make a prediction in another thread fail soon; for shutdown only."""
        if self._backend is not None:
            self._backend.cancel()

    def close(self) -> None:
        """Free what the runtime holds; no prediction afterwards."""
        if self._backend is not None:
            self._backend.close()

    def _check_finite(self, range_m: NDArray[np.float32],
                      probability: NDArray[np.float32] | None) -> None:
        what = ('range' if not np.isfinite(range_m).all() else 'mask probability'
                if probability is not None and not np.isfinite(probability).all() else '')
        if not what:
            self._bad_frames = 0
            return
        self._bad_frames += 1
        if self._bad_frames >= MOST_BAD_FRAMES:
            raise BackendError(f'{self.backend} gave a non-finite {what} in '
                               f'{self._bad_frames} frames in a row')
        raise FrameError(f'{self.backend} gave a non-finite {what}; frame refused')

    def _metres(self, range_m: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.bundle.output_quantile is not None:
            quantile = np.quantile(range_m, self.bundle.output_quantile)
            range_m = range_m / np.float32(quantile)
        if self.bundle.kind == 'metric' and self.bundle.metres_per_unit != 1:
            return range_m * np.float32(self.bundle.metres_per_unit)
        if self.bundle.kind == 'scale_invariant' and self.scale.source != 'none':
            factor = metres_per_unit(range_m, self.scale, self._rule.camera_height_m)
            range_m = range_m * np.float32(factor)
        return range_m

    def _probability(self, probability: NDArray[np.float32] | None,
                     mask_m: float) -> NDArray[np.float32] | None:
        if mask_m == 0 or probability is None:
            return None
        shared = not self.bundle.mask_graphs
        return probability[self.bundle.range_masks_m.index(mask_m) if shared else 0]

    def _padding_rows(self) -> NDArray[np.bool_]:
        height = self.bundle.size_hw[0]
        elevation_deg = np.rad2deg(elevation_from_row(np.arange(height) + 0.5, height))
        low, high = self.span_deg
        return (elevation_deg < low) | (elevation_deg > high)


def apply_rule(range_m: NDArray[np.float32], probability: NDArray[np.float32] | None,
               mask_m: float, limit_m: float,
               rule: RangeRule) -> tuple[NDArray[np.float32], int]:
    """
    Apply the one rule that says what a pixel is (DESIGN: "Meaning of every value").

    :param range_m: predicted range (H, W) [m], finite
    :param probability: P(range <= mask_m) (H, W), None = mask off
    :param mask_m: selected range mask [m], 0 = off
    :param limit_m: from here on all is empty [m]
    :return: range (H, W) float32 with -inf, NaN and +inf; number of pixels where a head that
        says "beyond" contradicts a range below half the mask
    """
    published = np.where(range_m >= limit_m, np.float32(np.inf), range_m).astype(np.float32)
    disagreements = 0
    if probability is not None:
        beyond = (probability <= rule.mask_probability) & (range_m < limit_m)
        contradicted = beyond & (range_m < 0.5 * mask_m) & (range_m >= rule.min_range_m)
        published[beyond] = np.inf
        published[contradicted] = np.nan
        disagreements = int(np.count_nonzero(contradicted))
    published[range_m < rule.min_range_m] = -np.inf
    return published, disagreements


def resize_erp(image: NDArray[np.uint8], size_hw: tuple[int, int],
               method: str) -> NDArray[np.uint8]:
    """
    Resize a panorama to network size.

    `area` halves exactly while it can, then averages areas: half the time of one pass.

    :param method: area, linear or cubic, as stored in the bundle
    :raises ValueError: if the image is not a full 2:1 panorama
    """
    check_erp_size(*image.shape[:2])
    height, width = size_hw
    if image.shape[:2] == size_hw:
        return np.ascontiguousarray(image)
    while method == 'area' and image.shape[0] >= 2 * height and not (
            image.shape[0] % 2 or image.shape[1] % 2):
        image = np.asarray(cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2),
                                      interpolation=cv2.INTER_AREA), np.uint8)
    if image.shape[:2] == size_hw:
        return image
    upscales = method == 'area' and image.shape[0] < height
    interpolation = cv2.INTER_LINEAR if upscales else INTERPOLATION[method]
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def pad_to_full_sphere(image: NDArray[np.uint8], min_deg: float,
                       max_deg: float) -> NDArray[np.uint8]:
    """
    Continue a partial panorama's first and last row to the poles.

    :param image: (h, w, 3); all of the azimuth, elevation from `min_deg` to `max_deg`
    :return: (w / 2, w, 3); the input itself where it is full already
    :raises ValueError: if the height does not fit the declared span within one row
    """
    height, width = image.shape[:2]
    if (min_deg, max_deg) == FULL_SPAN_DEG:
        if height < 1 or width != 2 * height:
            raise ValueError(
                f'image is {width} x {height} px, not twice as wide as high; declare a partial '
                'panorama by erp.elevation_min_deg and erp.elevation_max_deg')
        return image
    full = width // 2
    top = round((90 - max_deg) / 180 * full)
    bottom = full - top - height
    if width % 2 or bottom < 0 or abs(bottom - (min_deg + 90) / 180 * full) > 1:
        fitting = (max_deg - min_deg) / 180 * full
        raise ValueError(f'image is {width} x {height} px, but elevations {min_deg:g} to '
                         f'{max_deg:g} deg of {width} columns are {fitting:.1f} rows; correct '
                         'erp.elevation_min_deg and erp.elevation_max_deg')
    return np.asarray(
        cv2.copyMakeBorder(image, top, bottom, 0, 0, cv2.BORDER_REPLICATE), np.uint8)
