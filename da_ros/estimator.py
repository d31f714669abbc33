# Copyright 2026 da_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""RangeEstimator: a camera panorama becomes a RangeMap. Resize, run, units, range mask."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da_ros.backends.base import FrameError
from da_ros.backends.chain import Attempt, BackendChain
from da_ros.bundle import Bundle, load_bundle
from da_ros.cameras.models import ErpCamera
from da_ros.cameras.rig import Rig, View
from da_ros.config import check_values, ConfigError, RangeRule, ScaleConfig
from da_ros.gate import GateReport
from da_ros.memory.scale_track import held_to_floor, ScaleTrack, tracked_metres_per_unit
from da_ros.panorama import Extent, FULL_SPHERE, oddities
from da_ros.range_map import RangeMap
from da_ros.scale import metres_per_unit

__all__ = ['apply_rule', 'FrameError', 'RangeEstimator']


class RangeEstimator:
    """
    A bundle opened in the first runtime that passes the bundle's self-check.

    Not thread-safe, except `cancel`. `rule`, `scale` and `rig` may be replaced between frames.
    """

    def __init__(self, bundle: str | Path | Bundle | None = None, backend: str = 'auto',
                 threads: int = 0, rule: RangeRule | None = None,
                 elevation_span_deg: tuple[float, float] = (-90.0, 90.0),
                 given_up: Mapping[Attempt, str] | None = None):
        """
        Load a bundle and prove the runtime against its stored outputs.

        :param bundle: folder or name, loaded bundle, or None for the default bundle
        :param backend: a name of `backends.order.BACKENDS`, or auto for the first that works
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
        self._begin(Rig(ErpCamera(Extent(*elevation_span_deg))), rule or RangeRule())
        self.chain = BackendChain(self.bundle, backend, threads, given_up)

    def _begin(self, rig: Rig, rule: RangeRule) -> None:
        self.rig = rig                    # what camera images show
        self._map_from_body: NDArray[np.float64] | None = None
        self._view: tuple[Rig, NDArray[np.float64] | None, View] | None = None
        self.scale = ScaleConfig()        # of a scale_invariant bundle; `none` keeps its units
        self.track = ScaleTrack()         # of `scale.track`
        self._track_of: tuple[ScaleConfig, float, Rig] | None = None
        self.rule = rule

    def for_camera(self, rig: Rig, rule: RangeRule) -> RangeEstimator:
        """
        Return an estimator for one more camera: the same runtime and weights, all else its own.

        The two must take turns; to close, cancel or replace the runtime of one does so for both.
        """
        other = copy(self)
        other._begin(rig, rule)
        return other

    def fall_back(self, reason: str = '') -> None:
        """Replace a runtime that failed by the next one; see `BackendChain.fall_back`."""
        self.chain.fall_back(reason)

    @property
    def refused(self) -> list[str]:
        """Why runtimes earlier in the order were not taken."""
        return self.chain.refused

    @property
    def absent(self) -> dict[str, str]:
        """Runtimes that this machine does not have, and why."""
        return self.chain.absent

    @property
    def report(self) -> GateReport:
        """What the self-check of the runtime in use has found."""
        return self.chain.report

    @property
    def backend(self) -> str:
        """Name and arithmetic of the runtime in use, for logs and diagnostics."""
        return self.chain.name

    @property
    def warning(self) -> str:
        """What the user must know of the runtime's version, mostly ''."""
        return self.chain.backend.warning

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

    def predict(self, image: NDArray[np.uint8], seen: Extent = FULL_SPHERE) -> RangeMap:
        """
        Estimate the range in every direction.

        :param image: (h, w, 3) uint8 BGR panorama of any size, 2:1 if it is a full one
        :param seen: the part of it that a camera has seen (`panorama.Picture`); NaN elsewhere
        :return: RangeMap at network size
        :raises ValueError: wrong type or shape, naming it
        :raises BackendError: if the runtime fails or is cancelled, also if it gives FrameError
            three times in a row and does not pass the self-check again
        :raises FrameError: if a range or probability is not finite
        :raises ScaleError: if the scale is to come from a floor that is not seen
        """
        return self.infer(self.network_image(image), seen)

    def infer(self, net_image: NDArray[np.uint8], seen: Extent = FULL_SPHERE) -> RangeMap:
        """Estimate from what `network_image` returned; otherwise as `predict`."""
        rule, mask_m, limit_m = self._rule, self._mask_m, self._limit_m
        outputs = self.chain.run(net_image, rule.camera_height_m, mask_m)
        probability = outputs.get('probability')
        range_m = self._metres(outputs['range_m'])
        published, disagreements = apply_rule(range_m, probability, mask_m, limit_m, rule)
        view = self.view()
        published[view.unknown(seen)] = np.nan
        return RangeMap(published, limit_m, rule.min_range_m, net_image, disagreements, view,
                        probability, mask_m)

    def network_image(self, image: NDArray[np.uint8],
                      map_from_body: NDArray[np.float64] | None = None) -> NDArray[np.uint8]:
        """
        Return a camera image as the network sees it: level, full sphere, network size, BGR.

        :param map_from_body: (3, 3) rotation into the level frame (`levelling`), also of the
            range maps that are inferred next; None = the camera's body is level
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'image must be (height, width, 3) uint8, got {image.shape} '
                             f'{image.dtype}')
        self._map_from_body = map_from_body
        return self.view().image(image)

    def view(self) -> View:
        """Return what the rig sees at the tilt of the last image; the same while both last."""
        if self._view is None or self._view[0] is not self.rig or (
                self._view[1] is not self._map_from_body):
            self._view = self.rig, self._map_from_body, View(
                self.rig, self.bundle.size_hw, self.bundle.resize, self._map_from_body)
        return self._view[2]

    def oddities(self, image: NDArray[np.uint8]) -> tuple[str, ...]:
        """Return what the user must be told once of camera images like this one."""
        camera = self.rig.camera
        return oddities(image, camera.extent) if isinstance(camera, ErpCamera) else ()

    def cancel(self) -> None:
        """Make a prediction or a fall-back in another thread fail soon; for shutdown only."""
        self.chain.cancel()

    def close(self) -> None:
        """Free what the runtime holds; no prediction afterwards."""
        self.chain.close()

    def _metres(self, range_m: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.bundle.output_quantile is not None:
            quantile = np.quantile(range_m, self.bundle.output_quantile)
            range_m = range_m / np.float32(quantile)
        if self.bundle.kind == 'metric' and self.bundle.metres_per_unit != 1:
            range_m = range_m * np.float32(self.bundle.metres_per_unit)
        if self.bundle.kind == 'scale_invariant' and self.scale.source != 'none':
            range_m = range_m * np.float32(self._metres_per_unit(range_m))
        by_height = self.bundle.kind == 'scale_invariant' and self.scale.source == 'camera_height'
        return held_to_floor(range_m, self._tracked()) if self.scale.track and not by_height \
            else range_m

    def _metres_per_unit(self, range_units: NDArray[np.float32]) -> float:
        height_m = self._rule.camera_height_m
        if self.scale.track and self.scale.source == 'camera_height':
            factor = tracked_metres_per_unit(range_units, height_m, self._tracked())
            if np.isfinite(factor):
                return factor           # without a floor, that of the frames before
        return metres_per_unit(range_units, self.scale, height_m)

    def _tracked(self) -> ScaleTrack:
        """Return the track, started anew if what decides where the floor is found has changed."""
        decides = self.scale, self._rule.camera_height_m, self.rig
        if self._track_of is not None and self._track_of != decides:
            self.track.reset('parameters changed')
        self._track_of = decides
        return self.track


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
    # The order is the rule: what is too near comes last and wins over all, also over a head that
    # says "beyond", because an obstacle may be published wrongly, but never cleared wrongly.
    published = np.where(range_m >= limit_m, np.float32(np.inf), range_m).astype(np.float32)
    disagreements = 0
    if probability is not None:
        beyond = (probability <= rule.mask_probability) & (range_m < limit_m)
        # Around T the two may differ by a little; far below it one of them is wrong, and unknown
        # neither marks nor clears.
        contradicted = beyond & (range_m < 0.5 * mask_m) & (range_m >= rule.min_range_m)
        published[beyond] = np.inf
        published[contradicted] = np.nan
        disagreements = int(np.count_nonzero(contradicted))
    published[range_m < rule.min_range_m] = -np.inf
    return published, disagreements
